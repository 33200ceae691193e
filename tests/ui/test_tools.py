"""The page as a server of tools: spoken to by the protocol's own client."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.ui.browser import ROOT, page_server
from tests.ui.waiting import waited_for
from zoo.ui.tools import readable


@pytest.fixture(scope="module")
def call() -> Iterator[Any]:
    """Calls a method of a session with the server: `call("call_tool", name, arguments)`."""
    mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp.client.streamable_http import streamablehttp_client

    with page_server("--device", "cpu", "--safe-mode", "--mcp") as running:

        async def ask(name: str, *arguments: Any) -> Any:
            async with (
                streamablehttp_client(f"{running.url}gradio_api/mcp/") as (read, write, _),
                mcp.ClientSession(read, write) as session,
            ):
                await session.initialize()
                return await getattr(session, name)(*arguments)

        yield lambda *asked: waited_for(ask(*asked))


def test_there_are_three_tools_and_each_argument_is_explained(call):
    tools = {tool.name: tool for tool in call("list_tools").tools}
    assert set(tools) == {"compare", "list_methods", "explain_method"}
    assert tools["compare"].inputSchema["required"] == ["methods"]
    for tool in tools.values():
        assert len(tool.description) > 80
        for name, argument in tool.inputSchema["properties"].items():
            assert argument["description"], name
            assert "type" in argument or "oneOf" in argument, name


def test_a_comparison_is_facts_and_one_picture(call):
    asked = {
        "model": "gaussian",
        "prompt": "dawn",
        "seeds": "0..1",
        "methods": ["ddim steps=3", "ddpm steps=2"],
    }
    answer = call("call_tool", "compare", asked)
    text, picture = answer.content
    facts = json.loads(text.text)
    assert [(cell["status"], cell["nfe"]) for cell in facts["cells"]] == [
        ("done", {"denoiser": 3}),
        ("done", {"denoiser": 2}),
    ]
    assert "data:" not in text.text
    sheet = Image.open(io.BytesIO(base64.b64decode(picture.data)))
    assert json.loads(sheet.text["comparison"]) == facts["comparison"]


def test_methods_are_listed_and_explained(call):
    listed = json.loads(call("call_tool", "list_methods", {}).content[0].text)
    assert "cfg" in [spec["name"] for spec in listed["conditioners"]]
    told = json.loads(call("call_tool", "explain_method", {"method": "ddim | cfg"}).content[0].text)
    assert [part["kind"] for part in told["parts"]] == ["sampler", "conditioner"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ["nope"]}, "no sampler"),
        ({"methods": ["ddim"], "model": "folder:/etc"}, "no model"),
        ({"methods": ["ddim steps=1000"], "seeds": "0..255"}, "the page stops at"),
    ],
)
def test_assistants_are_under_the_same_rules(call, asked, message):
    answer = call("call_tool", "compare", asked)
    assert answer.isError
    assert message in answer.content[0].text


def test_what_is_left_of_an_answer_for_an_assistant():
    cell = {"method": "ddim", "images": ["data:image/png;base64,eHg="]}
    assert readable({"cells": [cell], "seeds": [0], "sheet": "data:image/png;base64,eXk="}) == (
        {"cells": [{"method": "ddim"}], "seeds": [0]},
        "eXk=",
    )
    assert readable({"samplers": []}) == ({"samplers": []}, "")


@pytest.mark.parametrize(("flag", "variable"), [(["--mcp"], "0"), ([], "1")], ids=["flag", "environment"])
def test_without_the_package_it_says_what_to_install(tmp_path, flag, variable):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mcp'] = None")
    done = subprocess.run(
        [sys.executable, "app.py", "--port", "0", *flag],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "ZOO_MCP": variable},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'mcp" in done.stderr
    assert "Traceback" not in done.stderr
