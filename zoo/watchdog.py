"""Knows whose code is at work, so that one that never comes back can be named.

A method runs in the engine's own thread. One that asks for ever meets the limit of a cell; one that computes for ever
without asking cannot be stopped from within the process. Another thread can say which it is, and go on without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE = 10.0
"""Seconds that a method may compute between two queries before it is named; most need a thousandth of one."""

GIVE_UP_SECONDS = 30.0
"""After how long the others go on without it, where there are others."""


class Stuck(Exception):
    """Code that does not come back was given up; the message names it."""


class Left(BaseException):
    """Ends a thread that was left with code that did not come back, should it come back after all."""


@dataclass(frozen=True, eq=False)
class Work:
    """Somebody's code at work.

    Attributes:
        what: what people call it.
        whose: whom it is at work for, such as a cell.
        since: when it began (`time.monotonic`).
        thread: where.
    """

    what: str
    whose: Any
    since: float
    thread: threading.Thread

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since


class Watch:
    """Notes what is at work and since when; the engine's thread writes it, any other may read.

    Args:
        patience: seconds after which `stuck` names it.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._work: Work | None = None
        self._left: set[threading.Thread] = set()
        self._lock = threading.Lock()

    @contextmanager
    def during(self, what: str, whose: Any = None) -> Iterator[None]:
        """Note that this is at work while the block runs.

        Raises:
            Left: the thread was left meanwhile; nothing is to be done with what came back.
        """
        thread = threading.current_thread()
        self._work = Work(what, whose, time.monotonic(), thread)
        try:
            yield
        finally:
            with self._lock:
                if thread in self._left:
                    raise Left
                self._work = None

    def stuck(self) -> Work | None:
        """What has been at work for too long; None if nothing has."""
        work = self._work
        return work if work and work.seconds > self.patience else None

    def leave(self, work: Work) -> bool:
        """Give up on a work: should it come back, its thread ends. False if it has come back already."""
        with self._lock:
            if self._work is not work:
                return False
            self._left.add(work.thread)
            work.thread.name = "left"
            self._work = None
            return True

    @contextmanager
    def telling(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Call `tell`, from a thread of its own, once for each time that something is stuck while the block runs."""
        over = threading.Event()

        def look() -> None:
            told = ""
            while not over.wait(min(1.0, self.patience)):
                stuck = self.stuck()
                if stuck and stuck.what != told:
                    tell(explanation(stuck))
                told = stuck.what if stuck else ""

        threading.Thread(target=look, name="watchdog", daemon=True).start()
        try:
            yield
        finally:
            over.set()


def explanation(work: Work) -> str:
    """What is wrong, and that it cannot be helped from here."""
    return (
        f"{work.what} has been computing for {work.seconds:.0f} s without asking a network, and all other cells "
        "wait for it; its own code cannot be stopped from here"
    )
