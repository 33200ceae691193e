"""Killed servers, full and read-only disks: what was done is whole, the page goes on, and says what is not kept."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from benchmarks.visitors import Page, Refused
from tests.ui.browser import ROOT, Server, page_server
from tests.ui.conftest import PLUGIN
from zoo import Comparison, compare, store
from zoo.registry import Registry
from zoo.ui.calls import calls
from zoo.ui.running import Runner
from zoo.ui.shelf import Shelf
from zoo.ui.words import received

ASK = {"model": "gaussian", "prompt": "dawn", "seeds": "0..1"}
LINES = ("ddim steps=2", "ddpm steps=3", "odd/slow steps=25", "odd/slow steps=26")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd.py").write_text(PLUGIN.replace("FOLDER", "None"))
    return folder


@pytest.fixture(scope="module")
def registry(plugins: Path) -> Registry:
    return Registry(plugins)


class Here:
    """The page's calls in this process, on a shelf of its own."""

    def __init__(self, registry: Registry, folder: Path, **limits: float) -> None:
        self.runner = Runner(registry, "cpu", Shelf(folder, **limits))
        self._calls = {function.__name__: function for function in calls(registry, self.runner)}

    def ask(self, name: str, data: Any) -> dict[str, Any]:
        reply: dict[str, Any] = self._calls[name](data)
        if reply.get("error"):
            raise Refused(received(reply["error"]))
        return reply


def page_of(server: Server) -> Page:
    address = urlsplit(server.url)
    assert address.hostname and address.port
    return Page(address.hostname, address.port)


def begin(page: Page | Here, *lines: str) -> dict[str, Any]:
    return page.ask("start_run", {**ASK, "cards": [{"line": line} for line in lines]})


