"""Every scheduler of the installed diffusers as a sampler `diffusers/NAME`, run in the loop its documentation shows:

    sample = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(sample, t), t)
        sample = scheduler.step(output, t, sample).prev_sample

with the model's own ᾱ as `trained_betas`, the zoo's answers as the network's, and the zoo's noise as its noise.
Clipping and thresholding are off in the scheduler, since the engine does them before it answers.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from zoo import (
    DiscreteSchedule,
    Field,
    Level,
    Levels,
    Prediction,
    Query,
    Sampler,
    SamplerSpec,
    Schedule,
    hookimpl,
)

_FLOW = "is made for flow matching, which starts at alpha = 0, where this model has no level"
_TOKENS = "samples discrete tokens, and this model's data is continuous"
_STUDENT = (
    "needs a network distilled for it: it adds fresh noise to each answer as if that were a finished sample"
)
_INVERSION = "goes from data to noise; a sampler starts from noise"
_BROWNIAN = "draws from a Brownian tree of torchsde's, which cannot be the noise that all cells share"
_OWN_SCHEDULE = "has a noise schedule of its own, which cannot be set to this model's"

UNFIT: dict[str, str] = {
    "AmusedScheduler": _TOKENS,
    "BlockRefinementScheduler": _TOKENS,
    "CMStochasticIterativeScheduler": _STUDENT,
    "ConsistencyDecoderScheduler": _STUDENT,
    "CosineDPMSolverMultistepScheduler": _BROWNIAN,
    "DDIMInverseScheduler": _INVERSION,
    "DDPMWuerstchenScheduler": _OWN_SCHEDULE,
    "DPMSolverMultistepInverseScheduler": _INVERSION,
    "DPMSolverSDEScheduler": _BROWNIAN,
    "DiscreteDDIMScheduler": _TOKENS,
    "EntropyBoundScheduler": _TOKENS,
    "FlowMapEulerDiscreteScheduler": _FLOW,
    "FlowMatchEulerDiscreteScheduler": _FLOW,
    "FlowMatchHeunDiscreteScheduler": _FLOW,
    "FlowMatchLCMScheduler": _FLOW,
    "HeliosDMDScheduler": _FLOW,
    "HeliosScheduler": _FLOW,
    "IPNDMScheduler": _OWN_SCHEDULE,
    "LCMScheduler": _STUDENT,
    "LTXEulerAncestralRFScheduler": _FLOW,
    "MiniMaxH3Scheduler": _FLOW,
    "PiflowScheduler": _FLOW,
    "RFD4ProteinaScheduler": _FLOW,
    "SCMScheduler": _STUDENT,
    "TCDScheduler": _STUDENT,
    "VQDiffusionScheduler": _TOKENS,
}
"""Schedulers that can run on no model here, and why. Whether any other one fits is found out by trying it."""

ANSWERS = {"v_prediction": "v", "sample": "x0", "epsilon": "eps"}
"""diffusers' prediction types and what a `Prediction` calls them. v comes first: nearly every scheduler takes it, and
unlike eps it determines x0 at every level without dividing by a small number."""


class Visits(Levels):
    """The levels that a scheduler asks about, with the scheduler, ready to be copied, and its prediction type.

    It asks `queries` times, which is more often where it asks twice at a level, and draws noise `draws` times.
    """

    def __init__(
        self,
        levels: list[Level],
        schedule: DiscreteSchedule,
        scheduler: Any,
        prediction_type: str,
        queries: int,
        draws: int,
    ) -> None:
        super().__init__(levels)
        self.schedule, self.scheduler = schedule, scheduler
        self.prediction_type, self.queries, self.draws = prediction_type, queries, draws


class DiffusersScheduler(Sampler):
    """A scheduler of diffusers, asked for its next query instead of being handed a network's output."""

    class Params(Sampler.Params):
        steps: int = Field(50, ge=1, le=1000, title="Steps", description="num_inference_steps")
        spacing: Literal["default", "trailing", "leading", "linspace", "karras"] = Field(
            "default", title="Spacing", description="timestep_spacing; karras: use_karras_sigmas"
        )
        config: str = Field(
            "",
            max_length=500,
            title="Config",
            description="further options of the scheduler, such as solver_order=3,euler_at_final=true",
        )

    params: Params
    scheduler: ClassVar[str]

    def __init__(self, params=None):
        super().__init__(params)
        self._visits: Visits | None = None

    def is_stochastic(self):
        try:
            visits = self._visits or self.levels(DiscreteSchedule.linear())
        except ValueError:
            return False
        return visits.draws > 0

    def levels(self, schedule: Schedule) -> Visits:
        """Those at which the scheduler asks its network, found by running it on one number.

        Raises:
            ValueError: it does not fit this model, or fails with these parameters.
        """
        if self._visits is None or self._visits.schedule is not schedule:
            self._visits = self._rehearsed(schedule)
        return self._visits

    def evaluations(self, levels):
        return levels.queries

    def sample(self, x, levels, noise):
        return _run(levels.scheduler, levels.prediction_type, levels.schedule, x, noise)

    def _rehearsed(self, schedule: Schedule) -> Visits:
        if self.scheduler in UNFIT:
            raise ValueError(f"{self.scheduler} {UNFIT[self.scheduler]}")
        if not isinstance(schedule, DiscreteSchedule):
            raise ValueError(f"{self.scheduler} needs a chain of timesteps, not a {type(schedule).__name__}")
        if self.params.steps > schedule.timesteps:
            raise ValueError(
                f"steps must be within 1 … {schedule.timesteps} on this model, got {self.params.steps}"
            )
        for prediction_type in ANSWERS:
            scheduler = self._configured(schedule, prediction_type)
            try:
                asked, draws = _rehearse(scheduler, prediction_type, schedule)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            else:
                visited = asked[:1]
                for level in asked:  # some ask twice at a level, or go back to one
                    if level.log_snr > visited[-1].log_snr:
                        visited.append(level)
                return Visits(
                    [*visited, schedule.clean], schedule, scheduler, prediction_type, len(asked), draws
                )
        raise ValueError(f"{self.scheduler} cannot run {self.params.steps} steps on this model: {failure}")

    def _configured(self, schedule: DiscreteSchedule, prediction_type: str) -> Any:
        """A scheduler of this class on the model's schedule, its timesteps set."""
        import diffusers.schedulers
        import numpy as np

        cls = getattr(diffusers.schedulers, self.scheduler)
        accepted = list(inspect.signature(cls.__init__).parameters)[1:]
        needed = [
            parameter.name
            for parameter in list(inspect.signature(getattr(cls, "step", _nothing)).parameters.values())[1:]
            if parameter.default is parameter.empty
        ]
        if needed != ["model_output", "timestep", "sample"]:
            wants = f"its step wants {', '.join(needed)}" if needed else "it has no step"
            raise ValueError(f"{self.scheduler} does not step from model_output, timestep, sample: {wants}")

        alpha_bars = schedule.alphas_cumprod
        sigmas = np.sqrt(1 / alpha_bars - 1)
        fixed = {
            "num_train_timesteps": schedule.timesteps,
            "trained_betas": (1 - alpha_bars / np.append(1.0, alpha_bars[:-1])).tolist(),
            "prediction_type": prediction_type,
            "clip_sample": False,
            "thresholding": False,
            "set_alpha_to_one": schedule.clean.sigma == 0,
            "snr_shift_scale": 1.0,
        }
        if "sigma_data" in accepted:  # EDM's preconditioning, which is v-prediction for data of unit variance
            fixed |= {"sigma_data": 1.0, "sigma_min": float(sigmas[0]), "sigma_max": float(sigmas[-1])}
        chosen = _parsed(self.params.config)
        free = [
            name for name in accepted if name not in fixed and "beta_" not in name and "betas" not in name
        ]
        for name in chosen:
            if name not in free:
                raise ValueError(f"{self.scheduler} has no option {name} to choose; it has {', '.join(free)}")
        if self.params.spacing != "default":
            karras = self.params.spacing == "karras"
            option = "use_karras_sigmas" if karras else "timestep_spacing"
            if option not in accepted:
                raise ValueError(f"{self.scheduler} has no {option}: leave spacing at default")
            chosen[option] = karras or self.params.spacing
        try:
            scheduler = cls(**{name: value for name, value in fixed.items() if name in accepted}, **chosen)
            scheduler.set_timesteps(self.params.steps)
        except Exception as error:
            raise ValueError(
                f"{self.scheduler} cannot be set to {self.params.steps} steps: {type(error).__name__}: {error}"
            ) from error
        theirs = getattr(scheduler, "alphas_cumprod", None)
        if theirs is None and not hasattr(scheduler, "precondition_outputs"):
            raise ValueError(f"{self.scheduler} takes no noise schedule, so it cannot be given this model's")
        if theirs is not None and not np.allclose(theirs, alpha_bars, rtol=1e-3, atol=0):
            raise ValueError(f"{self.scheduler} has a noise schedule of its own, which is not this model's")
        return scheduler


