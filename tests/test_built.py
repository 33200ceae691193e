"""Models are built once, by whoever asks first; a slow one holds up nobody who wants another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zoo import planning
from zoo.built import Built
from zoo.registry import default_registry

SOON = 5.0


class Clock:
    """Time that passes only when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_many_who_ask_at_once_get_the_same_one(pool):
    made, everybody = [], threading.Barrier(8)

    def build(name):
        made.append(name)
        return object()

    built = Built(build)

    def ask(_):
        everybody.wait(SOON)
        return built("a")

    found = list(pool.map(ask, range(8)))
    assert made == ["a"]
    assert len(set(map(id, found))) == 1


def test_a_slow_hub_holds_up_nobody_who_wants_another_model(pool, monkeypatch):
    begun, released = threading.Event(), threading.Event()

    def slow(name):
        begun.set()
        released.wait(SOON)
        raise ConnectionError("the hub cannot be reached")

    monkeypatch.setattr("zoo.models.elsewhere.open_model", slow)
    registry = default_registry()
    waiting = pool.submit(planning.load_model, "hub:nobody/slow", registry)
    assert begun.wait(SOON)
    assert pool.submit(planning.load_model, "gaussian", registry).result(SOON / 2).name == "gaussian"
    assert not waiting.done()
    released.set()
    with pytest.raises(ValueError, match="the hub cannot be reached"):
        waiting.result(SOON)
    begun.clear()
    with pytest.raises(ValueError, match="again in"):
        planning.load_model("hub:nobody/slow", registry)
    assert not begun.is_set(), "the hub was not asked again"


def test_a_hub_out_of_reach_is_asked_again_after_a_while_only():
    clock, tries = Clock(), []

    def build(name):
        tries.append(name)
        if len(tries) < 2:
            raise ValueError("out of reach") from ConnectionError()
        return object()

    built = Built(build, clock=clock)
    with pytest.raises(ValueError, match=r"^out of reach$"):
        built("a")
    clock.now = 59.0
    with pytest.raises(ValueError, match=r"^out of reach .*again in 1 s"):
        built("a")
    assert tries == ["a"]
    clock.now = 60.0
    assert built("a") is built("a")
    assert tries == ["a", "a"]


def test_any_other_failure_is_mended_at_once():
    there = []

    def build(name):
        if not there:
            raise ValueError("is not a folder")
        return object()

    built = Built(build)
    with pytest.raises(ValueError, match="is not a folder"):
        built("a")
    there.append(True)
    assert built("a") is built("a")


def test_of_many_those_asked_for_last_are_kept_and_failures_push_none_out():
    made = []

    def build(name):
        made.append(name)
        if name.startswith("bad"):
            raise ValueError(name)
        return object()

    built = Built(build, most=2)
    built("a"), built("b"), built("a")
    for name in ("bad", "bad", "bad 2"):
        with pytest.raises(ValueError, match=name):
            built(name)
    built("c"), built("a")
    assert made == ["a", "b", "bad", "bad", "bad 2", "c"]
    built("b")
    assert made[6:] == ["b"], "b was asked for longest ago"
