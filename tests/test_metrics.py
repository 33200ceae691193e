"""Metrics: numbers that agree with closed forms and other libraries, and reasons where there is no number."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import itertools
import json
import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from tests.helpers import CPU, by_hand, finish, leaning_mixture, make_cell, make_engine
from zoo import Absent, Comparison, Finished, Metric, NoScore, Score, compare, stream
from zoo.cli import main
from zoo.data.tinyworld import PHRASES, caption, draw_attributes, named
from zoo.method import Method, Part
from zoo.metrics import pretrained
from zoo.metrics.distances import energy_distance, frechet_distance, kernel_distance, precision_recall
from zoo.metrics.exact import EnergyDistance, ExactError
from zoo.metrics.intervals import mean_interval, pairs_interval, student, wilson
from zoo.metrics.pictures import Diversity, Frechet, Kernel, PrecisionRecall, PromptAccuracy
from zoo.metrics.pretrained import FID, INCEPTION, CLIPScore
from zoo.metrics.solution import FineSolution, SolutionError
from zoo.noise import start_noise
from zoo.planning import load_model, resolve
from zoo.registry import Registry, default_registry
from zoo.schedule import Levels
from zoo.scoring import score_cells


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exactly(mean, covariance, n: int = 200) -> torch.Tensor:
    """A sample that has just this mean and covariance."""
    z = vectors(n, len(mean))
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T)).T)
    return z @ torch.linalg.cholesky(torch.tensor(covariance, dtype=torch.float64)).T + torch.tensor(
        mean, dtype=torch.float64
    )


def finished(model="tinyworld", images=None, samples=None, prompt="", method="ddim", solve=None) -> Finished:
    """A cell that drew these; a model's name or a model."""
    model = load_model(model, default_registry()) if isinstance(model, str) else model
    sampler, conditioners = resolve(Method.parse(method), default_registry())
    given = images if samples is None else samples
    images = given if images is None else images
    return Finished(
        images, given, model, prompt, tuple(range(len(given))), sampler, tuple(conditioners), CPU, solve
    )


@functools.cache
def real_pictures(prompt: str, n: int, seed: int = 5) -> torch.Tensor:
    return load_model("tinyworld", default_registry()).data(prompt, n, seed)


def ran(model, method: str, seeds=range(3), prompt: str = "") -> dict[str, Score | NoScore]:
    """The scores of a cell that really ran."""
    (cell,) = finish(make_cell(model, method, seeds, prompt=prompt))
    assert cell.status == "done", cell.traceback
    metrics = {Part("exact"): ExactError(), Part("solution"): SolutionError()}
    ((_, scores),) = score_cells(metrics, {0: (cell, torch.zeros(len(seeds), 3, 2, 2))}, make_engine())
    return scores


