"""No file runs code when it is opened: the source asks for nothing that unpickles, and malicious files are refused."""

from __future__ import annotations

import ast
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch

from tests.models.elsewhere.tiny import unet2d
from zoo.cli import main
from zoo.comparison import Comparison, compare

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path
    for folder in ("zoo", "plugins", "scripts", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
) + [ROOT / "app.py"]

OPENS = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "sklearn",
}
"""Modules whose load runs what a file holds."""

ALLOWED = {
    ("plugins/annotators_controlnet_aux.py", "pickle"): "for the name of the error by which torch refuses"
}


OTHERS = {
    (
        "plugins/annotators_controlnet_aux.py",
        "made.from_pretrained",
    ): "a detector's, of one file, which HubFile checks"
}
"""No class of diffusers or transformers, so that there is no `use_safetensors`."""


class Malicious:
    """A pickle that makes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


def found_in(source: str) -> Iterator[str]:
    """What in a source opens a file that may run code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names if name.name.split(".")[0] in OPENS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OPENS:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called.endswith("torch.load") and given.get("weights_only") != "True":
                yield f"{called} without weights_only=True"
            if called.endswith(
                ("pickle.load", "pickle.loads", "Unpickler", "read_pickle", "load_state_dict_from_url")
            ):
                yield called
            for word, value in (
                ("allow_pickle", "True"),
                ("weights_only", "False"),
                ("use_safetensors", "False"),
            ):
                if given.get(word, "").strip() == value:
                    yield f"{called}({word}={value})"
            if given.get("trust_remote_code", "False") != "False":
                yield f"{called}(trust_remote_code={given['trust_remote_code']})"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_in_the_source_opens_a_pickle(path):
    name = path.relative_to(ROOT).as_posix()
    found = {(name, what) for what in found_in(path.read_text(encoding="utf-8"))}
    assert not found - set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_what_opens_a_pickle_would_be_found(source):
    assert list(found_in(source))


def test_every_network_is_read_from_safetensors():
    """`from_pretrained` falls back on pickles, unless it is told not to; a tokenizer has no weights."""
    careless = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained"):
                called, given = (
                    ast.unparse(node.func),
                    {word.arg: ast.unparse(word.value) for word in node.keywords},
                )
                has_weights = not any(kind in called for kind in ("Tokenizer", "Processor", "Scheduler"))
                if has_weights and given.get("use_safetensors") != "True":
                    careless.add((path.relative_to(ROOT).as_posix(), called))
    assert careless == set(OTHERS)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "saved"
    diffusers.DDPMPipeline(unet2d(), diffusers.DDPMScheduler(100)).save_pretrained(folder)
    return folder


WEIGHTS = "unet/diffusion_pytorch_model"


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pkl"])
def test_a_model_of_pickled_weights_is_refused_without_opening_them(saved, tmp_path, suffix):
    marker = tmp_path / "it ran"
    (saved / f"{WEIGHTS}.safetensors").unlink()
    torch.save({"weight": Malicious(marker)}, saved / f"{WEIGHTS}{suffix}")
    with pytest.raises(ValueError, match="is a pickle, which runs whatever code it holds"):
        compare(Comparison(model=f"folder:{saved}", cells=["ddim steps=1"]))
    assert not marker.exists()


def test_a_pickle_beside_the_weights_is_left_alone(saved, tmp_path):
    marker = tmp_path / "it ran"
    torch.save({"weight": Malicious(marker)}, saved / f"{WEIGHTS}.bin")
    (cell,) = compare(Comparison(model=f"folder:{saved}", cells=["ddim steps=1"]), device="cpu").cells
    assert cell.status == "done"
    assert not marker.exists()


@pytest.mark.parametrize("name", [f"{WEIGHTS}.safetensors", "unet/config.json", "model_index.json"])
def test_a_pickle_under_another_name_is_refused_without_opening_it(saved, tmp_path, name, capsys):
    marker = tmp_path / "it ran"
    (saved / name).write_bytes(pickle.dumps(Malicious(marker)))
    code = main(["compare", "--model", f"folder:{saved}", "--method", "ddim steps=1", "--device", "cpu"])
    assert code in (1, 2), "the cell fails, or the model cannot be loaded"
    assert "Traceback" not in capsys.readouterr().err
    assert not marker.exists()


def test_a_comparison_that_is_a_pickle_is_refused(tmp_path, capsys):
    marker = tmp_path / "it ran"
    path = tmp_path / "comparison.json"
    path.write_bytes(pickle.dumps(Malicious(marker), protocol=0))
    assert main(["compare", str(path)]) == 2
    assert "is not JSON" in capsys.readouterr().err
    assert not marker.exists()
    path.write_bytes(pickle.dumps(Malicious(marker)))
    assert main(["compare", str(path)]) == 2


def test_a_saved_run_of_the_page_is_json_alone(tmp_path):
    from zoo.ui.shelf import Shelf

    marker, name = tmp_path / "it ran", "a" * 24
    folder = tmp_path / name
    folder.mkdir()
    (folder / "comparison.json").write_text(json.dumps({"cells": ["ddim"]}))
    (folder / "page.json").write_bytes(pickle.dumps(Malicious(marker)))
    assert Shelf(tmp_path).load(name) is None
    assert not marker.exists()