def _run(template: Any, prediction_type: str, schedule: DiscreteSchedule, x: Any, noise: Any) -> Any:
    """The documentation's loop, on a copy of the scheduler, each network call being a query."""
    scheduler = copy.deepcopy(template)
    if hasattr(scheduler, "set_begin_index"):
        # Or it searches for the first timestep, and takes the second of two equals.
        scheduler.set_begin_index(0)
    timesteps = list(scheduler.timesteps)
    drawn = _drawing(noise)
    x = x * float(scheduler.init_noise_sigma)
    for i, t in enumerate(timesteps):
        query = Query(scheduler.scale_model_input(x, t), _level(scheduler, schedule, t))
        prediction = yield query
        more = {}
        if "prev_timestep" in inspect.signature(scheduler.step).parameters:
            more["prev_timestep"] = timesteps[i + 1] if i + 1 < len(timesteps) else None
        with drawn:
            x = scheduler.step(getattr(prediction, ANSWERS[prediction_type]), t, x, **more).prev_sample
    return x


def _level(scheduler: Any, schedule: DiscreteSchedule, t: Any) -> Level:
    """What the scheduler takes the noise of its network's next input to be, in variance-preserving scaling."""
    sigmas = getattr(scheduler, "sigmas", None)
    if hasattr(scheduler, "precondition_outputs"):
        sigma = float(scheduler.sigmas[scheduler.step_index])
        return _from_ratio(sigma, schedule.level_at(-2 * math.log(sigma)).t)
    between = hasattr(scheduler, "sigmas_interpol") and not scheduler.state_in_first_order
    known = schedule.level(float(t))
    if sigmas is None or between:
        return known
    return _from_ratio(float(sigmas[scheduler.step_index or 0]), known.t)


