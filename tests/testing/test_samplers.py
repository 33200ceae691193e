"""The kit against samplers that are wrong on purpose: each is caught by the check that is meant to catch it."""

from __future__ import annotations

import math
import random
from typing import ClassVar

import numpy as np
import pytest
import torch

from zoo import Field
from zoo.hookspecs import SamplerSpec
from zoo.sampler import Query, Sampler
from zoo.schedule import Levels
from zoo.testing import CHECKS, Check, CheckFailed, NotApplicable, Subject, check_sampler


class Steps(Sampler.Params):
    steps: int = Field(20, ge=1, le=1000, title="Steps")


class Heun(Sampler):
    """Right: the trapezium rule in sigma/alpha."""

    Params = Steps
    weight = 0.5

    def order(self):
        return 2

    def evaluations(self, levels):
        return 2 * levels.steps - 1

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            d = prediction.eps
            x = s.alpha * prediction.x0 + s.sigma * d
            if not s.is_clean:
                again = (yield Query(x, s)).eps
                x = x + s.alpha * (s.sigma / s.alpha - t.sigma / t.alpha) * (again - d) * self.weight
        return x


class Ancestral(Sampler):
    """Right: DDPM with the small variance."""

    Params = Steps
    stochastic = True

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, self.asked(t, s))
            step = t.alpha / s.alpha
            beta = t.sigma**2 - step**2 * s.sigma**2
            x = (s.alpha * beta * prediction.x0 + step * s.sigma**2 * x) / t.sigma**2
            x = x + self.scale(t, s, beta) * noise()
        return x

    def asked(self, t, s):
        return t

    def scale(self, t, s, beta):
        return math.sqrt(beta) * s.sigma / t.sigma


class OffByOneLevel(Ancestral):
    def asked(self, t, s):
        return t if s.is_clean else s


class OffByOneLevelHeun(Heun):
    def sample(self, x, levels, noise):
        shifted = [*levels[1:-1], levels[-2]]
        for (t, s), wrong in zip(levels.pairs(), shifted, strict=True):
            prediction = yield Query(x, wrong)
            x = s.alpha * prediction.x0 + s.sigma * prediction.eps
            assert t is not s
        return x


class NoNoiseMask(Ancestral):
    def scale(self, t, s, beta):
        return math.sqrt(beta)  # the large variance, which does not vanish on the way to the clean level


class TooMuchNoise(Ancestral):
    def scale(self, t, s, beta):
        return 1.2 * super().scale(t, s, beta)


class WrongCoefficient(Heun):
    weight = 0.4  # still converges, in first order


class WrongSolution(Heun):
    def sample(self, x, levels, noise):
        return 1.1 * (yield from super().sample(x, levels, noise))


class Understated(Heun):
    def evaluations(self, levels):
        return levels.steps


class HiddenState(Heun):
    made: ClassVar[list[int]] = []

    def sample(self, x, levels, noise):
        self.made.append(1)
        return (yield from super().sample(x, levels, noise)) + 1e-3 * len(self.made)


class SharedState(Heun):
    last: ClassVar[dict[str, torch.Tensor]] = {}

    def sample(self, x, levels, noise):
        previous = None
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            mixed = prediction.x0 if previous is None else 0.5 * (prediction.x0 + self.last["x0"])
            self.last["x0"] = previous = prediction.x0
            x = s.alpha * mixed + s.sigma * prediction.eps
        return x


class SecretlyStochastic(Ancestral):
    stochastic = False


class GlobalNoise(Ancestral):
    def sample(self, x, levels, noise):
        return (yield from super().sample(x, levels, lambda: torch.randn_like(x)))


class SeedsTheWorld(Heun):
    def sample(self, x, levels, noise):
        random.seed(0)
        np.random.seed(0)
        return (yield from super().sample(x, levels, noise))


class InPlace(Heun):
    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            x = prediction.x0.mul_(s.alpha) + s.sigma * prediction.eps
        return x


class InPlaceOnEps(Heun):
    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            x = s.alpha * prediction.x0 + prediction.eps.mul_(s.sigma)
        return x


class InPlaceOnWhatItAsked(Ancestral):
    def sample(self, x, levels, noise):
        asked = yield Query(x.clone(), levels[0])
        asked.x.zero_()
        return (yield from super().sample(x, levels, noise))


class NoGradWhileItWaits(Heun):
    def sample(self, x, levels, noise):
        with torch.no_grad():
            return (yield from super().sample(x, levels, noise))


class DoubleForEverybody(Heun):
    def sample(self, x, levels, noise):
        torch.set_default_dtype(torch.float64)
        return (yield from super().sample(x, levels, noise))


class SilencesNumpy(Heun):
    def sample(self, x, levels, noise):
        with np.errstate(divide="ignore"):
            return (yield from super().sample(x, levels, noise))


