"""The page as a person uses it: a real server, a real browser."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.pictures import admit

WAIT = 240_000
"""Milliseconds; much more than an idle machine needs."""


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The opened page; fails the test if it logs an error or asks any other host for something."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
    allowed = (server.url, "data:", "blob:")
    opened.on("request", lambda r: None if r.url.startswith(allowed) else wrong.append(f"asked {r.url}"))
    opened.goto(server.url)
    opened.wait_for_function("document.querySelectorAll('#examples button').length > 1")
    yield opened
    context.close()
    assert wrong == []


def choose_model(page: Any, title: str) -> None:
    page.click("#model input")
    page.click(f"[role=option]:has-text('{title}')")


def write_line(page: Any, number: int, line: str) -> None:
    field = page.locator(f"#method-{number} .zoo-text input")
    field.fill(line)
    field.press("Enter")


def ended(page: Any, **counts: int) -> None:
    """Wait until that many cells are in these states and Compare can be pressed again."""
    for state, count in counts.items():
        page.wait_for_function(
            "([s, n]) => document.querySelectorAll(`.zoo-cell[data-state=${s}]`).length == n",
            arg=[state, count],
        )
    page.wait_for_function("!document.querySelector('#compare').disabled")


def test_four_methods_side_by_side(page, tmp_path):
    page.fill("#prompt textarea, #prompt input", "a red mushroom at night")
    page.click("#compare")
    ended(page, done=4)
    cells = page.locator(".zoo-cell")
    assert [text.strip() for text in page.locator(".zoo-nfe").all_inner_texts()] == [
        "5 NFE",
        "20 NFE",
        "50 NFE",
        "40 NFE",
    ]
    assert "DDIM, 20 steps + Classifier-free guidance" in cells.nth(3).inner_text()
    assert "share of the fused batch" in cells.nth(0).inner_text()
    pictures = page.locator(".zoo-cell img")
    assert pictures.count() == 4
    assert page.evaluate("[...document.querySelectorAll('.zoo-cell img')].every(i => i.naturalWidth > 0)")
    assert pictures.nth(0).evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
    assert len({pictures.nth(i).get_attribute("src") for i in range(4)}) == 4
    assert re.fullmatch(r"[0-9a-f]{8,}", page.locator(".zoo-noise code").inner_text())

    with page.expect_download() as download:
        page.click("#download")
    target = tmp_path / "comparison.zip"
    download.value.save_as(target)
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        comparison = json.loads(archive.read("comparison.json"))
    assert {"grid.png", "comparison.json", "results.json", "cells/00/0.png", "cells/03/0.png"} <= set(names)
    assert comparison["prompt"] == "a red mushroom at night"
    assert comparison["cells"][3] == "ddim steps=20 | cfg scale=3"


def test_cells_are_scored_by_the_metrics_that_were_chosen(page):
    choose_model(page, "Gaussian skies")
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value == 'dawn'")
    page.click("#more button")
    page.click("#metrics input")
    page.get_by_role("option", name="Distance to the exact solution", exact=True).click()
    page.click("#compare")
    ended(page, done=4)
    scores = page.locator(".zoo-scores").all_inner_texts()
    assert len(scores) == 4
    assert all(text.startswith("exact_error") for text in scores)
    assert ["absent: " in text for text in scores] == [False, False, True, True], "drawing noise, and guided"


def test_wrong_input_is_answered_in_place_and_pictures_stay(page):
    choose_model(page, "Gaussian")
    page.fill("#prompt textarea, #prompt input", "dawn zebra")
    page.click("#compare")
    ended(page, done=4)
    assert "zebra" in page.inner_text("#notices")

    write_line(page, 1, "<img src=x> | nonsense")
    page.wait_for_selector("#method-1 .zoo-problem")
    page.click("#compare")
    page.wait_for_selector("#problem .zoo-problem")
    assert "<img src=x>" in page.inner_text("#problem")
    assert "Traceback" not in page.inner_text("body")
    assert page.locator(".zoo-cell[data-state=done] img").count() == 4

    write_line(page, 1, "ddim steps=3")
    page.wait_for_selector("#method-1 .zoo-problem", state="detached")
    page.fill("#seeds input, #seeds textarea", "one, two")
    page.click("#compare")
    page.wait_for_function("document.querySelector('#problem').innerText.includes('Seeds')")
    assert page.locator(".zoo-cell[data-state=done] img").count() == 4

    page.fill("#seeds input, #seeds textarea", "0..255")
    write_line(page, 2, "ddim steps=1000")
    page.click("#compare")
    page.wait_for_function("document.querySelector('#problem').innerText.includes('command line')")

    page.fill("#seeds input, #seeds textarea", "0..1")
    for number in (1, 2, 3, 4):
        page.locator(f"#method-{number} .zoo-tick input").uncheck()
    page.click("#compare")
    page.wait_for_function("document.querySelector('#problem').innerText.includes('no method')")


def test_a_failing_cell_leaves_the_others_alone(page):
    choose_model(page, "Gaussian")
    page.fill("#seeds input, #seeds textarea", "0..2")
    write_line(page, 1, "odd/failing")
    page.click("#compare")
    ended(page, done=3, failed=1)
    failed = page.locator(".zoo-cell[data-state=failed]")
    assert "RuntimeError: <b>broken</b> on purpose" in failed.inner_text()
    failed.locator("summary").click()
    assert "Traceback" in failed.locator("pre").inner_text()
    assert page.locator(".zoo-cell[data-state=done] img").count() == 9


def test_cancel_keeps_what_is_done_and_it_can_be_downloaded(page):
    choose_model(page, "Gaussian")
    write_line(page, 2, "odd/slow steps=1000")
    page.locator("#method-3 .zoo-tick input").uncheck()
    page.locator("#method-4 .zoo-tick input").uncheck()
    page.click("#compare")
    page.wait_for_selector(".zoo-cell[data-state=done]")
    page.wait_for_selector(".zoo-cell[data-state=running] img")
    page.click("#cancel")
    ended(page, done=1, cancelled=1)
    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "cells/00/0.png" in archive.namelist()
        states = [cell["status"] for cell in json.loads(archive.read("results.json"))["cells"]]
    assert states == ["done", "cancelled"]


def test_controls_write_the_line_and_the_line_sets_the_controls(page):
    page.click("#method-4 .zoo-adjust")
    controls = page.locator("#method-4 .zoo-controls")
    controls.get_by_label("number input for Steps").fill("7")
    line = page.locator("#method-4 .zoo-text input")
    page.wait_for_function(
        "document.querySelector('#method-4 .zoo-text input').value == 'ddim steps=7 | cfg scale=3'"
    )
    write_line(page, 4, "ddpm steps=9 variance=large")
    page.wait_for_function(
        "document.querySelector('#method-4 .zoo-controls')?.innerText.includes('Variance')"
    )
    assert controls.get_by_label("number input for Steps").input_value() == "9"
    page.click("#method-4 .zoo-copy")
    page.wait_for_function(
        "document.querySelector('#method-5 .zoo-text input')?.value == 'ddpm steps=9 variance=large'"
    )
    page.click("#method-1 .zoo-remove")
    page.wait_for_selector("#method-5", state="hidden")
    assert line.input_value() == "ddpm steps=9 variance=large"
    page.click("#add-method")
    page.wait_for_selector("#method-5")


def test_a_picture_is_uploaded_and_what_the_network_got_is_shown(page, tmp_path):
    picture = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)).save(picture)
    choose_model(page, "Small")
    for number in (2, 3, 4):
        page.locator(f"#method-{number} .zoo-tick input").uncheck()
    write_line(page, 1, "ddim steps=2 | controlnet scale=0.5")
    page.click("#method-1 .zoo-adjust")
    page.locator("#method-1 .zoo-controls input[type=file]").set_input_files(picture)
    name, _ = admit(picture)
    page.wait_for_function(
        "expected => document.querySelector('#method-1 .zoo-text input').value == expected",
        arg=f"ddim steps=2 | controlnet scale=0.5 image={name}",
    )
    page.click("#compare")
    ended(page, done=1)
    assert "4 NFE" in page.inner_text(".zoo-cell")
    assert page.locator(".zoo-cell figcaption").all_inner_texts() == ["control: canny", "seed 0"]
    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {f"pictures/{name}.png", "cells/00/map-canny.png"} <= set(archive.namelist())


def test_the_plugins_tab_shows_the_damaged_one(page):
    page.click("[role=tab]:has-text('Plugins')")
    table = page.locator(".zoo-plugins")
    assert "no_such_library" in table.inner_text()
    assert "failed" in table.inner_text()
    assert "odd/slow" in table.inner_text()


def test_a_phone_needs_no_sideways_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    choose_model(page, "Gaussian")
    page.click("#compare")
    ended(page, done=4)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_what_is_typed_before_the_examples_are_found_stays(browser, server):
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    page = context.new_page()
    held: list[Any] = []
    typed = False
    page.route("**/gradio_api/run/**", lambda route: route.continue_() if typed else held.append(route))
    page.goto(server.url)
    while not held:
        page.wait_for_timeout(50)
    page.fill("#prompt textarea, #prompt input", "a blue boat")
    typed = True
    for route in held:
        route.continue_()
    page.wait_for_function("document.querySelectorAll('#examples button').length > 1")
    page.wait_for_timeout(1000)  # for the answer that would overwrite it
    assert page.input_value("#prompt textarea, #prompt input") == "a blue boat"
    context.close()


def test_enter_in_the_prompt_compares(page):
    page.fill("#prompt textarea, #prompt input", "a red mushroom at night")
    page.press("#prompt textarea, #prompt input", "Enter")
    ended(page, done=4)
