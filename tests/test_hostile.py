"""Plugins that break every rule, used in a comparison: their own cell says so, and the others are done."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import zoo
from zoo.limits import Limits
from zoo.registry import NOTES, Registry
from zoo.ui import exports, plugins_tab, running
from zoo.ui.request import Asked, Card
from zoo.ui.running import Runner
from zoo.ui.runs import blocks_of
from zoo.ui.shelf import Shelf
from zoo.watchdog import Watch

ROOT = Path(__file__).parents[1]

HEADER = """
import time
import zoo
from zoo import Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

@hookimpl
def register_samplers():
    return [SamplerSpec("odd", Odd, title={title!r})]

class Odd(Sampler):
    def sample(self, x, levels, noise):
        {body}
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path_factory):
    for name in ("ZOO_PLUGINS_DIR", "ZOO_PLUGINS", "ZOO_DISABLE", "ZOO_STRICT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_STATE_DIR", str(tmp_path_factory.mktemp("state")))


def registry_with(folder: Path, body: str, title: str = "Odd") -> Registry:
    """A registry with one specimen, whose `sample` has this body."""
    source = HEADER.format(title=title, body="\n        ".join(body.splitlines()))
    (folder / "specimen.py").write_text(source)
    return Registry(folder)


def state(registry: Registry):
    return next(info for info in registry.plugins if info.name == "specimen")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("yield Query(x, levels[0])\nraise RuntimeError('mid-step')", "RuntimeError: mid-step"),
        ("return x", "'Tensor' object is not an iterator"),
        ("return\nyield", "the sampler returned NoneType"),
        ("while True: yield Query(x, levels[0])", "used up its 50 network evaluations"),
        ("yield Query(x, levels[0])\nreturn x * float('nan')", "the sample holds NaN"),
        ("yield Query(x, levels[0])\nreturn x[:, :1]", "the sampler returned (2, 1, 16, 16)"),
        ("yield Query(x[:1], levels[0])", "the query's x has shape (1, 3, 16, 16)"),
        ("yield 'what is this?'", "a sampler must yield Query(x, level), this one yielded str"),
        ("yield Query(x, levels[0])\nimport sys\nsys.exit(3)", "SystemExit: 3"),
        ("yield Query(x, levels[-1])", "the clean level has no noise"),
    ],
    ids=[
        "raises mid-step",
        "is no generator",
        "returns without yielding",
        "yields for ever",
        "NaN",
        "wrong shape",
        "wrong query",
        "no query",
        "sys.exit",
        "asks at the clean level",
    ],
)
def test_a_failing_method_leaves_the_others_alone_and_its_plugin_says_what_happened(tmp_path, body, error):
    registry = registry_with(tmp_path, body)
    comparison = zoo.Comparison(model="gaussian", seeds="0..1", cells=["specimen/odd", "ddim steps=2"])
    limits = Limits(nfe=50)
    odd, ddim = zoo.compare(comparison, registry=registry, limits=limits).cells
    assert (odd.status, ddim.status) == ("failed", "done")
    assert error in odd.error
    info = state(registry)
    assert info.state == "loaded"
    assert info.error == f"in use: specimen/odd: {odd.error}"
    zoo.compare(comparison, registry=registry, limits=limits)
    assert info.error.count("in use") == 1, "the same trouble is told once"


def test_the_latest_troubles_of_a_plugin_are_kept(tmp_path):
    registry = registry_with(tmp_path, "raise RuntimeError")
    info = state(registry)
    info.add_error("said at the start")
    for step in (*range(2 * NOTES), 2 * NOTES - 1):
        registry.note(["specimen/odd"], f"specimen/odd steps={step}", "RuntimeError: no\nluck")
    told = [f"in use: specimen/odd steps={step}: RuntimeError: no\nluck" for step in range(NOTES, 2 * NOTES)]
    assert info.error == "\n".join(["said at the start", *told])


