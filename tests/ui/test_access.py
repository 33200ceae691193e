"""Whoever uses a screen reader, sees little contrast or has no mouse gets along: axe-core on all tabs, and the keys."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

WAIT = 240_000
"""Milliseconds; much more than an idle machine needs."""

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = """options => axe.run({exclude: [".katex", "pre"]}, {...options, resultTypes: ["violations"]})
  .then(found => found.violations.flatMap(rule => rule.nodes.map(node => (
    {rule: rule.id, where: node.target.flat().join(" "), html: node.html.slice(0, 200), why: node.failureSummary}))))"""

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
LAYOUT = RULES | {"rules": {"color-contrast": {"enabled": False}}}
LOOKS = (
    (1280, 900, False, RULES),
    (1280, 900, True, CONTRAST),
    (390, 844, False, LAYOUT),
    (390, 844, True, RULES),
)
"""Width, height, dark or light, and what is asked of it: colours are the same on a phone, and sizes in the dark."""

NO_TABINDEX = "Markdown takes no tabindex; browsers let the keys reach what scrolls, where it does"
EXPECTED = {
    ("scrollable-region-focusable", "zoo-equation"): NO_TABINDEX,
    ("scrollable-region-focusable", "zoo-says"): NO_TABINDEX,
    ("scrollable-region-focusable", "zoo-scroll"): NO_TABINDEX,
}
"""What is not ours to mend, by rule and class, with the reason."""

ALL_BUT_THREE = (
    "[...document.querySelectorAll('.block.zoo-lesson')].slice(2, -1).forEach(card => card.remove())"
)

TABS = {
    "compare": ("#zoo[data-ready]",),
    "moves": (".zoo-panel canvas",),
    "moves-between": ("#between-run",),
    "moves-back": ("#back-run",),
    "learn": (".zoo-lesson .katex-display",),
    "learn-forward": (".zoo-sprite",),
    "learn-algorithms": (".zoo-symbols .katex",),
    "plugins": (".zoo-plugins table",),
}


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    opened.goto(server.url)
    opened.wait_for_selector("#zoo[data-ready]")
    opened.evaluate(AXE)
    yield opened
    context.close()


def open_tab(page: Any, name: str) -> None:
    """A tab, or one within it, as `moves-between`."""
    outer = name.partition("-")[0]
    for tab in dict.fromkeys((outer, name)):
        page.locator(f"[role=tab][data-tab-id={tab}]:visible").click()
    page.wait_for_selector(TABS[name][0])


@pytest.mark.parametrize("name", TABS)
def test_axe_finds_nothing_in_light_and_dark_on_a_desktop_and_a_phone(page, name):
    page.set_viewport_size({"width": 1280, "height": 900})
    open_tab(page, name)
    if name == "learn":
        page.evaluate(ALL_BUT_THREE)  # all are made alike, and formulas take long to look at
    found = []
    for width, height, dark, rules in LOOKS:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        page.wait_for_timeout(400)  # for colours that fade
        found += [(width, dark, one) for one in page.evaluate(RUN, rules)]
    assert [one for one in found if not any(_expected(one[2], *known) for known in EXPECTED)] == []


def _expected(found: dict[str, str], rule: str, name: str) -> bool:
    return found["rule"] == rule and f'class="{name}' in found["html"]


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.id")


def tab_to(page: Any, wanted: str, most: int = 60) -> list[str]:
    """Press Tab until what is focused has this id, or a label that begins so; all that was focused on the way."""
    way = []
    while not way or not way[-1].startswith(wanted):
        assert len(way) < most, f"{wanted} is not reached: {way}"
        page.keyboard.press("Tab")
        way.append(focused(page))
    return way


def test_a_comparison_is_made_and_read_with_the_keys_alone(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#zoo[data-ready]")
    page.select_option("#model", "gaussian")
    page.wait_for_function("document.querySelector('#prompt').value == 'dawn'")
    page.focus("#model")
    way = tab_to(page, "compare")
    order = [way.index(name) for name in ("prompt", "seeds", "compare")]
    assert order == sorted(order), "as it is read"
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.zoo-cell[data-state=done]').length == 4")
    page.wait_for_function("!document.querySelector('#compare').disabled")
    bars = page.locator(".zoo-bar").evaluate_all("bars => bars.map(bar => getComputedStyle(bar).visibility)")
    assert bars == ["hidden"] * 4, "no line remains of what has ended"

    page.focus("#compare")
    way = tab_to(page, "A/B slider: DDIM, 5 steps, seed 0")
    first = [name for name in way if "ethod 1" in name]
    assert first == [
        "Move method 1: drag it, or press the up and down keys",
        "Include method 1",
        "Adjust method 1",
        "Duplicate method 1",
        "Remove method 1",
        "Method 1 as text",
    ]
    page.keyboard.press("Enter")
    page.wait_for_selector(".z-dialog[open]")
    assert focused(page) == "How much of A is shown"
    edge = "getComputedStyle(document.querySelector('.z-ab-stage')).getPropertyValue('--edge')"
    before = page.evaluate(edge)
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert (before, page.evaluate(edge)) == ("50%", "60%")
    page.keyboard.press("Escape")
    page.wait_for_selector(".z-dialog[open]", state="detached")
    assert focused(page).startswith("A/B slider: DDIM, 5 steps, seed 0"), "back where it was opened"
    context.close()
