"""What is checked of a conditioner."""

from __future__ import annotations

from typing import Any

import torch

from zoo.conditioner import Conditioner, conditioned
from zoo.engine import Engine
from zoo.model import Model
from zoo.planning import impossible
from zoo.sampler import NEGATIVE, PROMPT, Noise, Queries, Query, Sampler
from zoo.schedule import Level, Levels
from zoo.testing import worlds
from zoo.testing.checks import Function, NotApplicable, fail, require
from zoo.testing.common import COMMON
from zoo.testing.subjects import Subject

SAME = 1e-6
"""What rounding may do to a sample in float64."""
PROMPTED = "left"


def is_a_conditioner(subject: Subject) -> None:
    """The implementation is a `zoo.Conditioner` that takes its `Params`, and a sampler gets through with it."""
    conditioner = subject.make()
    require(isinstance(conditioner, Conditioner), "a subclass of zoo.Conditioner", type(conditioner).__name__)
    sample = _run(subject).sample
    require(torch.isfinite(sample).all(), "a finite sample", "NaN or infinite numbers")


def each_query_gets_its_prediction(subject: Subject) -> None:
    """`guide` ends with a prediction for the very query it was given, whose x0 and eps agree.

    x = alpha·x0 + sigma·eps must hold: a sampler may use either. Whoever changes x0 derives eps from it again,
    eps = (x − alpha·x0)/sigma; the prediction of a `Query` that you yield has this done already.
    """
    model = worlds.mixture()
    _applies(subject, model)
    replies: list[tuple[Query, Any]] = []

    class Listening(worlds.Straight):
        def sample(self, x, levels, noise):  # type: ignore[no-untyped-def]
            for t, s in levels.pairs():
                query = Query(x, t)
                prediction = yield query
                replies.append((query, prediction))
                x = s.alpha * prediction.x0 + s.sigma * prediction.eps
            return x

    worlds.finish(worlds.cell(model, Listening(), (0, 1), [subject.make()], PROMPTED))
    for query, reply in replies:
        for part in ("x0", "eps"):
            found = getattr(reply, part, None)
            if not isinstance(found, torch.Tensor):
                fail("a prediction", f"{type(reply).__name__} without {part}")
            require(
                (found.shape, found.dtype) == (query.x.shape, query.x.dtype),
                f"{part} of shape {tuple(query.x.shape)} and {query.x.dtype}",
                f"{tuple(found.shape)} and {found.dtype}",
            )
        again = query.level.alpha * reply.x0 + query.level.sigma * reply.eps
        off = worlds.farthest(again, query.x)
        require(off < SAME, "x = alpha·x0 + sigma·eps", f"a difference of {off:.3g} at t = {query.level.t:g}")


def single_precision_stays(subject: Subject) -> None:
    """What is in float32 stays in float32: every query on the way to the network, and the sample."""
    model = worlds.mixture(single=True)
    _applies(subject, model)
    run = _run(subject, model)
    came = {query.x.dtype for query in run.queries} | {run.sample.dtype}
    require(came == {torch.float32}, "float32 everywhere", ", ".join(sorted(map(str, came))))


def same_seed_same_sample(subject: Subject) -> None:
    """The same seeds give the same sample, bit for bit, whatever has been run before."""
    first, second = _run(subject).sample, _run(subject).sample
    require(torch.equal(first, second), "the same sample again", worlds.apart(first, second))


def global_generators_are_untouched(subject: Subject) -> None:
    """The global generators of torch, NumPy and Python are neither used nor seeded."""
    _applies(subject, worlds.mixture())
    worlds.require_untouched_generators(lambda: _run(subject).sample)


def settings_are_untouched(subject: Subject) -> None:
    """Nothing that is set for the whole process is changed, neither for good nor while an answer is awaited.

    A `with torch.enable_grad():` around a `yield` stays in force in the engine and in every other cell.
    """
    model = worlds.mixture()
    _applies(subject, model)

    class Guided(worlds.Straight):
        def sample(self, x: torch.Tensor, levels: Levels, noise: Noise) -> Queries:
            return conditioned(super().sample(x, levels, noise), [subject.make()])

    worlds.require_untouched_settings(Guided(), model.schedule)


def inputs_are_untouched(subject: Subject) -> None:
    """Neither the query nor the predictions are changed in place: `dataclasses.replace` makes a changed copy."""
    model = worlds.mixture()
    _applies(subject, model)
    given: list[tuple[Query, torch.Tensor, dict[str, float]]] = []

    class Keeping(worlds.Straight):
        def sample(self, x, levels, noise):  # type: ignore[no-untyped-def]
            for t, s in levels.pairs():
                query = Query(x, t, terms={PROMPT: 1.0})
                given.append((query, x.clone(), dict(query.terms)))
                prediction = yield query
                x = s.alpha * prediction.x0 + s.sigma * prediction.eps
            return x

    worlds.finish(worlds.cell(model, Keeping(), (0, 1), [subject.make()], PROMPTED))
    for query, x, terms in given:
        require(torch.equal(query.x, x), "the query's x as it was", "x was changed in place")
        require(dict(query.terms) == terms, f"the query's terms {terms}", f"{dict(query.terms)}")


