"""Pictures that methods follow: uploaded, dropped on a card, or drawn by the page."""

from __future__ import annotations

import zipfile

import numpy as np
from PIL import Image

from tests.small_model import SIZE
from tests.ui.person import compare, drop, ended, lines
from zoo.data.maps import control_picture
from zoo.pictures import admit


def test_a_picture_is_uploaded_and_what_the_network_got_is_shown(page, tmp_path):
    picture = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)).save(picture)
    page.select_option("#model", "odd/small")
    lines(page, "ddim steps=2 | controlnet scale=0.5")
    page.click("#method-1 .z-adjust")
    page.set_input_files("#method-1 [data-place='1.image']", picture)
    name, _ = admit(picture)
    page.wait_for_function(
        "expected => document.querySelector('#method-1 .z-line').value == expected",
        arg=f"ddim steps=2 | controlnet scale=0.5 image={name}",
    )
    page.fill("#seeds", "0")
    compare(page, done=1)
    assert page.inner_text(".zoo-nfe") == "4 NFE"
    assert page.inner_text(".zoo-maps figcaption") == "control: canny"
    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {f"pictures/{name}.png", "cells/00/map-canny.png"} <= set(archive.namelist())
    page.reload()
    page.wait_for_selector(".zoo-maps img")
    compare(page, done=1)


def test_a_picture_that_is_dropped_on_a_card_goes_to_the_card(page, tmp_path):
    page.select_option("#model", "odd/small")
    lines(page, "ddim steps=2 | controlnet")
    page.click("#method-1 .z-adjust")
    picture = tmp_path / "mine.png"
    Image.new("RGB", (20, 20), "red").save(picture)
    drop(page, picture, "#method-1 [data-place='1.image']")
    name, _ = admit(picture)
    page.wait_for_function(
        "name => document.querySelector('#method-1 .z-line').value.includes(name)", arg=name
    )
    assert page.inner_text("#problem") == ""
    assert page.locator(".z-drop").is_hidden()


def test_a_picture_to_follow_is_drawn_for_those_who_have_none(page):
    page.select_option("#model", "odd/small")
    page.fill("#prompt", "a blue cat")
    lines(page, "ddim steps=2 | controlnet annotator=pose")
    page.click("#method-1 .z-adjust")
    name, _ = admit(Image.fromarray(control_picture("pose", "a blue cat", size=SIZE).pixels))
    page.click("#method-1 [data-place='1.image.draw']")
    page.wait_for_function(
        "expected => document.querySelector('#method-1 .z-line').value == expected",
        arg=f"ddim steps=2 | controlnet annotator=pose image={name} map=true",
    )
    page.wait_for_selector("#method-1 .z-upload:not([hidden])")
    page.click("#method-1 [data-place='1.image.draw']")
    page.wait_for_function(
        "name => !document.querySelector('#method-1 .z-line').value.includes(name)", arg=name
    )
    page.fill("#method-1 .z-line", "ddim steps=2 | controlnet annotator=canny")
    page.click("#method-1 [data-place='1.image.draw']")
    page.wait_for_function("document.querySelector('#method-1 .z-line').value.includes('image=')")
    compare(page, done=1)
    assert page.inner_text(".zoo-maps figcaption") == "control: canny"


def test_a_preset_draws_the_picture_that_it_needs(page):
    page.wait_for_selector("#presets button:has-text('Control everything')")
    page.fill("#prompt", "a green boat on the beach")
    page.click("#presets button:has-text('Control everything')")
    ended(page, done=5)
    assert page.locator(".zoo-maps figcaption").all_inner_texts() == ["control: canny"] * 2
    name, _ = admit(Image.fromarray(control_picture("canny", "a green boat on the beach").pixels))
    assert (
        page.locator("#method-4 .z-line").input_value().endswith(f"controlnet annotator=canny image={name}")
    )
