from __future__ import annotations

import math

import pytest
import torch

from zoo.claims import exact as exact_module
from zoo.claims import points as points_module
from zoo.claims import report as reporting
from zoo.claims import run as running
from zoo.claims import speed as timing
from zoo.claims.claims import Claim, Estimate, Interval, Margin, ascending, judge, least, less
from zoo.claims.exact import ExactPoints
from zoo.claims.measures import FLOORS, REFERENCE, Measures
from zoo.claims.papers import CLAIMS, CURVES
from zoo.claims.points import REAL, Drawn, Points, asked_for
from zoo.claims.run import order
from zoo.claims.speed import BASELINE, Setting, fastest
from zoo.engine import Engine
from zoo.method import Method
from zoo.metrics.distances import frechet_distance
from zoo.planning import load_model, resolve
from zoo.registry import default_registry


@pytest.fixture
def small(monkeypatch):
    """Batches of 8 pictures."""
    monkeypatch.setattr(points_module, "BATCH", 8)
    monkeypatch.setattr(running, "BATCH", 8)
    monkeypatch.setattr(running, "BLOCKS", 3)
    monkeypatch.setattr(running, "QUICK_PICTURES", 24)
    monkeypatch.setattr(timing, "TOGETHER", 8)


def points(folder) -> Points:
    engine = Engine(torch.device("cpu"), torch.float32)
    return Points(load_model("tinyworld", default_registry()), default_registry(), engine, folder, 2)


def estimates(**groups) -> dict:
    return {line: Estimate.mean(values) for line, values in groups.items()}


def test_the_jackknife_of_a_mean_is_students_interval():
    interval = Interval.of(Estimate.mean([1.0, 2.0, 3.0, 4.0]))
    half = 3.182446 * math.sqrt(5 / 3 / 4)
    assert interval.value == pytest.approx(2.5)
    assert interval.low == pytest.approx(2.5 - half)
    assert interval.high == pytest.approx(2.5 + half)


def test_the_jackknife_makes_the_variance_unbiased():
    x = torch.randn(12, generator=torch.Generator().manual_seed(0)).double()

    def variance(values):
        return float((values - values.mean()).square().mean())

    without = tuple(variance(x[torch.arange(12) != i]) for i in range(12))
    assert Interval.of(Estimate(variance(x), without)).value == pytest.approx(float(x.var()))


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
    finding = judge(claim, {"distance": estimates(a=better, b=worse).__getitem__}, 12)
    assert finding.verdict == verdict
    assert finding.to_dict()["n"] == 12
    assert finding.to_dict()["values"]["points"]["distance"]["a"][0] == pytest.approx(sum(better) / 3)


def test_every_margin_must_hold():
    claim = Claim("a, b, c ascend", "soft", ascending(["a", "b", "c"], "accuracy"))
    values = estimates(a=[0.1, 0.11, 0.1], b=[0.5, 0.51, 0.5], c=[0.3, 0.31, 0.3])
    assert judge(claim, {"accuracy": values.__getitem__}, 3).verdict == "does not hold"
    values |= estimates(c=[0.9, 0.91, 0.9])
    assert judge(claim, {"accuracy": values.__getitem__}, 3).verdict == "holds"


def test_a_factor_scales_what_is_worse():
    margin = less("a", "b", factor=0.5)
    (of,) = margin.of
    assert of(1.0, 3.0) == 0.5
    assert of(1.0, 1.5) == -0.25


def test_of_several_alternatives_one_is_enough_at_a_stricter_level():
    claim = Claim("the best is near", "soft", (least(["a", "b"], "c", "best of a, b", factor=2),))
    values = estimates(a=[5.0, 5.1, 4.9], b=[1.0, 1.1, 0.9], c=[1.0, 1.0, 1.0])
    finding = judge(claim, {"distance": values.__getitem__}, 3)
    half = 6.205 * math.sqrt(0.02 / 2 / 3)  # Student's t of 2 degrees, 98.75 %
    assert finding.verdict == "holds"
    assert finding.margins[0].low == pytest.approx(1 - half, rel=1e-3)
    values |= estimates(b=[3.0, 3.1, 2.9])
    assert judge(claim, {"distance": values.__getitem__}, 3).verdict == "does not hold"


