"""ZeroGPU: what crosses into its process and back, and the page on a stand-in of it that forks and pickles."""

from __future__ import annotations

import base64
import io
import json
import pickle
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client
from PIL import Image

import zoo.comparison
from tests.ui.browser import page_server
from tests.ui.conftest import PLUGIN
from zoo.comparison import CellResult, Comparison, Event, compare
from zoo.limits import Limits
from zoo.registry import Registry
from zoo.ui import zerogpu
from zoo.ui.crossing import pack, unpack
from zoo.ui.zerogpu import MARGIN, MOST, Borrowed, End, Job, NoGPU, seconds_for

FAKE = Path(__file__).parent / "zerogpu"

DYING = """
import os
from zoo import Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Dying(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        for _ in range(40):
            yield Query(x, levels[0])
        os._exit(1)

@hookimpl
def register_samplers():
    return [SamplerSpec("dying", Dying, title="Dying")]
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd.py").write_text(PLUGIN.replace("FOLDER", "None"))
    (folder / "taken.py").write_text(DYING)
    return folder


@pytest.fixture(scope="module")
def registry(plugins: Path) -> Registry:
    return Registry(plugins)


@pytest.fixture
def on_zerogpu(registry, monkeypatch):
    """This process as if it were both of ZeroGPU's."""
    monkeypatch.setattr(zerogpu, "available", lambda: True)
    monkeypatch.setattr(zerogpu, "_registry", registry)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


