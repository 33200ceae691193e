"""Measure the points that the claims need, and judge the claims."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from zoo.claims.claims import Claim, Estimate, Finding, Interval, judge
from zoo.claims.control import PICTURES as CONTROLLED
from zoo.claims.control import ControlPoints
from zoo.claims.exact import SAMPLES, ExactPoints
from zoo.claims.measures import Measures
from zoo.claims.papers import CLAIMS, CURVES
from zoo.claims.points import BATCH, Impossible, Points, asked_for
from zoo.claims.speed import FACTOR, Faster, fastest, seconds, time_all, where
from zoo.data.tinyworld import caption
from zoo.device import resolve_device, resolve_dtype
from zoo.engine import Engine
from zoo.method import Method
from zoo.models.tinyworld import TextToPixels
from zoo.planning import evaluations, impossible, load_model, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT

BLOCKS = 4
QUICK_PICTURES, FULL_PICTURES = BLOCKS * BATCH, 8 * BLOCKS * BATCH

LAST = 500
"""Evaluations past which a method takes as long as most others together: measured when all others are."""


@dataclass(frozen=True)
class CurvePoint:
    """One setting of a method in the plots.

    Attributes:
        line: the method.
        n: pictures.
        nfe: network evaluations per picture, all roles.
        seconds: per picture, timed side by side; None if not timed.
        distance: with the floor subtracted.
        accuracy: share of pictures that show the asked kind.
    """

    line: str
    n: int
    nfe: int
    seconds: float | None
    distance: Interval
    accuracy: Interval


@dataclass(frozen=True)
class Report:
    """All findings, and the curves' points as far as they have been measured.

    Attributes:
        findings: one a claim.
        curves: title → its points.
        speed: the cheapest settings that are about as good as DDPM's longest run; None until that has been timed.
        device: what it was measured on.
        quick: whether only the quick claims were measured.
    """

    findings: tuple[Finding, ...]
    curves: Mapping[str, Sequence[CurvePoint]]
    speed: Faster | None
    device: str
    quick: bool


def run(
    model_name: str,
    registry: Registry,
    folder: Path,
    quick: bool,
    device: str,
    bar: bool,
    pictures: int | None = None,
    time: bool = False,
) -> Report:
    """Measure what is missing, a few pictures of every method before more of any; an interrupt judges what there is.

    Args:
        model_name: a model of tinyworld pictures.
        registry: where methods are looked up.
        folder: where measurements are kept.
        quick: only the quick claims.
        device: as on the command line.
        bar: whether to show the progress.
        pictures: of each method, a multiple of 256; 2048 by default, 256 if quick.
        time: instead of measuring more, time side by side what has been measured of the curves.

    Raises:
        ValueError: the model does not draw tinyworld pictures, or does not exist; or `pictures` is not a multiple.
    """
    pictures = pictures or (QUICK_PICTURES if quick else FULL_PICTURES)
    batches, rest = divmod(pictures, BLOCKS * BATCH)
    if rest or batches < 1:
        raise ValueError(f"pictures must be a positive multiple of {BLOCKS * BATCH}, got {pictures}")
    model = load_model(model_name, registry)
    if not isinstance(model, TextToPixels):
        raise ValueError(f"claims are measured on a model of tinyworld pictures, {model_name} is none")
    chosen = resolve_device(device)
    engine = Engine(chosen, resolve_dtype("auto", chosen))
    points = Points(model, registry, engine, folder, BLOCKS)
    claims = [claim for claim in CLAIMS if claim.quick or not quick]
    needed = dict.fromkeys(line for claim in claims for line in claim.lines)
    drawn = dict.fromkeys(line for curve in CURVES.values() for line in curve)
    reasons = {line: reason for line in needed | drawn if (reason := _impossible(model, registry, line))}
    lines = needed if quick else needed | drawn
    costs = {line: _evaluations(points, line) for line in lines if line not in reasons}
    try:
        if time:
            measured = [line for line in drawn if line not in reasons and points.batches(line)]
            time_all(points, sorted(measured, key=costs.__getitem__), bar)
        else:
            _measure(points, costs, batches, reasons, bar)
    except KeyboardInterrupt:
        print(
            "interrupted: timing begins anew" if time else "interrupted: the same command goes on from here"
        )
    return _judged(points, ExactPoints(registry, engine), claims, costs, reasons, batches, quick)


def order(costs: Mapping[str, int], batches: int) -> Iterator[tuple[str, int]]:
    """(line, batch) in the order of measuring: breadth first, so that an interrupted run has something of every line.

    Every line's batch 0, then 1, then 2 and 3, then 4 to 7, doubling; the cheapest lines first in each stage, and
    those of more than `LAST` evaluations after all stages of the others.
    """
    cheapest = sorted(costs, key=costs.__getitem__)
    stages = [range(0, 1)]
    while stages[-1].stop < batches:
        stages.append(range(stages[-1].stop, min(2 * stages[-1].stop, batches)))
    for late in (False, True):
        for stage in stages:
            for line in cheapest:
                if (costs[line] > LAST) == late:
                    yield from ((line, batch) for batch in stage)


def _measure(
    points: Points, costs: Mapping[str, int], batches: int, reasons: dict[str, str], bar: bool
) -> None:
    """What is missing; a line that fails is left out from there on, with the reason."""
    todo = [
        (line, block, batch)
        for line, batch in order(costs, batches)
        for block in range(points.blocks)
        if not points.has(line, block, batch)
    ]
    total = sum(costs[line] for line, *_ in todo) * BATCH
    with tqdm(total=total, unit=" evaluations", unit_scale=True, disable=not bar) as progress:
        for line, block, batch in todo:
            progress.set_description(line)
            if line not in reasons:
                try:
                    points.measure(line, block, batch)
                except RuntimeError as error:
                    reasons[line] = str(error).strip().splitlines()[-1]
                    print(error, file=sys.stderr)
            progress.update(costs[line] * BATCH)


def _judged(
    points: Points,
    exact: ExactPoints,
    claims: Sequence[Claim],
    costs: Mapping[str, int],
    reasons: Mapping[str, str],
    batches: int,
    quick: bool,
) -> Report:
    measures_of = functools.cache(lambda count: Measures(points, count))
    control = ControlPoints(points)

    @functools.cache
    def has(line: str) -> int:
        """Batches of a line."""
        if line in reasons:
            raise Impossible(reasons[line])
        return min(batches, points.batches(line))

    def pictures(count: int) -> int:
        return points.blocks * count * BATCH

    def finding(claim: Claim) -> Finding:
        try:
            if claim.measures <= set(exact.by_name()):
                return judge(claim, exact.by_name(), SAMPLES)
            if claim.measures <= set(control.by_name()):
                return judge(claim, control.by_name(), CONTROLLED)
            count = min(has(line) for line in claim.lines)
        except Impossible as error:
            return Finding(claim, "undecided", (), reason=str(error))
        if count == 0:
            missing = ", ".join(line for line in claim.lines if has(line) == 0)
            return Finding(claim, "undecided", (), reason=f"not measured yet: {missing}")
        return judge(claim, measures_of(count).by_name(), pictures(count))

    taken = seconds(points)

    def point(line: str) -> CurvePoint | None:
        count = 0 if line in reasons else has(line)
        if count == 0:
            return None
        drawn, measures = points.read(line, count), measures_of(count)
        near, right = Interval.of(measures.distance(line)), Interval.of(measures.accuracy(line))
        return CurvePoint(line, pictures(count), drawn.nfe, taken(line), near, right)

    def speed() -> Faster | None:
        timed = {p.line: p.seconds for line in curves.values() for p in line if p.seconds is not None}
        ddpm = [line for line in timed if line.startswith("ddpm ") and "variance=large" not in line]
        if not ddpm:
            return None
        baseline = max(ddpm, key=lambda line: costs[line])

        def near(line: str) -> Interval:
            measures = measures_of(min(has(line), has(baseline)))
            estimates = [measures.distance(one) for one in (baseline, line)]
            return Interval.of(Estimate.of(lambda base, own: FACTOR * base - own, estimates))

        def wrong(line: str) -> float:
            return 1 - measures_of(min(has(line), has(baseline))).accuracy(line).value

        settings = {title: [p.line for p in line if p.line in timed] for title, line in curves.items()}
        return fastest(settings, baseline, pictures(has(baseline)), timed, functools.cache(near), wrong)

    curves = {title: [p for line in lines if (p := point(line))] for title, lines in CURVES.items()}
    return Report(tuple(map(finding, claims)), curves, speed(), where(points), quick)


def _impossible(model: TextToPixels, registry: Registry, line: str) -> str:
    try:
        conditions = {PROMPT: caption(asked_for(0, 0)[0]), NEGATIVE: ""}
        return impossible(model, *resolve(Method.parse(line), registry), conditions)
    except ValueError as error:
        return str(error).partition(" There are: ")[0]  # a list of all that exists is too long for a table


def _evaluations(points: Points, line: str) -> int:
    sampler, conditioners = resolve(Method.parse(line), points.registry)
    return evaluations(sampler, conditioners, points.model.schedule)
