from __future__ import annotations

import math

import pytest
import torch

from zoo.claims import points as points_module
from zoo.claims import report as reporting
from zoo.claims import run as running
from zoo.claims.claims import CLAIMS, CURVES, Claim, Interval, Margin, ascending, judge, less
from zoo.claims.points import Points, asked_for
from zoo.engine import Engine
from zoo.method import Method
from zoo.planning import load_model, resolve
from zoo.registry import default_registry


@pytest.fixture
def small(monkeypatch):
    """Points of 4 batches of 4 pictures."""
    monkeypatch.setattr(points_module, "BATCH", 4)
    monkeypatch.setattr(points_module, "REFERENCE", 64)
    monkeypatch.setattr(running, "BATCH", 4)
    monkeypatch.setattr(running, "BLOCKS", 3)


def points(folder) -> Points:
    engine = Engine(torch.device("cpu"), torch.float32)
    return Points(load_model("tinyworld", default_registry()), default_registry(), engine, folder, 2, 2)


def test_an_interval_is_students():
    interval = Interval.of([1.0, 2.0, 3.0, 4.0])
    half = 3.182 * math.sqrt(5 / 3 / 4)
    assert interval.value == 2.5
    assert interval.low == pytest.approx(2.5 - half)
    assert interval.high == pytest.approx(2.5 + half)


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9], "holds"),
        ([2.0, 2.1, 1.9], [1.0, 1.1, 0.9], "does not hold"),
        ([1.0, 2.0, 3.0], [2.0, 1.0, 3.1], "undecided"),
    ],
)
def test_a_verdict_needs_an_interval_clear_of_zero(better, worse, verdict):
    claim = Claim("a is nearer than b", "must", (less("a", "b"),))
    finding = judge(claim, {"distance": {"a": better, "b": worse}.__getitem__}, 12)
    assert finding.verdict == verdict
    assert finding.to_dict()["n"] == 12
    assert finding.to_dict()["values"]["points"]["distance"]["a"][0] == pytest.approx(sum(better) / 3)


def test_every_margin_must_hold():
    claim = Claim("a, b, c ascend", "soft", ascending(["a", "b", "c"], "accuracy"))
    values = {"a": [0.1, 0.11, 0.1], "b": [0.5, 0.51, 0.5], "c": [0.3, 0.31, 0.3]}
    assert judge(claim, {"accuracy": values.__getitem__}, 3).verdict == "does not hold"
    values["c"] = [0.9, 0.91, 0.9]
    assert judge(claim, {"accuracy": values.__getitem__}, 3).verdict == "holds"


def test_a_factor_scales_what_is_worse():
    margin = less("a", "b", factor=0.5)
    assert margin.of(1.0, 3.0) == 0.5
    assert margin.of(1.0, 1.5) == -0.25


def test_every_method_that_is_named_exists():
    lines = {line for claim in CLAIMS for line in claim.lines} | {line for c in CURVES.values() for line in c}
    for line in lines:
        resolve(Method.parse(line), default_registry())
        assert str(Method.parse(line)) == line
    assert {claim.kind for claim in CLAIMS} == {"must", "soft"}
    assert all(isinstance(margin, Margin) and margin.lines for claim in CLAIMS for margin in claim.margins)


def test_pictures_come_in_pairs_and_blocks_differ():
    asked = asked_for(0, 0)
    assert asked[0::2] == asked[1::2]
    assert asked != asked_for(0, 1)
    assert asked != asked_for(1, 0)
    assert asked == asked_for(0, 0)


def test_measuring_goes_on_where_it_was_and_repeats_itself(small, tmp_path):
    line = "ddim steps=2"
    first = points(tmp_path / "a")
    assert list(first.missing(line)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    first.measure(line, 0, 0)
    assert list(points(tmp_path / "a").missing(line)) == [(0, 1), (1, 0), (1, 1)]
    with pytest.raises(FileNotFoundError):
        first.blocks_of(line)
    for at in first.missing(line):
        first.measure(line, *at)
    other = points(tmp_path / "b")
    for at in reversed(list(other.missing(line))):
        other.measure(line, *at)
    for one, two in zip(first.blocks_of(line), other.blocks_of(line), strict=True):
        assert one.features.shape == (8, 128)
        assert one.nfe == 2
        torch.testing.assert_close(one.features, two.features, rtol=1e-4, atol=1e-4)
        assert 0 <= one.accuracy <= 1
        assert one.diversity > 0


def test_real_pictures_show_what_is_asked(small, tmp_path):
    blocks = points(tmp_path).real_blocks()
    assert [block.accuracy for block in blocks] == [1.0, 1.0]
    assert points(tmp_path).reference.shape == (64, 128)


def test_a_run_judges_reports_and_says_what_it_could_not_measure(small, tmp_path, monkeypatch):
    claims = (
        Claim("two steps are better than one", "must", (less("ddim steps=2", "ddim steps=1"),), quick=True),
        Claim("none can be", "soft", (less("progressive_distillation steps=3", "ddim steps=1"),), quick=True),
        Claim("only in the full run", "soft", (less("ddim steps=3", "ddim steps=1"),)),
    )
    monkeypatch.setattr(running, "CLAIMS", claims)
    report = running.run("tinyworld", default_registry(), tmp_path / "points", True, "cpu", False)
    assert [finding.claim.text for finding in report.findings] == [claim.text for claim in claims[:2]]
    assert "distilled/3" in report.findings[1].reason
    assert report.findings[1].verdict == "undecided"
    assert report.pictures == 12
    assert "two steps are better" in reporting.text(report)
    page = tmp_path / "results.md"
    page.write_text(f"before\n\n{reporting.BEGIN}\n\nold\n\n{reporting.END}\n\nafter\n")
    for _ in range(2):
        reporting.write(report, page)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        assert text.count("| two steps are better than one | must |") == 1
    assert "<svg" in (tmp_path / "images/quality-nfe.svg").read_text()
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="must hold the lines"):
        reporting.write(report, page)


def test_exact_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="gaussian is none"):
        running.run("gaussian", default_registry(), tmp_path, True, "cpu", False)
