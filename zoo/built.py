"""Models are built once, whoever asks and however many at once, and nobody waits for another's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from zoo.model import Model

AGAIN = 60.0
"""Seconds before a hub that could not be reached, which takes long to find out, is asked again for a model."""


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Model | None = None
    reason: str = ""
    until: float = 0.0


class Built:
    """Gives the model of a key, the same one every time; who asks while it is being built waits for it.

    Args:
        build: makes a model of the key; a `ValueError` with a `ConnectionError` as its cause is the answer for a while,
            after any other error it is tried again at once.
        most: so many are kept, those asked for last; None is all.
        clock: tells the seconds.
    """

    def __init__(
        self,
        build: Callable[..., Model],
        most: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.build, self.most, self.clock = build, most, clock
        self._places: dict[tuple[Hashable, ...], _Place] = {}
        self._lock = threading.Lock()

    def __call__(self, *key: Hashable) -> Model:
        with self._lock:
            place = self._places.pop(key, None) or _Place()
            self._places[key] = place  # the latest comes last
        with place.lock:
            if place.model is None:
                self._fill(place, key)
            assert place.model is not None
            return place.model

    def clear(self) -> None:
        """Forget all models and failures."""
        with self._lock:
            self._places.clear()

    def _fill(self, place: _Place, key: tuple[Hashable, ...]) -> None:
        left = place.until - self.clock()
        if place.reason and left > 0:
            raise ValueError(
                f"{place.reason} (tried a moment ago, and again in {left:.0f} s at the earliest)"
            )
        try:
            place.model = self.build(*key)
        except ValueError as error:
            if isinstance(error.__cause__, ConnectionError):
                place.reason, place.until = str(error), self.clock() + AGAIN
            raise
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Models beyond `most` go, and failures that are no answer any more."""
        with self._lock:
            built = [key for key, place in self._places.items() if place.model is not None]
            over = built[: len(built) - self.most] if self.most is not None else []
            stale = [
                key
                for key, place in self._places.items()
                if place.model is None and place.until <= self.clock() and not place.lock.locked()
            ]
            for key in (*over, *stale):
                del self._places[key]
