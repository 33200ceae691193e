"""The page as a person uses it: a real server, a real browser."""

from __future__ import annotations

import json
import re
import zipfile
from typing import Any

import pytest

from tests.ui.person import WAIT, compare, ended, lens, lines, sources

NAMELESS = """() => [...document.querySelectorAll('#zoo :is(button, input, select, textarea)')]
  .filter(e => e.checkVisibility() && !e.ariaLabel && !e.labels?.length && !e.textContent.trim())
  .map(e => e.outerHTML)"""


def test_a_first_visitor_sees_pictures_and_compares_with_one_click(page, tmp_path):
    assert page.locator(".zoo-cell[data-state=done] img").count() == 8, "made earlier"
    page.click("#compare")
    ended(page, done=4)
    assert page.locator(".zoo-nfe").all_inner_texts() == ["5 NFE", "20 NFE", "50 NFE", "40 NFE"]
    assert "DDIM, 20 steps + Classifier-free guidance" in page.locator(".zoo-cell").nth(3).inner_text()
    assert len(set(sources(page))) == 8
    assert (
        page.locator(".zoo-tile img").first.evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
    )
    assert re.fullmatch(r"[0-9a-f]{8,}", page.locator(".zoo-noise code").inner_text())
    assert page.locator("#table tbody tr").count() == 4
    page.wait_for_selector(".z-point")

    with page.expect_download() as download:
        page.click("#download")
    target = tmp_path / "comparison.zip"
    download.value.save_as(target)
    with zipfile.ZipFile(target) as archive:
        comparison = json.loads(archive.read("comparison.json"))
        assert {"grid.png", "results.json", "report.html", "cells/03/1.png"} <= set(archive.namelist())
    assert comparison["cells"][3] == "ddim steps=20 | cfg scale=3"
    assert page.evaluate(NAMELESS) == []


def test_what_the_example_cannot_do_says_when_it_can(skies):
    controls = skies.locator("#scrub, #save-png, #download, #save-report")
    notes = skies.locator("#scrub-note, #share-note")
    assert [control.is_disabled() for control in controls.all()] == [True] * 4
    assert notes.all_inner_texts() == ["Available after your own Compare."] * 2
    lines(skies, "ddim steps=1")
    compare(skies, done=1)
    assert [control.is_enabled() for control in controls.all()] == [True] * 4
    assert notes.all_inner_texts() == ["", ""]


def test_a_refresh_shows_what_there_is_and_a_link_what_was_asked(skies, server):
    lines(skies, "ddim steps=3", "ddpm steps=2,3")
    skies.fill("#seeds", "4..5")
    compare(skies, done=3)
    before = sources(skies)
    skies.reload()
    skies.wait_for_selector("#zoo[data-ready]")
    ended(skies, done=3)
    assert sources(skies) == before
    assert skies.input_value("#method-2 .z-line") == "ddpm steps=2,3"
    assert (skies.input_value("#seeds"), skies.input_value("#model")) == ("4..5", "gaussian")

    skies.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    skies.click("#copy-link")
    link = skies.wait_for_function("window.copied").json_value()
    skies.click("#copy-command")
    command = skies.wait_for_function("window.copied.startsWith('python') && window.copied").json_value()
    assert "--method 'ddpm steps=3'" in command
    skies.goto(link)
    skies.wait_for_selector("#zoo[data-ready]")
    assert skies.locator(".zoo-cell").count() == 0, "a link runs nothing by itself"
    assert [field.input_value() for field in skies.locator(".z-line").all()] == [
        "ddim steps=3",
        "ddpm steps=2,3",
    ]
    skies.goto(f"{server.url}?c=e30&run=../../etc")
    skies.wait_for_selector("#problem .zoo-problem")