def test_what_visitors_asked_is_not_told_to_others(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOSTED", "1")
    registry = registry_with(tmp_path, "raise RuntimeError('no luck')")
    asked = zoo.Comparison(model="gaussian", prompt="dawn", cells=["specimen/odd | cfg scale=2.718"])
    (odd,) = zoo.compare(asked, registry=registry).cells
    assert state(registry).error == f"in use: specimen/odd | cfg: {odd.error}"
    assert "2.718" not in odd.error


def test_what_mutates_its_input_harms_itself_only(tmp_path):
    body = "prediction = yield Query(x, levels[0])\nprediction.x0.zero_()\nx.zero_()\nreturn prediction.x0"
    registry = registry_with(tmp_path, body)
    lines = ["specimen/odd", "ddim steps=2", "ddpm steps=2"]
    with_odd = zoo.compare(
        zoo.Comparison(model="gaussian", prompt="dusk", cells=lines), registry=registry
    ).cells
    without = zoo.compare(zoo.Comparison(model="gaussian", prompt="dusk", cells=lines[1:])).cells
    for beside, alone in zip(with_odd[1:], without, strict=True):
        assert float((beside.samples - alone.samples).abs().max()) < 1e-9


def test_a_script_in_a_title_stays_text(tmp_path):
    title = "<script>alert(1)</script>"
    registry = registry_with(tmp_path, "raise RuntimeError('<script>alert(2)</script>')\nyield", title)
    runner = Runner(registry, "cpu", Shelf(tmp_path))
    cards = [Card(line="specimen/odd"), Card(line="ddim steps=2")]
    asked = Asked(model="gaussian", prompt="dawn", seeds="0", cards=cards)
    lines, blocks = blocks_of(asked, registry)
    run = runner.start(zoo.Comparison(model="gaussian", prompt="dawn", cells=lines), blocks)
    end(run)
    _, _, report = exports.file(run, "report")
    html = report.decode() + plugins_tab.table(registry)
    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;script&gt;alert(2)" in html
    assert "<script" not in html


def end(run):
    """Wait until a run of the page has ended."""
    deadline = time.monotonic() + 300
    while run.state != "ended":
        assert time.monotonic() < deadline, "the run did not end"
        time.sleep(0.05)


SPIN = """\
for _ in range(2): yield Query(x, levels[0])
while not getattr(zoo, 'released', False): time.sleep(0.01)
return x"""


@pytest.fixture
def spinning(tmp_path, monkeypatch):
    """A registry with a method that computes until it is released, which the test's end does."""
    yield registry_with(tmp_path, SPIN)
    monkeypatch.setattr(zoo, "released", True, raising=False)
    for thread in threading.enumerate():
        if thread.name == "left":
            thread.join(30)


@pytest.mark.parametrize("ends_by", ["waiting", "cancelling"])
def test_a_method_that_never_comes_back_is_named_on_the_page_which_goes_on(
    spinning, tmp_path, monkeypatch, ends_by
):
    monkeypatch.setattr(running, "Watch", lambda: Watch(patience=0.2))
    monkeypatch.setattr(running, "GIVE_UP_SECONDS", 1.0 if ends_by == "waiting" else 600)
    runner = Runner(spinning, "cpu", Shelf(tmp_path))

    def start(*lines: str):
        return runner.start(zoo.Comparison(model="gaussian", cells=lines), [])

    run = start("ddim steps=1", "specimen/odd", "ddim steps=900")
    deadline = time.monotonic() + 300
    while ends_by == "cancelling" and "or when you cancel" not in run.status:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if ends_by == "cancelling":
        run.stop.set()
    end(run)
    assert "specimen/odd has been computing for" in run.problem
    assert "ZOO_DISABLE" in run.problem
    last = "done" if ends_by == "waiting" else "cancelled"
    assert [result.status for result in run.results] == ["done", "failed", last]
    assert "specimen/odd has been computing for" in state(spinning).error

    again = start("ddim steps=1")
    end(again)
    assert "1 of 1 cells done" in again.status


def test_the_command_line_names_it_too(spinning):
    told = []
    watch = Watch(patience=0.1)

    def tell(message):
        told.append(message)
        zoo.released = True

    comparison = zoo.Comparison(model="gaussian", cells=["specimen/odd"])
    try:
        with watch.telling(tell):
            for _ in zoo.stream(comparison, registry=spinning, watch=watch):
                pass
    finally:
        del zoo.released
    assert len(told) == 1
    assert told[0].startswith("specimen/odd has been computing for")


def test_a_plugin_that_imports_torch_at_its_top_is_told_so(tmp_path):
    (tmp_path / "specimen.py").write_text(HEADER.format(title="Odd", body="yield") + "\nimport torch\n")
    program = (
        "import sys; from zoo.registry import Registry\n"
        f"info = Registry({str(tmp_path)!r}).plugins[-1]; print(info.state, info.error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("loaded importing it imports torch")


def test_a_package_that_pins_torch_is_told_so(tmp_path, monkeypatch):
    info = tmp_path / "pins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pins\nVersion: 1.0\nRequires-Dist: torch==2.1.0\n"
    )
    (info / "entry_points.txt").write_text("[sampler_zoo]\npins = zoo_pins_module\n")
    (tmp_path / "zoo_pins_module.py").write_text(HEADER.format(title="Odd", body="yield"))
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = [plugin for plugin in Registry().plugins if plugin.name == "pins"]
    assert found.state == "loaded"
    assert "its package pins torch==2.1.0" in found.error
    sys.modules.pop("zoo_pins_module")