def test_frechet_distance_of_gaussians_is_the_closed_form():
    turn = torch.linalg.qr(vectors(3, 3))[0]
    first, second = torch.tensor([4.0, 1.0, 0.25]).double(), torch.tensor([1.0, 9.0, 0.0001]).double()
    x = exactly([1.0, 2, 3], (turn @ first.diag() @ turn.T).tolist())
    y = exactly([0.0, 2, 5], (turn @ second.diag() @ turn.T).tolist())
    expected = 5 + float((first.sqrt() - second.sqrt()).square().sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(12, rel=1e-9)


@pytest.mark.parametrize("n", [60, 5])
def test_frechet_distance_agrees_with_the_square_root_of_the_product(n):
    """Also with fewer vectors than dimensions, where the covariance is singular."""
    x, y = vectors(n, 8) @ vectors(8, 8, seed=1), vectors(50, 8, seed=2) * torch.arange(1, 9) + 0.3
    c_x, c_y = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = np.sqrt(np.clip(np.linalg.eigvals(c_x @ c_y).real, 0, None)).sum()
    if n == 60:
        assert root == pytest.approx(np.trace(scipy.linalg.sqrtm(c_x @ c_y)).real, rel=1e-9)
    means = float((x.mean(0) - y.mean(0)).square().sum())
    assert frechet_distance(x, y) == pytest.approx(means + np.trace(c_x + c_y) - 2 * root, rel=1e-6)


def test_kernel_distance_agrees_with_a_double_loop():
    x, y = vectors(6, 4), vectors(5, 4, seed=1) + 0.5

    def mean_kernel(pairs) -> float:
        return float(np.mean([(float(a @ b) / 4 + 1) ** 3 for a, b in pairs]))

    within = sum(mean_kernel(itertools.permutations(z, 2)) for z in (x, y))
    expected = within - 2 * mean_kernel(itertools.product(x, y))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased():
    found = torch.tensor(
        [kernel_distance(vectors(8, 3, seed=s), vectors(8, 3, seed=-s)) for s in range(1, 400)]
    )
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5


def test_precision_and_recall_tell_wrong_pictures_from_missing_ones():
    real = torch.arange(20.0)[:, None]
    assert precision_recall(real + 0.25, real) == (20, 20)
    half, strays = real[:10] + 0.25, torch.arange(100.0, 110)[:, None]
    assert precision_recall(half, real) == (10, 13), "real 10, 11 and 12 are within the last balls"
    # The strays lie outside the real manifold, and the balls around them reach no real vector.
    assert precision_recall(torch.cat([half, strays]), real) == (10, 13)
    assert precision_recall(strays, real) == (0, 0)


def test_precision_and_recall_follow_the_definition():
    fake, real, k = vectors(30, 3) + 1.5, vectors(25, 3, seed=1), 3

    def covered(points, centres) -> int:
        def radius(centre) -> float:
            return sorted(float((centre - other).norm()) for other in centres)[k]

        return sum(any(float((p - c).norm()) <= radius(c) for c in centres) for p in points)

    expected = covered(fake, real), covered(real, fake)
    assert precision_recall(fake, real, k) == expected
    assert 0 < expected[0] < 30 and 0 < expected[1] < 25, "neither all nor nothing, or this would show little"


def test_energy_distance_agrees_with_scipy_in_one_dimension():
    x, y = vectors(40, 1), vectors(30, 1, seed=1) * 2 + 0.5
    expected = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-6)
    corner = torch.tensor([[3.0, 4.0]])
    assert energy_distance(torch.zeros(1, 2), corner) == pytest.approx(math.sqrt(10))


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (50, 100), (100, 100)])
def test_wilson_holds_the_proportions_that_the_count_does_not_contradict(hits, n):
    """At its ends the observed share is just 1.96 standard deviations away (Wilson's own definition)."""
    for end in wilson(hits, n):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(hits / n - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / n))


def test_student_agrees_with_scipy():
    for degrees in (1, 2, 9, 30, 31, 60, 1000):
        assert student(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), abs=0.005)


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = vectors(6).abs() + 1
    mean, low, high = mean_interval(values)
    expected = scipy.stats.t.interval(0.95, 5, mean, scipy.stats.sem(values.numpy()))
    assert (low, high) == pytest.approx(expected, abs=1e-3)
    assert mean_interval(values[:1]) == (float(values[0]), None, None)


def test_the_interval_of_pairs_is_the_jackknifes():
    x = vectors(7, 2)
    pairs = torch.cdist(x, x)

    def mean_of(rows) -> float:
        return float(np.mean([float(pairs[i, j]) for i, j in itertools.permutations(rows, 2)]))

    left_out = [mean_of([j for j in range(7) if j != i]) for i in range(7)]
    error = math.sqrt(6 / 7 * sum((v - np.mean(left_out)) ** 2 for v in left_out))
    mean, low, high = pairs_interval(pairs)
    assert mean == pytest.approx(mean_of(range(7)))
    assert (low, high) == pytest.approx((mean - 2.447 * error, mean + 2.447 * error))
    assert pairs_interval(pairs[:2, :2])[1:] == (None, None)


def test_a_caption_names_what_is_read_from_it():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        attributes = draw_attributes(rng)
        text = caption(attributes, rng)
        found = named(text)
        assert found["kind"] == attributes.kind
        assert all(getattr(attributes, name) == value for name, value in found.items()), text
        assert ("colour" in found) == (attributes.colour in text.split())
        assert ("scene" in found) == (PHRASES[attributes.scene] in text)
        assert ("place" in found) == (
            " on the " in text.replace("on the beach", "") or "in the middle" in text
        )
    assert named("Snow, CATS; a cat facing right.") == {"scene": "snow", "kind": "cat", "facing": "right"}
    assert named("") == named("a photograph") == {}


