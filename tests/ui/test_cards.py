"""Methods as a person arranges them: dragged, taken apart, turned, linked to, and filled in by a preset."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ui.person import compare, lines, opened, sources
from zoo.planning import impossible, load_model, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT
from zoo.ui.presets import PRESETS
from zoo.ui.request import Asked, comparison_of, limits_for
from zoo.ui.runs import blocks_of
from zoo.ui.words import say


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The opened page; fails in the end if it logged an error."""
    with opened(browser, server, reduced_motion="reduce") as page:
        yield page


def shown(page: Any) -> list[str]:
    return [field.input_value() for field in page.locator(".z-line").all()]


def adjust(page: Any, number: int = 1) -> None:
    """Open a card."""
    if page.get_attribute(f"#method-{number} .z-adjust", "aria-expanded") == "false":
        page.click(f"#method-{number} .z-adjust")


def drag(page: Any, number: int, to: int) -> None:
    """Drag a card by its grip into the middle of another, as slowly as a hand, once none moves any more."""
    page.wait_for_function(
        """async () => {
          const cards = () => [...document.querySelectorAll(".z-card")];
          const places = () => JSON.stringify(cards().map((card) => card.getBoundingClientRect()));
          const before = places();
          await new Promise((done) => setTimeout(done, 300));
          return before === places();
        }"""
    )
    grip = page.locator(f"#method-{number} .z-grip").bounding_box()
    over = page.locator(f"#method-{to}").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, over["y"] + over["height"] / 2, steps=25)


# ---- presets, while nothing has been run ---------------------------------------------------------------------------


def test_every_preset_is_offered_for_the_small_world_and_asks_for_what_it_can_do(page):
    names = [say(f"presets.{preset.name}", "en") for preset in PRESETS]
    named = {"4-step shoot-out", "What guidance buys", "η sweep", "Distilled vs solver", "Control everything"}
    assert named <= set(names)
    assert page.input_value("#model") == "tinyworld"
    page.wait_for_function("n => document.querySelectorAll('#presets button').length == n", arg=len(names))
    assert page.locator("#presets button").all_inner_texts() == names

    asked: list[Any] = []

    def answer(route: Any) -> None:
        """Note what would be run, and run nothing."""
        sent = json.loads(route.request.post_data)
        if sent["fn_name"] != "start_run":
            return route.continue_()
        asked.append(sent["data"])
        route.fulfill(json={"error": f"asked {len(asked)}"})

    page.route("**/component_server/**", answer)
    registry = Registry(safe_mode=True)
    model = load_model("tinyworld", registry)
    for count, (name, preset) in enumerate(zip(names, PRESETS, strict=True), 1):
        page.click(f"#presets button:text-is('{name}')")
        page.wait_for_function(
            "said => document.querySelector('#problem').innerText == said", arg=f"asked {count}"
        )
        ask = Asked.model_validate(asked[-1])
        assert [card.line for card in ask.cards] == shown(page)
        assert [card.line.partition(" ")[0] for card in ask.cards] == [
            line.partition(" ")[0] for line in preset.lines
        ]
        assert page.locator(".z-card .z-bad").count() == 0
        found, blocks = blocks_of(ask, registry)
        comparison = comparison_of(ask, found, registry)
        assert len(comparison.cells) == len(found) == sum(len(block["cells"]) for block in blocks)
        limits_for(comparison, registry)
        conditions = {PROMPT: comparison.prompt, NEGATIVE: comparison.negative}
        for method in comparison.cells:
            assert impossible(model, *resolve(method, registry), conditions) == "", method
        assert "example" not in " ".join(found), "the picture to follow is drawn"
        assert len(comparison.pictures) == any("image=" in line for line in preset.lines)
    page.unroute("**/component_server/**")


# ---- cards ---------------------------------------------------------------------------------------------------------


def test_cards_are_dragged_down_and_up(page):
    lines(page, "ddim steps=1", "ddim steps=2", "ddim steps=3", "ddim steps=4")
    drag(page, 1, 3)
    assert shown(page) == ["ddim steps=2", "ddim steps=3", "ddim steps=1", "ddim steps=4"], "at once"
    assert page.locator(".z-dragged").count() == 1
    page.mouse.up()
    assert page.locator(".z-dragged").count() == 0
    page.locator("#method-1 .z-grip").hover()
    assert page.locator(".z-card").nth(2).get_attribute("id") == "method-3"
    drag(page, 4, 1)
    page.mouse.up()
    assert shown(page) == ["ddim steps=4", "ddim steps=2", "ddim steps=3", "ddim steps=1"]


