"""Knows whose code is at work, so that one that never comes back can be named.

A method runs in the engine's own thread. One that asks for ever meets the limit of a cell; one that computes for ever
without asking cannot be stopped from within the process, but another thread can say which it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 10.0
"""Seconds that a method may compute between two queries before it is named; most need a thousandth of one."""


class Watch:
    """Notes what is at work and since when; the engine's thread writes it, any other may read.

    Args:
        patience: seconds after which `stuck` names it.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._work: tuple[str, float] | None = None

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Note that this is at work while the block runs."""
        self._work = what, time.monotonic()
        try:
            yield
        finally:
            self._work = None

    def stuck(self) -> tuple[str, float] | None:
        """What has been at work for too long, and for how many seconds; None if nothing has."""
        work = self._work
        seconds = time.monotonic() - work[1] if work else 0.0
        return (work[0], seconds) if work and seconds > self.patience else None

    @contextmanager
    def telling(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Call `tell`, from a thread of its own, once for each time that something is stuck while the block runs."""
        over = threading.Event()

        def look() -> None:
            told = ""
            while not over.wait(min(1.0, self.patience)):
                stuck = self.stuck()
                if stuck and stuck[0] != told:
                    tell(explanation(*stuck))
                told = stuck[0] if stuck else ""

        threading.Thread(target=look, name="watchdog", daemon=True).start()
        try:
            yield
        finally:
            over.set()


def explanation(what: str, seconds: float) -> str:
    """What is wrong, and that it cannot be helped from here."""
    return (
        f"{what} has been computing for {seconds:.0f} s without asking a network, and all other cells wait for it; "
        "its own code cannot be stopped from here"
    )
