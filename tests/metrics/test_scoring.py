"""Scoring in a comparison: after all cells, on the command line, and whatever a metric does."""

from __future__ import annotations

import json

import pytest
import torch

from zoo import Comparison, NoScore, compare, stream
from zoo.cli import main
from zoo.registry import Registry

SPECIMENS = """
from zoo import Absent, Field, Metric, MetricSpec, Score, hookimpl

ZOO_API = 1


class Brightness(Metric):
    class Params(Metric.Params):
        scale: float = Field(1.0, gt=0)

    def score(self, cell):
        return Score(cell.images.mean() * self.params.scale, len(cell.seeds), unit="%")


class Broken(Metric):
    def score(self, cell):
        raise RuntimeError("it broke")


class Leaving(Metric):
    def score(self, cell):
        raise SystemExit("and away")


class Infinite(Metric):
    def score(self, cell):
        return Score(float("nan"), 1)


class Wrong(Metric):
    def score(self, cell):
        return {"half": 0.5}


class Unwritten(Metric):
    pass


class Undeclared(Metric):
    def score(self, cell):
        return Score(float((cell.samples - cell.solution()).abs().mean()), len(cell.seeds))


class Declared(Undeclared):
    solves = True


@hookimpl
def register_metrics():
    found = [Brightness, Broken, Leaving, Infinite, Wrong, Unwritten, Undeclared, Declared]
    return [MetricSpec(m.__name__.lower(), m, title=m.__name__) for m in found] + [
        MetricSpec("missing", "no_such_module:Metric", title="Missing")
    ]
"""


@pytest.fixture(scope="module")
def plugins_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "mine.py").write_text(SPECIMENS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def registry(plugins_dir):
    return Registry(plugins_dir)


def comparison(*metrics: str, **fields) -> Comparison:
    cells = ("ddim steps=2", "ddim steps=8", "ddpm steps=2")
    given = {"model": "gaussian", "prompt": "dusk", "seeds": (0, 1), "cells": cells, "metrics": metrics}
    return Comparison(**{**given, **fields})


def test_a_failing_metric_harms_nothing_else(registry):
    names = [
        f"mine/{n}" for n in ("broken", "leaving", "infinite", "wrong", "unwritten", "missing", "brightness")
    ]
    result = compare(comparison(*names), registry=registry)
    assert result.done
    for cell in result.cells:
        *failed, brightness = (cell.metrics[name] for name in names)
        assert all(isinstance(score, NoScore) and score.failed for score in failed)
        assert brightness.value == pytest.approx(float(cell.images.mean()))
    reasons = [score.reason for score in failed]
    assert reasons[:2] == ["RuntimeError: it broke", "SystemExit: and away"]
    for reason, part in zip(
        reasons[2:], ("nan", "Score(value, n)", "define score", "no_such_module"), strict=True
    ):
        assert part in reason


def test_a_solution_is_for_metrics_that_declare_it(registry):
    result = compare(comparison("mine/undeclared", "mine/declared"), registry=registry)
    for cell in result.cells[:2]:
        undeclared, declared = cell.metrics["mine/undeclared"], cell.metrics["mine/declared"]
        assert undeclared.failed and "write solves = True" in undeclared.reason
        assert declared.value > 0
    assert all("draws noise" in score.reason for score in result.cells[2].metrics.values())


def test_a_cell_is_scored_when_it_ends_and_that_changes_nothing_of_it(registry):
    plain = compare(comparison(), registry=registry)
    events = list(stream(comparison("exact_error", "mine/brightness scale=2"), registry=registry))
    ends = [(event.kind, event.cell) for event in events if event.kind != "progress"]
    order = [cell for kind, cell in ends if kind == "done"]
    assert ends == [(kind, cell) for cell in order for kind in ("done", "scored")]
    ended = {event.cell: event.result for event in events if event.kind == "done"}
    for event in events:
        if event.kind == "scored":
            before = ended[event.cell]
            assert (event.result.seconds, event.result.nfe) == (before.seconds, before.nfe)
            assert torch.equal(event.result.images, plain.cells[event.cell].images)
            assert list(event.result.metrics) == ["exact_error", "mine/brightness scale=2"]
    assert all(cell.to_dict()["metrics"] == {} for cell in plain.cells)


def test_what_solves_the_ode_waits_for_all_cells(registry):
    metrics = ("mine/declared", "mine/brightness")
    work = stream(comparison(*metrics, cells=("ddim steps=2", "ddim steps=9")), registry=registry)
    kinds = [
        (event.kind, event.cell, list(event.result.metrics)) for event in work if event.kind != "progress"
    ]
    quick, both = ["mine/brightness"], ["mine/brightness", "mine/declared"]
    assert kinds == [
        ("done", 0, []),
        ("scored", 0, quick),
        ("done", 1, []),
        ("scored", 1, quick),
        ("scored", 0, both),
        ("scored", 1, both),
    ]


def test_cells_that_are_not_done_have_no_scores(registry):
    cells = ("ddim steps=1001", "ddim steps=2")
    with pytest.raises(ValueError, match="steps=1001"):
        compare(comparison("exact_error", cells=cells))
    short = comparison("exact_error", cells=("ddim steps=2", "ddim steps=8"))
    from zoo.limits import Limits

    result = compare(short, limits=Limits(nfe=4))
    assert [list(cell.metrics) for cell in result.cells] == [["exact_error"], []]


def test_cancelling_ends_the_scoring():
    scored: list[int] = []
    events = stream(comparison("exact_error"), cancelled=lambda: bool(scored))
    for event in events:
        if event.kind == "scored":
            scored.append(event.cell)
    assert scored == [0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("frechett", "there is no metric 'frechett'. Did you mean 'frechet'?"),
        (
            "mine/brightness scale=0",
            "in the metric 'mine/brightness scale=0': scale=0: input should be greater",
        ),
        ("exact_error size=2", "exact_error has no parameter 'size'; it has none"),
        ("exact_error | cfg", "holds a bar"),
        ("", "a name is missing"),
    ],
)
def test_wrong_metrics_are_refused_before_anything_runs(line, message, registry):
    with pytest.raises(ValueError) as error:  # noqa: PT011 – the message is compared below
        next(stream(comparison(line), registry=registry))
    assert message in str(error.value)