def test_wrong_input_is_answered_in_place_and_pictures_stay(skies):
    lines(skies, "ddim steps=2")
    skies.fill("#prompt", "dawn zebra")
    compare(skies, done=1)
    assert "zebra" in skies.inner_text("#notices")
    for line, said in [
        ("<img src=x> | nonsense", "<img src=x>"),
        ("ddim steps=0", "greater than or equal to 1"),
    ]:
        skies.fill("#method-1 .z-line", line)
        skies.wait_for_function(
            "said => document.querySelector('#method-1 .z-bad')?.innerText.includes(said)", arg=said
        )
    skies.click("#compare")
    skies.wait_for_selector("#problem .zoo-problem")
    skies.fill("#method-1 .z-line", "ddim steps=1000")
    for seeds, said in [("one, two", "Seeds"), ("0..255", "command line")]:
        skies.fill("#seeds", seeds)
        skies.click("#compare")
        skies.wait_for_function(
            "said => document.querySelector('#problem').innerText.includes(said)"
            " && !document.querySelector('#compare').disabled",
            arg=said,
        )
        skies.reload() if said == "command line" else None
    skies.wait_for_selector("#zoo[data-ready]")


def test_one_failing_cell_is_told_and_can_be_retried_alone(skies):
    lines(skies, "odd/failing", "ddim steps=2", "progressive_distillation steps=3")
    compare(skies, done=1, failed=1, na=1)
    failed = skies.locator(".zoo-cell[data-state=failed]")
    assert "RuntimeError: <b>broken</b> on purpose" in failed.inner_text()
    failed.locator("summary").click()
    assert "Traceback" in failed.locator("pre").inner_text()
    assert "needs the network distilled/3" in skies.inner_text(".zoo-cell[data-state=na]")
    before = sources(skies)
    failed.locator(".zoo-retry").click()
    skies.wait_for_function("document.querySelector('#compare').disabled")
    ended(skies, done=1, failed=1, na=1)
    assert sources(skies) == before


def test_cancelling_and_a_lost_connection_keep_what_is_done(skies):
    lines(skies, "ddim steps=2", "odd/slow steps=1000")
    skies.click("#compare")
    skies.wait_for_selector(".zoo-cell[data-state=done]")
    skies.wait_for_selector(".zoo-cell[data-state=running] img:not([hidden])")
    calls = "**/component_server/**"
    skies.route(calls, lambda route: route.fulfill(status=503, body="gone"))
    skies.wait_for_function("document.querySelector('#status').innerText.includes('lost')")
    skies.unroute(calls)
    skies.wait_for_function("!document.querySelector('#status').innerText.includes('lost')")
    skies.click("#cancel")
    ended(skies, done=1, cancelled=1)
    assert skies.locator(".zoo-retry:visible").count() == 1


def test_without_a_connection_the_page_says_so_and_finds_its_run_again(skies, server):
    lines(skies, "ddim steps=2")
    compare(skies, done=1)
    before, address = sources(skies), skies.url
    calls = "**/component_server/**"
    skies.route(calls, lambda route: route.fulfill(status=503, body="gone"))
    for button in ("#compare", "#save-png", "#copy-command"):
        skies.evaluate("document.querySelector('#problem').replaceChildren()")
        skies.click(button)
        skies.wait_for_selector("#problem:has-text('The connection to the server is lost')")
        skies.wait_for_selector("#compare:enabled")
    skies.fill("#method-1 .z-line", "ddim steps=3")
    skies.wait_for_selector("#method-1 .z-bad:has-text('The connection to the server is lost')")

    skies.reload()
    skies.wait_for_selector("#status:has-text('lost')")
    assert skies.url == address
    skies.unroute(calls)
    skies.wait_for_selector("#zoo[data-ready]")
    ended(skies, done=1)
    assert sources(skies) == before
    assert skies.url == address

    skies.goto(f"{server.url}?run={'A' * 24}")
    skies.wait_for_selector("#problem .zoo-problem")
    assert "run=" not in skies.url, "of a run that is gone the address is dropped"


def test_presets_wait_for_the_run_to_end(skies):
    lines(skies, "odd/slow steps=1000")
    skies.click("#compare")
    skies.wait_for_selector("#presets button:disabled")
    skies.select_option("#model", "mixture")
    skies.wait_for_function("document.querySelector('#prompt').value != 'dawn'")
    chips = skies.locator("#presets button")
    assert chips.count() > 0
    assert all(chip.is_disabled() for chip in chips.all()), "those of another model too"
    assert float(chips.first.evaluate("e => getComputedStyle(e).opacity")) < 0.6
    assert skies.input_value("#method-1 .z-line") == "odd/slow steps=1000"
    skies.click("#cancel")
    ended(skies, cancelled=1)
    assert all(chip.is_enabled() for chip in chips.all())