class DividesByTheStep(Heun):
    """Fine until a step goes nowhere."""

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            x = s.alpha * prediction.x0 + s.sigma * prediction.eps
            h = torch.tensor(s.log_snr - t.log_snr)
            x = x * (h / h if h.isfinite() else 1)
        return x


class WrongInOneStep(Heun):
    def sample(self, x, levels, noise):
        sample = yield from super().sample(x, levels, noise)
        return sample if levels.steps > 1 else 0.9 * sample


class OneNoiseForAllSteps(Ancestral):
    def sample(self, x, levels, noise):
        z = noise()
        return (yield from super().sample(x, levels, lambda: z))


class OneNoiseForAllImages(Ancestral):
    def sample(self, x, levels, noise):
        return (yield from super().sample(x, levels, lambda: noise()[:1].expand_as(x)))


class OwnGenerator(Ancestral):
    """Every image gets the same noise, and noise() is asked for show."""

    def sample(self, x, levels, noise):
        noise()
        own = torch.Generator().manual_seed(0)
        draw = lambda: torch.randn(x.shape[1:], dtype=x.dtype, generator=own).expand_as(x)  # noqa: E731
        return (yield from super().sample(x, levels, draw))


class StopsTooSoon(Heun):
    def sample(self, x, levels, noise):
        return (yield from super().sample(x, Levels(levels[:-1]), noise))


class OverTheBatch(Heun):
    def sample(self, x, levels, noise):
        sample = yield from super().sample(x, levels, noise)
        return sample - 0.01 * sample.mean(0, keepdim=True)


class Immortal(Heun):
    def sample(self, x, levels, noise):
        try:
            return (yield from super().sample(x, levels, noise))
        except GeneratorExit:
            yield Query(x, levels[0])


class Moody(Heun):
    runs: ClassVar[list[int]] = []

    def sample(self, x, levels, noise):
        self.runs.append(1)
        for _ in self.runs:
            yield Query(x, levels[0])
        return (yield from super().sample(x, levels, noise))


class NumpyScalar(Heun):
    def sample(self, x, levels, noise):
        sample = yield from super().sample(x, levels, noise)
        return sample.double()


class DividesByZero(Heun):
    def sample(self, x, levels, noise):
        sample = yield from super().sample(x, levels, noise)
        return sample / (len(levels) - 2)  # one step


class OtherRole(Heun):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0], role="distilled/1")
        return (yield from super().sample(x, levels, noise))


class OwnEnd(Heun):
    def levels(self, schedule):
        return Levels([*super().levels(schedule)[:-2], schedule.level_at(8.0)], schedule)


class ReturnsAtOnce(Heun):
    def sample(self, x, levels, noise):
        return x
        yield


class NotASampler:
    class Params(Steps):
        pass

    def __init__(self, params):
        pass


class Required(Heun):
    class Params(Sampler.Params):
        steps: int


class Untitled(Heun):
    class Params(Sampler.Params):
        steps: int = Field(20, ge=1)


class Unbounded(Heun):
    class Params(Sampler.Params):
        steps: int = Field(20, title="Steps")


class Forgetful(Heun):
    class Params(Sampler.Params):
        steps: int = Field(20, ge=1, title="Steps", exclude=True)
        other: int = Field(20, ge=1, title="Other", exclude=True)


def failing(implementation, *names: str, **params) -> dict[str, str]:
    """The checks that fail, of these or of all, with their messages; what needs a module of its own is left out."""
    spec = SamplerSpec("specimen", implementation, title="Specimen")
    found = {}
    for function in CHECKS["sampler"]:
        if names and function.__name__ not in names:
            continue
        check = Check(function, Subject(spec, params))
        try:
            check()
        except CheckFailed as failure:
            found[check.name] = str(failure)
        except NotApplicable:
            pass
    return found


@pytest.mark.parametrize("right", [Heun, Ancestral])
def test_what_is_right_passes(right):
    assert failing(right) == {}


