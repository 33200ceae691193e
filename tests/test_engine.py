"""The engine: who travels together changes nothing, what fails fails alone, and every evaluation is counted."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from tests.helpers import (
    CPU,
    PixelModel,
    finish,
    leaning_mixture,
    make_cell,
    make_engine,
    random_network,
    rowwise,
    sample,
)
from zoo.cell import Cell
from zoo.limits import Limits
from zoo.method import Method
from zoo.model import Model
from zoo.models import gaussian, tinyworld
from zoo.planning import impossible, resolve
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT, Query, Sampler
from zoo.schedule import DiscreteSchedule, Level


def built_in_methods(model: Model, steps: int) -> list[str]:
    """Every sampler, alone and guided, that the model has the networks for."""
    lines = []
    for name, spec in default_registry().samplers.items():
        if "/" not in name:
            line = f"{name} steps={steps}" if "steps" in spec.params_model().model_fields else name
            lines += [line, f"{line} | cfg scale=3"]
    methods = [(line, *resolve(Method.parse(line), default_registry())) for line in lines]
    return [line for line, *parts in methods if not impossible(model, *parts, {PROMPT: "", NEGATIVE: ""})]


@pytest.fixture(scope="module")
def skies():
    return gaussian.build(size=4)


@pytest.fixture(scope="module")
def tiny():
    return tinyworld.build()


class Steps(Sampler):
    """Halves the state a few times; `trouble(i, x)` may do something else before step i."""

    def __init__(self, trouble=None, count=4):
        super().__init__()
        self.trouble, self.count = trouble or (lambda i, x: Query), count

    def levels(self, schedule):
        return schedule.levels(self.count)

    def sample(self, x, levels, noise):
        for i, (t, _) in enumerate(levels.pairs()):
            query = self.trouble(i, x)
            prediction = yield (Query(x, t) if query is Query else query)
            x = x / 2 + prediction.x0 / 2
        return x


# Batches


def test_batch_partners_do_not_matter_on_exact_data(skies):
    cells = [
        make_cell(skies, line, seeds, prompt)
        for line in [*built_in_methods(skies, 4), "ddim steps=3 eta=0.5"]
        for seeds, prompt in [((0, 4), "dusk"), ((7,), "")]
    ]
    finish(*cells)
    for cell in cells:
        (alone,) = finish(Cell(cell.model, cell.sampler, cell.conditioners, cell.conditions, cell.seeds))
        torch.testing.assert_close(cell.samples, alone.samples, rtol=0, atol=1e-10)
        assert (cell.nfe, cell.noise_hash) == (alone.nfe, alone.noise_hash)


def test_batch_partners_do_not_matter_on_tinyworld(tiny):
    # Not fewer steps: Heun's average of eps over a step multiplies rounding by half the ratio of its sigmas.
    cells = [make_cell(tiny, line, (3,), "a red mushroom") for line in built_in_methods(tiny, 4)]
    finish(*cells)
    for cell in cells:
        (alone,) = finish(Cell(tiny, cell.sampler, cell.conditioners, cell.conditions, cell.seeds))
        torch.testing.assert_close(cell.samples, alone.samples, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 3])
def test_micro_batches_give_the_same_pictures(rows):
    model = PixelModel(random_network())
    lines = ["ddim steps=4 | cfg scale=2", "ddpm steps=3"]
    whole = finish(*(make_cell(model, line, (0, 1), "word") for line in lines))
    model.calls.clear()
    parts = finish(
        *(make_cell(model, line, (0, 1), "word") for line in lines), engine=make_engine(max_rows=rows)
    )
    assert max(len(x) for x, _, _ in model.calls) == rows
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one.samples, other.samples, rtol=0, atol=1e-12)


def test_all_cells_of_a_tick_share_one_forward_pass():
    model = PixelModel(rowwise)
    finish(*(make_cell(model, f"ddim steps={n} | cfg scale=2", (0, 1)) for n in (2, 3, 3)))
    assert [len(x) for x, _, _ in model.calls] == [12, 12, 8], "cells × two terms × two images"


def test_interleaved_runs_do_not_interact(skies):
    engine = make_engine()
    one, other = (make_cell(skies, line, (0, 1), "noon") for line in ("ddpm steps=5", "ddim steps=7 eta=1"))
    engine.start([one])
    engine.start([other])
    while one.running or other.running:
        engine.tick([one])
        engine.tick([other])
    assert torch.equal(one.samples, sample(skies, "ddpm steps=5", (0, 1), prompt="noon"))
    assert torch.equal(other.samples, sample(skies, "ddim steps=7 eta=1", (0, 1), prompt="noon"))


@pytest.mark.parametrize("line", ["ddpm steps=4", "ddim steps=4 eta=0 | cfg scale=2"])
def test_a_seeds_picture_is_the_same_in_any_company(line):
    model = PixelModel(rowwise)
    among = sample(model, line, range(4), prompt="word")
    assert torch.equal(sample(model, line, (3,), prompt="word"), among[3:])
    assert torch.equal(sample(model, line, (3, 0, 2, 1), prompt="word"), among[[3, 0, 2, 1]])


def test_global_random_numbers_are_left_alone(skies):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()
    sample(skies, "ddpm steps=3 | cfg scale=2", (0, 1), prompt="dusk")
    assert torch.equal(torch.get_rng_state(), torch_before)
    after = np.random.get_state()
    assert (after[1] == numpy_before[1]).all() and after[2:] == numpy_before[2:]
    torch.manual_seed(0)
    first = sample(skies, "ddpm steps=3")
    torch.manual_seed(1)
    assert torch.equal(sample(skies, "ddpm steps=3"), first)


# Networks and schedules


@pytest.mark.parametrize("line", ["ddim steps=8", "ddpm steps=8", "ddim steps=5 eta=0.7 | cfg scale=2.5"])
@pytest.mark.parametrize("kind", ["eps", "v", "score"])
def test_networks_that_agree_give_identical_pictures(line, kind):
    schedule = DiscreteSchedule.linear()
    expected = sample(leaning_mixture(schedule, "x0"), line, (0, 1), prompt="moon")
    found = sample(leaning_mixture(schedule, kind), line, (0, 1), prompt="moon")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


# Failures


def raising(i, x):
    if i == 2:
        raise RuntimeError("lost my way")
    return Query


def wrong_shape(i, x):
    return Query(x[:, :1], Level(0.6, 0.8, 1.0)) if i == 1 else Query


def non_query(i, x):
    return "what is behind x?" if i == 1 else Query


def no_terms(i, x):
    return Query(x, Level(0.6, 0.8, 1.0), terms={"prompt": 0.0})


def unknown_term(i, x):
    return Query(x, Level(0.6, 0.8, 1.0), terms={"style": 1.0})


class Endless(Sampler):
    def sample(self, x, levels, noise):
        while True:
            yield Query(x, levels[0])


class Returns(Sampler):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        return self.value(x)


class Quits(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        raise SystemExit(3)


class NotAGenerator(Sampler):
    def sample(self, x, levels, noise):
        return x


class Clinging(Sampler):
    """Fails, and fails again when it is told to stop."""

    def sample(self, x, levels, noise):
        try:
            yield Query(x[:1, :1], levels[0])
        finally:
            raise OSError("and again")


FAILURES = {
    "raises": (Steps(raising), {}, "RuntimeError: lost my way"),
    "query of a wrong shape": (Steps(wrong_shape), {}, "shape (2, 1, 4, 4), expected (2, 3, 4, 4)"),
    "yields no query": (Steps(non_query), {}, "must yield Query(x, level), this one yielded str"),
    "asks nothing": (Steps(no_terms), {}, "nothing is asked"),
    "unknown condition": (
        Steps(unknown_term),
        {},
        "unknown conditions ['style']; there are ['negative', 'prompt']",
    ),
    "returns NaN": (Returns(lambda x: x * float("nan")), {}, "NaN or infinite"),
    "returns infinity": (Returns(lambda x: x / 0), {}, "NaN or infinite"),
    "returns a wrong shape": (
        Returns(lambda x: x[:1]),
        {},
        "returned (1, 3, 4, 4), expected a tensor of shape",
    ),
    "returns nothing": (Returns(lambda x: None), {}, "returned NoneType, expected a tensor of shape"),
    "calls sys.exit": (Quits(), {}, "SystemExit: 3"),
    "is no generator": (NotAGenerator(), {}, "TypeError"),
    "clings to life": (Clinging(), {}, "expected (2, 3, 4, 4)"),
    "never ends": (Endless(), {"limits": Limits(nfe=9)}, "used up its 9 network evaluations per image"),
    "takes too long": (Steps(), {"limits": Limits(seconds=1e-9)}, "the limit of a cell is 1e-09 s"),
    "network refuses its rows": (Steps(), {"prompt": "poison"}, "ValueError: cannot draw poison"),
    "network calls sys.exit": (Steps(), {"prompt": "farewell"}, "SystemExit: 4"),
}


def squeamish(x, t, texts):
    if "poison" in texts:
        raise ValueError("cannot draw poison")
    if "farewell" in texts:
        sys.exit(4)
    return rowwise(x, t, texts)


@pytest.mark.parametrize(("sampler", "options", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failing_cell_fails_alone(sampler, options, message):
    model = PixelModel(squeamish)
    lines = ["ddim steps=5", "ddpm steps=4 | cfg scale=2"]
    expected = [sample(model, line, (0, 1), prompt="word") for line in lines]
    first, bad, last = (
        make_cell(model, lines[0], (0, 1), "word"),
        make_cell(model, sampler, (0, 1), **options),
        make_cell(model, lines[1], (0, 1), "word"),
    )
    finish(first, bad, last)
    assert bad.status == "failed"
    assert message in bad.error
    assert bad.traceback.startswith("Traceback") or bad.error.split(":")[0] in bad.traceback
    assert bad.samples is None
    for cell, pictures in zip((first, last), expected, strict=True):
        assert cell.status == "done"
        assert torch.equal(cell.samples, pictures)


def test_a_limit_of_evaluations_is_never_passed():
    model = PixelModel(rowwise)
    (cell,) = finish(make_cell(model, "ddim steps=8 | cfg scale=3", limits=Limits(nfe=7)))
    assert cell.status == "failed"
    assert dict(cell.nfe) == {"denoiser": 6}
    assert sum(len(x) for x, _, _ in model.calls) == 6


def test_a_network_that_cannot_be_loaded_fails_the_cells_that_need_it(skies):
    class Other(Sampler):
        def requires(self):
            return ("oracle",)

    good, bad = finish(make_cell(skies, "ddim steps=2"), make_cell(skies, Other()))
    assert (good.status, bad.status) == ("done", "failed")
    assert "has no network 'oracle'" in bad.error


def test_a_network_of_wrong_output_shape_is_named():
    (cell,) = finish(make_cell(PixelModel(lambda x, t, texts: x[:, :1]), "ddim steps=2", (0, 1)))
    assert (cell.status, "answered (2, 1, 4, 4) to rows (2, 3, 4, 4)" in cell.error) == ("failed", True)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_batches_are_halved_when_memory_runs_out(error):
    lines, seeds = ["ddim steps=3", "ddpm steps=3 | cfg scale=2"], range(5)

    def small_memory(x, t, texts):
        if len(x) > 4:
            raise error
        return rowwise(x, t, texts)

    model, engine = PixelModel(small_memory), make_engine()
    cells = finish(*(make_cell(model, line, seeds) for line in lines), engine=engine)
    for cell, line in zip(cells, lines, strict=True):
        assert cell.status == "done", cell.traceback
        assert torch.equal(cell.samples, sample(PixelModel(rowwise), line, seeds))
    assert 2 <= engine.rows_of(model) <= 4
    assert engine.rows_of(PixelModel(rowwise)) == engine.max_rows, "another model is not held back by it"
    refused = sum(len(x) > 4 for x, _, _ in model.calls)
    assert refused <= 3, "a size that failed is not tried again"


def test_a_single_row_too_many_for_memory_fails_the_cell():
    def no_memory(x, t, texts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    (cell,) = finish(make_cell(PixelModel(no_memory), "ddim steps=3", (0, 1)))
    assert cell.status == "failed"
    assert "out of memory" in cell.error


# Counting


@pytest.mark.parametrize(
    ("line", "nfe"),
    [
        ("ddim steps=7", 7),
        ("ddpm steps=7", 7),
        ("ddim steps=7 | cfg scale=3", 14),
        ("ddim steps=1 | cfg scale=1", 1),
    ],
)
def test_evaluations_are_counted_where_the_network_is_called(line, nfe):
    model = PixelModel(rowwise)
    (cell,) = finish(make_cell(model, line, (0, 1, 2)))
    assert dict(cell.nfe) == {"denoiser": nfe}
    assert sum(len(x) for x, _, _ in model.calls) == 3 * nfe


def test_steps_are_counted_as_levels_are_passed(skies):
    engine, cell = make_engine(), make_cell(skies, "ddim steps=3")
    engine.start([cell])
    seen = []
    while cell.running:
        seen.append((cell.step, cell.steps))
        engine.tick([cell])
    assert [*seen, (cell.step, cell.steps)] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_start_noise_is_the_same_for_every_method(skies):
    cells = finish(*(make_cell(skies, line, (0, 1)) for line in built_in_methods(skies, 2)))
    assert len({cell.noise_hash for cell in cells}) == 1


def test_warming_up_leaves_the_cells_untouched(skies):
    engine, cell = make_engine(), make_cell(skies, "ddim steps=2")
    engine.run(engine.warm_up([cell]))
    assert (cell.status, dict(cell.nfe), cell.seconds) == ("queued", {}, 0.0)
    finish(cell, engine=engine)
    assert torch.equal(cell.samples, sample(skies, "ddim steps=2"))


def test_warming_up_asks_every_network_once_and_as_the_cell_will():
    class Latents(PixelModel):
        roles = ("denoiser", "decoder")

        def network(self, role, device, dtype):
            asked.append((role, dtype))
            return (lambda x: decoded.append(len(x)) or x) if role == "decoder" else self

    asked, decoded = [], []
    model, engine = Latents(rowwise), make_engine()
    cell = make_cell(model, "heun steps=4 | cfg scale=2", (0, 1))
    cell.dtype = torch.bfloat16
    engine.run(engine.warm_up([cell]))
    assert set(asked) == {("denoiser", torch.bfloat16), ("decoder", torch.bfloat16)}
    assert (len(model.calls), decoded) == (1, [2])
    finish(cell, engine=engine)
    assert dict(cell.nfe) == {"denoiser": 14, "decoder": 1}


def test_the_state_keeps_the_models_precision(skies, tiny):
    assert sample(skies, "ddim steps=1").dtype == torch.float64
    assert sample(tiny, "ddim steps=1").dtype == torch.float32
    assert sample(tiny, "ddim steps=1").device == CPU