def test_scores_are_in_the_table_the_file_and_the_sheet(tmp_path, capsys, plugins_dir):
    arguments = ["compare", "--model", "gaussian", "--prompt", "dusk", "--seeds", "0..1", "--safe-mode"]
    arguments += ["--method", "ddim steps=2", "--method", "ddpm steps=2", "--out", str(tmp_path)]
    assert main([*arguments, "--metrics", "exact_error,frechet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["scores", "of", "2", "exact_error", "↓"]
    rows = sorted(lines[3:5])
    assert rows[0].startswith("ddim steps=2  0.") and " to " in rows[0] and rows[1].split()[-1] == "–"
    assert lines[5].startswith("frechet: absent: the bundled feature network knows tinyworld's")
    assert lines[6] == (
        "exact_error: absent: the method draws noise on the way: only its distribution can be judged "
        "[ddpm steps=2]"
    )
    ddim, ddpm = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    score = ddim["metrics"]["exact_error"]
    assert set(score) == {"value", "n", "low", "high", "better"}
    assert score["low"] < score["value"] < score["high"] and score["n"] == 2
    assert list(ddpm["metrics"]["exact_error"]) == ["absent"]
    again = Comparison.model_validate_json((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert [str(part) for part in again.metrics] == ["exact_error", "frechet"]
    result = compare(again)
    assert result.cells[0].to_dict()["metrics"]["exact_error"] == score
    assert "exact_error ↓ 0." in result._repr_html_()


def test_all_metrics_can_be_asked_for_at_once(capsys):
    arguments = ["compare", "--model", "mixture", "--prompt", "north", "--safe-mode", "--json"]
    assert main([*arguments, "--method", "ddim steps=2", "--metrics", "all"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert set(cell["metrics"]) == set(Registry(safe_mode=True).metrics)
    assert not [name for name, score in cell["metrics"].items() if "failed" in score]
    assert cell["metrics"]["exact_error"]["value"] > 0
