"""Measure the points that the claims need, and judge the claims."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from zoo.claims.claims import CLAIMS, CURVES, Claim, Finding, Interval, Value, judge
from zoo.claims.points import BATCH, Block, Impossible, Points, asked_for
from zoo.data.tinyworld import caption
from zoo.device import resolve_device, resolve_dtype
from zoo.engine import Engine
from zoo.method import Method
from zoo.metrics.distances import frechet_distance, kernel_distance
from zoo.models.tinyworld import TextToPixels
from zoo.planning import impossible, load_model, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT

BLOCKS = 4
QUICK_BATCHES, FULL_BATCHES = 1, 8


@dataclass(frozen=True)
class CurvePoint:
    """One setting of a method in the plots.

    Attributes:
        line: the method.
        nfe: network evaluations per picture, all roles.
        seconds: per picture, in a fused batch.
        distance: with the floor subtracted.
        accuracy: share of pictures that show the asked kind.
    """

    line: str
    nfe: int
    seconds: float
    distance: Interval
    accuracy: Interval


@dataclass(frozen=True)
class Report:
    """All findings, and the curves' points as far as they have been measured.

    Attributes:
        findings: one a claim.
        curves: title → its points.
        pictures: of a point.
        distance: which distance it is, in words.
        floor: the distance of real pictures, not subtracted anywhere but in `findings` and `curves`.
        device: what it was measured on.
    """

    findings: tuple[Finding, ...]
    curves: Mapping[str, Sequence[CurvePoint]]
    pictures: int
    distance: str
    floor: Interval
    device: str


def run(model_name: str, registry: Registry, folder: Path, quick: bool, device: str, bar: bool) -> Report:
    """Measure what is missing, cheapest methods first, and judge; an interrupt judges what there is.

    Raises:
        ValueError: the model does not draw tinyworld pictures, or does not exist.
    """
    model = load_model(model_name, registry)
    if not isinstance(model, TextToPixels):
        raise ValueError(f"claims are measured on a model of tinyworld pictures, {model_name} is none")
    chosen = resolve_device(device)
    engine = Engine(chosen, resolve_dtype("auto", chosen))
    points = Points(model, registry, engine, folder, BLOCKS, QUICK_BATCHES if quick else FULL_BATCHES)
    claims = [claim for claim in CLAIMS if claim.quick or not quick]
    lines = list(dict.fromkeys(line for claim in claims for line in claim.lines))
    if not quick:
        lines += [line for curve in CURVES.values() for line in curve if line not in lines]
    reasons = {line: reason for line in lines if (reason := _impossible(model, registry, line))}
    try:
        _measure(points, [line for line in lines if line not in reasons], bar)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here")
    return _judged(points, claims, reasons, quick, chosen)


def _measure(points: Points, lines: Sequence[str], bar: bool) -> None:
    cost = {line: _steps(points, line) for line in lines}
    todo = [(line, *at) for line in sorted(lines, key=cost.__getitem__) for at in points.missing(line)]
    total = sum(cost[line] for line, *_ in todo) * BATCH
    with tqdm(total=total, unit=" steps", unit_scale=True, disable=not bar) as progress:
        for line, block, batch in todo:
            progress.set_description(line)
            points.measure(line, block, batch)
            progress.update(cost[line] * BATCH)


def _judged(
    points: Points, claims: Sequence[Claim], reasons: Mapping[str, str], quick: bool, device: torch.device
) -> Report:
    # A Fréchet distance of so few pictures would be mostly bias; the kernel distance has none.
    distance = kernel_distance if quick else frechet_distance
    floors = [distance(real.features, points.reference) for real in points.real_blocks()]

    @functools.cache
    def blocks_of(line: str) -> list[Block]:
        if line in reasons:
            raise Impossible(reasons[line])
        return points.blocks_of(line)

    @functools.cache
    def distances(line: str) -> list[float]:
        found = [distance(block.features, points.reference) for block in blocks_of(line)]
        return [value - floor for value, floor in zip(found, floors, strict=True)]

    def accuracies(line: str) -> list[float]:
        return [block.accuracy for block in blocks_of(line)]

    def diversities(line: str) -> list[float]:
        return [block.diversity for block in blocks_of(line)]

    measures: dict[str, Value] = {"distance": distances, "accuracy": accuracies, "diversity": diversities}
    findings = []
    for claim in claims:
        try:
            findings.append(judge(claim, measures, points.pictures))
        except Impossible as error:
            findings.append(Finding(claim, "undecided", (), reason=str(error)))
        except FileNotFoundError:
            findings.append(Finding(claim, "undecided", (), reason="not measured to the end"))
    curves = {}
    for title, lines in CURVES.items():
        rows = []
        for line in lines:
            try:
                blocks = blocks_of(line)
            except (Impossible, FileNotFoundError):
                continue
            seconds = sum(block.seconds for block in blocks) / len(blocks)
            near, right = Interval.of(distances(line)), Interval.of(accuracies(line))
            rows.append(CurvePoint(line, blocks[0].nfe, seconds, near, right))
        curves[title] = rows
    name = "kernel distance" if quick else "Fréchet distance"
    where = f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return Report(tuple(findings), curves, points.pictures, name, Interval.of(floors), where)


def _impossible(model: TextToPixels, registry: Registry, line: str) -> str:
    try:
        conditions = {PROMPT: caption(asked_for(0, 0)[0]), NEGATIVE: ""}
        return impossible(model, *resolve(Method.parse(line), registry), conditions)
    except ValueError as error:
        return str(error)


def _steps(points: Points, line: str) -> int:
    """Roughly what a method costs: its steps, twice when it is guided."""
    sampler, conditioners = resolve(Method.parse(line), points.registry)
    return sampler.levels(points.model.schedule).steps * (2 if conditioners else 1)
