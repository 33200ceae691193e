"""Plugins that break outside of `sample`, in what they declare or while they are made: page and other cells go on."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo
from zoo.registry import Registry
from zoo.ui import page, plugins_tab
from zoo.ui.running import Runner
from zoo.ui.runs import new_run
from zoo.ui.shelf import Shelf

SOURCE = """
from zoo import Field, Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Odd(Sampler):
    class Params(Sampler.Params):
        steps: int = Field(3, ge=1, le=9, title="Steps")
    def sample(self, x, levels, noise):
        prediction = yield Query(x, levels[0])
        return prediction.x0

{change}

@hookimpl
def register_samplers():
    return [SamplerSpec("odd", {implementation}, title="Odd")]
"""


def method(name: str, body: str) -> str:
    """Lines that give `Odd` another method."""
    return f"def other(self, *arguments):\n    {body}\nOdd.{name} = other"


PARAMS = "class Params(Sampler.Params):\n    steps: int = Field({}, title='Steps')\nOdd.Params = Params"
MUTE = "class Mute(Exception):\n    def __str__(self): raise ValueError\n"
FAILING = {
    "missing": ("", "'no_such_module:Odd'", "importing no_such_module:Odd failed"),
    "no_sampler": ("", "dict", "'dict' object has no attribute"),
    "raises_when_made": ("", "lambda params: 1 / 0", "ZeroDivisionError: division by zero"),
    "exits_when_made": (method("__init__", "raise SystemExit('bye')"), "Odd", "SystemExit: bye"),
    "no_params": ("Odd.Params = dict", "Odd", "must be a pydantic model class"),
    "no_default": (PARAMS.format("default_factory=lambda: 1 / 0"), "Odd", "ZeroDivisionError"),
    "levels_raises": (method("levels", "raise RuntimeError('none')"), "Odd", "RuntimeError: none"),
    "levels_exits": (method("levels", "raise SystemExit('bye')"), "Odd", "SystemExit: bye"),
    "levels_a_list": (
        method("levels", "return [1, 2]"),
        "Odd",
        "must return zoo.Levels, this one returned list",
    ),
    "requires_raises": (method("requires", "raise RuntimeError('none')"), "Odd", "RuntimeError: none"),
    "mute": (MUTE + method("sample", "raise Mute\n    yield"), "Odd", "Mute"),
    "base": (method("sample", "raise BaseException('base')\n    yield"), "Odd", "BaseException: base"),
    "closes": (method("sample", "raise GeneratorExit\n    yield"), "Odd", "GeneratorExit"),
}
"""What is changed, the implementation, and the error of its cell."""

HARMLESS = {
    "check_raises": method("check", "raise RuntimeError('none')"),
    "stochastic_raises": method("is_stochastic", "raise RuntimeError('none')"),
    "schema_raises": "Odd.Params.model_json_schema = classmethod(lambda cls, *a, **k: 1 / 0)",
    "script": PARAMS.format("3, ge=1").replace("'Steps'", "'<script>alert(1)</script>'"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("specimens")
    for name, (change, implementation, _) in FAILING.items():
        (folder / f"{name}.py").write_text(SOURCE.format(change=change, implementation=implementation))
    for name, change in HARMLESS.items():
        (folder / f"{name}.py").write_text(SOURCE.format(change=change, implementation="Odd"))
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("ZOO_PLUGINS", "ZOO_DISABLE", "ZOO_STRICT"):
            patch.delenv(variable, raising=False)
        patch.setenv("ZOO_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield Registry(folder)


@pytest.mark.parametrize("name", FAILING)
def test_what_cannot_be_made_or_started_fails_in_its_own_cell(name, registry):
    comparison = zoo.Comparison(model="gaussian", cells=[f"{name}/odd", "ddim steps=2"])
    odd, ddim = zoo.compare(comparison, registry=registry).cells
    assert (odd.status, ddim.status) == ("failed", "done")
    assert FAILING[name][2] in odd.error
    (info,) = [info for info in registry.plugins if info.name == name]
    assert info.error == f"in use: {name}/odd: {odd.error}"


def test_what_only_the_kit_finds_runs(registry):
    lines = [f"{name}/odd" for name in HARMLESS]
    found = zoo.compare(zoo.Comparison(model="gaussian", cells=lines), registry=registry)
    assert found.done, [cell.error for cell in found.cells]


def test_the_page_is_built_with_all_of_them(registry, tmp_path):
    page.build(registry, Runner(registry, "cpu", Shelf(tmp_path)))
    table = plugins_tab.table(registry)
    assert all(f"{name}/odd" in table for name in (*FAILING, *HARMLESS))
    run = new_run(zoo.Comparison(model="gaussian", cells=["stochastic_raises/odd"]), [], registry)
    assert run.stochastic == [False]


def test_ctrl_c_in_a_method_still_ends_the_program(tmp_path):
    change = method("sample", "raise KeyboardInterrupt\n    yield")
    (tmp_path / "specimen.py").write_text(SOURCE.format(change=change, implementation="Odd"))
    with pytest.raises(KeyboardInterrupt):
        zoo.compare(zoo.Comparison(model="gaussian", cells=["specimen/odd"]), registry=Registry(tmp_path))
