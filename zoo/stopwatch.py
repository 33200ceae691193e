"""Times the passes of networks without making the host wait for each: it runs a little ahead of an accelerator."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

AHEAD = 2
"""Passes that may be queued on an accelerator: enough to keep it at work, few enough to cancel and to show at once."""


class Stopwatch:
    """Adds up the seconds of passes on a device.

    On CUDA a pass lies between two events on the stream. Nobody waits for it but who asks for `seconds`, and a pass
    that begins when `ahead` others are on their way waits for the first of them.

    Args:
        device: where the passes run.
        ahead: how many passes may be on their way.
    """

    def __init__(self, device: torch.device, ahead: int = AHEAD) -> None:
        self.device, self.ahead = device, ahead
        self._seconds = 0.0
        self._flying: deque[tuple[Any, Any]] = deque()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the pass that the block queues, also one that fails."""
        if self.device.type == "cuda":
            while len(self._flying) >= self.ahead:
                self._land()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin.record()
            try:
                yield
            finally:
                end.record()
                self._flying.append((begin, end))
            return
        started = time.perf_counter()
        try:
            yield
            if self.device.type == "mps":
                torch.mps.synchronize()
        finally:
            self._seconds += time.perf_counter() - started

    @property
    def seconds(self) -> float:
        """Of all passes so far; waits for those on their way."""
        self.settle()
        return self._seconds

    def settle(self) -> None:
        """Wait for the passes that are on their way."""
        while self._flying:
            self._land()

    def _land(self) -> None:
        begin, end = self._flying.popleft()
        end.synchronize()
        self._seconds += begin.elapsed_time(end) / 1000
