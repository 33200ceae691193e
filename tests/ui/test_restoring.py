"""A comparison comes back from a file that is dropped on the page."""

from __future__ import annotations

import zipfile

from tests.ui.person import compare, drop, lines
from zoo.comparison import Comparison


def test_a_picture_that_is_dropped_restores_its_comparison(skies, tmp_path):
    lines(skies, "ddim steps=2 | cfg scale=2")
    compare(skies, done=1)
    with skies.expect_download() as download:
        skies.click("#save-png")
    download.value.save_as(tmp_path / "mine.png")
    lines(skies, "ddpm steps=1")
    skies.fill("#prompt", "else")
    skies.set_input_files("#zoo input[type=file]", tmp_path / "mine.png")
    skies.wait_for_function("document.querySelector('#prompt').value == 'dawn'")
    assert skies.input_value("#method-1 .z-line") == "ddim steps=2 | cfg scale=2"
    (tmp_path / "stranger.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 40)
    skies.set_input_files("#zoo input[type=file]", tmp_path / "stranger.png")
    skies.wait_for_function("document.querySelector('#problem').innerText.includes('stranger.png')")


def test_a_dropped_grid_comes_back_as_the_cards_that_made_it(skies, tmp_path):
    lines(skies, "ddim steps=1,2,3,4,5 eta=0,0.5,1")
    skies.click("#method-1 .z-adjust")
    skies.click("#method-1 .z-swap")
    skies.fill("#seeds", "3")
    compare(skies, done=15)
    axes = skies.locator(".z-axis").all_inner_texts()
    assert axes[:3] == ["η 0", "η 0.5", "η 1"], "swapped"
    with skies.expect_download() as download:
        skies.click("#save-png")
    download.value.save_as(tmp_path / "grid.png")
    with skies.expect_download() as download:
        skies.click("#download")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extract("comparison.json", tmp_path)
        archive.extract("cells/14/3.png", tmp_path)

    for name in ("grid.png", "comparison.json", "cells/14/3.png"):
        lines(skies, "ddpm steps=1")
        skies.fill("#seeds", "0")
        drop(skies, tmp_path / name, "#zoo-grid")
        skies.wait_for_function("document.querySelector('#seeds').value == '3'")
        assert skies.locator(".z-card").count() == 1
        assert skies.input_value("#method-1 .z-line") == "ddim steps=1,2,3,4,5 eta=0,0.5,1"
        assert skies.inner_text("#problem") == ""
    compare(skies, done=15)
    assert skies.locator(".z-axis").all_inner_texts() == axes


def test_a_file_with_more_methods_than_cards_says_which_are_left_out(skies, tmp_path):
    comparison = Comparison(model="gaussian", prompt="dusk", cells=[f"ddim steps={n}" for n in range(1, 16)])
    for name, record in (("bare.json", None), ("edited.json", {"cards": [{"line": "ddim steps=1..14"}]})):
        held = comparison.model_copy(update={"record": record})
        (tmp_path / name).write_text(held.model_dump_json())
        skies.fill("#prompt", "dawn")
        drop(skies, tmp_path / name, "#zoo-grid")
        skies.wait_for_function("document.querySelector('#prompt').value == 'dusk'")
        assert skies.locator(".z-card").count() == 12
        assert skies.input_value("#method-12 .z-line") == "ddim steps=12"
        assert f"Of the 15 methods in {name} the first 12" in skies.inner_text("#problem")
