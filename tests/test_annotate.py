"""`zoo annotate` and `zoo annotators`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.cli import main
from zoo.data.tinyworld import TinyWorld
from zoo.registry import Registry

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def picture(tmp_path, monkeypatch):
    for name in ("ZOO_PLUGINS_DIR", "ZOO_STRICT", "ZOO_DISABLE", "SPACE_ID", "ZOO_ANNOTATOR_DOWNLOADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    path = tmp_path / "boat.png"
    Image.fromarray(TinyWorld(3)[1].image).save(path)
    return path


def test_the_map_is_written(picture, tmp_path, capsys):
    out = tmp_path / "new folder/edges.png"
    line = "canny low=50 high=100"
    assert main(["annotate", str(picture), "--annotator", line, "--out", str(out), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"32 × 32 pixels written to {out}\n"
    expected = cv2.Canny(np.asarray(Image.open(picture)), 50, 100)
    np.testing.assert_array_equal(np.asarray(Image.open(out))[:, :, 0], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--annotator", "hed"], "Did you mean 'controlnet_aux/hed'?"),
        (["--annotator", "canny low=x"], "low=x: input should be a valid number"),
        (["--annotator", "controlnet_aux/hed"], "ControlNetHED.pth (29 MB) from lllyasviel/Annotators"),
        (["--out", "edges.txt"], "must end in .png"),
        (["--device", "tpu"], "no device 'tpu' here"),
    ],
)
def test_wrong_input_is_exit_code_2_and_one_line(arguments, message, picture, tmp_path, capsys):
    assert main(["annotate", str(picture), "--out", str(tmp_path / "out.png"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("zoo: ") and message in captured.err
    assert not (tmp_path / "out.png").exists()


def test_what_is_no_picture_is_refused(tmp_path, capsys):
    path = tmp_path / "drawing.svg"
    path.write_text('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert main(["annotate", str(path), "--out", str(tmp_path / "out.png")]) == 2
    assert "drawing.svg cannot be read as a picture: it is an SVG" in capsys.readouterr().err
    assert main(["annotate", str(tmp_path / "nowhere.png"), "--out", str(tmp_path / "out.png")]) == 2
    assert "nowhere.png" in capsys.readouterr().err


def test_annotators_are_listed_with_what_they_need(capsys, picture):
    assert main(["annotators", "--safe-mode", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["canny"]["needs"] == ""
    assert "lllyasviel/Annotators" in listed["controlnet_aux/hed"]["needs"]
    assert main(["annotators", "--safe-mode"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "what", "needs"]
    assert lines[1].split() == ["canny", "Canny", "edges", "–"]


def test_the_documented_plugin_works(tmp_path):
    text = (ROOT / "docs/annotators.md").read_text(encoding="utf-8")
    source = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "ZOO_API" in block
    )
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    pixels = TinyWorld(3)[0].image
    drawn = zoo.annotate(pixels, "mine/negative", registry=Registry(tmp_path))
    np.testing.assert_array_equal(drawn, 255 - pixels)


def test_every_annotator_is_documented():
    text = (ROOT / "docs/annotators.md").read_text(encoding="utf-8")
    for name, spec in Registry(safe_mode=True).annotators.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        for field, info in spec.params_model().model_fields.items():
            told = field == "resolution" or name.startswith("controlnet_aux/")
            assert told or f"{field}={info.default:g}".lower() in row.replace("false", "0"), f"{name} {field}"
