"""What every visitor asks for first, computed once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A function whose answer to one question is kept; any other question, which may be somebody's own, is not.

    Who asks it while it is being answered waits for that. An error is not kept.

    Args:
        work: the function.
        first: the arguments whose answer is kept.
        lasts: whether an answer may be kept.
    """

    def __init__(
        self, work: Callable[..., T], first: tuple[object, ...], lasts: Callable[[T], bool] = lambda _: True
    ) -> None:
        self.work, self.first, self.lasts = work, first, lasts
        self._kept: list[T] = []
        self._lock = threading.Lock()

    def __call__(self, *asked: object) -> T:
        if asked != self.first:
            return self.work(*asked)
        with self._lock:
            if self._kept:
                return self._kept[0]
            found = self.work(*asked)
            if self.lasts(found):
                self._kept.append(found)
            return found