PLACES = """() => {
  window.places = new Set();
  (function look() {
    const cells = document.querySelectorAll('.zoo-cell');
    if (cells.length == 2) {
      const box = cells[0].getBoundingClientRect();
      places.add([box.x + scrollX, box.y + scrollY, box.width, box.height].join(' '));
    }
    requestAnimationFrame(look);
  })();
}"""
"""Notes where the first of two cells stands, at every frame."""


def test_nothing_jumps_from_the_first_frame_of_a_run_to_the_last(skies):
    lines(skies, "ddim steps=2", "odd/slow steps=5")
    skies.fill("#prompt", "dawn zebra")
    skies.click("#more summary")
    skies.check("#metrics input[value=exact_error]")
    skies.evaluate(PLACES)
    compare(skies, done=2)
    skies.wait_for_selector(".zoo-scores dd")
    assert "zebra" in skies.inner_text("#notices")
    skies.fill("#method-2 .z-line", "odd/slow steps=1000")
    skies.click("#compare")
    skies.wait_for_selector(".zoo-cell[data-state=done]")
    skies.click("#cancel")
    ended(skies, done=1, cancelled=1)
    skies.wait_for_selector("#continue:visible")
    skies.evaluate("new Promise(requestAnimationFrame)")
    assert len(skies.evaluate("[...places]")) == 1, skies.evaluate("[...places]")


def test_cards_are_edited_moved_copied_and_removed(page):
    page.click("#method-4 .z-adjust")
    page.fill("#method-4 [data-place='0.steps']", "7")
    assert page.input_value("#method-4 .z-line") == "ddim steps=7 | cfg scale=3"
    page.fill("#method-4 .z-line", "nope steps=1,2")
    page.wait_for_selector("#method-4 .z-bad")
    page.fill("#method-4 .z-line", "ddpm steps=9 variance=large")
    page.wait_for_selector("#method-4 [data-place='0.variance']")
    assert page.input_value("#method-4 [data-place='0.variance']") == "large"
    assert page.input_value("#method-4 [data-place='0.steps']") == "9"
    page.select_option("#method-4 .z-add-conditioner", "cfg")
    assert page.input_value("#method-4 .z-line") == "ddpm steps=9 variance=large | cfg scale=3"
    page.click("#method-4 .z-copy")
    page.focus("#method-5 .z-grip")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.click("#method-1 .z-remove")
    shown = [field.input_value() for field in page.locator(".z-line").all()]
    guided = "ddpm steps=9 variance=large | cfg scale=3"
    assert shown == ["ddim steps=20", guided, "ddpm steps=50", guided]


def test_a_grid_is_three_clicks(skies):
    lines(skies, "ddim steps=4")
    skies.click("#method-1 .z-adjust")
    skies.click("#method-1 [data-place='0.steps.grid']")
    skies.click("#method-1 [data-place='0.eta.grid']")
    compare(skies, done=9)
    assert skies.input_value("#method-1 .z-line") == "ddim steps=2,4,8 eta=0,0.5,1"
    axes = ["Steps 2", "Steps 4", "Steps 8", "η 0", "η 0.5", "η 1"]
    assert skies.locator(".z-axis").all_inner_texts() == axes
    boxes = [skies.locator(".zoo-cell").nth(i).bounding_box() for i in (0, 1, 3)]
    assert boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"]
    assert boxes[0]["x"] == boxes[2]["x"] < boxes[1]["x"]


