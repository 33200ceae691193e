"""What the README says is true: its versions, its commands, its examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import zoo
from zoo.cli import _parser
from zoo.method import Method
from zoo.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_plugin_example_works_and_is_ddim(tmp_path):
    source = next(block for block in blocks("python") if "class Euler" in block)
    (tmp_path / "mine.py").write_text(source)
    comparison = zoo.Comparison(model="mixture", seeds="0..2", cells=["mine/euler steps=13", "ddim steps=13"])
    result = zoo.compare(comparison, registry=Registry(tmp_path))
    assert [cell.error for cell in result.cells] == ["", ""]
    torch.testing.assert_close(result.cells[0].samples, result.cells[1].samples)


def test_the_python_example_runs():
    source = next(block for block in blocks("python") if "zoo.compare" in block).replace(
        "tinyworld", "gaussian"
    )
    names: dict = {}
    exec(source, names)
    assert names["result"].done
    assert "<img" in names["result"]._repr_html_()


def test_every_command_that_is_shown_can_be_parsed():
    import shlex

    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("python -m zoo")]
    assert commands
    for words in commands:
        arguments = _parser(words[3:]).parse_args(words[3:])
        for line in arguments.method or []:
            assert str(Method.parse(line)) == line


@pytest.mark.parametrize("path", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_what_is_linked_is_there(path):
    assert (ROOT / path).is_file()
