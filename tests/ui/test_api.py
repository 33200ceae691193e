"""The public API, over HTTP."""

import base64
import io
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from tests.ui.browser import ROOT
from zoo.pictures import admit

ASK: dict[str, Any] = {"model": "gaussian", "prompt": "dawn", "negative": "", "seeds": "0..1"}


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[Client]:
    client = Client(server.url, verbose=False)
    yield client
    client.close()


def test_compare_returns_costs_and_pictures(client):
    methods = ["ddim steps=4", "odd/failing", "ddpm steps=3 | cfg scale=2"]
    result = client.predict(**ASK, methods=methods, api_name="/compare")
    assert [cell["status"] for cell in result["cells"]] == ["done", "failed", "done"]
    assert result["cells"][2]["nfe"] == {"denoiser": 6}
    assert [len(cell["images"]) for cell in result["cells"]] == [2, 0, 2]
    assert result["cells"][0]["images"][0].startswith("data:image/png;base64,")
    assert "traceback" not in result["cells"][1]
    assert result["seeds"] == [0, 1]
    sheet = Image.open(io.BytesIO(base64.b64decode(result["sheet"].partition(",")[2])))
    assert json.loads(sheet.text["comparison"]) == result["comparison"]


def test_a_comparison_needs_no_more_than_its_methods(client):
    (cell,) = client.predict(["ddim steps=1"], api_name="/compare")["cells"]
    assert (cell["status"], cell["nfe"]) == ("done", {"denoiser": 1})


def test_cells_are_scored_when_asked(client):
    result = client.predict(
        **ASK, methods=["ddim steps=4", "ddpm steps=4"], metrics=["exact_error"], api_name="/compare"
    )
    scores = [cell["metrics"]["exact_error"] for cell in result["cells"]]
    assert scores[0]["n"] == 2 and scores[0]["value"] > 0
    assert list(scores[1]) == ["absent"]


def test_pictures_are_sent_with_the_methods_that_follow_them(client, tmp_path):
    picture = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8)).save(picture)
    uri = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    asked = {**ASK, "model": "odd/small", "methods": ["ddim steps=2 | controlnet image=mine"]}
    (cell,) = client.predict(**asked, pictures={"mine": uri}, api_name="/compare")["cells"]
    assert (cell["status"], cell["nfe"]) == ("done", {"denoiser": 2, "control/canny": 2})
    assert cell["method"] == f"ddim steps=2 | controlnet image={admit(picture)[0]}"


def test_the_example_of_the_docs_works(server):
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    for shown, tried in {"http://127.0.0.1:7860": server.url, "steps=50": "steps=2", "0..3": "0"}.items():
        assert shown in source
        source = source.replace(shown, tried)
    exec(source, names)
    assert [cell["status"] for cell in names["result"]["cells"]] == ["done", "done"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": []}, "no method"),
        ({"methods": ["nope"]}, "no sampler"),
        ({"methods": ["ddim"], "metrics": ["nope"]}, "no metric"),
        ({"methods": ["ddim"], "model": "folder:/etc"}, "no model"),
        ({"methods": ["ddim | controlnet image=/etc/hostname"]}, "was not sent"),
        ({"methods": ["ddim steps=1000"], "seeds": "0..255"}, "the page stops at"),
    ],
)
def test_api_callers_are_under_the_same_rules(client, given, message):
    with pytest.raises(AppError, match=message):
        client.predict(**{**ASK, **given}, api_name="/compare")


def test_what_is_listed_can_be_explained(client):
    listed = client.predict(api_name="/list_methods")
    assert [model["name"] for model in listed["models"]][:3] == ["tinyworld", "gaussian", "mixture"]
    assert {"name": "odd/slow", "title": "Slow", "summary": ""} in listed["samplers"]
    ours = [spec for spec in listed["samplers"] if not spec["name"].startswith("diffusers/")]
    for method in ours + listed["conditioners"] + listed["samplers"][-1:]:
        (part,) = client.predict(method["name"], api_name="/explain_method")["parts"]
        assert (part["name"], part["title"], part["problem"]) == (method["name"], method["title"], "")


def test_a_method_is_explained_part_by_part(client):
    told = client.predict(method="ddim steps=7|cfg", api_name="/explain_method")
    assert told["line"] == "ddim steps=7 | cfg"
    sampler, conditioner = told["parts"]
    assert sampler["paper"] == "https://arxiv.org/abs/2010.02502"
    assert "class DDIM(Sampler):" in sampler["source"]["text"]
    eta = next(parameter for parameter in sampler["parameters"] if parameter["name"] == "eta")
    assert (eta["default"], eta["min"], eta["max"]) == ("0", 0, 1)
    assert (conditioner["name"], conditioner["kind"]) == ("cfg", "conditioner")
    with pytest.raises(AppError, match="no sampler 'dim'"):
        client.predict("dim", api_name="/explain_method")


def test_every_endpoint_says_what_it_does_and_takes(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/compare", "/list_methods", "/explain_method"}
    for endpoint in endpoints.values():
        assert len(endpoint["description"]) > 40
        for entry in endpoint["parameters"] + endpoint["returns"]:
            assert entry["python_type"]["type"] not in ("", "Any")
    (answer,) = endpoints["/compare"]["returns"]
    assert answer["type"]["properties"]["seeds"] == {"type": "array", "items": {"type": "integer"}}
    needed = {
        name: [p["parameter_name"] for p in endpoint["parameters"] if not p["parameter_has_default"]]
        for name, endpoint in endpoints.items()
    }
    assert needed == {"/compare": ["methods"], "/list_methods": [], "/explain_method": ["method"]}


def test_a_busy_port_is_explained():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert re.search(rf"cannot listen on 127.0.0.1:{port} .*--port", done.stderr)
    assert "Traceback" not in done.stderr