def until(page: Page | Here, run: dict[str, Any], *states: str) -> dict[str, Any]:
    """The run once as many cells as are given have come to these states, or all have ended."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        seen = page.ask("look_at", {"id": run["id"]})
        reached = [cell["status"] for cell in seen["cells"].values()][: len(states)]
        if seen["state"] == "ended" or (states and tuple(reached) == states):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"the run is still {seen['status']!r}")


def states(seen: dict[str, Any]) -> list[str]:
    return [cell["status"] for cell in seen["cells"].values()]


def told(seen: dict[str, Any]) -> list[str]:
    return [received(line) for line in seen["notices"]]


def pixels(cell: dict[str, Any]) -> list[bytes]:
    """What the pictures of a cell show, whatever else their files say."""
    contents = [base64.b64decode(uri.partition(",")[2]) for uri in cell["images"]]
    return [Image.open(io.BytesIO(content)).convert("RGB").tobytes() for content in contents]


# Killed


def test_a_server_killed_in_the_middle_has_kept_what_it_said_was_done(plugins, registry, tmp_path):
    place = {"ZOO_RUNS_DIR": str(tmp_path)}
    options = ("--device", "cpu", "--plugins-dir", str(plugins))
    with page_server(*options, **place) as server:
        page = page_of(server)
        run = begin(page, *LINES)
        before = until(page, run, "done", "done", "running")
        assert states(before) == ["done", "done", "running", "running"]
        server.process.kill()
        server.process.wait()
    (tmp_path / run["id"] / "cells" / "02").mkdir()
    (tmp_path / run["id"] / "cells" / "02" / "0.png.part").write_bytes(b"half a picture")

    with page_server(*options, **place) as server:
        page = page_of(server)
        after = page.ask("look_at", {"id": run["id"], "since": before["version"]})
        assert after["state"] == "ended" and "2 of 4 cells are done" in received(after["status"])
        assert states(after) == ["done", "done", "cancelled", "cancelled"]
        for one, other in zip(before["cells"].values(), after["cells"].values(), strict=True):
            if one["status"] == "done":
                assert pixels(one) == pixels(other) and one["nfe"] == other["nfe"]
            else:
                assert other["images"] == [], "a preview is nothing that was made"
        with pytest.raises(Refused, match="Only who began"):
            page.ask("continue_run", {"id": run["id"], "key": ""})
        page.ask("continue_run", {"id": run["id"], "key": run["key"]})
        whole = until(page, run)
        assert states(whole) == ["done"] * 4
        assert whole["cells"]["0"] == after["cells"]["0"], "what was done is not run again"
        assert whole["noise"] == before["noise"]

    comparison = Comparison(model="gaussian", prompt="dawn", seeds=(0, 1), cells=LINES)
    for cell, shown in zip(
        compare(comparison, registry=registry).cells, whole["cells"].values(), strict=True
    ):
        assert [store.to_pil(image).tobytes() for image in cell.images] == pixels(shown)


NURSERY = '''
"""Children that keep cells and say so, each killed at some moment; run by test_faults.py."""
import os, random, signal, sys, time
from pathlib import Path
import torch
from zoo.comparison import CellResult, Comparison
from zoo.registry import Registry
from zoo.ui.runs import new_run
from zoo.ui.shelf import Shelf

torch.set_num_threads(1)
registry, moments = Registry(safe_mode=True), random.Random(5)
comparison = Comparison(model="gaussian", seeds=(0, 1, 2), cells=tuple(f"ddim steps={n}" for n in range(1, 41)))
for child in range(int(sys.argv[2])):
    shelf, run = Shelf(Path(sys.argv[1])), new_run(comparison, [], registry)
    there, here = os.pipe()
    process = os.fork()
    if not process:
        shelf.begin(run)
        os.write(here, b"!")
        for index, method in enumerate(comparison.cells):
            result = CellResult(str(method), "done", images=torch.full((3, 3, 64, 64), index / 20 - 1))
            shelf.keep(run, index, result)
            os.write(here, b".")
            run.note(index, result)
        time.sleep(60)
    os.close(here)
    said = -1
    for _ in range(moments.randrange(1, 40)):
        said += len(os.read(there, 1))
    time.sleep(moments.uniform(0, 0.02))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    while block := os.read(there, 1000):
        said += len(block)
    print(run.id, said, flush=True)
'''


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whenever_it_is_killed_nothing_that_was_said_is_missing_or_half(registry, tmp_path):
    (tmp_path / "nursery.py").write_text(NURSERY)
    folder = tmp_path / "runs"
    made = subprocess.run(
        [sys.executable, str(tmp_path / "nursery.py"), str(folder), "12"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    counts = []
    for line in made.stdout.splitlines():
        name, said = line.split()
        found = Shelf(folder).load(name)
        assert found is not None and found.state == "ended"
        done = [result.status for result in found.results].count("done")
        assert done in (int(said), int(said) + 1), "one may have been written that nobody was told of"
        for index, result in enumerate(found.results):
            assert (result.status == "done") == (index < done)
            assert (result.images is not None) == (index < done)
            if result.images is not None:
                assert result.images.unique().numel() == 1
        counts.append(done)
    assert len(counts) == 12 and len(set(counts)) > 3, "killed at different moments"


def test_a_picture_that_is_damaged_on_disk_takes_its_own_cell_only(registry, tmp_path):
    page = Here(registry, tmp_path)
    run = begin(page, "ddim steps=2", "ddim steps=3")
    until(page, run)
    (tmp_path / run["id"] / "cells" / "00" / "1.png").write_bytes(b"\x89PNG\r\n")
    again = Here(registry, tmp_path)
    seen = again.ask("look_at", {"id": run["id"]})
    assert states(seen) == ["cancelled", "done"]
    assert "1 of 2 cells are done, the others were interrupted or lost" in received(seen["status"])
    again.ask("continue_run", {"id": run["id"], "key": run["key"]})
    assert states(until(again, run)) == ["done", "done"]
    with pytest.raises(Refused, match="nothing to continue"):
        again.ask("continue_run", {"id": run["id"], "key": run["key"]})


def test_a_cancelled_run_can_be_continued(registry, tmp_path):
    page = Here(registry, tmp_path)
    run = begin(page, "ddim steps=2", "odd/slow steps=15")
    until(page, run, "done", "running")
    with pytest.raises(Refused, match="is running: wait"):
        page.ask("continue_run", {"id": run["id"], "key": run["key"]})
    page.ask("stop_run", {"id": run["id"], "key": run["key"]})
    assert states(until(page, run)) == ["done", "cancelled"]
    page.ask("continue_run", {"id": run["id"], "key": run["key"]})
    assert states(until(page, run)) == ["done", "done"]


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here; the tests with a patched disk say the same of this process")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    def write() -> None:
        with (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    with pytest.raises(OSError, match="space"):
        write()


def test_the_page_goes_on_when_its_disk_fills_up_and_when_it_is_locked(disk, plugins):
    """The whole page: its runs, and gradio's own files, are on that disk."""
    (disk / "files").mkdir()
    place = {"ZOO_RUNS_DIR": str(disk / "runs"), "GRADIO_TEMP_DIR": str(disk / "files")}

    def kept(page: Page, run: dict[str, Any]) -> bool:
        return (disk / "runs" / run["id"] / "results.json").is_file()

    with page_server("--device", "cpu", "--plugins-dir", str(plugins), **place) as server:
        page = page_of(server)
        first = until(page, begin(page, "ddim steps=2"))
        assert first["notices"] == [] and kept(page, first)
        fill(disk)
        full = until(page, begin(page, "ddim steps=2", "ddim steps=3"))
        assert states(full) == ["done", "done"] and all(full["cells"]["1"]["images"])
        assert told(full)[0].startswith("This comparison is not kept on the server.")
        assert told(full)[1] == "The server’s disk is full."
        for kind in ("png", "zip", "report"):
            assert page.ask("export_run", {"id": full["id"], "kind": kind})["base64"]
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        locked = until(page, begin(page, "ddim steps=2"))
        assert states(locked) == ["done"] and told(locked)[1] == "The server’s disk may not be written."
        assert page.ask("look_at", {"id": first["id"]})["cells"] == first["cells"], "it can still be read"
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        last = until(page, begin(page, "ddim steps=2"))
        assert last["notices"] == [] and kept(page, last)


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """While the list holds an error's number, nothing can be written."""
    errors: list[int] = []
    write = Path.write_bytes

    def refuse(path: Path, data: bytes) -> int:
        for number in errors[:1]:
            write(path, data[: len(data) // 2])  # as a disk does that fills up meanwhile
            raise OSError(number, os.strerror(number), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    return errors


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "The server’s disk is full."),
        (errno.EROFS, "The server’s disk may not be written."),
        (errno.EIO, "The server’s disk refuses: "),
    ],
)
def test_a_run_on_a_disk_that_refuses_is_shown_whole_and_said_to_be_lost(
    registry, tmp_path, broken_disk, number, said
):
    page = Here(registry, tmp_path)
    broken_disk.append(number)
    run = begin(page, "ddim steps=2", "odd/failing")
    seen = until(page, run)
    assert states(seen) == ["done", "failed"]
    assert "Download now what you want to keep" in told(seen)[-2] and told(seen)[-1].startswith(said)
    content = page.ask("export_run", {"id": run["id"], "kind": "zip"})["base64"]
    names = zipfile.ZipFile(io.BytesIO(base64.b64decode(content))).namelist()
    assert {"cells/00/0.png", "cells/00/1.png", "grid.png", "report.html"} <= set(names)
    deadline = time.monotonic() + 20
    while list(tmp_path.rglob("*.part")):  # its last words are written once it has ended
        assert time.monotonic() < deadline, "something is left of the attempts"
        time.sleep(0.05)
    broken_disk.clear()
    page.ask("retry_cell", {"id": run["id"], "key": run["key"], "cell": 0})
    assert told(until(page, run))[-2].startswith("Not kept on the server, by number: 2.")