def test_the_best_of_several_is_not_flattered():
    """Where all alternatives are exactly at the bound, few of 400 claims of four may hold: 2.5 % by right."""
    generator = torch.Generator().manual_seed(0)
    names = ["a", "b", "c", "d"]
    claim = Claim("the best is near", "soft", (least(names, "bound", "best of four"),))
    held = 0
    for _ in range(400):
        drawn = {name: 1 + torch.randn(16, generator=generator) for name in names}
        values = {name: Estimate.mean(groups.tolist()) for name, groups in drawn.items()}
        values["bound"] = Estimate.mean([1.0] * 16)
        held += judge(claim, {"distance": values.__getitem__}, 16).verdict == "holds"
    assert held <= 400 * 0.05


def test_every_method_that_is_named_can_be_read():
    lines = {line for claim in CLAIMS for margin in claim.margins for line in margin.lines}
    lines |= {line for curve in CURVES.values() for line in curve}
    for line in lines:
        assert str(Method.parse(line)) == line
        if not line.startswith("consistency "):
            resolve(Method.parse(line), default_registry())
    assert {claim.kind for claim in CLAIMS} == {"must", "soft"}
    assert all(isinstance(margin, Margin) and margin.lines for claim in CLAIMS for margin in claim.margins)


def test_pictures_come_in_pairs_and_blocks_differ():
    asked = asked_for(0, 0)
    assert asked[0::2] == asked[1::2]
    assert asked != asked_for(0, 1)
    assert asked != asked_for(1, 0)
    assert asked == asked_for(0, 0)


