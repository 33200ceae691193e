"""Pictures of the page as it is now, for the README and for looking at: desktop and phone, light and dark.

    python scripts/screenshot.py [--out docs/images] [--all] [--lang zh-Hant]

Prints how long the page took to start, and from Compare to the first preview and to the end.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.ui.browser import chromium, page_server

PROMPT = "a red mushroom at night"
VIEWS = {
    "page": ((1280, 900), "light"),
    "page-dark": ((1280, 900), "dark"),
    "phone": ((390, 844), "light"),
    "phone-dark": ((390, 844), "dark"),
}
PREVIEW = "document.querySelector('.zoo-cell[data-state=running] img:not([hidden])')"
DONE = "document.querySelectorAll('.zoo-cell[data-state=done]').length == 4"


def main() -> None:
    """Open the page, compare, take the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--all", action="store_true", help="not only the desktop, light")
    parser.add_argument("--lang", default="en", help="the page's language: en, zh-Hans or zh-Hant")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with page_server() as server, chromium() as browser:
        print(f"start to address: {time.perf_counter() - started:.1f} s")
        for name, ((width, height), scheme) in VIEWS.items():
            if name != "page" and not arguments.all:
                continue
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_default_timeout(240_000)
            opened = time.perf_counter()
            page.goto(f"{server.url}?lang={arguments.lang}")
            page.wait_for_selector("#zoo[data-ready]")
            print(f"{name}: open to usable {time.perf_counter() - opened:.1f} s", end=", ", flush=True)
            page.wait_for_function("document.querySelectorAll('#presets button').length > 1")
            page.wait_for_timeout(2000)  # for the server to have its model loaded
            page.fill("#prompt", PROMPT)
            pressed = time.perf_counter()
            page.click("#compare")
            page.wait_for_function(PREVIEW)
            print(f"Compare to first preview {time.perf_counter() - pressed:.1f} s", end=", ", flush=True)
            page.wait_for_function(f"{DONE} && !document.querySelector('#compare').disabled")
            print(f"to the end {time.perf_counter() - pressed:.1f} s")
            page.wait_for_timeout(800)
            page.evaluate("window.scrollTo(0, 0)")
            page.wait_for_timeout(300)
            page.screenshot(path=str(arguments.out / f"{name}.png"), full_page=width < 600)
            page.close()
        tabs(browser, f"{server.url}?lang={arguments.lang}", arguments.out, arguments.all)


def tabs(browser: Any, url: str, out: Path, every: bool = False) -> None:
    """The other tabs, desktop and light, as they first show."""
    for name, ready in {
        "moves": ".zoo-panel canvas",
        "learn": ".zoo-lesson .katex-display",
    }.items():
        if name != "moves" and not every:
            continue
        page = browser.new_page(viewport={"width": 1280, "height": 1180}, reduced_motion="reduce")
        page.set_default_timeout(240_000)
        page.goto(url)
        page.click(f"[role=tab][data-tab-id={name}]:visible")
        page.wait_for_selector(ready)
        page.wait_for_timeout(1500)
        page.screenshot(path=str(out / f"{name}.png"))
        page.close()


if __name__ == "__main__":
    main()
