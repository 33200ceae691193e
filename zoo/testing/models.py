"""What is checked of a model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from zoo.model import Model
from zoo.noise import start_noise
from zoo.planning import impossible
from zoo.prediction import KINDS
from zoo.sampler import NEGATIVE, PROMPT
from zoo.testing import worlds
from zoo.testing.checks import Function, NotApplicable, require
from zoo.testing.common import import_is_light
from zoo.testing.subjects import Subject

SAME = 1e-4
"""What another batch may do to a network's output: convolutions add up in another order in float32."""


def it_builds(subject: Subject) -> None:
    """The spec's function builds a `zoo.Model` with a name, a title, a shape, a schedule and at least one role."""
    model = _model(subject)
    require(isinstance(model, Model), "a zoo.Model", type(model).__name__)
    for name in ("name", "title", "summary"):
        require(isinstance(getattr(model, name), str), f"{name} as a string", repr(getattr(model, name)))
    shape = model.shape
    require(
        all(isinstance(n, int) and n > 0 for n in shape) and shape, "shape (C, H, W) or alike", f"{shape}"
    )
    require(model.roles, "at least one role", "none")
    require(model.precision in ("float32", "float64"), "precision float32 or float64", model.precision)


def predictions_are_known_beforehand(subject: Subject) -> None:
    """`prediction_kind` names what each network predicts, without loading it, and the network agrees."""
    model = _model(subject)
    for role in model.roles:
        kind = model.prediction_kind(role)
        require(kind in ("", *KINDS), f'one of {", ".join(KINDS)} or "" for {role}', repr(kind))
        own = getattr(_network(model, role), "prediction", "")
        require(own == kind, f"{kind!r}, what prediction_kind({role!r}) says", f"network.prediction {own!r}")


def an_unknown_role_is_refused(subject: Subject) -> None:
    """A network that the model does not have is a `LookupError`."""
    try:
        _network(_model(subject), "no such role")
    except LookupError:
        return
    require(False, "LookupError", "a network")


def the_schedule_knows_its_levels(subject: Subject) -> None:
    """t → level → log-SNR → level is the same level, and lists of levels end at the clean one."""
    schedule = _model(subject).schedule
    for steps in (1, 2, 5):
        levels = schedule.levels(steps)
        require(levels.steps == steps, f"{steps} steps", f"{levels.steps}")
        require(levels[-1] == schedule.clean, f"the clean level {schedule.clean}", f"{levels[-1]}")
        for level in levels[:-1]:
            again = schedule.level_at(schedule.level(level.t).log_snr)
            off = abs(again.log_snr - level.log_snr)
            require(off < 1e-6, f"{level} again from its log-SNR", f"{again}")


def answers_have_the_state_s_shape(subject: Subject) -> None:
    """The denoiser answers rows of any number and level with finite numbers of the same shape."""
    model = _model(subject)
    ask, x = _denoiser(model)
    for n in (1, 3):
        out = ask(x[:n])
        require(out.shape == x[:n].shape, f"shape {tuple(x[:n].shape)}", f"{tuple(out.shape)}")
        require(torch.isfinite(out).all(), "finite numbers", "NaN or infinite numbers")


def rows_do_not_matter_to_each_other(subject: Subject) -> None:
    """A row's answer is the same alone and among others; normalise within an image, never over the batch."""
    ask, x = _denoiser(_model(subject))
    together, alone = ask(x), torch.cat([ask(row[None]) for row in x])
    off = worlds.farthest(together, alone)
    require(off < SAME * (1 + float(together.abs().max())), "the same answers row by row", f"{off:.3g} apart")


def answers_are_repeatable(subject: Subject) -> None:
    """The same question has the same answer, and neither the question nor a global generator is changed."""
    ask, x = _denoiser(_model(subject))
    copy = x.clone()
    with worlds.kept_rng(0):
        before = worlds.rng_state()
        first, second = ask(x), ask(x)
        same = before == worlds.rng_state()
    require(torch.equal(first, second), "the same answer again (is dropout on?)", "another one")
    require(torch.equal(x, copy), "the state as it was", "it was changed in place")
    require(same, "the global generators as they were", "one of them has moved on")


