"""Works: what cells wait for, and when there is something to look at.

`turns` is the work of some cells. `drive` has it answered by an engine of its own, `zoo.loop` by one that many share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from zoo.cell import Cell

if TYPE_CHECKING:
    from zoo.engine import Engine

PREVIEW_SHARE = 0.02
"""Share of the time that previews may take, with what the caller does before it asks for more."""

Y = TypeVar("Y")
R = TypeVar("R")


@dataclass(frozen=True)
class Pending:
    """What a work yields when it can go no further: its cells wait for an engine.

    Whoever drives the work has some of them answered, all if nobody else is there, and goes on with it.

    Attributes:
        cells: queued and running ones; none at all only lets others have their turn.
        alone: they are timed, so that no rows but one cell's own go through a network at a time.
    """

    cells: Sequence[Cell] = ()
    alone: bool = False


def turns(
    cells: Sequence[Cell],
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
    alone: bool = False,
) -> Generator[tuple[int, Cell] | Pending, None, None]:
    """Run cells to their end; yields (index, cell) for a cell that ended, or that has a new preview to show.

    In between it yields what is `Pending`, and of that, it is for the caller to have some answered.

    Previews come for all cells at once, so seldom that they, and what the caller does with them, take
    `PREVIEW_SHARE` of the time. Cancelling, or closing this generator, takes effect within one tick.
    """
    shown: set[int] = set()
    seen: dict[int, torch.Tensor] = {}
    next_preview = clock()
    try:
        while True:
            if cancelled():
                for cell in cells:
                    if cell.unfinished:
                        cell.cancel()
            for i, cell in enumerate(cells):
                if not cell.unfinished and i not in shown:
                    shown.add(i)
                    yield i, cell
            unfinished = [cell for cell in cells if cell.unfinished]
            if not unfinished:
                return
            yield Pending(unfinished, alone)
            started = clock()
            if started >= next_preview:
                for i, cell in enumerate(cells):
                    if cell.running and cell.preview is not None and cell.preview is not seen.get(i):
                        seen[i] = cell.preview
                        yield i, cell
                spent = clock() - started
                next_preview = clock() + max(0.1, spent / PREVIEW_SHARE)
    finally:
        for cell in cells:
            if cell.unfinished:
                cell.cancel()


def answered(engine: Engine, work: Generator[Pending | Y, None, R]) -> Generator[Y, None, R]:
    """A work with all that it waits for answered by an engine that nobody shares; ends with its result."""
    with closing(work):
        while True:
            try:
                turn = next(work)
            except StopIteration as stop:
                result: R = stop.value
                return result
            if isinstance(turn, Pending):
                engine.tick(turn.cells)
            else:
                yield turn


def drive(
    engine: Engine,
    cells: Sequence[Cell],
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[tuple[int, Cell], None, None]:
    """`turns` on an engine that nobody shares: yields (index, cell) for cells that ended or have a preview."""
    yield from answered(engine, turns(cells, cancelled, clock))