def test_real_pictures_of_a_prompt_show_what_it_names():
    prompt = "a red mushroom at night"
    scores = PromptAccuracy().score(finished(images=real_pictures(prompt, 60), prompt=prompt))
    assert list(scores) == ["kind", "colour", "scene"]
    for score in scores.values():
        assert score.value > 0.95 and score.n == 60
        assert (score.low, score.high) == wilson(round(score.value * 60), 60)


def test_pictures_of_something_else_are_not_accurate():
    images = real_pictures("a red mushroom at night", 60)
    scores = PromptAccuracy().score(finished(images=images, prompt="blue fish"))
    assert list(scores) == ["kind", "colour"]
    assert max(score.value for score in scores.values()) < 0.05


def test_real_pictures_score_like_real_pictures_and_others_worse():
    prompt = "a red mushroom at night"
    good = finished(images=real_pictures(prompt, 256), prompt=prompt)
    bad = finished(images=real_pictures("a cat", 256), prompt=prompt)
    frechet, far = Frechet().score(good), Frechet().score(bad)
    assert frechet.value == pytest.approx(frechet.real, rel=0.6)
    assert far.value > 5 * frechet.value and far.real == frechet.real and far.n == 256
    kernel, far = Kernel().score(good), Kernel().score(bad)
    assert kernel.low < 0 < kernel.high and far.low > kernel.high
    within, outside = PrecisionRecall().score(good), PrecisionRecall().score(bad)
    for name in ("precision", "recall"):
        assert within[name].value == pytest.approx(within[name].real, abs=0.15)
        assert outside[name].value < 0.2 < within[name].low


def test_diversity_falls_when_pictures_repeat():
    varied = real_pictures("a cat", 40)
    same = finished(images=varied[:8].repeat(5, 1, 1, 1), prompt="a cat")
    many, few = Diversity().score(finished(images=varied, prompt="a cat")), Diversity().score(same)
    assert many.low < many.real < many.high
    assert few.value < 0.95 * many.value
    once = Diversity().score(finished(images=varied[:1].expand(4, -1, -1, -1), prompt="a cat"))
    assert once.value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "cell", "reason"),
    [
        (PromptAccuracy, {"prompt": ""}, "names no kind, colour or scene"),
        (
            PromptAccuracy,
            {"model": "gaussian", "prompt": "red"},
            "knows tinyworld's pictures, not gaussian's",
        ),
        (Diversity, {"n": 1}, "needs at least 2 pictures, there are 1"),
        (Frechet, {"n": 4}, "needs at least 256 pictures, there are 4"),
        (Kernel, {"n": 4}, "needs at least 100 pictures, there are 4"),
        (PrecisionRecall, {"n": 4}, "needs at least 100 pictures, there are 4"),
        (SolutionError, {"method": "ddpm"}, "draws noise on the way"),
        (SolutionError, {"method": "ddim eta=0.5"}, "draws noise on the way"),
        (ExactError, {}, "tinyworld is not an exact model"),
        (ExactError, {"model": "gaussian"}, "no closed form: name one of dawn, noon"),
        (ExactError, {"model": "gaussian", "prompt": "dusk", "method": "ddim | cfg"}, "under conditioners"),
        (ExactError, {"model": "gaussian", "prompt": "dusk", "method": "ddpm"}, "draws noise on the way"),
        (EnergyDistance, {"model": "gaussian", "n": 19}, "needs at least 20 pictures"),
        (FID, {"n": 4}, "needs at least 2049 pictures"),
        (CLIPScore, {"prompt": " "}, "there is no prompt"),
    ],
)
def test_what_does_not_apply_says_why(metric, cell, reason):
    images = torch.zeros(cell.pop("n", 3), 3, 32, 32)
    with pytest.raises(Absent, match=reason):
        metric().score(finished(images=images, **cell))


def test_the_fine_solution_converges_to_the_exact_one_in_second_order():
    """Down to the cleanest level that has noise; the first-order step from there on would hide the order."""
    model, x = leaning_mixture(), vectors(5, 2)
    errors = []
    for steps in (20, 40, 80):
        sampler = FineSolution(FineSolution.Params(steps=steps))
        levels = sampler.levels(model.schedule)
        assert levels.steps == steps
        levels = Levels(levels[:-1])
        solved, _ = by_hand(sampler, x, levels, lambda x, level: model.x0(x, level, 1))
        errors.append(float((solved - model.solve(x, levels[0], levels[-1], 1)).norm()))
    assert all(before / after > 3.3 for before, after in itertools.pairwise(errors)), errors
    assert errors[-1] < 3e-3


