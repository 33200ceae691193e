"""How long a visitor waits: from the start to a usable page, and from Compare to the first preview.

    python benchmarks/start.py [--rounds 3] [--tree PATH]... [--json FILE]

Starts `python app.py` and presses Compare in a browser, once as soon as the page can be used and once again when all
is loaded. Beside the seconds on the clock stand the CPU seconds that the server used meanwhile, which a busy machine
changes little. With several trees (checkouts) their rounds take turns, so that each meets the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.ui.browser import chromium  # noqa: E402

IMPORTS = {
    "import gradio": "import gradio",
    "import torch, diffusers, transformers": "import torch; from diffusers import UNet2DConditionModel; "
    "from transformers import CLIPTextModel, PreTrainedTokenizerFast",
}
PROMPT = "a red mushroom at night"
PREVIEW = "document.querySelector('.zoo-cell[data-state=running] img:not([hidden])')"
DONE = "document.querySelectorAll('.zoo-cell[data-state=done]').length == 4"
EXAMPLE = "document.querySelector('.zoo-cell img:not([hidden])')"
Figures = dict[str, tuple[float, float]]
"""What → seconds on the clock, CPU seconds of the server."""


def main() -> None:
    """Measure, in turns, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tree", type=Path, action="append", help="a checkout; by default this one")
    parser.add_argument("--json", type=Path, help="write every figure there too")
    arguments = parser.parse_args()
    trees = [tree.resolve() for tree in arguments.tree or [ROOT]]
    found: dict[str, list[Figures]] = {str(tree): [] for tree in trees}
    with chromium() as browser:
        for number in range(arguments.rounds):
            for tree in trees:
                print(f"round {number + 1}, {tree}", file=sys.stderr, flush=True)
                found[str(tree)].append(imports() | one_start(tree, browser))
    for name, rounds in found.items():
        print(f"{name}\n{'':56} seconds    CPU seconds")
        for what in rounds[0]:
            wall, cpu = (statistics.median(r[what][i] for r in rounds) for i in (0, 1))
            print(f"  {what:52} {wall:8.2f} {cpu:12.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def imports() -> Figures:
    """What importing the libraries costs by itself."""
    figures: Figures = {}
    for name, program in IMPORTS.items():
        started, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-c", program], check=True)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        figures[name] = time.perf_counter() - started, cpu
    return figures


def one_start(tree: Path, browser: Any) -> Figures:
    """One start of the page, until a second comparison shows its first preview."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        with log.open("w") as output:
            started = time.perf_counter()
            server = psutil.Popen(
                [sys.executable, "app.py", "--port", "0"],
                cwd=tree,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(tree),
                    "PYTHONUNBUFFERED": "1",
                    "GRADIO_TEMP_DIR": folder,
                    "ZOO_RUNS_DIR": str(Path(folder) / "runs"),
                },
            )
        try:

            def note(what: str, since: tuple[float, float] = (started, 0.0)) -> tuple[float, float]:
                now = time.perf_counter(), sum(server.cpu_times()[:2])
                figures[what] = now[0] - since[0], now[1] - since[1]
                return now

            while not (url := re.search(r"The sampler zoo is at (\S+)", log.read_text())):
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            served = note("start to address")
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(240_000)
            page.goto(url[1])
            page.wait_for_selector("#zoo[data-ready]")
            note("address to usable page", served)
            page.wait_for_function(EXAMPLE)
            note("address to the example's pictures", served)
            page.fill("#prompt", PROMPT)
            for what in ("right after the start", "again"):
                pressed = time.perf_counter(), sum(server.cpu_times()[:2])
                page.click("#compare")
                page.wait_for_function(PREVIEW)
                note(f"Compare to first preview, {what}", pressed)
                page.wait_for_function(f"{DONE} && !document.querySelector('#compare').disabled")
            page.close()
        finally:
            if server.poll() is None:
                server.terminate()
                server.wait()
    return figures


if __name__ == "__main__":
    main()
