"""A generator in the background: all it yields arrives, in order, and so do its result and its error."""

import threading

import pytest

from zoo.ui.background import in_background


def collect(generator):
    looks = []
    while True:
        try:
            looks.append(next(generator))
        except StopIteration as stop:
            return looks, stop.value


def test_everything_arrives_in_order_with_the_result():
    def work():
        yield from range(100)
        return "end"

    looks, result = collect(in_background(work(), pause=0.01))
    assert [item for look in looks for item in look] == list(range(100))
    assert result == "end"


def test_an_error_arrives_after_what_came_before_it():
    def work():
        yield 1
        raise ValueError("broken")

    looks = in_background(work(), pause=0)
    assert next(looks) == [1]
    with pytest.raises(ValueError, match="broken"):
        next(looks)


def test_the_work_goes_on_while_nobody_looks():
    finished = threading.Event()

    def work():
        yield from range(10)
        finished.set()

    looks = in_background(work(), pause=0)
    next(looks)
    assert finished.wait(5)