def test_the_errors_of_ddim_fall_with_its_steps_and_agree():
    found = [ran(leaning_mixture(), f"ddim steps={steps}", prompt="moon") for steps in (4, 16, 64)]
    exact = [scores["exact"].value for scores in found]
    assert exact[0] > 2.5 * exact[1] > 6 * exact[2] > 0, exact
    assert [scores["solution"].value for scores in found] == pytest.approx(exact, abs=1e-3)
    assert found[0]["exact"].n == 3 and found[0]["exact"].better == "lower"


def test_starting_below_the_noisiest_level_counts_as_error():
    model = leaning_mixture()
    noise = torch.from_numpy(start_noise(range(5), model.shape))
    errors = []
    for spacing in ("trailing", "leading"):
        start, end = model.schedule.levels(10, spacing)[0], model.schedule.clean
        exact = model.solve(noise, start, end, 1)
        errors.append(ExactError().score(finished(model, samples=exact, prompt="moon")).value)
    assert errors[0] == 0 and errors[1] > 0.02


def test_a_guided_method_is_held_against_the_guided_solution():
    scores = [ran(leaning_mixture(), f"ddim steps={n} | cfg scale=2", prompt="sun") for n in (5, 200)]
    assert scores[0]["solution"].value > 10 * scores[1]["solution"].value
    assert scores[0]["exact"] == NoScore("there is no closed form under conditioners")


def test_a_solution_is_solved_once_for_all_that_share_it():
    class Counting(type(leaning_mixture())):
        asked = 0

        def x0(self, *arguments):
            self.asked += 1
            return super().x0(*arguments)

    model = Counting([[0.0, 0]], [[1.0, 1]], ("one",))
    lines = [
        "ddim steps=2",
        "ddim steps=3",
        "ddim steps=2 | cfg scale=2",
        "ddim steps=3 | cfg",
        "ddpm steps=2",
    ]
    cells = finish(*(make_cell(model, line, prompt="one") for line in lines))
    model.asked = 0
    pairs = {i: (cell, torch.zeros(1, 3, 2, 2)) for i, cell in enumerate(cells)}
    scores = dict(score_cells({Part("s"): SolutionError()}, pairs, make_engine()))
    evaluations = 2 * 100  # two a step, but one for the last
    assert model.asked == (evaluations - 1) * (1 + 2 + 2), "no guidance, scale 2 and scale 3"
    assert [isinstance(s["s"], Score) for s in scores.values()] == [True] * 4 + [False]


def test_energy_distance_tells_exact_samples_from_others():
    model = leaning_mixture()
    good = EnergyDistance().score(finished(model, samples=model.draw(200, 99, 1), prompt="moon"))
    other = EnergyDistance().score(finished(model, samples=model.draw(200, 99, 2), prompt="moon"))
    assert good.value < 1.5 * good.real
    assert other.value > 5 * other.real == 5 * good.real


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


@hookimpl
def register_metrics():
    found = [Brightness, Broken, Leaving, Infinite, Wrong, Unwritten]
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


def test_metrics_come_after_all_cells_and_change_nothing_of_them(registry):
    plain = compare(comparison(), registry=registry)
    events = list(stream(comparison("exact_error", "mine/brightness scale=2"), registry=registry))
    kinds = [event.kind for event in events if event.kind != "progress"]
    assert kinds == ["done"] * 3 + ["scored"] * 3
    ended = {event.cell: event.result for event in events if event.kind == "done"}
    for event in events:
        if event.kind == "scored":
            before = ended[event.cell]
            assert (event.result.seconds, event.result.nfe) == (before.seconds, before.nfe)
            assert torch.equal(event.result.images, plain.cells[event.cell].images)
            assert list(event.result.metrics) == ["exact_error", "mine/brightness scale=2"]
    assert all(cell.to_dict()["metrics"] == {} for cell in plain.cells)


