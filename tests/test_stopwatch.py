"""Time on an accelerator, without one: what is waited for, and when, with events that note what is asked of them."""

from __future__ import annotations

import time

import pytest
import torch

from zoo.stopwatch import Stopwatch

CUDA = torch.device("cuda")


class Stream:
    """A device on which every pass takes 10 ms, and a note of what the host waited for."""

    def __init__(self) -> None:
        self.recorded = 0
        self.waited: list[int] = []

    def event(self, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def record(self) -> None:
        self.place = self.stream.recorded
        self.stream.recorded += 1

    def synchronize(self) -> None:
        self.stream.waited.append(self.place)

    def elapsed_time(self, end: FakeEvent) -> float:
        assert end.place in self.stream.waited, "the time is not known before the event has passed"
        return 10.0 * (end.place - self.place)


@pytest.fixture
def stream(monkeypatch) -> Stream:
    made = Stream()
    monkeypatch.setattr(torch.cuda, "Event", made.event)
    return made


def test_the_host_runs_ahead_by_two_passes_and_no_more(stream):
    watch = Stopwatch(CUDA, ahead=2)
    waited = []
    for _ in range(4):
        with watch.running():
            pass
        waited.append(list(stream.waited))
    # Events 0 and 1 are the first pass, 2 and 3 the second, …
    assert waited == [[], [], [1], [1, 3]]


def test_every_pass_is_counted_once_and_a_failed_one_too(stream):
    watch = Stopwatch(CUDA)
    for number in range(5):
        try:
            with watch.running():
                if number == 3:
                    raise RuntimeError("out of memory")
        except RuntimeError:
            pass
    assert watch.seconds == pytest.approx(0.05)
    assert watch.seconds == pytest.approx(0.05)


def test_on_a_cpu_it_is_the_time_that_passed():
    watch = Stopwatch(torch.device("cpu"))
    started = time.perf_counter()
    with watch.running():
        time.sleep(0.02)
    assert 0.02 <= watch.seconds <= time.perf_counter() - started
