"""Runs comparisons for the page: together on one device, cancellable, every cell on disk the moment it has ended."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoo.comparison import CellResult, Comparison
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui import zerogpu
from zoo.ui.request import limits_for, sentence
from zoo.ui.runs import Run, new_run
from zoo.ui.shelf import Shelf
from zoo.ui.words import say
from zoo.watchdog import GIVE_UP_SECONDS, Stuck, Watch, explanation

if TYPE_CHECKING:
    from zoo.comparison import ComparisonResult, Event
    from zoo.loop import Loop, Member
    from zoo.store import Store
    from zoo.ui.zerogpu import Borrowed

log = logging.getLogger(__name__)

AWAY_SECONDS = 180.0
"""A comparison at which nobody has looked for this long is cancelled."""

TOGETHER = 16
"""Most comparisons that are at work at a time; the next ones wait."""

LARGE = 512
"""Of comparisons with more pictures than this, one is at work at a time, for their memory; small ones pass by."""

MOST_WAITING = 16
"""Of more comparisons in the queue than this, the next is refused."""

AT_ONCE = 4
"""Most requests of the other tabs that are at work at a time."""

CALLS = 16
"""Most calls of the API and of assistants that wait or are at work: each takes one of the page's threads."""

CALL_SECONDS = 1800.0
"""What a call has come to by then is its answer."""

IN_MEMORY = 24
"""Of more runs than this, those looked at longest ago are on disk only."""

FRAMES = 24
"""Most pictures that are kept of each cell's way."""


PAUSE = 0.08
"""Seconds between two looks at what the engine did."""


class Busy(ValueError):
    """Too many comparisons wait already."""


@dataclass(eq=False)
class Place:
    """A place in the queue.

    Attributes:
        large: whether it has more than `LARGE` pictures.
        given_up: whether nobody wants it any more.
        tell: takes what is said while it waits.
        is_call: whether a caller of the API waits for it.
        seconds: what it has cost, once it has ended.
    """

    large: bool
    given_up: Callable[[], bool]
    tell: Callable[[str], None] = lambda said: None
    is_call: bool = False
    seconds: float = 0.0


