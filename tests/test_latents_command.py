"""`zoo invert` and `zoo interpolate`, and the page about them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.helpers import (
    PixelModel,
)
from zoo.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "latents.md"


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "sky – größer.png"
    Image.linear_gradient("L").convert("RGBA").save(path)
    return str(path)


INVERT = ["invert", "--model", "gaussian", "--prompt", "noon", "--steps", "4"]
INTERPOLATE = ["interpolate", "--model", "gaussian", "--prompt", "dusk", "--seeds", "3,8"]


def test_an_inversion_from_the_command_line_fills_the_folder(picture, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*INVERT, picture, "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "inversion.json",
        "latents.npy",
        "picture.png",
        "reconstruction.png",
    ]
    written = json.loads((out / "inversion.json").read_text(encoding="utf-8"))
    assert capsys.readouterr().out.splitlines() == [
        "inversion       4 NFE",
        f"reconstruction  4 NFE · RMSE {written['rmse']:.4f} of pixels within [-1, 1] · PSNR {written['psnr']:.1f} dB",
        f"written to {out}",
    ]
    assert Image.open(out / "picture.png").size == (16, 16)
    api = zoo.invert(picture, model="gaussian", prompt="noon", method="ddim steps=4")
    np.testing.assert_array_equal(np.load(out / "latents.npy"), api.latents.numpy())
    assert api.rmse == written["rmse"]


def test_json_is_all_there_is_on_stdout(picture, capsys):
    method = "ddim steps=3 spacing=karras | cfg scale=2"
    arguments = ["invert", "--model", "gaussian", "--prompt", "stormy dusk", "--iterations", "2"]
    assert main([*arguments, picture, "--method", method, "--json"]) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out)
    assert (results["method"], results["iterations"]) == (method, 2)
    assert results["nfe"] == {"inversion": {"denoiser": 12}, "reconstruction": {"denoiser": 6}}
    assert captured.err == "zoo: gaussian ignores stormy; it knows dawn, noon, dusk, night\n"
    assert main([*INTERPOLATE, "--frames", "2", "--method", "ddim steps=1", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["seeds"], results["frames"], results["nfe"]) == ([3, 8], 2, {"denoiser": 1})


def test_an_interpolation_from_the_command_line_fills_the_folder(tmp_path, capsys):
    out, compared = tmp_path / "between", tmp_path / "compared"
    method = ["--method", "ddim steps=3"]
    assert main([*INTERPOLATE, *method, "--frames", "9", "--out", str(out)]) == 0
    assert main([*INTERPOLATE, *method, "--frames", "5", "--out", str(out)]) == 0  # replaces the nine
    frames = sorted((out / "frames").iterdir())
    assert [path.name for path in frames] == [f"00{i}.png" for i in range(5)]
    assert "5 frames from seed 3 to seed 8  3 NFE each" in capsys.readouterr().out
    assert Image.open(out / "strip.png").size == (5 * (96 + 8) - 8, 96)
    assert main(["compare", *INTERPOLATE[1:], *method, "--out", str(compared)]) == 0
    for frame, seed in ((frames[0], 3), (frames[-1], 8)):
        expected = np.asarray(Image.open(compared / f"cells/00/{seed}.png"))
        np.testing.assert_array_equal(np.asarray(Image.open(frame)), expected)


def test_a_failure_on_the_way_is_exit_code_1(capsys, monkeypatch):
    def broken(x, t, texts):
        raise RuntimeError("it broke")

    monkeypatch.setattr("zoo.solo.load_model", lambda name, registry: PixelModel(broken))
    assert main(INTERPOLATE) == 1
    assert capsys.readouterr().err == "zoo: failed: DDIM failed: RuntimeError: it broke\n"


@pytest.mark.parametrize("arguments", [["--seeds", "3"], ["--seeds", "3,x"], ["--frames", "many"]])
def test_wrong_options_are_refused_by_the_parser(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*INTERPOLATE, *arguments])
    assert repr(arguments[1]) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*INTERPOLATE, "--method", "ddpm"], "draws noise on the way"),
        ([*INTERPOLATE, "--frames", "1"], "frames must be within 2 … 256"),
        ([*INVERT, "nowhere.png"], "nowhere.png"),
        ([*INVERT, __file__], "cannot be read as a picture"),
        (["invert", __file__, "--steps", "0"], "steps=0"),
    ],
)
def test_wrong_input_is_exit_code_2_and_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("zoo: ") and message in captured.err
    assert captured.err.count("\n") == 1


def test_the_page_about_it_shows_what_works(tmp_path, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).splitlines()
    commands = [shlex.split(line) for line in lines]
    assert {words[3] for words in commands} == {"invert", "interpolate"}
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(source.replace("tinyworld", "gaussian").replace("steps=50", "steps=2"), names)
    for words in commands:
        small = [re.sub(r"steps=\d+", "steps=2", word) for word in words[3:]]
        steps = ["--steps", "2"] if "--steps" in small else []
        assert main([*small, *steps, "--model", "gaussian"]) == 0
    assert names["found"].latents.shape == (3, 16, 16)
