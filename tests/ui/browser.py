"""A browser and a running page for end-to-end tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_SECONDS = 180
"""A cold start imports gradio, which takes a while on a busy machine."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NO_BROWSER = (
    "No browser was found for the end-to-end tests. Get one with `python -m playwright install chromium`, "
    "or `apt-get install chromium`."
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium: Playwright's own if it is installed, else the system's.

    Raises:
        AssertionError: there is neither; the message says how to get one.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        path = str(own) if own.is_file() else shutil.which("chromium") or shutil.which("chromium-browser")
        assert path, NO_BROWSER
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Server:
    """A running page, and the folder that is its own."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    folder: Path


@contextmanager
def page_server(*arguments: str, **variables: str) -> Iterator[Server]:
    """`python app.py` on a free port, as a person starts it, with more in its environment if that is given."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        environment = {
            **os.environ,
            "GRADIO_TEMP_DIR": str(Path(folder) / "uploads"),
            "ZOO_RUNS_DIR": str(Path(folder) / "runs"),
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "app.py", "--port", "0", *arguments],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        try:
            yield Server(_url(process, log), log, process, Path(folder))
        finally:
            process.terminate()
            killer = threading.Timer(20, process.kill)
            killer.start()
            process.wait()
            killer.cancel()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"The sampler zoo is at (\S+)", log.read_text())
        if found:
            return found[1]
        assert process.poll() is None, f"app.py ended early:\n{log.read_text()}"
        time.sleep(0.3)
    raise AssertionError(f"app.py printed no address within {START_SECONDS} s:\n{log.read_text()}")
