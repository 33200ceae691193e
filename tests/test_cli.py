"""The command line: exit codes, clean JSON, files where they were asked for, and a light start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_comparison import SPECIMENS
from zoo.cli import main
from zoo.commands.listing import _allowed

ROOT = Path(__file__).parents[1]
COMPARE = ["compare", "--model", "gaussian", "--prompt", "dusk", "--method", "ddim steps=2"]


@pytest.fixture(autouse=True)
def _only_built_ins(monkeypatch):
    for name in ("ZOO_PLUGINS_DIR", "ZOO_STRICT", "ZOO_DISABLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def plugins_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plug ins – ü")
    (folder / "specimens.py").write_text(SPECIMENS, encoding="utf-8")
    return str(folder)


def test_a_comparison_fills_the_folder(tmp_path, capsys):
    out = tmp_path / "two words – größer"
    assert (
        main([*COMPARE, "--method", "ddpm steps=2 | cfg scale=2", "--seeds", "0..1", "--out", str(out)]) == 0
    )
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    cells = {f"cells/0{cell}/{seed}.png" for cell in (0, 1) for seed in (0, 1)}
    assert found == {"comparison.json", "grid.png", "results.json", *cells}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("done      ddim steps=2  2 NFE · ")
    assert lines[1].startswith("done      ddpm steps=2 | cfg scale=2  4 NFE · ")
    assert lines[2] == f"written to {out}"


def test_a_saved_comparison_runs_again(tmp_path):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    assert main([*COMPARE, "--out", str(first)]) == 0
    assert main(["compare", str(first / "comparison.json"), "--out", str(again)]) == 0
    assert main(["compare", str(first / "comparison.json"), "--seeds", "5", "--out", str(other)]) == 0
    pixels = [np.asarray(Image.open(p)) for p in (first / "cells/00/0.png", again / "cells/00/0.png")]
    np.testing.assert_array_equal(*pixels)
    assert (other / "cells/00/5.png").is_file()


def test_json_is_all_there_is_on_stdout(capsys):
    assert main([*COMPARE, "--prompt", "stormy dusk", "--json"]) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out)
    assert results["cells"][0]["nfe"] == {"denoiser": 2}
    assert captured.err == "zoo: gaussian ignores stormy; it knows dawn, noon, dusk, night\n"


def test_without_a_folder_it_says_that_nothing_is_kept(capsys):
    assert main(COMPARE) == 0
    assert "nothing written: name a folder with --out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "line", "reason"),
    [
        ("specimens/short", "ddim steps=11", "steps must be within 1 … 10"),
        ("specimens/short", "specimens/distilled", "needs the network distilled/3"),
        ("specimens/eps", "ddim steps=3", "eps-prediction at ᾱ = 2.4e-09"),
    ],
)
def test_an_impossible_cell_makes_the_exit_code_1(model, line, reason, plugins_dir, capsys):
    possible = "ddim steps=2 spacing=leading"
    arguments = ["--plugins-dir", plugins_dir, "--model", model, "--method", line, "--method", possible]
    assert main(["compare", *arguments]) == 1
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith(f"na        {line}: ") and reason in first
    assert second.startswith(f"done      {possible}")


def test_a_failing_cell_makes_the_exit_code_1(plugins_dir, capsys):
    arguments = ["--plugins-dir", plugins_dir, "--model", "specimens/short", "--method", "specimens/faulty"]
    assert main(["compare", *arguments, "--json"]) == 1
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert (cell["status"], cell["error"]) == ("failed", "RuntimeError: it broke")
    assert main([*COMPARE, "--max-nfe", "1"]) == 1
    assert "used up its 1 network evaluations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "dim"], "there is no sampler 'dim'. Did you mean 'ddim'?"),
        (["--method", "ddim step=2"], "ddim has no parameter 'step'"),
        (["--method", "ddim |"], "a name is missing"),
        (["--model", "gausian"], "Did you mean 'gaussian'?"),
        (["--seeds", "4..1"], "seeds: '4..1' must ascend"),
        (["--device", "tpu"], "no device 'tpu' here; choose auto or one of"),
        (["--dtype", "int8"], "unknown dtype 'int8'; choose auto or one of"),
        (["nowhere.json"], "nowhere.json"),
    ],
)
def test_wrong_input_is_exit_code_2_and_one_line(arguments, message, capsys, tmp_path):
    out = tmp_path / "out"
    assert main([*COMPARE, *arguments, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("zoo: ") and message in captured.err
    assert captured.err.count("\n") == 1
    assert not (out / "results.json").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "does not hold a comparison, but a list")]
)
def test_a_damaged_comparison_is_named(text, message, tmp_path, capsys):
    path = tmp_path / "comparison.json"
    path.write_text(text)
    assert main(["compare", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_no_method_is_wrong_input(capsys):
    assert main(["compare"]) == 2
    assert "name at least one --method, such as" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--max-nfe", "0"], ["--max-seconds", "-1"]])
def test_limits_must_be_positive(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*COMPARE, *option])
    assert f"must be above 0, got {option[1]}" in capsys.readouterr().err


def test_models_are_listed(capsys, plugins_dir):
    assert main(["models", "--json", "--plugins-dir", plugins_dir]) == 0
    names = [model["name"] for model in json.loads(capsys.readouterr().out)]
    assert names[:3] == ["tinyworld", "gaussian", "mixture"]
    assert names[3:] == ["specimens/short", "specimens/eps", "specimens/mute"]
    assert main(["models"]) == 0
    assert "gaussian     Gaussian skies (exact): " in capsys.readouterr().out


def python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_methods_and_metrics_are_listed(capsys, plugins_dir):
    assert main(["methods", "--plugins-dir", plugins_dir]) == 0
    samplers, conditioners = capsys.readouterr().out.split("\nconditioners\n")
    assert samplers.startswith("samplers\nddpm ") and "\nddim " in samplers and "\nspecimens/" in samplers
    assert conditioners.startswith("cfg ")
    assert all(line.count(". ") == 0 for line in conditioners.splitlines()), "the first sentence alone"
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed["samplers"]][:2] == ["ddpm", "ddim"]
    assert main(["metrics", "--json"]) == 0
    assert {"frechet", "exact_error"} <= {entry["name"] for entry in json.loads(capsys.readouterr().out)}


def test_a_method_is_explained_with_its_parameters(capsys):
    assert main(["methods", "ddim steps=20 | cfg"]) == 0
    ddim, cfg = capsys.readouterr().out.split("\n\n")
    assert ddim.startswith("ddim: DDIM\n") and cfg.startswith("cfg: Classifier-free guidance\n")
    assert "paper     https://arxiv.org/abs/2010.02502" in ddim
    assert re.search(r"^  steps=50 +1 to 1000 +Steps", ddim, re.MULTILINE)
    assert re.search(r"^  threshold=static +static, dynamic, none +Threshold", cfg, re.MULTILINE)
    assert main(["methods", "cfg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"][0]["kind"] == "conditioner"
    assert main(["methods", "dim"]) == 2
    assert "there is no sampler 'dim'" in capsys.readouterr().err


def test_who_has_read_enough_is_not_told_of_an_error():
    listing = subprocess.Popen(
        [sys.executable, "-m", "zoo", "plugins"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    listing.stdout.close()
    assert listing.stderr.read() == b""
    assert listing.wait() == 141


@pytest.mark.parametrize(
    ("bounds", "shown"),
    [({}, ""), ({"min": 1}, "≥ 1"), ({"max": 2.5}, "≤ 2.5"), ({"min": 0, "max": 1}, "0 to 1")],
)
def test_bounds_are_shown_as_far_as_there_are_any(bounds, shown):
    assert _allowed({"min": None, "max": None} | bounds) == shown


def test_listing_plugins_loads_nothing_heavy():
    code = """
import runpy, sys
sys.argv = ["zoo", "plugins", "--json", "--safe-mode"]
try:
    runpy.run_module("zoo", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
heavy = {"torch", "diffusers", "transformers", "gradio", "PIL", "cv2"} & set(sys.modules)
assert not heavy, heavy
"""
    plugins = {plugin["name"]: plugin for plugin in json.loads(python("-c", code))}
    assert plugins["ddim"]["registers"] == {"samplers": ["ddim"]}
    assert all(plugin["state"] == "loaded" for plugin in plugins.values())


def test_importing_zoo_loads_nothing_heavy():
    heavy = '{"torch", "diffusers", "transformers", "gradio", "PIL", "cv2"}'
    assert python("-c", f"import sys, zoo; print({heavy} & set(sys.modules))").strip() == "set()"
