"""Comparisons: validated, JSON both ways, the impossible known beforehand, the same pictures every time."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError

from zoo import Comparison, compare, stream
from zoo.limits import Limits
from zoo.noise import MAX_SEED
from zoo.planning import load_model
from zoo.registry import Registry

SPECIMENS = """
from zoo import DiscreteSchedule, ModelSpec, Query, Sampler, SamplerSpec, hookimpl

ZOO_API = 1
ASKED = []


class Distilled(Sampler):
    def requires(self):
        return ("distilled/3", "oracle")

    def sample(self, x, levels, noise):
        raise AssertionError("must not run")


class Faulty(Sampler):
    def levels(self, schedule):
        return schedule.levels(2)

    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        raise RuntimeError("it broke")


def build(schedule, prediction):
    from zoo.models.exact import ExactNetwork, GaussianMixture

    class Counting(GaussianMixture):
        def network(self, role, device, dtype):
            ASKED.append(role)
            return ExactNetwork(self)

        def pictures(self, x):
            return x.float().clamp(-1, 1).view(-1, 1, 1, 2).expand(-1, 3, 2, 2).contiguous()

    words = ("left", "right")
    return Counting([[-1, 0], [1, 0]], [[0.1, 0.1]] * 2, words, schedule=schedule, prediction=prediction, name="toy")


def mute():
    model = build(DiscreteSchedule.linear(10), "x0")
    model.pictures = lambda x: 1 / 0
    return model


@hookimpl
def register_samplers():
    return [SamplerSpec("distilled", Distilled, title="D"), SamplerSpec("faulty", Faulty, title="F")]


@hookimpl
def register_models():
    return [
        ModelSpec("short", lambda: build(DiscreteSchedule.linear(10), "x0"), title="ten steps"),
        ModelSpec("eps", lambda: build(DiscreteSchedule.cosine(), "eps"), title="zero terminal SNR"),
        ModelSpec("mute", mute, title="cannot draw"),
    ]
"""


@pytest.fixture(scope="module")
def specimens(tmp_path_factory):
    """A registry with the specimens, and the module that they came from."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "specimens.py").write_text(SPECIMENS, encoding="utf-8")
    return Registry(folder)


def asked() -> list[str]:
    import sys

    return sys.modules["zoo_dropin_specimens"].ASKED


def comparison(*cells: str, **fields) -> Comparison:
    return Comparison(**{"model": "gaussian", "prompt": "dusk", "seeds": (0, 1), "cells": cells, **fields})


def test_json_round_trip_gives_the_same_pictures():
    first = compare(comparison("ddim steps=3", "ddpm steps=3 | cfg scale=2", negative="night"))
    text = first.comparison.model_dump_json()
    again = compare(Comparison.model_validate_json(text))
    assert first.done and again.done
    for one, other in zip(first.cells, again.cells, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.samples, other.samples)
        assert (one.method, one.nfe, one.noise) == (other.method, other.nfe, other.noise)
    assert json.loads(text)["cells"] == ["ddim steps=3", "ddpm steps=3 | cfg scale=2"]


def test_the_record_says_what_it_was_run_with():
    record = compare(comparison("ddim steps=1"), device="cpu", dtype="fp32").comparison.record
    assert record["model"]["name"] == "gaussian"
    assert (record["device"], record["dtype"]) == ("cpu", "fp64")  # exact models are
    assert record["packages"]["torch"] == torch.__version__.split("+")[0]
    assert {"ddim", "ddpm", "models"} <= set(record["plugins"])