class Runner:
    """Runs comparisons on one device, whose loop they share; each has a thread that keeps what comes of it."""

    def __init__(self, registry: Registry, device: str = "auto", shelf: Shelf | None = None) -> None:
        self.registry, self.device = registry, device
        self.shelf = shelf or Shelf()
        self._loop: Loop | None = None
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._torch, self._imports = threading.Lock(), threading.Lock()
        self._is_ready = False
        self.visited = threading.Event()
        """Set once a page has been drawn, and asks what its model can do."""
        self._lock = threading.Lock()
        self._room = threading.Condition()
        self._waiting: list[Place] = []
        self._working: list[Place] = []
        self._costs: deque[float] = deque(maxlen=MOST_WAITING)

    @property
    def loop(self) -> Loop:
        """What owns the device; made when it is first needed, since that needs torch.

        Raises:
            ValueError: there is no such device here.
        """
        self.ready()
        with self._imports:
            if self._loop is None:
                from zoo.device import resolve_device
                from zoo.loop import Loop

                self._loop = Loop(resolve_device(self.device), Watch(), GIVE_UP_SECONDS)
            return self._loop

    def join(
        self,
        comparison: Comparison,
        cancelled: Callable[[], bool] = lambda: False,
        frames: int = 0,
        context: Context | None = None,
    ) -> Member[Event, ComparisonResult] | Borrowed:
        """Run a comparison on the device, beside all others; on ZeroGPU on one that is lent for it alone.

        Args:
            comparison: what to run.
            cancelled: asked at every tick.
            frames: most pictures of each cell's way that are kept.
            context: of the request that asked for it; by default the one that calls.

        Raises:
            ValueError: it cannot be run, or would take too much.
        """
        limits = limits_for(comparison, self.registry)
        if zerogpu.available():
            return zerogpu.Borrowed(comparison, self.registry, limits, cancelled, frames, context)
        loop = self.loop
        from zoo.prepared import prepare

        return loop.join(prepare(comparison, self.registry, limits).run(loop.engine, cancelled, frames))

    def answer(self, comparison: Comparison, gone: Callable[[], bool] = lambda: False) -> ComparisonResult:
        """Run a comparison in the queue of all, while the calling thread waits.

        Args:
            comparison: what to run.
            gone: whether nobody waits for the answer any more; asked in this thread, some times a second.

        Returns:
            The result; after `CALL_SECONDS` of what there is of it, the rest being cancelled.

        Raises:
            Busy: the queue is full, or its turn did not come.
            ValueError: it cannot be run, or would take too much.
        """
        limits_for(comparison, self.registry)  # so that what cannot be run does not wait first
        over, stop = time.monotonic() + CALL_SECONDS, threading.Event()

        def given_up() -> bool:
            return gone() or time.monotonic() > over

        place = Place(_is_large(comparison), given_up, is_call=True)
        with self._room:
            self._check_room(place)
            self._waiting.append(place)
        with self._admitted(place):
            if given_up():
                raise Busy(self._busy())
            looks = self.join(comparison, stop.is_set).looks(PAUSE)
            try:
                while True:
                    next(looks)
                    if given_up():
                        stop.set()
            except StopIteration as end:
                result: ComparisonResult = end.value
            finally:
                stop.set()
            place.seconds = sum(cell.seconds for cell in result.cells)
        return result

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

    def ready(self, networks: bool = True) -> None:
        """Import the heavy libraries, one thread at a time: they mind being imported by several at once.

        Args:
            networks: those that networks need too, which take three times as long as torch.
        """
        with self._torch:
            import torch  # noqa: F401
        if not networks:
            return
        with self._imports:
            from diffusers import UNet2DConditionModel  # noqa: F401
            from transformers import CLIPTextModel, PreTrainedTokenizerFast  # noqa: F401
        self._is_ready = True

    def start(self, comparison: Comparison, blocks: Sequence[dict[str, object]]) -> Run:
        """Put a comparison in the queue.

        Raises:
            Busy: the queue is full.
        """
        run = new_run(comparison, blocks, self.registry)
        self._check_room()
        self.shelf.begin(run)
        self._remember(run)
        self._enqueue(run, list(range(len(run.results))))
        return run

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
            Busy: the queue is full.
            ValueError: the run is at work, or has no such cell.
        """
        if run.state != "ended":
            raise ValueError(say("run.is_running"))
        if not 0 <= index < len(run.results):
            raise ValueError(f"There is no cell {index}; the comparison has {len(run.results)}.")
        self._check_room()
        run.stop.clear()
        run.ways.discard(index)
        run.note(index, CellResult(run.results[index].method, "queued"))
        self._enqueue(run, [index])

    def resume(self, run: Run) -> None:
        """Run the cells of an ended run that were cancelled or interrupted, from the same noise; the others stay.

        Raises:
            Busy: the queue is full.
            ValueError: the run is at work, or all its cells have ended.
        """
        if run.state != "ended":
            raise ValueError(say("run.is_running"))
        indices = [index for index, result in enumerate(run.results) if result.status == "cancelled"]
        if not indices:
            raise ValueError(say("run.nothing_missing"))
        self._check_room()
        run.stop.clear()
        for index in indices:
            run.ways.discard(index)
            run.note(index, CellResult(run.results[index].method, "queued"))
        self._enqueue(run, indices)

    def _check_room(self, place: Place | None = None) -> None:
        with self._room:
            full = len(self._waiting) >= MOST_WAITING
            if place and place.is_call:
                full |= sum(other.is_call for other in (*self._waiting, *self._working)) >= CALLS
            if full:
                raise Busy(self._busy())

    def _busy(self) -> str:
        return self._told("run.busy", ends=len(self._waiting) + 1, waiting=len(self._waiting))

    def _enqueue(self, run: Run, indices: list[int]) -> None:
        run.seen = time.monotonic()
        run.context = copy_context()
        run.say("waiting", say("run.starting"))

        def tell(said: str) -> None:
            if said != run.status:
                run.say("waiting", said)

        place = Place(_is_large(run.comparison), lambda: self._given_up(run), tell)
        with self._room:
            self._waiting.append(place)
        threading.Thread(
            target=self._work, args=(run, place, indices), name="comparison", daemon=True
        ).start()

    def _remember(self, run: Run) -> Run:
        with self._lock:
            run = self._runs.setdefault(run.id, run)
            ended = [
                name for name, other in self._runs.items() if other.state == "ended" and other is not run
            ]
            for name in ended[: max(0, len(self._runs) - IN_MEMORY)]:
                del self._runs[name]
        return run

    def _work(self, run: Run, place: Place, indices: list[int]) -> None:
        with self._admitted(place):
            self._run(run, indices)
            place.seconds = sum(run.results[index].seconds for index in indices)

    @contextmanager
    def _admitted(self, place: Place) -> Iterator[None]:
        """Wait for room, or until nobody wants it any more, and take it; meanwhile say how long that may take."""
        with self._room:
            try:
                while place is not self._next() and not place.given_up():
                    ahead = self._waiting.index(place)
                    place.tell(self._told("run.waiting", ends=ahead + 1, ahead=ahead))
                    self._room.wait(1.0)
            finally:
                self._waiting.remove(place)
            self._working.append(place)
            self._room.notify_all()
        try:
            yield
        finally:
            with self._room:
                self._working.remove(place)
                if place.seconds:
                    self._costs.append(place.seconds)
                self._room.notify_all()

    def _next(self) -> Place | None:
        """Which of those that wait may begin now, if any."""
        if len(self._working) >= TOGETHER:
            return None
        full = any(place.large for place in self._working)
        return next((place for place in self._waiting if not (full and place.large)), None)

    def _told(self, key: str, ends: int, **values: int) -> str:
        """What is said under a key; with the time after which so many will have ended, if the latest tell it."""
        seconds = ends * sum(self._costs) / max(1, len(self._costs))
        about = {"seconds": f"{seconds:.0f}"} if seconds >= 1 else {}
        return say(f"{key}_about" if about else key, working=len(self._working), **values, **about)

    def _run(self, run: Run, indices: list[int]) -> None:
        """Bring these cells to their ends; an error ends them, and leaves finished cells as they are."""
        started = time.perf_counter()
        try:
            problem = "" if self._given_up(run) else self._cells(run, indices)
        except Stuck as error:
            problem = say("run.advice", what=str(error))
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

    def _cells(self, run: Run, indices: list[int]) -> str:
        """Run these cells beside everybody else's; what of them had to be given up, as a problem."""
        run.say("running", say("run.loading" if self._is_ready else "run.getting_ready"))
        loop = self.loop
        run.say("running", say("run.loading"))
        cells = tuple(run.comparison.cells[index] for index in indices)
        part = run.comparison.model_copy(update={"cells": cells})
        model = load_model(part.model, self.registry)
        run.notices = tuple(dict.fromkeys([*model.notices(part.prompt), *model.notices(part.negative)]))
        gone = threading.Event()  # set when nobody waits any more
        member = self.join(part, lambda: self._given_up(run) or gone.is_set(), FRAMES, run.context)
        looks = member.looks(PAUSE)
        ended: set[int] = set()
        try:
            while True:
                try:
                    seen = next(looks)
                except StopIteration as stop:
                    record = stop.value.comparison.record
                    run.comparison = run.comparison.model_copy(update={"record": record})
                    return say("run.advice", what=member.trouble) if member.trouble else ""
                latest = {event.cell: event for event in seen}
                for event in seen:
                    if event.kind != "progress":
                        ended.add(event.cell)
                        self._noted(run, indices[event.cell], event)
                    elif event is latest[event.cell]:
                        run.note(indices[event.cell], event.result, event)
                scoring = part.metrics and len(ended) == len(cells)
                status = say("run.ended", ended=len(ended), cells=len(cells))
                if scoring:
                    status = say("run.scoring")
                if stuck := loop.watch.stuck():
                    mine = member.owns(stuck)
                    key = "run.stuck" if mine else "run.stuck_elsewhere"
                    status = say(key, what=explanation(stuck), seconds=f"{loop.give_up:.0f}")
                    if mine and self._given_up(run):
                        loop.leave(stuck)
                run.say("running", status)
        finally:
            gone.set()

    def _noted(self, run: Run, index: int, event: Event) -> None:
        """Keep what a cell has come to, and then tell it."""
        self.shelf.keep(run, index, event.result, event.steps, scored=event.kind == "scored")
        run.note(index, replace(event.result, samples=None, frames=None), event)

    def _store(self, run: Run) -> Store:
        from zoo.store import Store

        return Store(self.shelf.folder / run.id, run.comparison, again=True)

    def _write(self, run: Run) -> None:
        try:
            self.shelf.write(run)
        except OSError:  # such as a full disk: the page still shows what there is
            log.warning("the run %s could not be written", run.id, exc_info=True)


def _is_large(comparison: Comparison) -> bool:
    return len(comparison.cells) * len(comparison.seeds) > LARGE