def texts_are_understood(subject: Subject) -> None:
    """The empty prompt, an example and nonsense can all be asked for, and what is not understood is said."""
    model = _model(subject)
    for text in ("", *model.examples()[:2], "zebra <script>"):
        model.condition(text, worlds.CPU)
        notices = model.notices(text)
        require(
            isinstance(notices, list) and all(isinstance(n, str) for n in notices),
            f"a list of strings from notices({text!r})",
            repr(notices),
        )


def pictures_can_be_looked_at(subject: Subject) -> None:
    """`pictures` turns any state, even far out of range, into (n, 3, H, W) float32 within [-1, 1] on the CPU."""
    model = _model(subject)
    x = 5 * torch.from_numpy(start_noise((0, 1), model.shape)).to(getattr(torch, model.precision))
    found = model.pictures(x)
    shaped = found.ndim == 4 and found.shape[:2] == (2, 3) and found.dtype == torch.float32
    require(
        shaped and found.device.type == "cpu",
        "(2, 3, H, W) float32 on the CPU",
        f"{tuple(found.shape)}, {found.dtype}",
    )
    require(float(found.abs().max()) <= 1, "values within [-1, 1]", f"up to {float(found.abs().max()):.3g}")


def projecting_twice_is_projecting_once(subject: Subject) -> None:
    """`project` keeps the shape, and what is within the data's range already stays as it is."""
    model = _model(subject)
    x = 2 * torch.from_numpy(start_noise((0, 1), model.shape))
    for threshold in ("model", "none", 0.995):
        once = model.project(x, threshold)
        require(once.shape == x.shape, f"shape {tuple(x.shape)}", f"{tuple(once.shape)}")
    once = model.project(x, "model")
    off = worlds.farthest(model.project(once, "model"), once)
    require(off < 1e-6, "no change by projecting again", f"a change of {off:.3g}")


def a_sampler_gets_through(subject: Subject) -> None:
    """Five plain steps from noise, at the first example as prompt, end in a finite sample."""
    model = _model(subject)
    prompt = next(iter(model.examples()), "")
    reason = impossible(model, worlds.Straight(), [], {PROMPT: prompt, NEGATIVE: ""})
    if reason:
        raise NotApplicable(reason)
    (run,) = worlds.finish(worlds.cell(model, worlds.Straight(), (0, 1), prompt=prompt))
    require(run.nfe == {"denoiser": 5}, "5 evaluations of the denoiser", f"{run.nfe}")


CHECKS: tuple[Function, ...] = (
    import_is_light,
    it_builds,
    predictions_are_known_beforehand,
    an_unknown_role_is_refused,
    the_schedule_knows_its_levels,
    answers_have_the_state_s_shape,
    rows_do_not_matter_to_each_other,
    answers_are_repeatable,
    texts_are_understood,
    pictures_can_be_looked_at,
    projecting_twice_is_projecting_once,
    a_sampler_gets_through,
)


@functools.lru_cache(maxsize=4)
def _built(implementation: Any) -> Any:
    return implementation()


def _model(subject: Subject) -> Any:
    """The model, built once for all checks: networks may be large."""
    return _built(subject.spec.load())


def _network(model: Model, role: str) -> Any:
    return model.network(role, worlds.CPU, torch.float32)


def _denoiser(model: Model) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """Asks the denoiser about rows at their levels, noisy to clean; and three states to ask about."""
    if "denoiser" not in model.roles:
        raise NotApplicable(f"it has no denoiser, only {', '.join(model.roles)}")
    network = _network(model, "denoiser")
    levels = network.schedule.levels(3)[:-1]
    x = torch.from_numpy(start_noise((0, 1, 2), model.shape)).to(getattr(torch, model.precision))
    times = {tuple(row.flatten()[:4].tolist()): level.t for row, level in zip(x, levels, strict=True)}
    condition = model.condition("", worlds.CPU)

    def ask(rows: torch.Tensor) -> torch.Tensor:
        t = torch.tensor([times[tuple(row.flatten()[:4].tolist())] for row in rows], dtype=rows.dtype)
        with torch.no_grad():
            out: torch.Tensor = network(rows, t, [condition] * len(rows))
        return out.to(rows.dtype)

    return ask, x
