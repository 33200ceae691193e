"""A generator at work in a thread of its own, so that who draws what it yields does not hold it up."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator
from typing import TypeVar

Y = TypeVar("Y")
R = TypeVar("R")


def in_background(
    work: Generator[Y, None, R], pause: float, quiet: float | None = None
) -> Generator[list[Y], None, R]:
    """What `work` has yielded since the last look, a look every `pause` seconds at most; ends with its result.

    When nothing has come for `quiet` seconds, an empty list comes.

    Closing this generator does not end `work`: tell it by other means to stop.

    Raises:
        Exception: whatever `work` raised, after all that it had yielded.
    """
    yielded: queue.SimpleQueue[Y | None] = queue.SimpleQueue()
    outcome: list[R] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            while True:
                yielded.put(next(work))
        except StopIteration as stop:
            outcome.append(stop.value)
        except BaseException as error:
            failure.append(error)
        finally:
            yielded.put(None)

    threading.Thread(target=run, name="comparison", daemon=True).start()
    ended = False
    while not ended:
        try:
            seen = [yielded.get(timeout=quiet)]
        except queue.Empty:
            yield []
            continue
        while not yielded.empty():
            seen.append(yielded.get())
        ended = seen[-1] is None
        fresh = [item for item in seen if item is not None]
        if fresh:
            looked = time.perf_counter()
            yield fresh
            if not ended:
                time.sleep(max(0.0, pause - (time.perf_counter() - looked)))
    if failure:
        raise failure[0]
    return outcome[0]