def test_a_card_is_dragged_past_a_taller_one_and_stays_there(page):
    lines(page, "ddim steps=1", "ddim steps=2", "ddim steps=3")
    adjust(page, 2)
    page.wait_for_selector("#method-2 [data-place='0.steps']")
    box = page.locator("#method-2").bounding_box()
    assert box["height"] > 2 * page.locator("#method-1").bounding_box()["height"]
    grip = page.locator("#method-1 .z-grip").bounding_box()
    page.mouse.move(grip["x"] + 5, grip["y"] + 5)
    page.mouse.down()
    orders = []
    for share in range(1, 20):
        page.mouse.move(grip["x"] + 5, box["y"] + share / 20 * box["height"])
        if not orders or orders[-1] != shown(page):
            orders.append(shown(page))
    page.mouse.up()
    over = ["ddim steps=2", "ddim steps=1", "ddim steps=3"]
    assert orders in ([over], [["ddim steps=1", "ddim steps=2", "ddim steps=3"], over]), "it changes once"
    page.locator(".z-adjust[aria-expanded=true]").click()


def test_a_conditioner_is_removed_and_offered_again(page):
    lines(page, "ddim steps=3 | cfg scale=2 | controlnet scale=0.5")
    adjust(page)
    page.wait_for_selector("#method-1 [data-place='2.scale']")
    offered = page.locator("#method-1 .z-add-conditioner option")
    assert "Classifier-free guidance" not in offered.all_inner_texts()
    page.click("#method-1 [aria-label='Remove Classifier-free guidance']")
    assert shown(page) == ["ddim steps=3 | controlnet scale=0.5"]
    page.wait_for_selector("#method-1 [data-place='2.scale']", state="detached")
    assert page.input_value("#method-1 [data-place='1.scale']") == "0.5", "the other one has moved up"
    assert "Classifier-free guidance" in offered.all_inner_texts()
    assert page.locator("#method-1 .z-part-head h4").all_inner_texts() == ["ControlNet"]


def test_a_copy_has_everything_of_its_own(page):
    line = "ddim steps=2,4 eta=0.5 | cfg scale=2"
    lines(page, line)
    page.wait_for_selector("#method-1 .z-card-note:text('across')")
    adjust(page)
    page.click("#method-1 .z-swap")
    page.wait_for_selector("#method-1 .z-card-note:text('down')")
    page.click("#method-1 .z-copy")
    assert shown(page) == [line, line]
    assert (
        page.locator(".z-card-name").all_inner_texts()[0]
        == page.locator("#method-2 .z-card-name").inner_text()
    )
    assert page.input_value("#method-2 [data-place='0.eta']") == "0.5"
    assert page.input_value("#method-2 [data-place='1.scale']") == "2"
    assert page.get_attribute("#method-2 .z-swap", "aria-pressed") == "true"
    page.fill("#method-2 [data-place='0.eta']", "1")
    assert shown(page) == [line, line.replace("0.5", "1")], "the one that was copied stays"
    assert page.input_value("#method-1 [data-place='0.eta']") == "0.5"


# ---- rows for columns ----------------------------------------------------------------------------------------------


def test_a_sweep_is_turned_into_rows_and_a_link_keeps_it(page):
    page.select_option("#model", "gaussian")
    page.wait_for_function("document.querySelector('#prompt').value == 'dawn'")
    lines(page, "ddim steps=2,3,4")
    adjust(page)
    swap = page.locator("#method-1 .z-swap")
    if swap.get_attribute("aria-pressed") == "false":
        swap.click()
    page.wait_for_selector("#method-1 .z-card-note:text-is('3 cells: Steps down')")
    compare(page, done=3)

    def below_each_other() -> bool:
        boxes = [page.locator(".zoo-cell").nth(i).bounding_box() for i in range(3)]
        return len({box["x"] for box in boxes}) == 1 and boxes[0]["y"] < boxes[1]["y"] < boxes[2]["y"]

    assert below_each_other()
    assert page.locator(".z-axis-row").all_inner_texts() == ["Steps 2", "Steps 3", "Steps 4"]
    assert page.locator(".zoo-nfe").all_inner_texts() == ["2 NFE", "3 NFE", "4 NFE"]
    pictures = sources(page)
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.click("#copy-link")
    link = page.wait_for_function("window.copied").json_value()
    code = parse_qs(urlsplit(link).query)["c"][0]
    held = json.loads(base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)))
    assert held["c"] == [["ddim steps=2,3,4", 1]]

    page.goto(link)
    page.wait_for_selector("#zoo[data-ready]")
    page.wait_for_selector("#method-1 .z-card-note:text-is('3 cells: Steps down')")
    compare(page, done=3)
    assert below_each_other()
    assert sources(page) == pictures

    adjust(page)
    page.click("#method-1 .z-swap")
    page.wait_for_selector("#method-1 .z-card-note:text-is('3 cells: Steps across')")
    compare(page, done=3)
    boxes = [page.locator(".zoo-cell").nth(i).bounding_box() for i in range(3)]
    assert len({box["y"] for box in boxes}) == 1 and boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
    assert sources(page) == pictures
