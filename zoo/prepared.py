"""A comparison made ready: all that needs no device is done, and what does is a work for whoever owns one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from zoo.cell import Cell
from zoo.comparison import CellResult, Comparison, ComparisonResult, Event
from zoo.driving import Pending, turns
from zoo.engine import Engine
from zoo.frames import Frames
from zoo.limits import Limits
from zoo.method import Part
from zoo.metric import Metric, NoScore
from zoo.model import Model
from zoo.planning import load_model, plan, resolve_metrics
from zoo.registry import Registry, default_registry
from zoo.scoring import score_cells
from zoo.store import record


@dataclass(frozen=True, eq=False)
class Prepared:
    """A comparison with its names looked up.

    Attributes:
        planned: one cell per method, or why it is impossible.
        metrics: what scores them; a `NoScore` stands for one that could not be made.
    """

    comparison: Comparison
    registry: Registry
    model: Model
    planned: tuple[Cell | str, ...]
    metrics: Mapping[Part, Metric | NoScore]

    def run(
        self, engine: Engine, cancelled: Callable[[], bool] = lambda: False, frames: int = 0
    ) -> Generator[Event | Pending, None, ComparisonResult]:
        """The comparison as a work: yields events, and in between what waits for the engine; ends with the result.

        Args:
            engine: what answers it.
            cancelled: asked at every tick.
            frames: most pictures of each cell's way that are kept.
        """
        update: dict[str, Any] = {"record": record(self.comparison, self.model, engine, self.registry)}
        if self.comparison.model.startswith("hub:"):
            update["model"] = self.model.name  # with the commit, so that it runs again as it was
        return self._run(self.comparison.model_copy(update=update), engine, cancelled, frames)

    def _run(
        self, comparison: Comparison, engine: Engine, cancelled: Callable[[], bool], frames: int
    ) -> Generator[Event | Pending, None, ComparisonResult]:
        model, registry = self.model, self.registry
        notices = dict.fromkeys([*model.notices(comparison.prompt), *model.notices(comparison.negative)])
        results: list[CellResult] = []
        for index, (method, cell) in enumerate(zip(comparison.cells, self.planned, strict=True)):
            if isinstance(cell, str):
                results.append(CellResult(str(method), "na", error=cell))
                yield Event("na", index, 0, 0, results[-1])
            else:
                results.append(CellResult(str(method), "queued", maps=_named_maps(cell)))
        cells = {i: cell for i, cell in enumerate(self.planned) if not isinstance(cell, str)}
        if frames:
            for cell in cells.values():
                cell.frames = Frames(frames, model.pictures)
        later = {part: metric for part, metric in self.metrics.items() if getattr(metric, "solves", False)}
        at_once = {part: metric for part, metric in self.metrics.items() if part not in later}
        alone = comparison.timing == "alone"
        groups = [{i: cell} for i, cell in cells.items()] if alone else [cells]
        for group in groups:
            if alone and not cancelled():
                yield from engine.warm_up(list(group.values()))
            for turn in turns(list(group.values()), cancelled, alone=alone):
                if isinstance(turn, Pending):
                    yield turn
                    continue
                place, cell = turn
                index = list(group)[place]
                if results[index].status not in ("queued", "running"):
                    continue  # it was found to have failed when it was drawn
                with engine.watch.during(f"drawing {cell.label}"):
                    event = _event(index, cell, model, results[index].method)
                results[index] = event.result
                if event.kind == "failed":
                    registry.note(comparison.cells[index].names, event.result.method, event.result.error)
                yield event
                if event.kind == "done":
                    yield from self._scored(at_once, {index: cell}, results, engine, cancelled)
        # What solves the ODE in fine steps takes more evaluations than the cells themselves, which come first.
        yield from self._scored(later, cells, results, engine, cancelled)
        return ComparisonResult(comparison, tuple(results), tuple(notices))

    def _scored(
        self,
        metrics: Mapping[Part, Metric | NoScore],
        cells: Mapping[int, Cell],
        results: list[CellResult],
        engine: Engine,
        cancelled: Callable[[], bool],
    ) -> Generator[Event | Pending, None, None]:
        """Add the scores of those cells that are done to their results."""
        if not metrics or cancelled():
            return
        done = {i: (cell, image) for i, cell in cells.items() if (image := results[i].images) is not None}
        for found in score_cells(metrics, done, engine, cancelled):
            if isinstance(found, Pending):
                yield found
                continue
            index, scores = found
            results[index] = replace(results[index], metrics={**results[index].metrics, **scores})
            for name, score in scores.items():
                if isinstance(score, NoScore) and score.failed:
                    self.registry.note([Part.parse(name).name], f"the metric {name}", score.reason)
            steps = cells[index].steps
            yield Event("scored", index, steps, steps, results[index], results[index].images)


def prepare(
    comparison: Comparison, registry: Registry | None = None, limits: Limits | None = None
) -> Prepared:
    """Look up what a comparison names.

    Raises:
        ValueError: a name or a parameter that does not exist, with what there is.
    """
    registry = registry or default_registry()
    planned = plan(comparison, registry, limits or Limits())
    metrics = resolve_metrics(comparison, registry)
    model = load_model(comparison.model, registry)
    return Prepared(comparison, registry, model, tuple(planned), metrics)


def _event(index: int, cell: Cell, model: Model, method: str) -> Event:
    """A cell as it stands, as an event."""
    images = preview = None
    try:
        if cell.status == "done" and cell.samples is not None:
            images = preview = cell.pictures()
        elif cell.preview is not None:
            preview = model.pictures(cell.preview)
    except (Exception, SystemExit) as error:  # a model that cannot draw fails this cell, not the comparison
        cell.fail(error)
    status = cell.status
    result = CellResult(
        method,
        status,
        images=images,
        samples=None if cell.samples is None else cell.samples.detach().cpu(),
        nfe=dict(cell.nfe),
        seconds=cell.seconds,
        noise=cell.noise_hash,
        error=cell.error,
        traceback=cell.traceback,
        frames=cell.frames,
        maps=_named_maps(cell),
    )
    kind: Any = "progress" if status == "running" else status
    return Event(kind, index, cell.step, cell.steps, result, preview)


def _named_maps(cell: Cell) -> dict[str, torch.Tensor]:
    """Its control maps by their network's name; of several of one network, the later ones are numbered."""
    named: dict[str, torch.Tensor] = {}
    counts: Counter[str] = Counter()
    for source, pixels in cell.maps.items():
        name = source.role.removeprefix("control/")
        counts[name] += 1
        named[name if counts[name] == 1 else f"{name}-{counts[name]}"] = pixels
    return named
