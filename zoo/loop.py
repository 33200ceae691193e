"""One engine for all who use a device: their works join and leave the running batch at any tick.

A work is a generator that yields what there is to see and, when it can go no further, what is `Pending`. One thread
owns the device. It takes every work as far as it comes, chooses fairly among the cells that wait (`zoo.sharing`), has
them answered in one tick, whoever they belong to, and begins again.

A method that computes for ever holds that thread. Who is left waiting too long starts another thread, which takes over
everything but the cell that is stuck.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Generator
from typing import Any, Generic, TypeVar

import torch

from zoo.cell import Cell
from zoo.driving import Pending
from zoo.engine import Engine
from zoo.sharing import Share, Shares
from zoo.watchdog import GIVE_UP_SECONDS, Left, Stuck, Watch, Work, explanation

log = logging.getLogger(__name__)

Y = TypeVar("Y")
R = TypeVar("R")


class Member(Generic[Y, R]):
    """A work on a loop, as who asked for it sees it.

    Attributes:
        share: what it has had of the device.
        trouble: what of it was given up; "" if nothing was.
    """

    def __init__(self, loop: Loop, work: Generator[Y | Pending, None, R], share: Share) -> None:
        self.share, self.trouble = share, ""
        self._loop, self._work = loop, work
        self._yielded: queue.SimpleQueue[Y | None] = queue.SimpleQueue()
        self._outcome: R | BaseException | None = None

    def owns(self, stuck: Work) -> bool:
        """Whether code is at work for a cell of this work."""
        return stuck.whose in self.share.pending.cells

    def looks(self, pause: float = 0.0, quiet: float = 1.0) -> Generator[list[Y], None, R]:
        """What the work has yielded since the last look, a look every `pause` seconds at most; ends with its result.

        When nothing has come for `quiet` seconds, an empty list comes. Closing this generator does not end the work:
        tell it by other means to stop.

        Raises:
            Exception: whatever the work raised, after all that it had yielded.
            Stuck: it computed for ever.
        """
        ended = False
        while not ended:
            try:
                seen = [self._yielded.get(timeout=quiet)]
            except queue.Empty:
                self._loop.look()
                yield []
                continue
            while not self._yielded.empty():
                seen.append(self._yielded.get())
            ended = seen[-1] is None
            fresh = [item for item in seen if item is not None]
            if fresh:
                looked = time.perf_counter()
                yield fresh
                if not ended:
                    time.sleep(max(0.0, pause - (time.perf_counter() - looked)))
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome  # type: ignore[return-value]

    def result(self) -> R:
        """Wait for the end; raises what `looks` does."""
        looks = self.looks()
        while True:
            try:
                next(looks)
            except StopIteration as stop:
                result: R = stop.value
                return result

    def advance(self) -> bool:
        """Take the work as far as it comes; False once it has ended."""
        try:
            while True:
                turn = next(self._work)
                if isinstance(turn, Pending):
                    self.share.pending = turn
                    return True
                self._yielded.put(turn)
        except StopIteration as stop:
            self.end(stop.value)
        except Left:
            raise
        except BaseException as error:  # a plugin's own code may have run
            self.end(error)
        return False

    def end(self, outcome: R | BaseException) -> None:
        """Tell who looks that it is over."""
        self._outcome = outcome
        self._yielded.put(None)


class Loop:
    """Owns a device, and runs there whatever joins.

    Args:
        device: where networks run.
        watch: knows whose code is at work.
        give_up: seconds after which the others go on without code that does not come back.
    """

    def __init__(
        self, device: torch.device, watch: Watch | None = None, give_up: float = GIVE_UP_SECONDS
    ) -> None:
        self.watch, self.give_up = watch or Watch(), give_up
        self.device, self.engine = device, Engine(device, watch=self.watch)
        self._shares = Shares()
        self._members: list[Member[Any, Any]] = []
        self._advancing: Member[Any, Any] | None = None
        self._changed = threading.Condition()
        self._begin()

    def join(self, work: Generator[Y | Pending, None, R]) -> Member[Y, R]:
        """Run a work beside the others from the next tick on; it may be made by any thread, and runs in the loop's."""
        with self._changed:
            member = Member(self, work, self._shares.join())
            self._members.append(member)
            self._changed.notify()
        return member

    def run(self, work: Generator[Y | Pending, None, Any]) -> list[Y]:
        """Take a work to its end beside the others, while the calling thread waits; all that it yields to see."""
        return [item for look in self.join(work).looks() for item in look]

    def look(self) -> None:
        """Go on without code that has computed for longer than `give_up`; who waits calls this now and then."""
        stuck = self.watch.stuck()
        if stuck and stuck.seconds > self.give_up:
            self.leave(stuck)

    def leave(self, stuck: Work) -> None:
        """Go on in a new thread without code that does not come back.

        A cell that it is at work for has failed, and the others of its work go on; where it is no cell's, such as a
        metric's, its work ends with `Stuck`.
        """
        trouble = Stuck(explanation(stuck))
        with self._changed:
            if not self.watch.leave(stuck):
                return
            if self._advancing is None:
                stuck.whose.fail(trouble)
                for member in self._members:
                    if member.owns(stuck):
                        member.trouble = str(trouble)
            else:
                self._drop(self._advancing)
                self._advancing.end(trouble)
            self._begin()

    def _begin(self) -> None:
        self._advancing = None
        threading.Thread(target=self._run, name="loop", daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._members:
                        self._changed.wait()
                    members = list(self._members)
                for member in members:
                    self._advancing = member
                    goes_on = member.advance()
                    self._advancing = None
                    if not goes_on:
                        self._drop(member)
                self._tick()
        except Left:
            log.warning("code that was given up has come back")

    def _tick(self) -> None:
        with self._changed:
            cells = self._shares.choose(self.engine.max_rows)
        try:
            self.engine.tick(cells)
        except Left:
            raise
        except BaseException:  # what the engine lets pass, such as a plugin's own KeyboardInterrupt
            log.exception("a tick failed")
            for cell in cells:
                self._tick_alone(cell)

    def _tick_alone(self, cell: Cell) -> None:
        """Find out whether it was this cell's fault, so that the others need not suffer."""
        try:
            self.engine.tick([cell])
        except Left:
            raise
        except BaseException as error:
            cell.fail(error)

    def _drop(self, member: Member[Any, Any]) -> None:
        with self._changed:
            self._members.remove(member)
            self._shares.leave(member.share)