@pytest.mark.parametrize(
    ("specimen", "check"),
    [
        (OffByOneLevel, "queries_fit_their_level"),
        (OffByOneLevelHeun, "queries_fit_their_level"),
        (NoNoiseMask, "the_clean_end_has_no_noise"),
        (TooMuchNoise, "queries_fit_their_level"),
        (TooMuchNoise, "terminal_moments"),
        (WrongCoefficient, "order_of_convergence"),
        (WrongSolution, "more_steps_reach_the_solution"),
        (HiddenState, "same_seed_same_sample"),
        (SharedState, "other_cells_do_not_matter"),
        (SecretlyStochastic, "noise_is_drawn_as_declared"),
        (GlobalNoise, "global_generators_are_untouched"),
        (GlobalNoise, "noise_is_drawn_as_declared"),
        (SeedsTheWorld, "global_generators_are_untouched"),
        (InPlace, "inputs_are_untouched"),
        (InPlaceOnEps, "inputs_are_untouched"),
        (InPlaceOnWhatItAsked, "inputs_are_untouched"),
        (NoGradWhileItWaits, "settings_are_untouched"),
        (DoubleForEverybody, "settings_are_untouched"),
        (SilencesNumpy, "settings_are_untouched"),
        (WrongInOneStep, "the_clean_end_has_no_noise"),
        (StopsTooSoon, "the_clean_end_has_no_noise"),
        (DividesByTheStep, "any_number_of_steps_is_finite"),
        (OneNoiseForAllSteps, "queries_fit_their_level"),
        (OneNoiseForAllImages, "batch_split_does_not_matter"),
        (OwnGenerator, "queries_fit_their_level"),
        (OverTheBatch, "batch_split_does_not_matter"),
        (OverTheBatch, "batch_partners_do_not_matter"),
        (Immortal, "it_can_be_cancelled"),
        (Moody, "evaluations_are_stable"),
        (Understated, "evaluations_are_announced"),
        (NumpyScalar, "shape_dtype_and_device_are_kept"),
        (DividesByZero, "any_number_of_steps_is_finite"),
        (OtherRole, "asks_only_what_it_requires"),
        (OwnEnd, "levels_end_clean"),
        (ReturnsAtOnce, "is_a_sampler"),
        (NotASampler, "is_a_sampler"),
        (Required, "parameters_are_complete"),
        (Untitled, "parameters_are_complete"),
        (Unbounded, "parameters_are_complete"),
        (Forgetful, "parameters_survive_json"),
        ("zoo.no_such_module:Thing", "implementation_loads"),
    ],
)
def test_what_is_wrong_is_caught(specimen, check):
    settings = {"other": 7} if specimen is Forgetful else {}
    message = failing(specimen, check, **settings)[check]
    assert "expected: " in message
    assert "came:     " in message
    assert f"docs/plugins/testing.md#{check}" in message


def test_a_wrong_coefficient_is_seen_by_nothing_but_the_order():
    """Its error is small, its sample finite, its moments right."""
    assert list(failing(WrongCoefficient)) == ["order_of_convergence"]


def test_what_a_specimen_sets_does_not_outlive_its_check():
    assert "settings_are_untouched" in failing(DoubleForEverybody, "settings_are_untouched")
    assert torch.get_default_dtype() == torch.float32


def test_who_claims_no_order_is_told_what_was_measured():
    undeclared = type("Undeclared", (WrongCoefficient,), {"order": lambda self: None})
    spec = SamplerSpec("specimen", undeclared, title="Specimen")
    (order,) = [f for f in CHECKS["sampler"] if f.__name__ == "order_of_convergence"]
    with pytest.raises(NotApplicable, match=r"it declares none by order\(\) \(measured: 0\.70\)"):
        Check(order, Subject(spec, {}))()


def test_a_heavy_import_is_caught(tmp_path):
    source = "import torch\nfrom zoo import SamplerSpec, hookimpl\nZOO_API = 1\n"
    (tmp_path / "heavy.py").write_text(source)
    spec = SamplerSpec("specimen", Heun, title="Specimen")
    (light,) = [f for f in CHECKS["sampler"] if f.__name__ == "import_is_light"]
    with pytest.raises(CheckFailed, match=r"importing .*heavy.py imports torch"):
        Check(light, Subject(spec, {}, str(tmp_path / "heavy.py")))()
    (tmp_path / "light.py").write_text(source.replace("import torch\n", ""))
    Check(light, Subject(spec, {}, str(tmp_path / "light.py")))()


def test_check_sampler_raises_with_everything_that_is_wrong():
    assert all(outcome.fine for outcome in check_sampler(Heun, steps=7))
    with pytest.raises(CheckFailed) as raised:
        check_sampler(WrongSolution)
    assert "the_clean_end_has_no_noise" in str(raised.value)
    assert "more_steps_reach_the_solution" in str(raised.value)


def test_a_known_failure_may_be_announced_and_must_then_come():
    reason = {"order_of_convergence": "the paper's coefficient, kept on purpose"}
    outcomes = {o.check.name: o.state for o in check_sampler(WrongCoefficient, reason)}
    assert outcomes["order_of_convergence"] == "expected"
    with pytest.raises(CheckFailed, match="no longer expect it"):
        check_sampler(Heun, reason)
    with pytest.raises(ValueError, match="names no check; there are import_is_light"):
        check_sampler(Heun, {"oder_of_convergence": "a typo"})
    with pytest.raises(ValueError, match="needs a reason"):
        check_sampler(Heun, {"order_of_convergence": ""})
