"""What a person does on the page, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT = 240_000
"""Milliseconds; much more than an idle machine needs."""


@contextmanager
def opened(browser: Any, server: Any, tolerated: str = "", **options: Any) -> Iterator[Any]:
    """The page, usable; fails in the end if it logged an error or asked any other host for something.

    Args:
        tolerated: what an error may hold; none may if it is empty.
        options: of the browser's context.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    wrong: list[str] = []

    def heard(message: Any) -> None:
        if message.type == "error" and not (tolerated and tolerated in message.text):
            wrong.append(f"console: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
    allowed = (server.url, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(allowed) else wrong.append(f"asked {r.url}"))
    page.goto(server.url)
    page.wait_for_selector("#zoo[data-ready]")
    yield page
    context.close()
    assert wrong == []


def quickest(page: Any) -> Any:
    """The page with the quickest model."""
    page.select_option("#model", "gaussian")
    page.wait_for_function("document.querySelector('#prompt').value == 'dawn'")
    return page


def lines(page: Any, *wanted: str) -> None:
    """Make these the methods."""
    while page.locator(".z-card").count() > len(wanted):
        page.click(".z-card:last-child .z-remove")
    while page.locator(".z-card").count() < len(wanted):
        page.click("#add-method")
    for number, line in enumerate(wanted, 1):
        page.fill(f"#method-{number} .z-line", line)


def ended(page: Any, **counts: int) -> None:
    """Wait until that many cells are in these states and Compare can be pressed again."""
    for state, count in counts.items():
        page.wait_for_function(
            "([s, n]) => document.querySelectorAll(`.zoo-cell[data-state=${s}]`).length == n",
            arg=[state, count],
        )
    page.wait_for_function("!document.querySelector('#compare').disabled")


def compare(page: Any, **counts: int) -> None:
    page.click("#compare")
    page.wait_for_function("document.querySelector('#compare').disabled")
    ended(page, **counts)


def lens(page: Any) -> list[float]:
    """Where the magnifier is, in percent of a picture."""
    found: list[float] = page.locator("#zoo-grid").evaluate(
        "e => ['--lens-x', '--lens-y'].map(name => parseFloat(e.style.getPropertyValue(name)))"
    )
    return found


def drop(page: Any, file: Path, selector: str) -> None:
    """Drag a file from outside the browser onto the middle of an element, as a person's hand does."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
    session.detach()


def sources(page: Any) -> list[str]:
    return page.eval_on_selector_all(".zoo-tile img:not([hidden])", "all => all.map(i => i.src)")