def batch_split_does_not_matter(subject: Subject) -> None:
    """Three images made together are the three made one by one."""
    together = _run(subject, seeds=(0, 1, 2)).sample
    alone = torch.cat([_run(subject, seeds=(seed,)).sample for seed in (0, 1, 2)])
    require(
        worlds.farthest(together, alone) <= SAME,
        "the same images in one batch",
        worlds.apart(together, alone),
    )


def batch_partners_do_not_matter(subject: Subject) -> None:
    """An image is the same beside any other images of its own cell."""
    one, other = (_run(subject, seeds=(0, seed)).sample[0] for seed in (1, 7))
    require(
        worlds.farthest(one, other) <= SAME, "the same image beside another one", worlds.apart(one, other)
    )


def other_cells_do_not_matter(subject: Subject) -> None:
    """Two cells at work at the same time do not change each other; what is remembered belongs to the instance."""
    model = worlds.mixture()
    alone = _run(subject).sample
    cells = [
        worlds.cell(model, worlds.Straight(), seeds, [subject.make()], prompt)
        for seeds, prompt in (((0, 1), PROMPTED), ((5, 6), "right"))
    ]
    beside = worlds.finish(*cells)[0].sample
    require(
        worlds.farthest(alone, beside) <= SAME,
        "the same sample beside another cell",
        worlds.apart(alone, beside),
    )


def it_can_be_cancelled(subject: Subject) -> None:
    """Closing the generator ends it, also between two of its own queries."""
    model = worlds.mixture()
    _applies(subject, model)
    for ticks in range(3):
        cell = worlds.cell(model, worlds.Straight(), (0,), [subject.make()], PROMPTED)
        engine = Engine(worlds.CPU, torch.float32)
        engine.start([cell])
        for _ in range(ticks):
            engine.tick([cell])
        cell.cancel()
        require(not cell.traceback, "an end", cell.traceback)


def evaluations_are_stable(subject: Subject) -> None:
    """The same run costs the same number of network evaluations, alone and in a batch."""
    costs = [_run(subject, seeds=seeds).nfe for seeds in ((0,), (0,), (0, 1, 2))]
    require(costs[0] == costs[1], f"{costs[0]} evaluations again", f"{costs[1]}")
    require(costs[0] == costs[2], f"{costs[0]} evaluations per image in a batch of three", f"{costs[2]}")


def asks_only_what_it_requires(subject: Subject) -> None:
    """Every network that is asked besides the sampler's own is one that `requires` names."""
    asked = {query.role for query in _run(subject).queries}
    named = {"denoiser", *subject.make().requires()}
    require(asked <= named, f"only {sorted(named)}", f"{sorted(asked)} were asked")


def it_goes_with_any_sampler(subject: Subject) -> None:
    """It goes around queries that go up again in noise, that come twice at one level, and around itself."""
    model = worlds.mixture()
    _applies(subject, model)

    class Wandering(Sampler):
        def levels(self, schedule):  # type: ignore[no-untyped-def]
            return Levels([schedule.level(600), schedule.level(200), schedule.clean], schedule)

        def sample(self, x, levels, noise):  # type: ignore[no-untyped-def]
            order: list[Level] = [levels[0], levels[1], levels[1], levels[0], levels[1]]
            for t, s in zip(order, [*order[1:], levels[2]], strict=True):
                prediction = yield Query(x, t)
                x = s.alpha * prediction.x0 + s.sigma * prediction.eps
            return x

    for conditioners in ([subject.make()], [subject.make(), subject.make()]):
        (run,) = worlds.finish(worlds.cell(model, Wandering(), (0, 1), conditioners, PROMPTED))
        require(torch.isfinite(run.sample).all(), "a finite sample", "NaN or infinite numbers")


CHECKS: tuple[Function, ...] = (
    *COMMON,
    is_a_conditioner,
    settings_are_untouched,
    each_query_gets_its_prediction,
    single_precision_stays,
    same_seed_same_sample,
    global_generators_are_untouched,
    inputs_are_untouched,
    batch_split_does_not_matter,
    batch_partners_do_not_matter,
    other_cells_do_not_matter,
    it_can_be_cancelled,
    evaluations_are_stable,
    asks_only_what_it_requires,
    it_goes_with_any_sampler,
)


def _applies(subject: Subject, model: Model) -> None:
    """Raise `NotApplicable` where the conditioner refuses the kit's model."""
    conditions = {PROMPT: PROMPTED, NEGATIVE: ""}
    reason = impossible(model, worlds.Straight(), [subject.make()], conditions)
    if reason:
        raise NotApplicable(f"not possible on {model.name}: {reason}")


def _run(subject: Subject, model: Model | None = None, seeds: tuple[int, ...] = (0, 1)) -> worlds.Run:
    model = model or worlds.mixture()
    _applies(subject, model)
    return worlds.finish(worlds.cell(model, worlds.Straight(), seeds, [subject.make()], PROMPTED))[0]
