"""One person's share of the page."""

import contextlib
import threading
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.helpers import special_args

from zoo.registry import Registry
from zoo.ui import moves
from zoo.ui.people import People, TooMuch, address
from zoo.ui.running import Runner
from zoo.ui.shelf import Shelf


class Work:
    state = "waiting"


def test_so_many_are_at_work_for_one_person_and_others_are_not_held_up():
    people = People(most=2)
    first, _ = people.start("ada", Work), people.start("ada", Work)
    with pytest.raises(TooMuch, match=r"2 of your comparisons are at work already.*cancel it"):
        people.start("ada", Work)
    assert people.start("bob", Work)
    first.state = "ended"
    assert people.start("ada", Work)


def test_what_is_begun_again_counts_once():
    people, work = People(most=2), Work()
    for _ in range(3):
        people.start("ada", lambda: work)
    assert people.start("ada", Work)
    with pytest.raises(TooMuch):
        people.start("ada", Work)


def test_a_call_counts_until_it_is_answered_also_by_an_error():
    people = People(most=1)
    with people.working("ada"), pytest.raises(TooMuch, match="1 of your comparisons"):
        people.start("ada", Work)
    with pytest.raises(RuntimeError), people.working("ada"):
        raise RuntimeError
    with people.working("ada"):
        pass


def test_what_could_not_begin_does_not_count():
    people = People(most=1)

    def full() -> Work:
        raise ValueError("the queue is full")

    with pytest.raises(ValueError, match="queue is full"):
        people.start("ada", full)
    assert people.start("ada", Work)


def test_of_many_at_the_same_time_no_more_begin_than_may():
    people, begun, gate = People(most=3), [], threading.Barrier(12)

    def ask() -> None:
        gate.wait()
        with contextlib.suppress(TooMuch):
            begun.append(people.start("ada", Work))

    askers = [threading.Thread(target=ask) for _ in range(12)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(begun) == 3


def test_nobody_is_remembered_who_has_nothing_at_work():
    people = People(most=1)
    for number in range(100):
        people.start(str(number), Work).state = "ended"
    people.start("ada", Work)
    assert set(people._works) == {"ada"}


@pytest.mark.parametrize(
    ("variables", "most"),
    [
        ({}, 0),
        ({"ZOO_HOSTED": "1"}, 2),
        ({"ZOO_HOSTED": "1", "ZOO_PER_PERSON": "0"}, 0),
        ({"ZOO_PER_PERSON": "5"}, 5),
    ],
)
def test_the_limit_is_for_strangers_or_as_it_is_set(monkeypatch, variables, most):
    for name in ("SPACE_ID", "ZOO_HOSTED", "ZOO_PER_PERSON"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert People().most == most


def test_a_limit_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("ZOO_PER_PERSON", "some")
    with pytest.raises(ValueError, match=r"ZOO_PER_PERSON is how many .* got 'some'"):
        People()


@pytest.mark.parametrize(
    ("noted", "who"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("1.2.3.4, 8.8.8.8, 10.0.0.7", "8.8.8.8"),  # the first was made up
        ("nonsense", "10.1.1.1"),
        ("", "10.1.1.1"),
    ],
)
def test_behind_a_spaces_proxies_it_is_whom_they_noted(monkeypatch, noted, who):
    request = SimpleNamespace(client=SimpleNamespace(host="10.1.1.1"), headers={"x-forwarded-for": noted})
    monkeypatch.setenv("SPACE_ID", "someone/zoo")
    assert address(request) == who
    monkeypatch.delenv("SPACE_ID")
    assert address(request) == "10.1.1.1", "elsewhere a header that anybody can send says nothing"


def test_a_call_from_within_has_no_address():
    assert address(None) == ""


def test_what_the_other_tabs_ask_counts_too(tmp_path):
    registry, people = Registry(safe_mode=True), People(most=1)
    with gr.Blocks() as blocks:
        moves.tab(registry, Runner(registry, "cpu", Shelf(tmp_path)), people, "accelerator")
    work = people.start("10.1.1.1", Work)
    asked = [event for event in blocks.fns.values() if event.concurrency_id == "accelerator" and event.inputs]
    assert len(asked) == 6
    request = gr.Request(SimpleNamespace(client=SimpleNamespace(host="10.1.1.1"), headers={}))
    for event in asked:
        values = ["ddim steps=2" if c.elem_id == "moves-add" else c.value for c in event.inputs]
        *_, problem = event.fn(*special_args(event.fn, values, request)[0])
        assert "1 of your comparisons are at work already" in problem
    work.state = "ended"
    assert people.start("10.1.1.1", Work)
