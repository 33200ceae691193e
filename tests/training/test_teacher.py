"""What recipes share that start from a trained model."""

from __future__ import annotations

import shutil

import pytest

from tests.small_model import SIZE, save_small_model
from zoo.cli import main


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A model that calls a mushroom a toadstool, as one that was trained on other pictures may."""
    folder = save_small_model(tmp_path_factory.mktemp("models") / "other")
    tokenizer = folder / "tokenizer/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"mushroom"', '"toadstool"'))
    shutil.rmtree(folder / "control")
    return folder


@pytest.mark.parametrize(
    ("recipe", "option"), [("distill", "--teacher"), ("consistency", "--teacher"), ("controlnet", "--model")]
)
def test_a_model_is_not_trained_on_captions_that_it_does_not_know(
    recipe, option, elsewhere, tmp_path, capsys
):
    told = ["--out", str(tmp_path), "--size", str(SIZE), option, str(elsewhere)]
    assert main(["train", recipe, *told]) == 2
    error = capsys.readouterr().err
    assert "captions of tinyworld have words that the model does not know (mushroom)" in error
    assert "with --data" in error
