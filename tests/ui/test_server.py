"""What decides how the page is served, without serving it."""

from __future__ import annotations

import argparse
import gc
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from zoo import hub
from zoo.commands import page as command
from zoo.ui import page, server

Serve = Callable[..., dict[str, Any]]
VARIABLES = ("ZOO_HOSTED", "SPACE_ID", "GRADIO_SERVER_NAME", "ZOO_LOGIN", "ZOO_MCP")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is as before in the end, whatever is set meanwhile
        monkeypatch.delenv(name)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serves with these arguments, without a server; returns how it would have been launched."""
    launched: dict[str, Any] = {}
    blocks = SimpleNamespace(
        launch=lambda **options: launched.update(options) or (None, "http://page", None),
        block_thread=lambda: None,
    )
    monkeypatch.setattr(page, "build", lambda registry, runner: blocks)
    monkeypatch.setattr(server, "_warm_up", lambda *_: None)
    monkeypatch.setattr(server, "_check_free", lambda *_: None)

    def ask(*arguments: str) -> dict[str, Any]:
        assert server.serve(parsed("--safe-mode", "--port", "7999", *arguments)) == 0
        return launched

    yield ask
    gc.enable()


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return parser.parse_args(["page", *arguments])


def test_on_one_s_own_machine_nobody_else_is_expected(serve, capsys):
    assert serve()["server_name"] == "127.0.0.1"
    assert not hub.hosted()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::"])
def test_where_others_reach_the_page_they_are_strangers_to_it(serve, capsys, host):
    assert serve("--host", host)["server_name"] == host
    assert hub.hosted()
    assert f"Whoever reaches {host} can use this page" in capsys.readouterr().err


def test_whoever_knows_that_only_they_reach_it_says_so(serve, monkeypatch):
    monkeypatch.setenv("ZOO_HOSTED", "0")
    serve("--host", "0.0.0.0")
    assert not hub.hosted()


def test_a_space_listens_to_all(serve, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/sampler-zoo")
    assert serve()["server_name"] == "0.0.0.0"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "10.0.0.7")
    assert serve()["server_name"] == "10.0.0.7", "what its owner says comes first"


@pytest.mark.parametrize(("flag", "variable"), [(["--mcp"], ""), ([], "1")], ids=["flag", "environment"])
def test_tools_have_no_login_and_so_are_not_served_where_one_is_asked_for(monkeypatch, flag, variable):
    monkeypatch.setenv("ZOO_MCP", variable)
    monkeypatch.setenv("ZOO_LOGIN", "ada:a-long-password")
    monkeypatch.setattr(page, "build", lambda *_: pytest.fail("a page was built"))
    with pytest.raises(ValueError, match=r"--mcp and ZOO_MCP go without ZOO_LOGIN.*open to all") as refused:
        server.serve(parsed("--safe-mode", "--port", "7999", *flag))
    assert "a-long-password" not in str(refused.value)


def test_nothing_is_imported_before_the_first_page_has_been_drawn(monkeypatch):
    visited, warmed = threading.Event(), threading.Event()
    runner = SimpleNamespace(visited=visited, warm_up=lambda model: warmed.set())
    monkeypatch.setattr(server, "FIRST_VISIT_SECONDS", 240)
    thread = threading.Thread(target=server._warm_up, args=(runner, ["tinyworld"]))
    thread.start()
    assert not warmed.wait(0.2)
    visited.set()
    assert warmed.wait(60)
    thread.join(60)


def test_where_nobody_comes_it_is_imported_all_the_same(monkeypatch):
    warmed: list[str] = []
    monkeypatch.setattr(server, "FIRST_VISIT_SECONDS", 0.01)
    server._warm_up(SimpleNamespace(visited=threading.Event(), warm_up=warmed.append), ["tinyworld"])
    assert warmed == ["tinyworld"]
