"""Runs comparisons for the page and its API: one at a time, cancellable, finished pictures kept in a zip."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.comparison import CellResult, Comparison, ComparisonResult, stream
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui import cards, methods
from zoo.ui.background import in_background
from zoo.ui.request import limits_for
from zoo.watchdog import Watch, explanation

if TYPE_CHECKING:
    from zoo.store import Store

log = logging.getLogger(__name__)

REDRAW_SECONDS = 0.2
"""The page is redrawn no more often than this, or the browser falls behind."""


GIVE_UP_SECONDS = 60.0
"""How long the page waits for a method that computes without asking anything."""

ADVICE = (
    "What has ended is kept. Leave that method out, or start the page again with its plugin in ZOO_DISABLE."
)


class Stuck(Exception):
    """A method does not come back; the message names it."""


@dataclass
class Change:
    """What is new on the page since the last one.

    Attributes:
        status: one line on the whole comparison.
        cards: HTML of every cell, if one has changed.
        noise: hash of the start noise; "" before it is known.
        notices: what to know about the prompt.
        problem: why nothing, or nothing more, is run.
        archive: the zip of everything, at the end.
    """

    status: str
    cards: list[str] | None = None
    noise: str = ""
    notices: tuple[str, ...] = ()
    problem: str = ""
    archive: Path | None = None


class Runner:
    """Runs comparisons on one device, and remembers which visitors want theirs stopped."""

    def __init__(self, registry: Registry, device: str = "auto") -> None:
        self.registry, self.device = registry, device
        self._stops: dict[str, threading.Event] = {}
        self._imports = threading.Lock()

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

    def begin(self, visitor: str) -> bool:
        """Note that this visitor wants a comparison; False if one is under way."""
        if visitor in self._stops:
            return False
        self._stops[visitor] = threading.Event()
        return True

    def stop(self, visitor: str) -> None:
        """End this visitor's comparison within one tick of the engine."""
        if visitor in self._stops:
            self._stops[visitor].set()

    def forget(self, visitor: str) -> None:
        """The comparison has ended or its visitor has gone: stop, and remember nothing."""
        self.stop(visitor)
        self._stops.pop(visitor, None)

    def queued(self, comparison: Comparison) -> list[str]:
        """The cells before anything has run."""
        return [
            cards.card(
                self.title(str(line)), CellResult(str(line), "queued"), comparison.seeds, comparison.timing
            )
            for line in comparison.cells
        ]

    def title(self, line: str) -> str:
        """A method in words."""
        return methods.title(line, self.registry)

    def run(self, comparison: Comparison, visitor: str) -> Iterator[Change]:
        """Run it, yielding what changes; an error ends it with a `problem` and leaves finished cells as they are."""
        if visitor not in self._stops:  # left while waiting for a turn
            yield Change("Cancelled.")
            return
        cancelled = self._stops[visitor].is_set
        try:
            with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
                yield from self._run(comparison, cancelled, Path(folder))
        except Stuck as error:
            yield Change("Stopped.", problem=str(error))
        except ValueError as error:
            yield Change("Not run.", problem=str(error))
        except Exception as error:
            log.exception("a comparison ended with an error")
            yield Change("Stopped.", problem=f"The comparison stopped: {type(error).__name__}: {error}")

    def _run(self, comparison: Comparison, cancelled: Callable[[], bool], folder: Path) -> Iterator[Change]:
        from zoo.store import Store, zip_folder

        yield Change("Loading the model …")
        self.ready()
        limits = limits_for(comparison, self.registry)
        model = load_model(comparison.model, self.registry)
        notices = tuple(
            dict.fromkeys([*model.notices(comparison.prompt), *model.notices(comparison.negative)])
        )
        yield Change("Loading the model …", notices=notices)
        store = Store(folder / "comparison", comparison)
        gone = threading.Event()  # set when nobody draws any more
        watch = Watch()
        events = stream(
            comparison,
            device=self.device,
            limits=limits,
            registry=self.registry,
            cancelled=lambda: cancelled() or gone.is_set(),
            watch=watch,
        )
        started = time.perf_counter()
        try:
            result = yield from self._drawn(events, comparison, store, watch, cancelled)
        finally:
            gone.set()
        seconds = time.perf_counter() - started
        store.finish(result)
        archive = zip_folder(store.folder, folder / "comparison.zip")
        done = sum(cell.status == "done" for cell in result.cells)
        cancelled_cells = any(cell.status == "cancelled" for cell in result.cells)
        status = f"{'Cancelled' if cancelled_cells else 'Finished'} after {seconds:.1f} s: "
        status += f"{done} of {len(result.cells)} cells done."
        yield Change(status, noise=_noise(result.cells), archive=archive)

    def _drawn(
        self,
        events: Any,
        comparison: Comparison,
        store: Store,
        watch: Watch,
        cancelled: Callable[[], bool],
    ) -> Any:
        """Draw events, those since the last drawing at once; returns the result."""
        titles = [self.title(str(line)) for line in comparison.cells]
        drawn = self.queued(comparison)
        ended: set[int] = set()
        noise = ""
        looks = in_background(events, pause=REDRAW_SECONDS, quiet=1.0)
        while True:
            try:
                seen = next(looks)
            except StopIteration as stop:
                result: ComparisonResult = stop.value
                return result
            if stuck := watch.stuck():
                if cancelled() or stuck[1] > GIVE_UP_SECONDS:
                    yield Change("Stopped.", self._given_up(comparison, drawn, ended, *stuck), noise)
                    raise Stuck(f"{explanation(*stuck)}. {ADVICE}")
                yield Change(f"{explanation(*stuck)}. Cancel gives up waiting for it.", list(drawn), noise)
            for event in seen:
                noise = noise or event.result.noise
                if event.kind not in ("progress", "scored"):
                    ended.add(event.cell)
                    store.add(event.cell, event.result)
            for event in {event.cell: event for event in seen}.values():
                drawn[event.cell] = cards.card(
                    titles[event.cell],
                    event.result,
                    comparison.seeds,
                    comparison.timing,
                    event,
                    event.preview,
                )
            scoring = comparison.metrics and len(ended) == len(titles)
            status = "Scoring …" if scoring else f"{len(ended)} of {len(titles)} cells have ended …"
            yield Change(status, list(drawn), noise)

    def _given_up(
        self, comparison: Comparison, drawn: list[str], ended: set[int], what: str, seconds: float
    ) -> list[str]:
        """The cells when one of them does not come back: what has ended stays."""
        trouble = explanation(what, seconds)
        found = list(drawn)
        for i, method in enumerate(comparison.cells):
            if i not in ended:
                line = str(method)
                result = CellResult(line, "cancelled", error=f"{what} did not come back")
                if line == what:
                    result = CellResult(line, "failed", error=trouble)
                found[i] = cards.card(self.title(line), result, comparison.seeds, comparison.timing)
                if line == what:
                    self.registry.note(method.names, trouble)
        return found


def _noise(cells: tuple[CellResult, ...]) -> str:
    return next((cell.noise for cell in cells if cell.noise), "")
