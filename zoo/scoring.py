"""Scores finished cells: runs every metric on every cell, and keeps the failing ones apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from zoo.cell import Cell
from zoo.driving import Pending, turns
from zoo.engine import Engine
from zoo.limits import Limits
from zoo.method import Part
from zoo.metric import Absent, Finished, Metric, NoScore, Score, shown_to
from zoo.sampler import PROMPT

if TYPE_CHECKING:
    from zoo.loop import Loop

Scores = dict[str, Score | NoScore]


class _Unsolved(BaseException):
    """Leaves a metric that asked for a solution which is not there yet; it is asked again when it is."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell


@torch.no_grad()
def score_cells(
    metrics: Mapping[Part, Metric | NoScore],
    cells: Mapping[int, tuple[Cell, torch.Tensor]],
    engine: Engine | Loop,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[tuple[int, Scores] | Pending, None, None]:
    """Score cells that are done, yielding (index, scores by name) of each, and in between what is `Pending`.

    Args:
        metrics: by the line that names them; a `NoScore` stands for one that could not be made.
        cells: done, with their pictures.
        engine: what they ran on.
        cancelled: asked after every metric; then nothing more is yielded.
    """
    solutions: dict[Any, Cell] = {}
    for index, (cell, images) in cells.items():
        assert cell.samples is not None
        finished = Finished(
            images=images,
            samples=cell.samples.cpu(),
            model=cell.model,
            prompt=cell.conditions[PROMPT],
            seeds=cell.seeds,
            sampler=cell.sampler,
            conditioners=cell.conditioners,
            device=engine.device,
            solve=functools.partial(_solution, cell, solutions),
        )
        scores: Scores = {}
        for part, metric in metrics.items():
            if isinstance(metric, NoScore):
                scores[str(part)] = metric
                continue
            while True:
                try:
                    scores.update(_scores(part, metric, finished, engine))
                    break
                except _Unsolved as unsolved:
                    for turn in turns([unsolved.cell], cancelled):
                        if isinstance(turn, Pending):
                            yield turn
            if cancelled():
                return
            yield Pending()
        yield index, scores


def _scores(part: Part, metric: Metric, finished: Finished, engine: Engine | Loop) -> Scores:
    """What one metric says of one cell; several scores are called name.part."""
    try:
        with engine.watch.during(f"the metric {part}"):
            found = metric.score(shown_to(metric, finished))
        named = {"": found} if isinstance(found, Score) else dict(found)
        for score in named.values():
            if not isinstance(score, Score):
                raise TypeError(f"score(cell) must return Score(value, n), got {type(score).__name__}")
    except Absent as reason:
        return {str(part): NoScore(str(reason))}
    except (Exception, SystemExit) as error:  # a plugin's own code ran
        return {str(part): NoScore(f"{type(error).__name__}: {error}", failed=True)}
    return {str(replace(part, name=f"{part.name}.{key}") if key else part): s for key, s in named.items()}


def _solution(cell: Cell, solutions: dict[Any, Cell]) -> torch.Tensor:
    """The fine-step solution from the cell's start noise under its conditioners, solved once for all that share it.

    Raises:
        _Unsolved: it has to be solved first.
    """
    from zoo.metrics.solution import FineSolution

    key = tuple((type(c), c.params.model_dump_json()) for c in cell.conditioners)
    if key not in solutions:
        conditioners = [type(c)(c.params) for c in cell.conditioners]  # afresh: some may keep a state
        limits = Limits(nfe=None)
        solutions[key] = Cell(
            cell.model, FineSolution(), conditioners, cell.conditions, cell.seeds, limits, maps=cell.maps
        )
    solution = solutions[key]
    if solution.unfinished:
        raise _Unsolved(solution)
    if solution.samples is None:
        raise RuntimeError(f"the fine-step solution is {solution.status}: {solution.error}")
    return solution.samples.cpu()
