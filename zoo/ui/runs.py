"""A run: a comparison that was asked for on the page, and how far it is, as the browser gets to see it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from zoo.comparison import CellResult, Comparison, ComparisonResult, Event
from zoo.method import Method
from zoo.metric import Score
from zoo.planning import resolve
from zoo.registry import Registry
from zoo.sheet import data_uri, score_name
from zoo.ui import disclosure, methods
from zoo.ui.catalogue import axis, grid_phrases
from zoo.ui.request import Asked, Card
from zoo.ui.sweep import expand
from zoo.ui.words import say, sent

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "ended"]


def _now() -> int:
    return int(time.time() * 1000)


@dataclass
class Run:
    """A comparison and what became of it so far; one thread writes, any may look.

    Attributes:
        id: names it in the address; whoever knows it may look.
        key: whoever knows it may also cancel and retry.
        comparison: what is run, its record included once it has ended.
        blocks: the cards that were asked for: {line, swap, title, columns, rows, cells: [index, …]}.
        results: one a cell.
        phrases: the methods' titles in parts, so that each language can say them; [] where nobody can tell.
        stochastic: whether each draws noise on the way.
        state, status: of the whole; the status is for people.
        seconds: how long it has been at work.
        stop: set when somebody cancels.
        seen: when somebody last looked (`time.monotonic`).
        context: of the request that asked for it last.
        ways: cells whose way from the noise was kept.
        unkept: cells that could not be written to disk.
        version: counts what has changed, from the milliseconds of the clock on, so that to a browser which has seen
            the run before a restart everything is new.
    """

    id: str
    key: str
    comparison: Comparison
    blocks: list[dict[str, Any]]
    results: list[CellResult]
    phrases: list[list[list[methods.Phrase]]]
    stochastic: list[bool]
    state: State = "waiting"
    status: str = ""
    problem: str = ""
    notices: tuple[str, ...] = ()
    seconds: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)
    seen: float = field(default_factory=time.monotonic)
    context: Context = field(default_factory=copy_context)
    ways: set[int] = field(default_factory=set)
    unkept: set[int] = field(default_factory=set)
    version: int = field(default_factory=_now)
    _why_unkept: str = ""
    _cells: list[dict[str, Any]] = field(default_factory=list)
    _changed: list[int] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.results = [disclosure.result(found) for found in self.results]  # they may have been kept on disk
        for index, result in enumerate(self.results):
            self._cells.append(self._cell(index, result, result.images))
            self._changed.append(self.version)

    @property
    def noise(self) -> str:
        """Hash of the start noise; "" before it is known."""
        return next((cell.noise for cell in self.results if cell.noise), "")

    @property
    def result(self) -> ComparisonResult:
        """What there is of it, as the store writes it."""
        notices = tuple(map(disclosure.visible, self.notices))
        return ComparisonResult(self.comparison, tuple(self.results), notices)

    def title(self, index: int) -> str:
        """Of the method of a cell, in English."""
        return methods.title(self.results[index].method, self.phrases[index])

    def lose(self, indices: Iterable[int], reason: str) -> None:
        """Note that cells could not be written to disk, and why."""
        with self._lock:
            self.unkept.update(indices)
            self._why_unkept = reason
            self.version += 1

    def regain(self, index: int) -> None:
        """Note that a cell was written to disk, if it could not be before."""
        with self._lock:
            if index in self.unkept:
                self.unkept.discard(index)
                self.version += 1

    @property
    def warnings(self) -> list[str]:
        """What the person should know: of the model, and of what is not kept."""
        if not self.unkept:
            return list(self.notices)
        numbers = ", ".join(str(index + 1) for index in sorted(self.unkept))
        everything = len(self.unkept) == len(self.results)
        lost = say("run.lost_all") if everything else say("run.lost_cells", cells=numbers)
        return [*self.notices, lost, self._why_unkept]

    def say(self, state: State, status: str, problem: str = "") -> None:
        """Note how the whole is doing."""
        with self._lock:
            self.state, self.status, self.problem = state, status, disclosure.visible(problem)
            self.version += 1

    def note(self, index: int, result: CellResult, event: Event | None = None) -> None:
        """Note what became of a cell, with a preview if the event has one; its error as visitors may read it."""
        result = disclosure.result(result)
        cell = self._cell(index, result, event.preview if event else result.images, event)
        with self._lock:
            self.version += 1
            self.results[index], self._cells[index] = result, cell
            self._changed[index] = self.version

    def since(self, version: int) -> dict[str, Any]:
        """What is new after `version`, as JSON; all of it after 0."""
        with self._lock:
            news: dict[str, Any] = {
                "id": self.id,
                "version": self.version,
                "state": self.state,
                "status": sent(self.status),
                "problem": sent(self.problem),
                "notices": [sent(disclosure.visible(line)) for line in self.warnings],
                "noise": self.noise,
                "seconds": round(self.seconds, 2),
                "cells": {
                    str(index): cell
                    for index, (cell, changed) in enumerate(zip(self._cells, self._changed, strict=True))
                    if changed > version
                },
            }
            if version <= 0:
                news["comparison"] = self.comparison.model_dump(mode="json", exclude={"record"})
                news["blocks"] = self.blocks
                news["pictures"] = {name: data_uri(png) for name, png in self.comparison.pictures.items()}
            return news

    def _cell(
        self,
        index: int,
        result: CellResult,
        pictures: torch.Tensor | None,
        event: Event | None = None,
    ) -> dict[str, Any]:
        return {
            "line": result.method,
            "title": self.title(index),
            "phrases": self.phrases[index],
            "stochastic": self.stochastic[index],
            "status": result.status,
            "step": event.step if event else 0,
            "steps": event.steps if event else 0,
            "nfe": dict(result.nfe),
            "seconds": round(result.seconds, 4),
            "error": result.error,
            "traceback": result.traceback,
            "metrics": [_score(name, score) for name, score in result.metrics.items()],
            "images": uris(pictures) if pictures is not None else [],
            "maps": {name: uris((pixels * 2 - 1)[None])[0] for name, pixels in result.maps.items()},
            "way": index in self.ways,
        }


def uris(pictures: torch.Tensor) -> list[str]:
    """Pictures (n, 3, H, W) within [-1, 1] as data URIs."""
    from zoo.store import png, to_pil

    return [data_uri(png(to_pil(picture))) for picture in pictures]


def blocks_of(asked: Asked, registry: Registry) -> tuple[list[str], list[dict[str, Any]]]:
    """The method lines that cards stand for, and how they are laid out.

    Raises:
        ValueError: a line cannot be read.
    """
    lines: list[str] = []
    blocks: list[dict[str, Any]] = []
    for card in asked.cards:
        if not card.line.strip():
            continue
        grid = expand(card.line, registry, card.swap)
        first, phrases = len(lines), grid_phrases(grid, registry)
        lines += [str(spot.method) for spot in grid.spots]
        blocks.append(
            {
                "line": card.line,
                "swap": card.swap,
                "title": methods.in_english(phrases),
                "phrases": phrases,
                "columns": axis(grid.columns),
                "rows": axis(grid.rows),
                "cells": list(range(first, len(lines))),
            }
        )
    return lines, blocks


def cards_of(cells: Sequence[str], kept: Any, registry: Registry) -> list[Card]:
    """The cards that a file keeps beside its cells, if they still stand for these; else a card for each cell.

    Args:
        cells: method lines.
        kept: what a file has for cards, which may be anything.
        registry: tells what a card stands for.
    """
    try:
        asked = Asked.model_validate({"model": "", "cards": kept})
        lines, _ = blocks_of(asked, registry)
        if list(map(Method.parse, lines)) == list(map(Method.parse, cells)):
            return list(asked.cards)
    except Exception:  # there are none, they cannot be read, or a plugin's own code ran
        log.debug("the cards of a file are not taken", exc_info=True)
    return [Card(line=cell) for cell in cells]


def new_run(comparison: Comparison, blocks: Sequence[dict[str, Any]], registry: Registry) -> Run:
    """A run that waits for its turn; its names cannot be guessed."""
    return Run(
        id=secrets.token_urlsafe(18),
        key=secrets.token_urlsafe(18),
        comparison=comparison,
        blocks=list(blocks),
        results=[CellResult(str(method), "queued") for method in comparison.cells],
        phrases=[methods.phrases(str(method), registry) for method in comparison.cells],
        stochastic=[_is_stochastic(method, registry) for method in comparison.cells],
    )


def _is_stochastic(method: Method, registry: Registry) -> bool:
    try:
        return bool(resolve(method, registry)[0].is_stochastic())
    except (Exception, SystemExit):  # a plugin's own code ran; its cell will say what happened
        return False


def _score(name: str, score: Any) -> dict[str, Any]:
    """A metric as the page shows it: value None where there is none, and the reason as the text."""
    if not isinstance(score, Score):
        return {"name": name, "label": name, "value": None, "text": str(score), "better": None}
    found = {"name": name, "label": score_name(name, score), "value": score.value, "text": str(score)}
    return found | {"better": score.better, "n": score.n}
