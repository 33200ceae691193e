"""Runs comparisons for the page: one after the other, cancellable, every cell on disk the moment it has ended."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo.comparison import CellResult, Comparison, stream
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui import methods
from zoo.ui.background import in_background
from zoo.ui.request import limits_for, sentence
from zoo.ui.runs import Run, new_run
from zoo.ui.shelf import Shelf
from zoo.ui.words import say
from zoo.watchdog import Watch, explanation

if TYPE_CHECKING:
    from zoo.comparison import Event
    from zoo.store import Store

log = logging.getLogger(__name__)

AWAY_SECONDS = 180.0
"""A comparison at which nobody has looked for this long is cancelled."""

MOST_WAITING = 16
"""Of more comparisons in the queue than this, the next is refused."""

IN_MEMORY = 24
"""Of more runs than this, those looked at longest ago are on disk only."""

FRAMES = 24
"""Most pictures that are kept of each cell's way."""


PAUSE = 0.08
"""Seconds between two looks at what the engine did."""

GIVE_UP_SECONDS = 60.0
"""How long the page waits for a method that computes without asking anything."""


class Stuck(Exception):
    """A method does not come back; the message names it."""


class Busy(ValueError):
    """Too many comparisons wait already."""


class Runner:
    """Runs comparisons on one device, in the order in which they were asked for."""

    def __init__(self, registry: Registry, device: str = "auto", shelf: Shelf | None = None) -> None:
        self.registry, self.device = registry, device
        self.shelf = shelf or Shelf()
        self.turn = threading.Lock()
        """Held by whatever uses the device."""
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._jobs: queue.Queue[tuple[Run, list[int]]] = queue.Queue()
        self._imports = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[Run] = []
        threading.Thread(target=self._work, name="comparisons", daemon=True).start()

    def warm_up(self, model: str) -> None:
        """Import what the first comparison needs and load the model, so that its first preview comes sooner."""
        try:
            self.ready()
            from zoo.device import resolve_device, resolve_dtype

            chosen = resolve_device(self.device)
            loaded = load_model(model, self.registry)
            loaded.notices("")
            for role in loaded.roles[:1]:
                loaded.network(role, chosen, resolve_dtype("auto", chosen))
        except Exception:  # the comparison itself will say it better
            log.debug("could not warm up", exc_info=True)

    def ready(self) -> None:
        """Import the heavy libraries, one thread at a time: they mind being imported by several at once."""
        with self._imports:
            import torch  # noqa: F401
            from diffusers import UNet2DConditionModel  # noqa: F401
            from transformers import CLIPTextModel, PreTrainedTokenizerFast  # noqa: F401

    def start(self, comparison: Comparison, blocks: Sequence[dict[str, object]]) -> Run:
        """Put a comparison in the queue.

        Raises:
            Busy: the queue is full.
        """
        run = new_run(comparison, blocks, self.registry)
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise Busy(say("run.busy", most=MOST_WAITING))
        self.shelf.begin(run)
        self._remember(run)
        self._enqueue(run, list(range(len(run.results))))
        return run

    def title(self, line: str) -> str:
        """A method in words."""
        return methods.title(line, self.registry)

    def find(self, name: str) -> Run | None:
        """A run of this page, or of one before a restart; None if it is not kept."""
        with self._lock:
            if run := self._runs.get(name):
                self._runs.move_to_end(name)
                return run
        loaded = self.shelf.load(name)
        return self._remember(loaded) if loaded else None

    def retry(self, run: Run, index: int) -> None:
        """Run one cell of an ended run again, from the same noise.

        Raises:
            ValueError: the run is at work, or has no such cell.
        """
        if run.state != "ended":
            raise ValueError(say("run.is_running"))
        if not 0 <= index < len(run.results):
            raise ValueError(f"There is no cell {index}; the comparison has {len(run.results)}.")
        run.stop.clear()
        run.ways.discard(index)
        run.note(index, CellResult(run.results[index].method, "queued"))
        self._enqueue(run, [index])

    def _enqueue(self, run: Run, indices: list[int]) -> None:
        run.seen = time.monotonic()
        with self._lock:
            ahead = len(self._waiting)
            self._waiting.append(run)
        run.say("waiting", say("run.waiting", ahead=ahead) if ahead else say("run.starting"))
        self._jobs.put((run, indices))

    def _remember(self, run: Run) -> Run:
        with self._lock:
            run = self._runs.setdefault(run.id, run)
            ended = [
                name for name, other in self._runs.items() if other.state == "ended" and other is not run
            ]
            for name in ended[: max(0, len(self._runs) - IN_MEMORY)]:
                del self._runs[name]
        return run

    def _work(self) -> None:
        while True:
            run, indices = self._jobs.get()
            try:
                with self.turn:
                    self._run(run, indices)
            finally:
                with self._lock:
                    self._waiting.remove(run)

    def _run(self, run: Run, indices: list[int]) -> None:
        """Bring these cells to their ends; an error ends them, and leaves finished cells as they are."""
        started = time.perf_counter()
        try:
            if not self._given_up(run):
                self._cells(run, indices)
            problem = ""
        except Stuck as error:
            problem = sentence(error)
        except ValueError as error:
            problem = sentence(error)
        except Exception as error:
            log.exception("a comparison ended with an error")
            problem = say("run.stopped", error=f"{type(error).__name__}: {error}")
        for index in indices:
            if run.results[index].status in ("queued", "running"):
                run.note(index, replace(run.results[index], status="cancelled", frames=None))
        run.seconds = time.perf_counter() - started
        done = sum(cell.status == "done" for cell in run.results)
        cancelled = any(cell.status == "cancelled" for cell in run.results)
        status = say(
            "run.cancelled" if cancelled else "run.done",
            done=done,
            cells=len(run.results),
            seconds=f"{run.seconds:.1f}",
        )
        try:
            self._store(run).finish(run.result)
        except Exception:
            log.exception("a comparison could not be written")
        run.say("ended", say("run.not_run") if problem and not done else status, problem)
        self._write(run)

    def _given_up(self, run: Run) -> bool:
        return run.stop.is_set() or time.monotonic() - run.seen > AWAY_SECONDS

    def _cells(self, run: Run, indices: list[int]) -> None:
        run.say("running", say("run.loading"))
        self.ready()
        cells = tuple(run.comparison.cells[index] for index in indices)
        part = run.comparison.model_copy(update={"cells": cells})
        limits = limits_for(part, self.registry)
        model = load_model(part.model, self.registry)
        run.notices = tuple(dict.fromkeys([*model.notices(part.prompt), *model.notices(part.negative)]))
        store = self._store(run)
        gone = threading.Event()  # set when nobody waits any more
        watch = Watch()
        events = stream(
            part,
            device=self.device,
            limits=limits,
            registry=self.registry,
            cancelled=lambda: self._given_up(run) or gone.is_set(),
            watch=watch,
            frames=FRAMES,
        )
        looks = in_background(events, pause=PAUSE, quiet=1.0)
        ended: set[int] = set()
        try:
            while True:
                try:
                    seen = next(looks)
                except StopIteration as stop:
                    record = stop.value.comparison.record
                    run.comparison = run.comparison.model_copy(update={"record": record})
                    return
                latest = {event.cell: event for event in seen}
                for event in seen:
                    if event.kind != "progress":
                        ended.add(event.cell)
                        self._noted(run, indices[event.cell], event, store)
                    elif event is latest[event.cell]:
                        run.note(indices[event.cell], event.result, event)
                scoring = part.metrics and len(ended) == len(cells)
                status = say("run.ended", ended=len(ended), cells=len(cells))
                if scoring:
                    status = say("run.scoring")
                if stuck := watch.stuck():
                    status = say("run.stuck", what=explanation(*stuck))
                    if self._given_up(run) or stuck[1] > GIVE_UP_SECONDS:
                        self._leave(run, indices, *stuck)
                run.say("running", status)
        finally:
            gone.set()

    def _leave(self, run: Run, indices: list[int], what: str, seconds: float) -> None:
        """Stop waiting for a method that does not come back: it has failed, and the others are cancelled.

        Raises:
            Stuck: always.
        """
        trouble = explanation(what, seconds)
        for index in indices:
            method = run.comparison.cells[index]
            if run.results[index].status in ("queued", "running") and str(method) == what:
                run.note(index, CellResult(what, "failed", error=trouble))
                self.registry.note(method.names, trouble)
        raise Stuck(say("run.advice", what=trouble))

    def _noted(self, run: Run, index: int, event: Event, store: Store) -> None:
        """Keep what a cell has come to."""
        result = event.result
        if event.kind != "scored":
            store.add(index, result)
            if result.frames is not None and result.frames.kept:
                self.shelf.keep_way(run, index, result.frames, event.steps)
        run.note(index, replace(result, samples=None, frames=None), event)
        self._write(run)

    def _store(self, run: Run) -> Store:
        from zoo.store import Store

        return Store(self.shelf.folder / run.id, run.comparison, again=True)

    def _write(self, run: Run) -> None:
        try:
            self.shelf.write(run)
        except OSError:  # such as a full disk: the page still shows what there is
            log.warning("the run %s could not be written", run.id, exc_info=True)