def test_only_the_cells_that_were_lost_are_named_and_they_can_be_continued(registry, tmp_path, broken_disk):
    page = Here(registry, tmp_path)
    run = begin(page, "ddim steps=2", "odd/slow steps=10")
    until(page, run, "done", "running")
    broken_disk.append(errno.ENOSPC)
    seen = until(page, run)
    assert states(seen) == ["done", "done"]
    assert told(seen)[-2].startswith("Not kept on the server, by number: 2.")
    broken_disk.clear()
    again = Here(registry, tmp_path)
    assert states(again.ask("look_at", {"id": run["id"]})) == ["done", "cancelled"]
    again.ask("continue_run", {"id": run["id"], "key": run["key"]})
    assert states(until(again, run)) == ["done", "done"]


def test_a_folder_that_cannot_be_made_stops_nobody(registry, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    page = Here(registry, tmp_path / "file" / "runs")
    assert "comparisons are not kept" in caplog.text
    seen = until(page, begin(page, "ddim steps=2"))
    assert states(seen) == ["done"] and "not kept on the server" in told(seen)[-2]


# In the browser


def test_a_cancelled_run_is_continued_by_a_button(browser, server):
    from playwright.sync_api import expect

    asking = page_of(server)
    run = begin(asking, "ddim steps=2", "odd/slow steps=30")
    until(asking, run, "done", "running")
    asking.ask("stop_run", {"id": run["id"], "key": run["key"]})
    assert states(until(asking, run)) == ["done", "cancelled"]

    page = browser.new_page()
    keys = json.dumps({run["id"]: run["key"]})
    page.add_init_script(f"localStorage.setItem('zoo-keys', {keys!r})")
    page.goto(f"{server.url}?run={run['id']}")
    more = page.locator("#continue")
    expect(more).to_have_text("Continue with what is missing (1)", timeout=60_000)
    more.click()
    expect(more).to_be_hidden(timeout=60_000)
    expect(page.locator("article[data-state=done]")).to_have_count(2, timeout=120_000)
    page.close()