def test_cells_that_are_not_done_have_no_scores(registry):
    cells = ("ddim steps=1001", "ddim steps=2")
    with pytest.raises(ValueError, match="steps=1001"):
        compare(comparison("exact_error", cells=cells))
    short = comparison("exact_error", cells=("ddim steps=2", "ddim steps=8"))
    from zoo.cell import Limits

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


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A random CLIP of a few thousand parameters, in a folder."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    from zoo.data.tinyworld import VOCABULARY
    from zoo.models.text import build_tokenizer

    tokenizer = build_tokenizer(VOCABULARY)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 2},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    folder = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def test_clip_score_is_the_cosine_that_clip_itself_computes(tiny_clip):
    from transformers import CLIPModel, CLIPProcessor

    from zoo.store import to_pil

    images, prompt = real_pictures("", 40)[:34], "a red cat at night"
    metric = CLIPScore(CLIPScore.Params(model=str(tiny_clip)))
    with torch.no_grad():
        score = metric.score(finished(images=images, prompt=prompt))
        clip, processor = CLIPModel.from_pretrained(tiny_clip), CLIPProcessor.from_pretrained(tiny_clip)
        inputs = processor(text=[prompt], images=[to_pil(image) for image in images], return_tensors="pt")
        output = clip(**inputs)
        cosines = output.logits_per_image / clip.logit_scale.exp()
    assert score.value == pytest.approx(100 * float(cosines.clamp(min=0).mean()), rel=1e-4, abs=1e-4)
    assert score.n == 34


def test_weights_that_are_not_here_are_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(Absent, match="hf download nobody/no-such-clip"):
        CLIPScore(CLIPScore.Params(model="nobody/no-such-clip")).score(
            finished(images=torch.zeros(1, 3, 8, 8), prompt="x")
        )
    many = finished("gaussian", images=torch.zeros(2049, 3, 16, 16))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Absent, match="pip install torchmetrics torch-fidelity"):
        FID().score(many)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: importlib.machinery.ModuleSpec(name, None))
    with pytest.raises(Absent, match="91 MB: download https"):
        FID().score(many)


def test_fid_hands_real_and_drawn_pictures_to_torchmetrics(tmp_path, monkeypatch):
    """Against a stand-in with torchmetrics' interface, whose distance is that of the mean pixels."""

    class FrechetInceptionDistance(torch.nn.Module):
        def __init__(self, feature, normalize):
            super().__init__()
            assert (feature, normalize) == (2048, True)
            self.seen = {True: [], False: []}

        def update(self, pictures, real):
            assert pictures.min() >= 0 and pictures.max() <= 1
            self.seen[real].append(pictures)

        def compute(self):
            real, fake = (torch.cat(self.seen[key]) for key in (True, False))
            assert len(real) == len(fake) == 2049
            return (real.mean() - fake.mean()).square()

    for name in ("torch_fidelity", "torchmetrics", "torchmetrics.image", "torchmetrics.image.fid"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    module.FrechetInceptionDistance = FrechetInceptionDistance
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = tmp_path / "hub" / "checkpoints" / INCEPTION.rpartition("/")[2]
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"Inception")
    model = load_model("gaussian", default_registry())
    digest = hashlib.sha256(b"Inception").hexdigest()
    real_and_drawn = finished(model, images=torch.full((2049, 3, 16, 16), -1.0), prompt="dusk")
    with pytest.raises(Absent, match=r"it was published: its SHA-256 is not 6726825d"):
        FID().score(real_and_drawn)
    monkeypatch.setattr(pretrained, "WEIGHTS", replace(pretrained.WEIGHTS, sha256=digest[:8]))
    score = FID().score(real_and_drawn)
    mean = float((model.pictures(model.draw(2049, 0, 2)).mean() + 1) / 2)
    assert score.value == pytest.approx(mean**2, rel=0.02)
    assert score.better == "lower"


def test_a_score_says_what_it_has():
    assert Score(0.5, 3).to_dict() == {"value": 0.5, "n": 3}
    assert str(Score(12.3456, 3, 10, 14, real=1.25, unit="%")) == "12.3% (10 to 14), real 1.25"
    assert NoScore("why").to_dict() == {"absent": "why"}
    assert NoScore("why", failed=True).to_dict() == {"failed": "why"}
    with pytest.raises(ValueError, match="value is inf"):
        Score(math.inf, 1)
    with pytest.raises(TypeError, match="Metric must define score"):
        Metric().score(None)