def there_and_back(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def equal(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and torch.equal(a, b)


def same(event: Event, other: Event) -> bool:
    """Every field, tensors by value; the way only of cells that have ended."""
    mine, theirs = event.result, other.result
    tensors = [(event.preview, other.preview), (mine.images, theirs.images), (mine.samples, theirs.samples)]
    bare = [
        replace(
            e,
            preview=None,
            result=replace(e.result, images=None, samples=None, frames=None, maps={}),
        )
        for e in (event, other)
    ]
    return all(equal(a, b) for a, b in tensors) and bare[0] == bare[1]


def test_every_event_of_a_comparison_survives_the_crossing(registry):
    lines = ["ddim steps=3", "odd/failing", "progressive_distillation steps=4", "ddpm steps=4 | cfg scale=2"]
    comparison = Comparison(
        model="gaussian", prompt="dawn", seeds="0..1", cells=lines, metrics=["exact_error"]
    )
    events = list(zoo.comparison.stream(comparison, device="cpu", registry=registry, frames=4))
    assert {event.kind for event in events} >= {"done", "failed", "scored"}
    for event in events:
        back = unpack(there_and_back(pack(event)))
        assert same(event, back)
        assert (event.result.images is None) == (back.result.images is None)
        if event.kind != "progress" and event.result.frames is not None:
            assert back.result.frames is not None
            for mine, theirs in zip(event.result.frames.kept, back.result.frames.kept, strict=True):
                assert (mine.log_snr, mine.nfe, mine.seconds) == (theirs.log_snr, theirs.nfe, theirs.seconds)
                assert equal(mine.x_t, theirs.x_t) and equal(mine.x0, theirs.x0)


def test_control_maps_survive_the_crossing():
    maps = {"canny": torch.rand(3, 4, 4)}
    event = Event("done", 0, 1, 1, CellResult("ddim", "done", maps=maps))
    assert equal(unpack(there_and_back(pack(event))).result.maps["canny"], maps["canny"])


def test_no_tensor_crosses():
    """A tensor would be sent as a handle, which dies with its process."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("fake_spaces", FAKE / "spaces.py")
    available = torch.cuda.is_available
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    torch.cuda.is_available = available
    picture = torch.zeros(1, 3, 2, 2)
    event = Event("done", 0, 1, 1, CellResult("ddim", "done", images=picture, samples=picture), picture)
    assert fake.dumps(pack(event))
    with pytest.raises(pickle.PicklingError):
        fake.dumps(event)


def test_the_job_survives_the_crossing():
    comparison = Comparison(model="mixture", cells=["ddim | cfg scale=2"], pictures={"a": b"png"})
    job = Job(comparison, Limits(nfe=7, seconds=3.0), 24, 60)
    assert there_and_back(job) == job
    assert there_and_back(job).comparison.pictures == {"a": b"png"}
    end = End(comparison.model_copy(update={"record": {"device": "cuda"}}), ("A notice.",))
    assert there_and_back(end) == end


def test_seconds_follow_cells_and_nfe(registry):
    def seconds(*lines: str, **more: Any) -> int:
        return seconds_for(Comparison(model="tinyworld", cells=lines, **more), registry)

    start = seconds("ddim steps=1")
    assert start == round(zerogpu.START + zerogpu.PASS + zerogpu.ROW)
    one = seconds("ddim steps=100")
    assert one == round(zerogpu.START + 100 * (zerogpu.PASS + zerogpu.ROW))
    assert seconds("ddim steps=100", "ddim steps=100") == one + round(100 * zerogpu.ROW)
    assert seconds("ddim steps=100 | cfg scale=2") == round(
        zerogpu.START + 200 * (zerogpu.PASS + zerogpu.ROW)
    )
    assert seconds("heun steps=50") == round(zerogpu.START + 99 * (zerogpu.PASS + zerogpu.ROW))
    solved = seconds("ddim steps=1", metrics=["solution_error"]) - start
    assert solved == round(zerogpu.METRIC + 199 * (zerogpu.PASS + zerogpu.ROW))
    assert seconds("ddim steps=100", seeds="0..1") == one + round(100 * zerogpu.ROW)
    assert seconds("ddim steps=100", timing="alone") > one
    assert seconds("ddim steps=1000", seeds="0..99") == MOST


def test_a_job_ends_before_its_gpu_is_taken_away(registry, on_zerogpu, monkeypatch):
    now = 0.0
    monkeypatch.setattr(zerogpu, "time", SimpleNamespace(monotonic=lambda: now))
    comparison = Comparison(model="gaussian", cells=["ddim steps=2", "odd/slow steps=900"])
    last: dict[int, CellResult] = {}
    for sent in zerogpu.run(Job(comparison, Limits(), 0, 60)):
        if isinstance(sent, End):
            continue
        last[sent.event.cell] = sent.event.result
        if sent.event.kind == "done":
            now = 60 - MARGIN + 0.1
    assert isinstance(sent, End)
    assert last[0].status == "done"
    assert last[1].status == "failed"
    assert "the GPU was lent for 60 s" in last[1].error


def test_there_the_result_is_that_of_any_other_place(registry, on_zerogpu):
    comparison = Comparison(model="mixture", seeds="0..1", cells=["ddim steps=3", "odd/failing"])
    mine = Borrowed(comparison, registry, Limits()).result()
    theirs = compare(comparison, registry=registry, device="cpu")
    assert [cell.status for cell in mine.cells] == [cell.status for cell in theirs.cells]
    assert equal(mine.cells[0].samples, theirs.cells[0].samples)
    assert mine.comparison.record == theirs.comparison.record
    assert mine.cells[1].error == theirs.cells[1].error


def test_what_cannot_be_run_is_explained(registry, on_zerogpu):
    comparison = Comparison(model="mixture", cells=["ddim steps=3"], metrics=["nope"])
    with pytest.raises(ValueError, match="nope") as expected:
        compare(comparison, registry=registry)
    with pytest.raises(ValueError, match="nope") as caught:
        Borrowed(comparison, registry, Limits()).result()
    assert str(caught.value) == str(expected.value)


def test_what_zerogpu_says_reaches_the_person(registry, on_zerogpu, monkeypatch):
    def refused(job: Job) -> Iterator[Any]:
        raise gr.Error("You have exceeded your quota.", title="ZeroGPU quota exceeded")
        yield

    monkeypatch.setattr(zerogpu, "run", refused)
    comparison = Comparison(model="mixture", cells=["ddim steps=3"])
    with pytest.raises(NoGPU, match=r"^ZeroGPU quota exceeded: You have exceeded your quota\.$"):
        Borrowed(comparison, registry, Limits()).result()


def test_who_waits_for_a_gpu_can_cancel_and_the_gpu_is_given_back_when_it_comes(
    registry, on_zerogpu, monkeypatch
):
    free, given_back, cancelled = threading.Event(), threading.Event(), threading.Event()

    def queued(job: Job) -> Iterator[Any]:
        try:
            free.wait(60)
            for _ in range(9):
                yield End()
        finally:
            given_back.set()

    monkeypatch.setattr(zerogpu, "run", queued)
    monkeypatch.setattr(zerogpu, "QUIET", 0.05)
    comparison = Comparison(model="mixture", cells=["ddim steps=3"])
    looks = Borrowed(comparison, registry, Limits(), cancelled.is_set).looks()
    assert next(looks) == [], "nothing has come yet"
    cancelled.set()
    (event,) = next(looks)
    assert (event.kind, event.result.status) == ("cancelled", "cancelled")
    assert not given_back.is_set()
    free.set()
    assert given_back.wait(60)


def test_networks_are_placed_before_they_are_asked_for(on_zerogpu):
    from zoo.device import resolve_dtype
    from zoo.planning import load_model

    registry = Registry(safe_mode=True)
    zerogpu.place(registry)
    model, device = load_model("tinyworld", registry), torch.device("cpu")
    assert set(model.roles) == {role for role, *_ in model._networks}
    assert all(key[1:] == (device, resolve_dtype("auto", device)) for key in model._networks)


def test_elsewhere_nothing_is_decorated(monkeypatch):
    assert not zerogpu.available()
    assert zerogpu.on_gpu(same) is same
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert not zerogpu.available(), "`spaces` is no requirement, and so is not here"


class Page:
    """A page, asked as its own script asks it."""

    def __init__(self, url: str) -> None:
        self.url = url = url.rstrip("/")
        components = httpx.get(f"{url}/config").json()["components"]
        (self.component,) = (c["id"] for c in components if c["props"].get("elem_id") == "zoo-compare")

    def __call__(self, name: str, data: dict[str, Any], token: str = "") -> Any:
        body = {"session_hash": "s", "component_id": self.component, "fn_name": name, "data": data}
        headers = {"x-ip-token": token} if token else {}
        address = f"{self.url}/gradio_api/component_server"
        return httpx.post(address, json=body, headers=headers, timeout=60).json()

    def ended(self, run: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while (seen := self("look_at", {"id": run["id"]}))["state"] != "ended":
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)
        return seen


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "calls"


@pytest.fixture(scope="module")
def page(plugins: Path, log: Path) -> Iterator[Page]:
    space = {"PYTHONPATH": str(FAKE), "SPACES_ZERO_GPU": "true", "FAKE_SPACES_LOG": str(log)}
    with page_server("--plugins-dir", str(plugins), **space) as server:
        yield Page(server.url)


def begin(page: Page, *lines: str, token: str = "", **more: Any) -> dict[str, Any]:
    cards = [{"line": line} for line in lines]
    run = page(
        "start_run", {"model": "gaussian", "prompt": "dawn", "seeds": "0..1", "cards": cards, **more}, token
    )
    assert "error" not in run, run
    return run


def test_a_run_of_the_page_is_the_visitor_s_and_as_anywhere(page, log, registry):
    lines = ["ddim steps=3", "odd/failing", "ddpm steps=4 | cfg scale=2"]
    seen = page.ended(begin(page, *lines, token="visitor", metrics=["exact_error"]))
    assert not seen["problem"]
    expected = compare(
        Comparison(model="gaussian", prompt="dawn", seeds="0..1", cells=lines),
        registry=registry,
        device="cpu",
    )
    cells = list(seen["cells"].values())
    assert [cell["status"] for cell in cells] == [cell.status for cell in expected.cells]
    assert [cell["nfe"] for cell in cells] == [cell.nfe for cell in expected.cells]
    assert cells[0]["metrics"][0]["value"] > 0
    assert cells[0]["way"]
    for cell, wanted in zip(cells, expected.cells, strict=True):
        if wanted.images is not None:
            shown = [
                np.asarray(Image.open(io.BytesIO(base64.b64decode(u.split(",")[1])))) for u in cell["images"]
            ]
            pixels = ((wanted.images + 1) * 127.5).round().permute(0, 2, 3, 1)
            assert np.abs(np.stack(shown) - pixels.numpy()).max() <= 1
    call = json.loads(log.read_text().splitlines()[-1])
    assert call["token"] == "visitor"
    assert 0 < call["seconds"] <= MOST


def test_a_cancelled_run_keeps_what_is_done_and_gives_the_gpu_back(page):
    run = begin(page, "ddim steps=2", "odd/slow steps=900")
    while page("look_at", {"id": run["id"]})["cells"]["0"]["status"] != "done":
        time.sleep(0.05)
    page("stop_run", {"id": run["id"], "key": run["key"]})
    assert [cell["status"] for cell in page.ended(run)["cells"].values()] == ["done", "cancelled"]
    assert page.ended(begin(page, "ddim steps=2"))["cells"]["0"]["status"] == "done"


def test_what_has_ended_survives_a_gpu_that_is_taken_away(page, log):
    run = begin(page, "ddim steps=2", "taken/dying", token="first")
    seen = page.ended(run)
    assert "GPU task aborted" in seen["problem"]
    assert [cell["status"] for cell in seen["cells"].values()] == ["done", "cancelled"]
    assert len(seen["cells"]["0"]["images"]) == 2
    page("retry_cell", {"id": run["id"], "key": run["key"], "cell": 0}, token="second")
    assert page.ended(run)["cells"]["0"]["status"] == "done"
    assert [json.loads(line)["token"] for line in log.read_text().splitlines()[-2:]] == ["first", "second"]


def test_the_api_gets_a_gpu_too(page, log):
    before = len(log.read_text().splitlines())
    client = Client(page.url, verbose=False)
    answer = client.predict(model="tinyworld", methods=["ddim steps=2"], api_name="/compare")
    client.close()
    assert [cell["status"] for cell in answer["cells"]] == ["done"]
    assert len(log.read_text().splitlines()) == before + 1