def test_the_order_is_breadth_first_and_the_longest_come_last():
    costs = {"b": 20, "a": 5, "long": 1000}
    assert list(order(costs, 4)) == [
        *[("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2), ("b", 3)],
        *[("long", batch) for batch in range(4)],
    ]
    assert sorted(order({"a": 1}, 6)) == [("a", batch) for batch in range(6)]


def test_measuring_goes_on_where_it_was_and_repeats_itself(small, tmp_path):
    line = "ddim steps=2"
    first = points(tmp_path / "a")
    first.measure(line, 0, 0)
    assert first.batches(line) == 0
    with pytest.raises(FileNotFoundError):
        first.read(line, 1)
    first.measure(line, 1, 0)
    assert points(tmp_path / "a").batches(line) == 1
    other = points(tmp_path / "b")
    other.measure(line, 1, 0)
    other.measure(line, 0, 0)
    one, two = first.read(line, 1), other.read(line, 1)
    assert one.features.shape == (8, 2, 128)
    assert one.right.shape == (8, 2, 3)
    assert one.nfe == 2
    torch.testing.assert_close(one.features, two.features, rtol=1e-4, atol=1e-4)
    measures = Measures(first, 1)
    assert 0 <= measures.accuracy(line).value <= 1
    assert measures.diversity(line).value > 0
    assert len(measures.distance(line).without) == 8


def test_groups_hold_the_same_prompts_for_drawn_and_real_pictures(small, tmp_path):
    found = points(tmp_path)
    batches = [
        torch.full((8,), 100 * batch + 10 * block) + torch.arange(8) for batch in (0, 1) for block in (0, 1)
    ]
    assert found._grouped(batches).tolist()[5] == [12, 13, 112, 113]
    prompts = [values.unflatten(0, (4, 2))[:, 0] for values in batches]
    assert found._grouped(prompts).tolist()[5] == [12, 112]


def test_real_pictures_are_kept(small, tmp_path):
    real = points(tmp_path).real(1)
    assert real.shape == (8, 1, REAL, 128)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert torch.equal(points(tmp_path).real(1), real)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == kept


class Synthetic:
    """Points whose features are drawn from N(prompt's own mean, 1), shifted where `shift` is not 0."""

    def __init__(self, seed: int, shift: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        prompts = 2 * torch.randn(16, 8, 1, 3, generator=generator)
        self._real = prompts + torch.randn(16, 8, REAL, 3, generator=generator)
        self._drawn = prompts + torch.randn(16, 8, 2, 3, generator=generator) + shift

    def real(self, batches: int) -> torch.Tensor:
        return self._real

    def read(self, line: str, batches: int) -> Drawn:
        return Drawn(self._drawn.flatten(1, 2), torch.ones(16, 16, 3, dtype=torch.bool), 1)


def test_real_pictures_are_at_distance_0_in_19_of_20_samples():
    intervals = [Interval.of(Measures(Synthetic(seed), 1).distance("")) for seed in range(60)]
    values = torch.tensor([interval.value for interval in intervals])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals) / len(intervals)
    assert 0.88 <= covered <= 1


def test_the_distance_is_frechets_and_finds_a_shift():
    shifted = Synthetic(0, shift=0.5)
    measures = Measures(shifted, 1)
    reference = shifted._real[:, :, :REFERENCE].flatten(0, 2)
    drawn = shifted._drawn.flatten(0, 2)
    real = shifted._real[:, :, REFERENCE:].unflatten(2, (FLOORS, 2)).movedim(2, 0).flatten(1, 3)
    floor = sum(frechet_distance(one, reference) for one in real) / FLOORS
    assert measures.floor.value == pytest.approx(floor, rel=1e-6)
    assert measures.distance("").value == pytest.approx(frechet_distance(drawn, reference) - floor, rel=1e-6)
    some = torch.arange(16) != 3
    without = frechet_distance(
        shifted._drawn[some].flatten(0, 2), shifted._real[some, :, :REFERENCE].flatten(0, 2)
    )
    assert measures.distance("").without[3] == pytest.approx(without - measures.floor.without[3], rel=1e-6)
    interval = Interval.of(measures.distance(""))
    assert interval.low <= 3 * 0.5**2 <= interval.high
    assert interval.low > 0


def test_on_exact_models_the_energy_distance_sees_one_step_and_the_error_shrinks(monkeypatch):
    monkeypatch.setattr(exact_module, "SAMPLES", 256)
    monkeypatch.setattr(exact_module, "REFERENCE", 512)
    found = ExactPoints(default_registry(), Engine(torch.device("cpu"), torch.float32)).by_name()
    one, many = (found["energy on mixture"](f"ddim steps={n}") for n in (1, 50))
    assert Interval.of(one).low > Interval.of(many).high
    assert Interval.of(many).low < 0.01
    coarse, fine = (found["error on mixture"](f"ddim steps={n}").value for n in (10, 20))
    assert 1.5 < coarse / fine < 3


def test_the_fastest_is_the_cheapest_that_is_good_enough():
    seconds = {"ddpm steps=50": 0.5, BASELINE: 10.0, "ddim steps=5": 0.1, "ddim steps=10": 0.2}
    distance = {"ddpm steps=50": 1.0, BASELINE: 0.5, "ddim steps=5": 0.7, "ddim steps=10": 0.6}
    curves = {"DDPM": ["ddpm steps=50", BASELINE], "DDIM": ["ddim steps=5", "ddim steps=10"], "none": []}

    def near(line):
        margin = 1.2 * distance[BASELINE] - distance[line]
        return Interval(margin, margin - 1, margin + 1)

    def wrong(line):
        return {"ddpm steps=50": 0.1}.get(line, 0.0)

    found = fastest(curves, BASELINE, 2048, seconds, near, wrong)
    assert found.complete and found.baseline == BASELINE
    assert found.by_distance["DDIM"] == Setting("ddim steps=10", pytest.approx(50), near("ddim steps=10"))
    assert found.by_accuracy["DDIM"] == Setting("ddim steps=5", pytest.approx(100))
    assert found.by_accuracy["DDPM"].times == pytest.approx(1)
    assert found.by_distance["none"] is None
    assert not fastest({}, "ddpm steps=50", 2048, seconds, near, wrong).complete


def test_methods_are_timed_side_by_side_once_they_are_measured(small, tmp_path, monkeypatch):
    curves = {"DDPM": ("ddpm steps=4", "ddpm steps=2"), "DDIM": ("ddim steps=1", "ddim steps=3")}
    monkeypatch.setattr(running, "CURVES", curves)
    monkeypatch.setattr(running, "CLAIMS", ())
    monkeypatch.setattr(timing, "LEAST", 0.0)
    found = points(tmp_path)
    for line in ("ddpm steps=4", "ddpm steps=2", "ddim steps=1"):
        for block in range(3):
            found.measure(line, block, 0)

    def run(**options):
        return running.run("tinyworld", default_registry(), tmp_path, False, "cpu", False, 24, **options)

    drawn = []
    draw = Points.draw
    monkeypatch.setattr(
        Points,
        "draw",
        lambda self, line, *more: drawn.append((line, len(more[-1]))) or draw(self, line, *more),
    )
    report = run(time=True)
    assert drawn == 2 * [("ddim steps=1", 8), ("ddpm steps=2", 8), ("ddpm steps=4", 8)]
    assert [p.seconds > 0 for p in (*report.curves["DDPM"], *report.curves["DDIM"])] == [True] * 3
    assert report.speed.baseline == "ddpm steps=4" and report.speed.n == 24
    assert report.speed.by_distance["DDPM"].line in curves["DDPM"]
    assert report.speed.by_accuracy["DDPM"].margin is None
    assert "ddpm steps=4" in reporting.text(report)
    page = tmp_path / "results.md"
    page.write_text(f"{reporting.BEGIN}{reporting.END}")
    reporting.write(report, page)
    assert "(images/quality-time.svg)" in page.read_text()
    assert "<svg" in (tmp_path / "images/quality-time.svg").read_text()
    assert timing.seconds(points(tmp_path))("ddim steps=3") is None
    kept = tmp_path / "seconds.json"
    kept.write_text(kept.read_text().replace("cpu, ", "another, "))
    monkeypatch.setattr(Points, "measure", lambda *_: None)
    report = run()
    assert report.speed is None and report.curves["DDIM"][0].seconds is None


def test_a_run_judges_reports_and_says_what_it_could_not_measure(small, tmp_path, monkeypatch):
    claims = (
        Claim("two steps are better than one", "must", (less("ddim steps=2", "ddim steps=1"),), quick=True),
        Claim("none can be", "soft", (less("progressive_distillation steps=3", "ddim steps=1"),), quick=True),
        Claim("not there", "soft", (less("nowhere steps=3", "ddim steps=1"),), quick=True),
        Claim("only in the full run", "soft", (less("ddim steps=3", "ddim steps=1"),)),
    )
    monkeypatch.setattr(running, "CLAIMS", claims)
    monkeypatch.setattr(
        running, "CURVES", {"DDIM": ("ddim steps=1", "ddim steps=2"), "x": ("nowhere steps=4",)}
    )
    report = running.run("tinyworld", default_registry(), tmp_path / "points", True, "cpu", False)
    assert [finding.claim.text for finding in report.findings] == [claim.text for claim in claims[:3]]
    assert report.findings[0].n == 24
    assert "distilled/3" in report.findings[1].reason
    assert "nowhere" in report.findings[2].reason
    assert report.findings[1].verdict == "undecided"
    assert [p.n for p in report.curves["DDIM"]] == [24, 24]
    assert "two steps are better" in reporting.text(report)
    page = tmp_path / "results.md"
    page.write_text(f"before\n\n{reporting.BEGIN}\n\nwas here\n\n{reporting.END}\n\nafter\n")
    for _ in range(2):
        reporting.write(report, page)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "was here" not in text
        assert text.count("| two steps are better than one | must |") == 1
    assert "<svg" in (tmp_path / "images/quality-nfe.svg").read_text()
    assert "No times" in text and not (tmp_path / "images/quality-time.svg").exists()
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="must hold the lines"):
        reporting.write(report, page)


def test_a_method_that_fails_is_left_out_and_an_interrupt_judges_what_there_is(small, tmp_path, monkeypatch):
    claims = (
        Claim("fails", "soft", (less("ddim steps=2", "ddim steps=1"),), quick=True),
        Claim("came first", "soft", (less("ddim steps=1", "ddim steps=3"),), quick=True),
    )
    monkeypatch.setattr(running, "CLAIMS", claims)
    monkeypatch.setattr(running, "CURVES", {})
    measured = []

    def measure(self, line, block, batch):
        if line == "ddim steps=2":
            raise RuntimeError("it broke")
        if line == "ddim steps=3":
            raise KeyboardInterrupt
        measured.append((line, block, batch))

    monkeypatch.setattr(Points, "measure", measure)
    report = running.run("tinyworld", default_registry(), tmp_path, True, "cpu", False)
    assert measured == [("ddim steps=1", block, 0) for block in range(3)]
    assert report.findings[0].reason == "it broke"
    assert report.findings[1].reason.startswith("not measured yet: ddim steps=1")


def test_exact_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="gaussian is none"):
        running.run("gaussian", default_registry(), tmp_path, True, "cpu", False)


def test_pictures_come_in_whole_blocks(tmp_path):
    with pytest.raises(ValueError, match="multiple of 256, got 300"):
        running.run("tinyworld", default_registry(), tmp_path, False, "cpu", False, pictures=300)
