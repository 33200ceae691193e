"""Who calls the API and the tools: whose work it is, and what becomes of it when nobody waits for it any more."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.ui.browser import Server, page_server

HELD = '''
"""A sampler that leaves a file when it begins, goes on until there is another, and leaves a third when it is closed."""
import time
from pathlib import Path
from zoo import Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1
FOLDER = Path(__file__).parent

class Held(Sampler):
    def sample(self, x, levels, noise):
        (FOLDER / "begun").touch()
        try:
            while not (FOLDER / "go").exists():
                prediction = yield Query(x, levels[0])
                time.sleep(0.02)
            return prediction.x0
        finally:
            (FOLDER / "closed").touch()

@hookimpl
def register_samplers():
    return [SamplerSpec("held", Held, title="Held")]
'''

ACCEPT = {"accept": "application/json, text/event-stream"}
WAIT = 240
"""Seconds; much more than an idle machine needs."""

BUSY = "1 of your comparisons are at work already"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd.py").write_text(HELD)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Server]:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    with page_server("--device", "cpu", "--plugins-dir", str(folder), "--mcp", ZOO_PER_PERSON="1") as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(folder: Path) -> None:
    for name in ("begun", "go", "closed"):
        (folder / name).unlink(missing_ok=True)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def caller(page: Server, host: str = "127.0.0.1") -> httpx.Client:
    """A client on this machine that comes from an address of its own."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            pytest.skip("this machine has one address only")
    return httpx.Client(base_url=page.url, timeout=WAIT, transport=httpx.HTTPTransport(local_address=host))


def asked(method: str) -> dict[str, object]:
    """To compare one method, in the words of the protocol."""
    call = {"name": "compare", "arguments": {"methods": [method], "model": "gaussian"}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}


def tool(client: httpx.Client, method: str, **headers: str) -> str:
    """What the tool says to it."""
    answer = client.post("gradio_api/mcp/", json=asked(method), headers=ACCEPT | headers)
    (data,) = (line for line in answer.text.splitlines() if line.startswith("data: {"))
    return str(json.loads(data.removeprefix("data: "))["result"]["content"][0]["text"])


def test_an_assistant_is_known_by_where_it_calls_from_and_not_by_what_it_says(page, folder):
    ada, bob = caller(page, "127.0.0.2"), caller(page, "127.0.0.3")
    told: list[str] = []
    first = threading.Thread(target=lambda: told.append(tool(ada, "odd/held")))
    first.start()
    wait_until((folder / "begun").exists)
    refused = tool(caller(page, "127.0.0.2"), "ddim steps=1", **{"x-forwarded-for": "8.8.8.8"})
    assert refused.startswith(BUSY), "and not in quotes"
    assert '"done"' in tool(bob, "ddim steps=1"), "another's work does not count as his"
    (folder / "go").touch()
    first.join()
    assert '"done"' in told[0]
    assert '"done"' in tool(ada, "ddim steps=1")


def test_what_an_assistant_no_longer_waits_for_is_cancelled(page, folder):
    with (
        caller(page) as leaving,
        leaving.stream("POST", "gradio_api/mcp/", json=asked("odd/held"), headers=ACCEPT),
    ):
        wait_until((folder / "begun").exists)
    wait_until((folder / "closed").exists)


def test_what_a_caller_no_longer_waits_for_is_cancelled(page, folder):
    with caller(page) as leaving:
        data = {"data": [["odd/held"], "gaussian", "", "", "0", False, None, None]}
        event = leaving.post("gradio_api/call/compare", json=data).json()["event_id"]
        with leaving.stream("GET", f"gradio_api/call/compare/{event}"):
            wait_until((folder / "begun").exists)
    wait_until((folder / "closed").exists)
