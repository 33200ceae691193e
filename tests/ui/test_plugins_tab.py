"""The plugins' tab: what became of each, and that what it says of installing and writing one is so."""

from __future__ import annotations

import re
import shlex

import pytest
import torch

import zoo
from zoo.cli import _parser as zoo_parser
from zoo.discovery import State
from zoo.registry import Registry
from zoo.ui import plugins_tab
from zoo.ui.words import LANGUAGES, table


def rows(registry: Registry) -> dict[str, str]:
    """The rows of the table by plugin, with that of its problem."""
    found = re.split(r"<tr><td><b>", plugins_tab.table(registry))[1:]
    return {row.partition("</b>")[0]: row for row in found}


def test_every_plugin_has_its_version_source_names_state_and_import_time(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom zoo import hookimpl\nZOO_API = 1\n__version__ = '2.5'\ntime.sleep(0.03)\n"
        "@hookimpl\ndef register_metrics():\n    return []\n"
    )
    registry = Registry(tmp_path)
    shown = rows(registry)
    assert list(shown) == [info.name for info in registry.plugins]
    assert f"<td>{zoo.__version__}</td>" in shown["ddim"] and "built-in" in shown["ddim"]
    assert "samplers: <code>ddim</code>" in shown["ddim"]
    assert 'data-state="loaded"' in shown["slow"] and "<td>2.5</td>" in shown["slow"]
    assert str(tmp_path / "slow.py") in shown["slow"]
    assert float(re.search(r"([\d.]+) ms", shown["slow"])[1]) >= 30


def test_a_broken_one_shows_its_traceback_and_a_disabled_one_no_time(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("ZOO_API = 1\nraise RuntimeError('<b>no</b>')\n")
    (tmp_path / "left_out.py").write_text("ZOO_API = 1\n")
    monkeypatch.setenv("ZOO_DISABLE", "left_out")
    shown = rows(Registry(tmp_path))
    assert ">Traceback</summary>" in shown["broken"] and "broken.py&quot;, line 2" in shown["broken"]
    assert "<b>no</b>" not in shown["broken"]
    assert 'data-state="failed"' in shown["broken"] and " ms<" in shown["broken"]
    assert 'data-state="disabled"' in shown["left_out"] and " ms<" not in shown["left_out"]


@pytest.mark.parametrize("state", State.__args__)
def test_every_state_is_explained_in_every_language(state):
    english, *others = (table(language)[f"plugins.state_{state}"] for language in LANGUAGES)
    assert english and all(others) and english not in others


def test_the_plugin_that_it_shows_works_and_is_ddim(tmp_path):
    path = re.match(r"# my_plugins/(\S+)", plugins_tab.EXAMPLE)[1]
    (tmp_path / path).write_text(plugins_tab.EXAMPLE)
    comparison = zoo.Comparison(model="mixture", seeds="0..2", cells=["mine/euler steps=7", "ddim steps=7"])
    result = zoo.compare(comparison, registry=Registry(tmp_path))
    assert [cell.error for cell in result.cells] == ["", ""]
    torch.testing.assert_close(result.cells[0].samples, result.cells[1].samples)


def test_its_commands_can_be_parsed():
    for command in plugins_tab.COMMANDS.values():
        words = [word for word in shlex.split(command) if not word.startswith("ZOO_")]
        if words[:2] == ["python", "app.py"]:
            zoo_parser(["page"]).parse_args(["page", *words[2:]])
        elif words[:3] == ["python", "-m", "zoo"]:
            zoo_parser(words[3:]).parse_args(words[3:])
        else:
            assert words[:2] == ["pip", "install"]
