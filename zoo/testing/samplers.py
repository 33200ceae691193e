"""What is checked of a sampler."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from zoo.engine import Engine
from zoo.model import Model
from zoo.planning import impossible
from zoo.sampler import NEGATIVE, PROMPT, Query, Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level, Levels, Schedule
from zoo.testing import worlds
from zoo.testing.checks import Function, NotApplicable, fail, require
from zoo.testing.common import COMMON
from zoo.testing.subjects import Subject

SAME = 1e-6
"""What rounding may do to a sample in float64; a batch of another size adds up in another order."""


def is_a_sampler(subject: Subject) -> None:
    """The implementation is a `zoo.Sampler` that takes its `Params` and whose `sample` asks at least one query."""
    sampler = subject.make()
    require(isinstance(sampler, Sampler), "a subclass of zoo.Sampler", type(sampler).__name__)
    model = worlds.gaussian()
    sampler = _few(subject, model)
    require(_run(model, sampler).queries, "at least one query", "a sample that no network was asked about")


def levels_end_clean(subject: Subject) -> None:
    """`levels` begins where there is noise and ends at the schedule's own clean level.

    All methods on a model end at one level, or a comparison compares endings. What a schedule cannot give is
    refused with `ValueError`, which makes the cell N/A; one of the two kinds of schedule must do.
    """
    refusals = []
    for schedule in (DiscreteSchedule.linear(), KarrasSchedule()):
        try:
            levels = _few(subject, worlds.gaussian(schedule)).levels(schedule)
        except NotApplicable as why:
            refusals.append(str(why))
            continue
        require(isinstance(levels, Levels), "zoo.Levels", type(levels).__name__)
        require(levels[-1] == schedule.clean, f"the clean level {schedule.clean} at the end", f"{levels[-1]}")
    if len(refusals) == 2:
        raise NotApplicable("; ".join(dict.fromkeys(refusals)))


def shape_dtype_and_device_are_kept(subject: Subject) -> None:
    """Every query's state and the sample have the shape, dtype and device of the start state.

    A NumPy scalar of float64, or a tensor made without `like=`, changes the dtype on the way; multiply by Python
    floats, such as those of a level.
    """
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        for single in (True, False):
            model = worlds.gaussian(single=single)
            sampler = _few(subject, model)
            x = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
            x = x.to(device, torch.float32 if single else torch.float64)
            (run,) = worlds.finish(worlds.cell(model, sampler, (0, 1), start=x))
            for what, found in [*(("a query", q.x) for q in run.queries), ("the sample", run.sample)]:
                came = (tuple(found.shape), found.dtype, found.device)
                kept = (tuple(x.shape), x.dtype, x.device)
                require(came == kept, f"{what} of {_tensor(kept)}", _tensor(came))


def any_number_of_steps_is_finite(subject: Subject) -> None:
    """One step, two, three, or thirteen give a finite sample, also where the last step goes nowhere.

    Stable Diffusion's clean level is its own last timestep: a step from there to there has h = 0, and a sampler must
    not divide by it.
    """
    for model in (worlds.gaussian(), worlds.gaussian(worlds.noisy_end())):
        for steps in (1, 2, 3, 13):
            sampler = _exactly(subject, model, steps)
            if sampler is not None:
                sample = _run(model, sampler).sample
                end = "" if model.schedule.clean.sigma == 0 else " towards a clean level that keeps noise"
                require(
                    torch.isfinite(sample).all(),
                    f"finite numbers at {steps} steps{end}",
                    "NaN or infinite ones",
                )


def same_seed_same_sample(subject: Subject) -> None:
    """The same seeds give the same sample, bit for bit, whatever has been run before.

    What a sampler remembers belongs into the local variables of `sample`, not on the class or the module.
    """
    model = worlds.gaussian()
    first, second = (_run(model, _few(subject, model)).sample for _ in range(2))
    require(torch.equal(first, second), "the same sample again", worlds.apart(first, second))


def noise_is_drawn_as_declared(subject: Subject) -> None:
    """`is_stochastic` tells the truth: noise is drawn by `noise()` exactly where it says so.

    Deterministic cells are held against the exact solution, and stochastic ones only by their distribution, so the
    page must know which is which.
    """
    model = worlds.gaussian()
    sampler = _few(subject, model)
    drawn = []

    def noise() -> torch.Tensor:
        drawn.append(1)
        return torch.ones(1, *worlds.SHAPE, dtype=torch.float64)

    levels = sampler.levels(model.schedule)
    worlds.by_hand(sampler, 0.5 * noise(), levels, lambda x, level: model.x0(x, level, 0), noise)
    declared = sampler.is_stochastic()
    expected = "noise() to be called" if declared else "noise() not to be called"
    require(
        (len(drawn) > 1) == declared, f"{expected}: is_stochastic() is {declared}", f"{len(drawn) - 1} calls"
    )


def global_generators_are_untouched(subject: Subject) -> None:
    """The global generators of torch, NumPy and Python are neither used nor seeded.

    Draw noise with `noise()`: it belongs to the image, so that neither the batch nor other cells can change it.
    """
    model = worlds.gaussian()
    worlds.require_untouched_generators(lambda: _run(model, _few(subject, model)).sample)


def settings_are_untouched(subject: Subject) -> None:
    """Nothing that is set for the whole process is changed, neither for good nor while an answer is awaited.

    Those are torch's gradient and inference mode, autocast, default dtype and deterministic algorithms, and NumPy's
    handling of errors. A `with torch.no_grad():` around a `yield` stays in force in the engine and in every other cell.
    """
    model = worlds.gaussian()
    worlds.require_untouched_settings(_few(subject, model), model.schedule)


def inputs_are_untouched(subject: Subject) -> None:
    """The start state, the queries' states, the predictions and the noise are not changed in place.

    Others hold them too: the preview is the prediction's x0. Write `x = x + …`, not `x += …`.
    """
    model = worlds.gaussian()
    sampler = _few(subject, model)
    draw = worlds.draws(2)
    given: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def keep(what: str, tensor: torch.Tensor) -> torch.Tensor:
        given.append((what, tensor, tensor.clone()))
        return tensor

    worlds.by_hand(
        sampler,
        keep("the start state", draw()),
        sampler.levels(model.schedule),
        lambda x, level: model.x0(keep("a query's x", x), level, 0),
        lambda: keep("the noise", draw()),
        lambda prediction: (keep("a prediction's x0", prediction.x0), keep("its eps", prediction.eps)),
    )
    changed = [what for what, tensor, copy in given if not torch.equal(tensor, copy)]
    require(not changed, "inputs as they were", f"{', '.join(dict.fromkeys(changed))} was changed in place")


def batch_split_does_not_matter(subject: Subject) -> None:
    """Three images made together are the three made one by one.

    Nothing may be computed over the batch: no norm or quantile of the whole tensor, no shared step size.
    """
    model = worlds.gaussian()
    together = _run(model, _few(subject, model), (0, 1, 2)).sample
    alone = torch.cat([_run(model, _few(subject, model), (seed,)).sample for seed in (0, 1, 2)])
    require(
        worlds.farthest(together, alone) <= SAME,
        "the same images in one batch",
        worlds.apart(together, alone),
    )


def batch_partners_do_not_matter(subject: Subject) -> None:
    """An image is the same beside any other images of its own cell."""
    model = worlds.gaussian()
    one, other = (_run(model, _few(subject, model), (0, seed)).sample[0] for seed in (1, 7))
    require(
        worlds.farthest(one, other) <= SAME, "the same image beside another one", worlds.apart(one, other)
    )


def other_cells_do_not_matter(subject: Subject) -> None:
    """Two cells at work at the same time, and one begun and given up before, change nothing.

    The engine goes round all cells, one query each. What a sampler keeps on its class is shared between them.
    """
    model = worlds.gaussian()
    alone = _run(model, _few(subject, model), (0, 1)).sample
    rehearsed = _few(subject, model)
    given_up = worlds.cell(model, rehearsed, (5,))
    given_up.start(worlds.CPU)
    given_up.cancel()
    cells = [
        worlds.cell(model, rehearsed, (0, 1)),
        worlds.cell(model, _few(subject, model, 3), (2, 3)),
    ]
    beside = worlds.finish(*cells)[0].sample
    require(
        worlds.farthest(alone, beside) <= SAME,
        "the same sample beside another cell",
        worlds.apart(alone, beside),
    )


def it_can_be_cancelled(subject: Subject) -> None:
    """Closing the generator after any query ends it.

    Do not catch `GeneratorExit` or `BaseException` around a `yield`.
    """
    model = worlds.gaussian()
    levels = _few(subject, model).levels(model.schedule)
    for queries in (1, 2):
        cell = worlds.cell(model, _few(subject, model), (0,))
        engine = Engine(worlds.CPU, torch.float32)
        engine.start([cell])
        for _ in range(queries - 1):
            engine.tick([cell])
        if not cell.running:
            require(cell.status == "done", "a query or a sample", cell.error)
            return
        cell.cancel()
        require(not cell.traceback, f"an end after query {queries} of {levels.steps}", cell.traceback)


def evaluations_are_stable(subject: Subject) -> None:
    """The same run costs the same number of network evaluations, alone and in a batch."""
    model = worlds.gaussian()
    costs = [_run(model, _few(subject, model), seeds).nfe for seeds in ((0,), (0,), (0, 1, 2))]
    require(costs[0] == costs[1], f"{costs[0]} evaluations again", f"{costs[1]}")
    require(costs[0] == costs[2], f"{costs[0]} evaluations per image in a batch of three", f"{costs[2]}")


def evaluations_are_announced(subject: Subject) -> None:
    """A run costs no more network evaluations than `evaluations` says.

    A page for many refuses by it what is beyond its budget, before anything runs.
    """
    model = worlds.gaussian()
    sampler = _few(subject, model)
    said = sampler.evaluations(sampler.levels(model.schedule))
    cost = sum(_run(model, sampler).nfe.values())
    require(cost <= said, f"at most {said} evaluations, as evaluations(levels) says", f"{cost}")


def asks_only_what_it_requires(subject: Subject) -> None:
    """Every network that is asked is one that `requires` names."""
    model = worlds.gaussian()
    sampler = _few(subject, model)
    asked = {query.role for query in _run(model, sampler).queries}
    require(asked <= set(sampler.requires()), f"only {sampler.requires()}", f"{sorted(asked)} were asked")


def queries_fit_their_level(subject: Subject) -> None:
    """Each query's state has the noise that its level says, measured where every step is exact.

    Where the data are one point m, x_t ~ N(alpha·m, sigma²) at every query, in however few steps; a sampler whose
    fresh noise is right for data of unit variance, as DDPM's "large" is, has x_t ~ N(0, alpha² + sigma²) there
    instead. Asking at the wrong level of the list, or adding the wrong amount of noise, breaks both.
    """
    model = worlds.gaussian()
    sampler = _few(subject, model, 6)
    levels = sampler.levels(model.schedule)
    n = 2000 if sampler.is_stochastic() else 64
    point = torch.linspace(-1, 1, 12, dtype=torch.float64).view(worlds.SHAPE)
    problem = ""
    for data in ("one point", "N(0, I)") if sampler.is_stochastic() else ("one point",):
        draw = worlds.draws(n)
        x = draw()
        one = data == "one point"
        mean, spread = (point, 0.0) if one else (0 * point, 1.0)
        x = levels[0].alpha * mean + math.hypot(spread * levels[0].alpha, levels[0].sigma) * x
        start = (x - levels[0].alpha * mean) / math.hypot(spread * levels[0].alpha, levels[0].sigma)

        def x0(x: torch.Tensor, level: Level, one: bool = one) -> torch.Tensor:
            if one:
                return point.expand_as(x).clone()
            return level.alpha * x / (level.alpha**2 + level.sigma**2)

        for index, query in enumerate(worlds.by_hand(sampler, x, levels, x0, draw).queries):
            level = query.level
            z = (query.x - level.alpha * mean) / math.hypot(spread * level.alpha, level.sigma)
            # Deterministic or not, the noise may differ from the start's by the error of its estimate alone.
            off, error = float(z.square().mean() / start.square().mean()), 5 * math.sqrt(4 / z.numel())
            if abs(off - 1) > (error if sampler.is_stochastic() else 0.02):
                problem += (
                    f"where the data are {data}, query {index} (t = {level.t:g}) has {off:.3f} times it; "
                )
                break
        else:
            return
    fail("x_t with the variance that its level says", problem.strip("; "))


def the_clean_end_has_no_noise(subject: Subject) -> None:
    """Where the network always answers the same x0, the sample is that x0, in one step or in many.

    No noise is added on the way to the clean level. Tell it by the next level, `s.is_clean`, and not by t > 0: with
    trailing spacing t = 0 is never visited, and a mask on it leaves noise in the picture.
    """
    model = worlds.gaussian()
    for steps in (5, 1, 2, 3, 13):
        sampler = _few(subject, model) if steps == 5 else _exactly(subject, model, steps)
        if sampler is None:
            continue
        draw = worlds.draws(8)
        x = draw()
        target = torch.linspace(-0.9, 0.9, 12, dtype=torch.float64).view(worlds.SHAPE).expand_as(x)
        levels = sampler.levels(model.schedule)
        found = worlds.by_hand(sampler, x, levels, lambda *_, x0=target: x0.clone(), draw).sample
        off = worlds.farthest(found, target)
        came = f"a sample that is up to {off:.3g} away from it, in {levels.steps} steps"
        require(off < 1e-3, "the predicted x0 itself", came)


def order_of_convergence(subject: Subject) -> None:
    """With more steps the error falls as fast as `order()` says: doubling them divides it by 2^order.

    Measured on the exact Gaussian, whose probability-flow ODE has a closed form, at a positive level on the way, since
    the step onto the clean end is first order for every solver. A small error proves little: a wrong coefficient can be
    more accurate at ten steps, and still lower the order.
    """
    sampler = subject.make()
    order = sampler.order()
    if order is None:
        raise NotApplicable(f"it declares none by order(){_measured(subject)}")
    for schedule in (DiscreteSchedule.linear(), KarrasSchedule()):
        found, errors = _order(sampler, schedule)
        if max(errors.values()) > 1e-9:
            series = ", ".join(f"{error:.2e} at {n}" for n, error in errors.items())
            kind = type(schedule).__name__
            require(found > order - 0.3, f"order {order} with {kind}", f"order {found:.2f}: errors {series}")


def more_steps_reach_the_solution(subject: Subject) -> None:
    """A deterministic sampler of the denoiser ends where the exact solution does, the nearer the more its steps."""
    model = worlds.gaussian()
    sampler = _few(subject, model, 40)
    _must_solve_with_the_denoiser(sampler)
    if sampler.is_stochastic():
        raise NotApplicable("it draws noise on the way")
    x = worlds.draws(8)()
    errors = []
    for steps in (40, 160):
        sampler = _few(subject, model, steps)
        levels = sampler.levels(model.schedule)
        run = worlds.by_hand(sampler, x, levels, lambda x, level: model.x0(x, level, 0), worlds.draws(8))
        exact = model.solve(x, levels[0], levels[-1], 0)
        errors.append(float((run.sample - exact).square().mean().sqrt()))
    series = f"errors {errors[0]:.2e} at 40 steps, {errors[1]:.2e} at 160"
    # Below 0.002 the first-order step onto the clean end is what is left, and may cancel against the others' error.
    steady = errors[1] < max(0.5 * errors[0], 2e-3) or not _has_steps(subject)
    require(steady and errors[1] < 0.05, "an error that shrinks with the steps, below 0.05 at 160", series)


def terminal_moments(subject: Subject) -> None:
    """Mean and covariance of many samples are those of the data, within five standard errors."""
    model = worlds.gaussian()
    sampler = _few(subject, model, 150)
    _must_solve_with_the_denoiser(sampler)
    n = 2000
    draw = worlds.draws(n)
    levels = sampler.levels(model.schedule)
    assert model.basis is not None
    m, basis = model.means[0] @ model.basis, model.basis
    covariance = basis.T @ model.variances[0].diag() @ basis
    wide = (levels[0].alpha ** 2 * model.variances[0] + levels[0].sigma ** 2).sqrt()
    x = levels[0].alpha * m + (draw().flatten(1) * wide) @ basis
    x = x.view(n, *model.shape)
    z = worlds.by_hand(sampler, x, levels, lambda x, level: model.x0(x, level, 0), draw).sample.flatten(1) - m
    products = z[:, :, None] * z[:, None, :]
    for what, values, right in [("mean", z, 0 * m), ("covariance", products, covariance)]:
        off = (values.mean(0) - right).abs() / (values.std(0) / math.sqrt(n))
        require(float(off.max()) < 5, f"the data's {what}", f"{float(off.max()):.1f} standard errors away")


CHECKS: tuple[Function, ...] = (
    *COMMON,
    is_a_sampler,
    settings_are_untouched,
    levels_end_clean,
    shape_dtype_and_device_are_kept,
    any_number_of_steps_is_finite,
    same_seed_same_sample,
    noise_is_drawn_as_declared,
    global_generators_are_untouched,
    inputs_are_untouched,
    batch_split_does_not_matter,
    batch_partners_do_not_matter,
    other_cells_do_not_matter,
    it_can_be_cancelled,
    evaluations_are_stable,
    evaluations_are_announced,
    asks_only_what_it_requires,
    queries_fit_their_level,
    the_clean_end_has_no_noise,
    order_of_convergence,
    more_steps_reach_the_solution,
    terminal_moments,
)


def _few(subject: Subject, model: Model, steps: int = 5) -> Sampler:
    """The sampler with about this many steps if it can, else as it is.

    Raises:
        NotApplicable: it cannot run on the model.
    """
    reason = ""
    settings: list[dict[str, Any]] = [{"steps": steps}, {}] if _has_steps(subject) else [{}]
    for setting in settings:
        try:
            sampler: Sampler = subject.make(**setting)
        except ValueError as error:  # beyond its bounds
            reason = str(error)
            continue
        reason = impossible(model, sampler, [], {PROMPT: "", NEGATIVE: ""})
        if not reason:
            return sampler
    raise NotApplicable(f"not possible on {model.name}: {reason}")


def _exactly(subject: Subject, model: Model, steps: int) -> Sampler | None:
    """The sampler with just this many steps; None where that is beyond its bounds, or impossible on the model."""
    if not _has_steps(subject):
        return None
    try:
        sampler: Sampler = subject.make(steps=steps)
    except ValueError:
        return None
    return None if impossible(model, sampler, [], {PROMPT: "", NEGATIVE: ""}) else sampler


def _has_steps(subject: Subject) -> bool:
    return "steps" in subject.spec.params_model().model_fields


def _run(model: Model, sampler: Sampler, seeds: tuple[int, ...] = (0, 1)) -> worlds.Run:
    return worlds.finish(worlds.cell(model, sampler, seeds))[0]


def _must_solve_with_the_denoiser(sampler: Sampler) -> None:
    if sampler.requires() != ("denoiser",):
        raise NotApplicable(f"it asks {', '.join(sampler.requires())}, not the denoiser alone")


def _measured(subject: Subject) -> str:
    """What the order of a sampler that declares none would be, for its author."""
    try:
        sampler = subject.make()
        if sampler.is_stochastic() or sampler.requires() != ("denoiser",):
            return ""
        found, _ = _order(sampler, DiscreteSchedule.linear())
    except (Exception, SystemExit):  # nothing is claimed, so nothing can be wrong
        return ""
    return f" (measured: {found:.2f}); without it a wrong coefficient may go unnoticed"


def _order(sampler: Sampler, schedule: Schedule) -> tuple[float, dict[int, float]]:
    """Minus the slope of log error against log steps, by least squares; and the errors by steps."""
    model = worlds.gaussian(schedule)
    errors = {steps: _error_on_the_way(sampler, model, steps) for steps in (16, 32, 64, 128)}
    xs = np.log(list(errors))
    ys = np.log(np.maximum(list(errors.values()), 1e-300))
    return -float(np.polyfit(xs, ys, 1)[0]), errors


def _error_on_the_way(sampler: Sampler, model: Any, steps: int) -> float:
    """RMS error where `steps` steps end, at a level that still has noise."""
    visited = _levels_on_the_way(model.schedule, steps)
    x = visited[0].sigma * worlds.draws(8)()
    asked = worlds.by_hand(
        sampler, x, visited, lambda x, level: model.x0(x, level, 0), worlds.draws(8)
    ).queries
    there = [query.x for query in asked if isinstance(query, Query) and query.level == visited[steps]]
    require(there, "a query at every level of `levels`", f"none at {visited[steps]}")
    return float((there[-1] - model.solve(x, visited[0], visited[steps], 0)).square().mean().sqrt())


def _levels_on_the_way(schedule: Schedule, steps: int) -> Levels:
    """Levels evenly in log-SNR; `steps` of them, and some more beyond, so that no step there is a special one."""
    high, low = -4.0, 3.0
    snrs = [high + (low - high) * i / steps for i in range(steps + 1)] + [low + 0.5, low + 1]
    return Levels([*(schedule.level_at(snr) for snr in snrs), schedule.clean], schedule)


def _tensor(kept: Any) -> str:
    shape, dtype, device = kept
    return f"shape {shape}, {dtype}, on {device}"
