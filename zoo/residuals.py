"""What control networks add inside another network, for a batch: one pass of each for all cells that it controls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zoo.cell import Cell, weighted
from zoo.sampler import Control, Query


@dataclass
class ControlAsk:
    """One question to a control network: a cell's state, a row an image, with one map and under one prompt.

    Attributes:
        adds: where in the batch the answer goes, and times how much: (first row, scale).
    """

    cell: Cell
    control: Control
    text: str
    adds: list[tuple[int, float]] = field(default_factory=list)


def control_residuals(
    cells: Sequence[Cell], ask: Callable[[str, Sequence[ControlAsk]], list[torch.Tensor]]
) -> tuple[list[torch.Tensor], list[float]]:
    """Σ scale · residuals over the active controls of each row of a batch.

    One pass serves all conditions of a query under which the control network gets the same prompt: all of them, if
    it does not read the prompt.

    Args:
        cells: their pending queries make the batch; each has one row an image for every condition with weight.
        ask: the residuals of a control network, (rows, …) each, from its role and what it is asked.

    Returns:
        The residuals, (rows, …) each, 0 in rows without control; none at all if nothing is controlled. And the
        seconds that each cell's own took.
    """
    total = 0
    asks: dict[tuple[Any, ...], ControlAsk] = {}
    for index, cell in enumerate(cells):
        assert isinstance(cell.query, Query)
        for name in weighted(cell.query):
            for control in cell.controls:
                text = cell.control_text(control, cell.conditions[name])
                asked = asks.setdefault((index, control.source, text), ControlAsk(cell, control, text))
                asked.adds.append((total, control.scale))
            total += len(cell.seeds)
    residuals: list[torch.Tensor] = []
    seconds = {id(cell): 0.0 for cell in cells}
    for role in dict.fromkeys(asked.control.role for asked in asks.values()):
        started = time.perf_counter()
        same = [asked for asked in asks.values() if asked.control.role == role]
        answers = ask(role, same)
        residuals = residuals or [answer.new_zeros(total, *answer.shape[1:]) for answer in answers]
        _add(residuals, answers, same)
        share = (time.perf_counter() - started) / sum(len(asked.cell.seeds) for asked in same)
        for asked in same:
            seconds[id(asked.cell)] += share * len(asked.cell.seeds)
    return residuals, list(seconds.values())


def _add(
    residuals: Sequence[torch.Tensor], answers: Sequence[torch.Tensor], asks: Sequence[ControlAsk]
) -> None:
    if [r.shape[1:] for r in residuals] != [answer.shape[1:] for answer in answers]:
        raise ValueError(
            "the control networks were not made for the same network: their residuals differ in shape"
        )
    first = 0
    for asked in asks:
        n = len(asked.cell.seeds)
        for place, scale in asked.adds:
            for residual, answer in zip(residuals, answers, strict=True):
                residual[place : place + n].add_(answer[first : first + n], alpha=scale)
        first += n