def _from_ratio(ratio: float, t: float | None) -> Level:
    """The variance-preserving level with sigma/alpha = `ratio`."""
    alpha = 1 / math.sqrt(1 + ratio**2)
    return Level(alpha, ratio * alpha, t)


def _drawing(noise: Any) -> Any:
    """A context in which `torch.randn` gives the next of the cell's own noise, and nothing else is random.

    A mode of torch, because it holds for this thread and this block only: neither the scheduler's module nor the
    global generator is touched. A `torch.Generator` per image would be independent of the batch too, but draws
    other numbers than the zoo's samplers do, and then no picture could be held against theirs.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    other = {torch.rand, torch.rand_like, torch.randint, torch.randperm, torch.normal, torch.multinomial}

    class Drawing(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if function in other:
                raise RuntimeError(f"it draws from torch.{function.__name__}, not from normal noise")
            if function not in (torch.randn, torch.randn_like):
                return function(*args, **kwargs)
            drawn = noise()
            return drawn.to(kwargs.get("dtype") or drawn.dtype)

    return Drawing()


def _rehearse(scheduler: Any, prediction_type: str, schedule: DiscreteSchedule) -> tuple[list[Level], int]:
    """Run it on one number whose clean value is always 0.5: the levels it asks at, and how often it drew noise."""
    import torch

    draws = 0
    asked: list[Level] = []

    def noise():
        nonlocal draws
        draws += 1
        return torch.zeros(1, 1, 1, 1)

    run = _run(scheduler, prediction_type, schedule, torch.ones(1, 1, 1, 1), noise)
    try:
        query = next(run)
        while True:
            asked.append(query.level)
            x0 = torch.full_like(query.x, 0.5)
            eps = (query.x - query.level.alpha * x0) / query.level.sigma
            query = run.send(Prediction(query.x, query.level, x0, eps))
    except StopIteration as stop:
        found = float(stop.value)
    if not abs(found - 0.5) < 0.5:
        raise ArithmeticError(f"where every answer is x0 = 0.5, it ends at {found:.3g}")
    return asked, draws


def _parsed(config: str) -> dict[str, Any]:
    """`solver_order=3,euler_at_final=true` as keyword arguments; values are JSON, or else text."""
    options = {}
    for item in filter(None, config.split(",")):
        name, equals, value = item.strip().partition("=")
        if not equals:
            raise ValueError(f"config is written option=value,option=value; {item!r} is not")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def _nothing(self):
    """Stands for a `step` that a class does not have."""


def _names() -> list[str]:
    """What diffusers exports, read from its list: importing it would take seconds."""
    package = importlib.util.find_spec("diffusers")
    exports = Path(package.origin).parent / "schedulers/__init__.py" if package and package.origin else None
    if exports is None or not exports.is_file():
        return []
    names = re.findall(r'"((?!Flax)\w+Scheduler)"', exports.read_text(encoding="utf-8"))
    return sorted(set(names), key=str.lower)


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            f"diffusers/{name}",
            type(name, (DiffusersScheduler,), {"scheduler": name, "__module__": __name__}),
            title=f"diffusers {name.removesuffix('Scheduler')}",
            summary="The scheduler of the installed diffusers, with its own defaults.",
            equation=r"x_s = \texttt{scheduler.step}(\hat v,\, t,\, x_t)",
            cost="As its scheduler asks: mostly one evaluation a step, two for those of Heun’s kind.",
            when="To see how diffusers’ own implementation of a method behaves on the same noise and network, or to "
            "use one that the zoo has not written.",
        )
        for name in _names()
    ]
