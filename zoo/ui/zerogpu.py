"""Comparisons on ZeroGPU, where a Space gets a GPU for seconds at a time, in a process of its own.

The page's process has no GPU there, whatever torch says. What needs one is a function that `spaces.GPU` decorates: a
call asks for seconds, forks, and sends its arguments and what they yield through pickle. So a plain `Job` goes in, one
`Parcel` an event comes out, and what has ended is kept in the page's process even if the GPU is taken away.
Networks are placed before the page is served, on the main thread: only there does `spaces` stand in for CUDA.

Anywhere else nothing of this is used: a comparison joins the loop of the page's own device.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import zoo.comparison
from zoo.comparison import CellResult, Comparison, ComparisonResult, Event
from zoo.metric import NoScore
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui.cost import estimate
from zoo.ui.crossing import Parcel, pack, unpack

if TYPE_CHECKING:
    from zoo.limits import Limits
    from zoo.watchdog import Work

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

START, PASS, ROW, METRIC = 12.0, 0.05, 0.01, 10.0
"""Seconds asked for: to move the networks, a forward pass, a row of 32 × 32 in it, a metric. Assumed, not measured."""

MOST = 120
"""Most seconds that are asked for: visitors without an account have about as many a day."""

MARGIN = 5.0
"""A job ends this many seconds before its GPU is taken away."""

QUIET = 1.0
"""While nothing comes, it is asked so often, in seconds, whether anybody still wants it."""

TAKEN = (
    "TimeoutError: the GPU was lent for {seconds} s, and they are over. Ask for fewer methods, steps or seeds, or run "
    "this cell alone"
)


class NoGPU(ValueError):
    """There was no GPU to be had, or it was taken away; the message is for the person who asked."""


@dataclass(frozen=True)
class Job:
    """What the process with the GPU is asked to do.

    Attributes:
        comparison, limits, frames: as for `zoo.comparison.stream`.
        seconds: for how long the GPU is asked for.
    """

    comparison: Comparison
    limits: Limits
    frames: int
    seconds: int


@dataclass(frozen=True)
class End:
    """The last thing that comes back: the comparison with its record, or why there is none."""

    comparison: Comparison | None = None
    notices: tuple[str, ...] = ()
    refusal: str = ""


def available() -> bool:
    """Whether this is a ZeroGPU Space: its environment says so, and `spaces` is there."""
    said = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return said and importlib.util.find_spec("spaces") is not None


def on_gpu(function: F) -> F:
    """`spaces.GPU`, for as long as the job says; the function itself anywhere else."""
    if not available():
        return function
    import spaces  # before anything starts CUDA

    decorated: F = spaces.GPU(duration=lambda job: job.seconds)(function)
    return decorated


_registry: Registry | None = None
"""Of the page; the forked process finds it here, since plugins cannot be pickled."""


@on_gpu
def run(job: Job) -> Generator[Parcel | End, None, None]:
    """A comparison, in the process that has the GPU."""
    import torch

    torch.set_num_threads(1)  # the pool of threads did not survive the fork
    over = time.monotonic() + job.seconds - MARGIN
    events = zoo.comparison.stream(
        job.comparison,
        limits=job.limits,
        registry=_registry,
        cancelled=lambda: time.monotonic() > over,
        frames=job.frames,
    )
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                yield End(stop.value.comparison, stop.value.notices)
                return
            yield pack(_timed_out(event, job.seconds) if event.kind == "cancelled" else event)
    except ValueError as error:  # of an exception only its class would arrive
        yield End(refusal=str(error))
    finally:
        events.close()


class Borrowed:
    """A comparison on a GPU that is lent for it alone, as who asked for it sees it; the twin of `zoo.loop.Member`.

    Args:
        comparison, limits, cancelled, frames: as for `zoo.comparison.stream`.
        registry: where names are looked up.
        context: of the request that asked for it, whose visitor's seconds they are; by default the one that calls.
    """

    trouble = ""

    def __init__(
        self,
        comparison: Comparison,
        registry: Registry,
        limits: Limits,
        cancelled: Callable[[], bool] = lambda: False,
        frames: int = 0,
        context: Context | None = None,
    ) -> None:
        self.comparison, self.registry, self.cancelled, self.context = (
            comparison,
            registry,
            cancelled,
            context,
        )
        self.job = Job(comparison, limits, frames, seconds_for(comparison, registry))

    def owns(self, stuck: Work) -> bool:
        """Whether code of this process is at work for it; who takes too long there loses the GPU."""
        return False

    def looks(self, pause: float = 0.0) -> Generator[list[Event], None, ComparisonResult]:
        """What comes back, each as a list of one, and an empty one when nothing has come for a while; ends with the
        result.

        Raises:
            NoGPU: there is none to be had.
            ValueError: the comparison cannot be run.
        """
        results = [CellResult(str(method), "queued") for method in self.comparison.cells]
        end = End()
        lent = _arriving(self.job, self.context or copy_context())
        try:
            for sent in lent:
                if isinstance(sent, End):
                    end = sent
                    break
                if sent is None:
                    yield []
                else:
                    event = unpack(sent)
                    results[event.cell] = event.result
                    _note(event, self.comparison, self.registry)
                    yield [event]
                if self.cancelled():
                    break
        finally:
            lent.close()
        if end.refusal:
            raise ValueError(end.refusal)
        for index, result in enumerate(results):
            if result.status in ("queued", "running"):
                results[index] = replace(result, status="cancelled", frames=None)
                yield [Event("cancelled", index, 0, 0, results[index])]
        return ComparisonResult(end.comparison or self.comparison, tuple(results), end.notices)

    def result(self) -> ComparisonResult:
        """Wait for the end; raises what `looks` does."""
        looks = self.looks()
        while True:
            try:
                next(looks)
            except StopIteration as stop:
                result: ComparisonResult = stop.value
                return result


def place(registry: Registry) -> None:
    """Load every network of every model onto the GPU that will be lent; to be called before the page is served.

    A model that cannot be loaded says so when it is asked for.
    """
    from zoo.device import resolve_device, resolve_dtype

    global _registry
    _registry = registry
    device = resolve_device("auto")
    for name in registry.models:
        try:
            model = load_model(name, registry)
            model.notices("")  # its text encoder, which stays on the CPU
            for role in model.roles:
                model.network(role, device, resolve_dtype("auto", device, model.dtype))
        except Exception:
            log.warning("the model %s could not be placed on the GPU", name, exc_info=True)


def seconds_for(comparison: Comparison, registry: Registry) -> int:
    """How long to ask for a GPU, at most `MOST` seconds.

        START + PASS · (forward passes in a row) + ROW · Σ NFE · images · pixels / 32² + METRIC · metrics

    Fine solutions that metrics ask for are solved one after the other when the cells have ended.

    Raises:
        ValueError: the model or a method does not exist.
    """
    cost = estimate(comparison, registry)
    alone = comparison.timing == "alone"
    passes = 2 * sum(cost.cells) if alone else max(cost.cells)  # each is rehearsed first
    passes += sum(cost.solutions)
    rows = cost.evaluations * cost.weight
    return min(MOST, round(START + PASS * passes + ROW * rows + METRIC * len(comparison.metrics)))


def _arriving(job: Job, context: Context) -> Generator[Parcel | End | None, None, None]:
    """What the job yields, asked for in the name of a request; None when nothing has come for `QUIET` seconds.

    A thread waits for it, as for a GPU to become free, and gives the GPU back once nobody takes what comes any more.
    """
    import gradio as gr

    arrived: queue.SimpleQueue[Parcel | End | BaseException | None] = queue.SimpleQueue()
    left = threading.Event()

    def take() -> None:
        sent = run(job)
        try:
            for item in sent:
                arrived.put(item)
                if left.is_set():
                    break
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)
        finally:
            sent.close()

    threading.Thread(target=context.run, args=(take,), name="lent", daemon=True).start()
    try:
        while True:
            try:
                item = arrived.get(timeout=QUIET)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, gr.Error):  # what `spaces` has to say to people
                raise NoGPU(f"{item.title}: {item.message}") from None
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item
    finally:
        left.set()


def _timed_out(event: Event, seconds: int) -> Event:
    """Nobody cancels in that process but the clock."""
    failed = replace(event.result, status="failed", error=TAKEN.format(seconds=seconds))
    return replace(event, kind="failed", result=failed)


def _note(event: Event, comparison: Comparison, registry: Registry) -> None:
    """Note in this process what failed in use in the other."""
    if event.kind == "failed":
        registry.note(comparison.cells[event.cell].names, event.result.method, event.result.error)
    for name, score in event.result.metrics.items() if event.kind == "scored" else ():
        if isinstance(score, NoScore) and score.failed:
            registry.note([name.split()[0]], f"the metric {name}", score.reason)