def test_pictures_are_read_side_by_side(skies):
    lines(skies, "ddim steps=3", "ddim steps=30")
    compare(skies, done=2)
    skies.select_option("#difference", "1")
    skies.wait_for_function(
        "[...document.querySelectorAll('.zoo-reading')].map(e => e.innerText).join().includes('the reference')"
    )
    first, second = skies.locator(".zoo-reading").all_inner_texts()
    assert float(first.removeprefix("Δ ")) > 0
    assert second == "the reference"

    skies.focus("#scrub")
    skies.wait_for_function("document.querySelector('#scrub-note').innerText == ''")
    skies.keyboard.press("PageDown")
    skies.wait_for_function("document.querySelector('#scrub-note').innerText.includes('log-SNR')")
    assert skies.input_value("#difference") == "off"
    skies.select_option("#scrub-by", "steps")
    assert "still on its way" in skies.inner_text("#scrub-note")
    told = skies.locator(".zoo-reading").all_inner_texts()
    assert told[0] == "finished"
    assert re.match(r"step \d+ of 30", told[1])

    skies.click("#magnifier")
    tile = skies.locator(".zoo-tile").first
    side = tile.bounding_box()["width"]
    for x, y in ((0.2, 0.4), (0.6, 0.3)):
        tile.hover(position={"x": x * side, "y": y * side})
        assert lens(skies) == pytest.approx([100 * x, 100 * y], abs=1)
    skies.focus("#magnifier")
    skies.keyboard.press("ArrowRight")
    skies.keyboard.press("ArrowDown")
    assert lens(skies) == pytest.approx([70, 40], abs=1)
    tile.click()
    assert skies.locator("dialog[open]").count() == 0, "under the lens a picture is looked at, not compared"
    assert "matrix(4" in skies.locator(".zoo-tile img").last.evaluate("i => getComputedStyle(i).transform")
    skies.click("#magnifier")
    skies.locator(".zoo-tile").first.click()
    skies.wait_for_selector("dialog[open] #ab-range")
    skies.keyboard.press("End")
    assert skies.locator(".z-ab-stage").evaluate("e => e.style.getPropertyValue('--edge')") == "100%"
    skies.keyboard.press("Escape")

    skies.click("#table th:nth-child(4) button")
    skies.click("#table th:nth-child(4) button")
    assert skies.locator("#table tbody tr td:nth-child(4)").all_inner_texts() == ["30", "3"]
    with skies.expect_download() as download:
        skies.click("#csv")
    assert "ddim steps=30,done,30," in download.value.path().read_text()


def test_the_plugins_tab_shows_the_damaged_one(page):
    page.click("[role=tab]:has-text('Plugins')")
    table = page.locator(".zoo-plugins")
    assert "no_such_library" in table.inner_text()
    assert "failed" in table.inner_text()
    assert "odd/slow" in table.inner_text()


def test_a_phone_needs_no_sideways_scrolling_and_a_preset_is_one_tap(browser, server):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#zoo[data-ready]")
    page.select_option("#model", "gaussian")
    page.wait_for_function("document.querySelector('#prompt').value == 'dawn'")
    page.tap("#presets button:has-text('η sweep')")
    ended(page, done=9)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.tap("#side")
    assert page.locator(".z-card").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()


def test_a_finger_moves_the_magnifier_and_not_the_page(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, has_touch=True)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#zoo[data-ready]")
    page.tap("#magnifier")
    tile = page.locator(".zoo-tile").first
    side = tile.bounding_box()["width"]
    tile.tap(position={"x": 0.25 * side, "y": 0.75 * side})
    assert lens(page) == pytest.approx([25, 75], abs=1)
    assert page.locator("dialog[open]").count() == 0
    assert tile.evaluate("e => getComputedStyle(e).touchAction") == "none"
    page.tap("#magnifier")
    assert tile.evaluate("e => getComputedStyle(e).touchAction") == "auto"
    context.close()


def test_what_is_typed_before_the_model_is_known_stays(browser, server):
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#zoo[data-ready]")
    held: list[Any] = []
    typed = False
    calls = "**/component_server/**"
    page.route(calls, lambda route: route.continue_() if typed else held.append(route))
    page.select_option("#model", "gaussian")
    while not held:
        page.wait_for_timeout(50)
    page.fill("#prompt", "a blue boat")
    typed = True
    for route in held:
        route.continue_()
    page.wait_for_function("document.querySelector('#examples').innerText.includes('dawn')")
    assert page.input_value("#prompt") == "a blue boat"
    context.close()


def test_enter_in_the_prompt_compares(skies):
    skies.press("#prompt", "Enter")
    ended(skies, done=4)