def test_timing_alone_changes_the_clock_and_not_the_pictures():
    cells = ("ddim steps=3", "ddpm steps=3")
    shared, alone = compare(comparison(*cells)), compare(comparison(*cells, timing="alone"))
    for one, other in zip(shared.cells, alone.cells, strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=1e-6)
        assert one.nfe == other.nfe
        assert other.seconds > 0
    assert alone.to_dict()["timing"] == "alone"


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        ("7", (7,)),
        (7, (7,)),
        ("0..3", (0, 1, 2, 3)),
        ("5..5", (5,)),
        ("1,5, 8..10", (1, 5, 8, 9, 10)),
        ((3, 1), (3, 1)),
        ([0], (0,)),
        (str(MAX_SEED), (MAX_SEED,)),
    ],
)
def test_seeds_are_written_in_several_ways(written, seeds):
    assert comparison("ddim", seeds=written).seeds == seeds


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "seeds are written 7, 0..3 or 1,5,8..10, got ''"),
        ("a", "seeds are written"),
        ("-1", "seeds are written"),
        ("1.5", "seeds are written"),
        ("1,,2", "seeds are written"),
        ("0..", "seeds are written"),
        ("3..0", "'3..0' must ascend"),
        ("0..999999", "at most 4096 seeds"),
        ("0..4095,4096", "at most 4096 seeds"),
        (-1, "greater than or equal to 0"),
        (MAX_SEED + 1, "less than or equal to"),
        ([], "at least 1 item"),
    ],
)
def test_impossible_seeds_are_refused(written, message):
    with pytest.raises(ValidationError) as error:
        comparison("ddim", seeds=written)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cells": ()}, "at least 1 item"),
        ({"cells": ("ddim ||",)}, "a name is missing"),
        ({"timing": "never"}, "'shared' or 'alone'"),
        ({"prompts": "dusk"}, "Extra inputs are not permitted"),
        ({"prompt": "x" * 1001}, "at most 1000 characters"),
        ({"model": ""}, "at least 1 character"),
    ],
)
def test_impossible_comparisons_are_refused(fields, message):
    with pytest.raises(ValidationError) as error:
        comparison(**{"cells": ("ddim",), **fields})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"cells": ("dim steps=3",)},
            "in the method 'dim steps=3': there is no sampler 'dim'. Did you mean 'ddim'?",
        ),
        ({"cells": ("ddim | cgf",)}, "there is no conditioner 'cgf'. Did you mean 'cfg'?"),
        ({"cells": ("ddim step=3",)}, "ddim has no parameter 'step'; it has steps, eta, spacing"),
        ({"cells": ("ddim steps=0",)}, "steps=0: input should be greater than or equal to 1"),
        ({"cells": ("ddim steps=many",)}, "steps=many: input should be a valid integer"),
        ({"cells": ("ddim eta=nan",)}, "eta=nan: input should be"),
        ({"cells": ("ddim spacing=even",)}, "spacing=even: input should be 'trailing', 'leading'"),
        ({"cells": ("ddim | cfg scale=-1",)}, "scale=-1: input should be greater than or equal to 0"),
        ({"model": "gausian"}, "there is no model 'gausian'. Did you mean 'gaussian'?"),
        ({"model": "folder:/nowhere"}, "/nowhere is not a folder"),
    ],
)
def test_names_and_parameters_that_do_not_exist_are_refused_with_what_there_is(fields, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 – the message is compared below, as it stands
        compare(comparison(**{"cells": ("ddim steps=1",), **fields}))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("model", "line", "reason"),
    [
        ("specimens/short", "ddim steps=11", "steps must be within 1 … 10 on this model, got 11"),
        (
            "specimens/short",
            "specimens/distilled",
            "needs the network distilled/3, oracle; toy has denoiser",
        ),
        ("specimens/eps", "ddim steps=5", "eps-prediction at ᾱ = 2.4e-09 divides by (nearly) zero"),
        ("specimens/eps", "ddpm steps=5 | cfg scale=2", "use a network that predicts v or x0"),
    ],
)
def test_the_impossible_is_known_before_anything_runs(model, line, reason, specimens):
    asked().clear()
    possible = "ddim steps=4 spacing=leading"
    events = stream(comparison(possible, line, model=model, prompt=""), registry=specimens)
    first = next(events)
    assert (first.kind, first.cell) == ("na", 1)
    assert reason in first.result.error
    assert asked() == [], "no network was loaded"
    later = list(events)
    assert [(event.kind, event.cell) for event in later if event.kind != "progress"] == [("done", 0)]


def test_possible_cells_run_beside_impossible_and_failing_ones(specimens):
    lines = ("ddim steps=99", "ddim steps=4", "specimens/faulty", "ddpm steps=10 | cfg scale=0")
    result = compare(comparison(*lines, model="specimens/short", prompt="left"), registry=specimens)
    assert [cell.status for cell in result.cells] == ["na", "done", "failed", "done"]
    assert [cell.method for cell in result.cells] == list(lines)
    assert not result.done
    failed = result.cells[2]
    assert failed.error == "RuntimeError: it broke"
    assert 'raise RuntimeError("it broke")' in failed.traceback or "specimens.py" in failed.traceback
    assert failed.nfe == {"denoiser": 1}


@pytest.mark.parametrize("frames", [0, 4])
@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), SystemExit(5)], ids=repr)
def test_a_model_that_cannot_draw_fails_its_cell_and_not_the_comparison(
    specimens, monkeypatch, error, frames
):
    def pictures(x):
        raise error

    monkeypatch.setattr(load_model("specimens/mute", specimens), "pictures", pictures)
    asked = comparison("ddim steps=2", model="specimens/mute", prompt="left")
    *_, last = stream(asked, registry=specimens, frames=frames)
    assert (last.result.status, last.result.error) == ("failed", f"{type(error).__name__}: {error}")


def test_limits_hold_for_each_cell():
    result = compare(comparison("ddim steps=3", "ddim steps=9"), limits=Limits(nfe=5))
    assert [cell.status for cell in result.cells] == ["done", "failed"]


def test_notices_name_unknown_words_once():
    result = compare(comparison("ddim steps=1", prompt="stormy dusk", negative="stormy night"))
    assert result.notices == ("gaussian ignores stormy; it knows dawn, noon, dusk, night",)


def test_events_show_how_each_cell_forms_and_ends():
    events = list(stream(comparison("ddim steps=40", "ddim steps=2")))
    assert [event.cell for event in events if event.kind == "done"] == [1, 0]
    progress = [event for event in events if event.kind == "progress"]
    assert progress[0].preview.shape == (2, 3, 16, 16)
    for event in events:
        assert event.step <= event.steps == (40, 2)[event.cell]
        assert event.preview.abs().max() <= 1
        assert (event.result.images is not None) == (event.kind == "done")


def test_cancelling_keeps_what_is_finished():
    done: list[int] = []
    events = stream(comparison("ddim steps=2", "ddim steps=500"), cancelled=lambda: bool(done))
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            result = stop.value
            break
        if event.kind == "done":
            done.append(event.cell)
    assert [cell.status for cell in result.cells] == ["done", "cancelled"]
    assert result.cells[0].images is not None


def test_a_result_shows_itself_in_a_notebook():
    page = compare(comparison("ddim steps=1", prompt="<dusk>"))._repr_html_()
    assert page.count("data:image/png;base64,") == 2
    assert "&lt;dusk&gt;" in page and "<dusk>" not in page
