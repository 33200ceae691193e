"""Runs as the page's script sees them, without a browser: begun, looked at, retried, found again on disk."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.ui.conftest import PLUGIN
from zoo.comparison import Comparison
from zoo.pictures import admit
from zoo.registry import Registry
from zoo.ui import exports, running
from zoo.ui.calls import calls
from zoo.ui.people import People
from zoo.ui.running import Runner
from zoo.ui.runs import new_run
from zoo.ui.shelf import DAYS, Shelf
from zoo.ui.words import received, say, sent
from zoo.watchdog import Watch

ASK = {"model": "gaussian", "prompt": "dawn", "seeds": "0..1"}
NAME = "A" * 24

HELD = """
import time
from zoo import Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Held(Sampler):
    def sample(self, x, levels, noise):
        prediction = yield Query(x, levels[0])
        time.sleep(4)
        return prediction.x0

@hookimpl
def register_samplers():
    return [SamplerSpec("held", Held, title="Held")]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd.py").write_text(PLUGIN.replace("FOLDER", "None"))
    (folder / "slow.py").write_text(HELD)
    return Registry(folder)


@pytest.fixture
def runner(registry: Registry, tmp_path: Path) -> Runner:
    return Runner(registry, "cpu", Shelf(tmp_path))


@pytest.fixture
def call(registry: Registry, runner: Runner) -> dict[str, Any]:
    return {function.__name__: function for function in calls(registry, runner)}


def begin(call: dict[str, Any], *lines: str, **more: Any) -> dict[str, Any]:
    reply = call["start_run"]({**ASK, **more, "cards": [{"line": line} for line in lines]})
    assert "error" not in reply, reply
    return reply


def ended(call: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        seen = call["look_at"]({"id": run["id"]})
        if seen["state"] == "ended":
            return seen
        time.sleep(0.05)
    raise AssertionError("the run did not end")


def test_a_page_that_asks_what_its_model_can_do_has_been_drawn(call, runner):
    assert not runner.visited.is_set()
    assert call["model_facts"]({"model": "gaussian"})["presets"]
    assert runner.visited.is_set()


def test_a_run_tells_what_became_of_every_cell(call):
    run = begin(call, "ddim steps=2,3", "odd/failing", "ddpm steps=2 | cfg scale=2", metrics=["exact_error"])
    assert [block["cells"] for block in run["blocks"]] == [[0, 1], [2], [3]]
    assert run["blocks"][0]["columns"]["values"] == ["2", "3"]
    assert [cell["status"] for cell in run["cells"].values()] == ["queued"] * 4
    seen = ended(call, run)
    cells = [seen["cells"][str(i)] for i in range(4)]
    assert [cell["status"] for cell in cells] == ["done", "done", "failed", "done"]
    assert [sum(cell["nfe"].values()) for cell in cells] == [2, 3, 1, 4]
    assert [len(cell["images"]) for cell in cells] == [2, 2, 2, 2], "a failed cell keeps its last preview"
    assert "<b>broken</b>" in cells[2]["error"]
    assert "Traceback" in cells[2]["traceback"]
    assert [cell["stochastic"] for cell in cells] == [False, False, False, True]
    assert cells[0]["metrics"][0]["value"] > 0
    assert seen["noise"]
    assert json.loads(json.dumps(seen)) == seen


def test_a_run_right_after_the_start_says_what_it_waits_for(call, runner, monkeypatch):
    imported, ready = threading.Event(), runner.ready
    monkeypatch.setattr(runner, "ready", lambda: imported.wait(300) and ready())
    run = begin(call, "ddim steps=2")
    deadline = time.monotonic() + 300
    while call["look_at"]({"id": run["id"]})["status"] != sent(say("run.getting_ready")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    imported.set()
    assert ended(call, run)["cells"]["0"]["status"] == "done"


def test_only_what_is_new_is_sent(call):
    run = begin(call, "ddim steps=2")
    seen = ended(call, run)
    later = call["look_at"]({"id": run["id"], "since": seen["version"]})
    assert later["cells"] == {}
    assert "comparison" not in later


def test_one_cell_is_run_again_and_the_others_stay(call, runner):
    run = begin(call, "ddim steps=2", "odd/failing")
    before = ended(call, run)["cells"]
    asked = {"id": run["id"], "cell": 0}
    assert "Only who began" in received(call["retry_cell"]({**asked, "key": "wrong"})["error"])
    assert call["retry_cell"]({**asked, "key": run["key"]}) == {}
    after = ended(call, run)["cells"]
    assert after["0"]["images"] == before["0"]["images"], "the same noise, the same pictures"
    assert after["1"] == before["1"]
    assert "no cell 7" in call["retry_cell"]({**asked, "cell": 7, "key": run["key"]})["error"]


def test_a_cancelled_run_keeps_what_is_done(call):
    run = begin(call, "ddim steps=2", "odd/slow steps=900")
    while call["look_at"]({"id": run["id"]})["cells"]["0"]["status"] != "done":
        time.sleep(0.05)
    assert "error" in call["stop_run"]({"id": run["id"], "key": ""})
    assert call["stop_run"]({"id": run["id"], "key": run["key"]}) == {}
    cells = ended(call, run)["cells"]
    assert [cell["status"] for cell in cells.values()] == ["done", "cancelled"]


def test_a_run_at_which_nobody_looks_is_given_up(call, runner, monkeypatch):
    monkeypatch.setattr(running, "AWAY_SECONDS", 0.5)
    run = begin(call, "odd/slow steps=900")
    found = runner.find(run["id"])
    deadline = time.monotonic() + 120
    while found.state != "ended" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found.results[0].status == "cancelled"


def status(call: dict[str, Any], run: dict[str, Any]) -> tuple[str, str]:
    seen = call["look_at"]({"id": run["id"]})
    return seen["state"], seen["status"]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_comparisons_of_several_people_are_at_work_at_once(call):
    long = begin(call, "odd/slow steps=900")
    wait_until(lambda: status(call, long)[0] == "running")
    short = begin(call, "ddim steps=3", "odd/failing")
    cells = ended(call, short)["cells"]
    assert [cell["status"] for cell in cells.values()] == ["done", "failed"]
    assert status(call, long)[0] == "running"
    call["stop_run"]({"id": long["id"], "key": long["key"]})
    assert ended(call, long)["cells"]["0"]["status"] == "cancelled"


def test_the_queue_is_bounded_and_says_how_long(call, runner, monkeypatch):
    monkeypatch.setattr(running, "TOGETHER", 1)
    monkeypatch.setattr(running, "MOST_WAITING", 2)
    runner._costs.extend([2.0, 4.0])
    first = begin(call, "odd/slow steps=900")
    wait_until(lambda: status(call, first)[0] == "running")
    second, third = begin(call, "ddim steps=2"), begin(call, "ddim steps=2")
    told = "Waiting: 1 at work, {} before this one, about {} s …"
    wait_until(lambda: runner.find(second["id"]).status == told.format(0, 3))
    wait_until(lambda: runner.find(third["id"]).status == told.format(1, 6))
    refused = call["start_run"]({**ASK, "cards": [{"line": "ddim steps=2"}]})
    told = "The queue is full: 1 at work, 2 waiting, about 9 s. Try again later."
    assert received(refused["error"]) == told
    call["stop_run"]({"id": third["id"], "key": third["key"]})
    assert ended(call, third)["cells"]["0"]["status"] == "cancelled", "it need not wait for that"
    call["stop_run"]({"id": first["id"], "key": first["key"]})
    assert ended(call, second)["cells"]["0"]["status"] == "done"


def test_a_cell_is_run_again_only_if_there_is_room(call, monkeypatch):
    run = begin(call, "ddim steps=2")
    before = ended(call, run)["cells"]
    monkeypatch.setattr(running, "MOST_WAITING", 0)
    refused = call["retry_cell"]({"id": run["id"], "key": run["key"]})
    assert "The queue is full" in received(refused["error"])
    assert ended(call, run)["cells"] == before


def test_who_continues_has_no_more_at_work_than_who_begins(registry, runner):
    call = {function.__name__: function for function in calls(registry, runner, People(most=2))}
    cancelled = []
    for _ in range(2):
        runs = [begin(call, "odd/slow steps=900") for _ in range(2)]
        for run in runs:
            call["stop_run"](run)
            ended(call, run)
        cancelled += runs
    refused = [call["continue_run"](run).get("error") for run in cancelled]
    enough = sent(say("ask.enough", n=2))
    assert refused == [None, None, enough, enough]
    for run in cancelled[:2]:
        call["stop_run"](run)
        ended(call, run)


def test_of_large_comparisons_one_is_at_work_and_small_ones_pass_by(call, monkeypatch):
    monkeypatch.setattr(running, "LARGE", 3)
    first = begin(call, "odd/slow steps=900", seeds="0..3")
    wait_until(lambda: status(call, first)[0] == "running")
    second = begin(call, "ddim steps=2", seeds="0..3")
    small = begin(call, "ddim steps=2")
    assert ended(call, small)["cells"]["0"]["status"] == "done"
    assert status(call, second)[0] == "waiting"
    call["stop_run"]({"id": first["id"], "key": first["key"]})
    assert ended(call, second)["cells"]["0"]["status"] == "done"


def test_calls_wait_in_the_same_queue_and_are_told_when_it_is_full(call, runner, monkeypatch):
    monkeypatch.setattr(running, "TOGETHER", 1)
    monkeypatch.setattr(running, "MOST_WAITING", 1)
    asked = Comparison(model="gaussian", cells=["ddim steps=2"])
    first = begin(call, "odd/slow steps=900")
    wait_until(lambda: status(call, first)[0] == "running")
    gone = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(runner.answer, asked, gone.is_set)
        wait_until(lambda: len(runner._waiting) == 1)
        full = "The queue is full: 1 at work, 1 waiting"
        with pytest.raises(running.Busy, match=full):
            runner.answer(asked)
        with pytest.raises(ValueError, match="the page stops at"):  # whether there is room or not
            runner.answer(Comparison(model="gaussian", cells=["ddim steps=1000"], seeds="0..255"))
        assert full in received(call["start_run"]({**ASK, "cards": [{"line": "ddim steps=2"}]})["error"])
        gone.set()
        assert isinstance(waiting.exception(), running.Busy), "who is gone makes room"
    assert not runner._waiting
    call["stop_run"]({"id": first["id"], "key": first["key"]})
    ended(call, first)
    assert runner.answer(asked).done
    monkeypatch.setattr(running, "CALLS", 0)
    with pytest.raises(running.Busy):
        runner.answer(asked)
    assert ended(call, begin(call, "ddim steps=2"))["cells"]["0"]["status"] == "done"


def test_a_call_is_answered_in_the_end_with_what_there_is(runner, monkeypatch):
    monkeypatch.setattr(running, "CALL_SECONDS", 1.0)
    asked = Comparison(model="gaussian", cells=["ddim steps=2", "odd/slow steps=900"])
    assert [cell.status for cell in runner.answer(asked).cells] == ["done", "cancelled"]
    assert not runner._working


def test_a_method_that_does_not_come_back_is_left_and_named(call, registry, monkeypatch):
    monkeypatch.setattr(running, "Watch", lambda: Watch(0.3))
    monkeypatch.setattr(running, "GIVE_UP_SECONDS", 0.3)
    run = begin(call, "ddim steps=2", "slow/held", "ddim steps=9")
    seen = ended(call, run)
    assert seen["cells"]["1"]["status"] == "failed"
    assert "without asking a network" in seen["cells"]["1"]["error"]
    assert "slow/held" in received(seen["problem"])
    assert seen["cells"]["2"]["status"] == "done", "the others go on without it"
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "slow"]
    assert plugin.error
    time.sleep(4)  # until it has come back, and nothing more is drawn
    assert call["look_at"]({"id": run["id"], "since": seen["version"]})["cells"] == {}


def test_runs_are_found_again_after_a_restart(call, registry, runner):
    run = begin(call, "ddim steps=2", "odd/failing", metrics=["exact_error"])
    before = ended(call, run)
    again = {f.__name__: f for f in calls(registry, Runner(registry, "cpu", Shelf(runner.shelf.folder)))}
    after = again["look_at"]({"id": run["id"]})
    assert after["cells"]["0"] == {**before["cells"]["0"], "step": 0, "steps": 0}
    assert after["cells"]["1"]["traceback"] == before["cells"]["1"]["traceback"]
    assert (after["blocks"], after["noise"]) == (before["blocks"], before["noise"])
    assert again["retry_cell"]({"id": run["id"], "key": run["key"], "cell": 1}) == {}
    ended(again, run)


def test_the_way_is_kept_in_a_few_frames(call):
    run = begin(call, "ddim steps=100")
    ended(call, run)
    way = call["cell_way"]({"id": run["id"], "cell": 0})
    levels = [frame["log_snr"] for frame in way["frames"]]
    assert levels == sorted(levels)
    assert running.FRAMES / 2 <= len(levels) <= running.FRAMES + 1
    assert way["frames"][0]["nfe"] == 1
    assert way["frames"][-1]["nfe"] == way["steps"] == 100
    assert way["x0"].startswith("data:image/png;base64,")
    assert "not kept" in received(call["cell_way"]({"id": run["id"], "cell": 5})["error"])


def test_files_hold_the_comparison(call, runner):
    run = begin(call, "ddim steps=2", prompt='dusk & <b>"dawn"</b>')
    ended(call, run)
    found = runner.find(run["id"])
    name, kind, content = exports.file(found, "png")
    assert (name, kind) == ("dusk-b-dawn-b-gaussian.png", "image/png")
    held = Comparison.model_validate_json(Image.open(io.BytesIO(content)).text["comparison"])
    assert held.record["device"] == "cpu"
    assert held.model_copy(update={"record": None}) == found.comparison.model_copy(update={"record": None})
    _, _, archive = exports.file(found, "zip")
    names = set(zipfile.ZipFile(io.BytesIO(archive)).namelist())
    assert names == {
        "cells/00/0.png",
        "cells/00/1.png",
        "comparison.json",
        "results.json",
        "grid.png",
        "report.html",
    }
    report = exports.file(found, "report")[2].decode()
    assert report.count("<img") == 2
    assert "<b>" not in report
    assert "http" not in report, "it needs nothing else"


def test_cards_of_a_file_are_taken_if_they_stand_for_its_cells(call):
    cells = ["ddim steps=1", "ddim steps=2"]
    cards = [{"line": "ddim steps=1,2", "swap": True}]
    assert call["restore_cards"]({"cells": cells, "cards": cards}) == {"cards": cards}
    alone = {"cards": [{"line": line, "swap": False} for line in cells]}
    for kept in (
        None,
        [],
        "ddim",
        [{}],
        [{"line": "ddim steps=1,3"}],
        [{"line": "nope steps=1,2"}],
        cards * 13,
    ):
        assert call["restore_cards"]({"cells": cells, "cards": kept}) == alone
    assert "error" in call["restore_cards"]({"cells": "ddim"})


def made_again(python: str, command: str) -> tuple[Comparison, Comparison]:
    """What is compared by the program, and by the command line."""
    from shlex import split

    from zoo.cli import _parser
    from zoo.commands.compare import _comparison

    names: dict[str, Any] = {}
    exec(python.replace("zoo.compare(", "(").replace("result.save", "str"), names)
    words = split(command.replace("\\\n", " "), comments=True)
    arguments = _parser(words[3:]).parse_args(words[3:])
    return names["result"], _comparison(arguments, Registry(safe_mode=True))


@pytest.mark.parametrize("prompt", ['it\'s "dusk"', "-dusk", "--help", "- a\n- b"])
def test_code_makes_the_same_comparison(call, prompt):
    line = "ddim steps=3 | cfg scale=2"
    asked = {**ASK, "prompt": prompt, "seeds": "0..2,7", "alone": True, "metrics": ["exact_error"]}
    code = call["as_code"]({**asked, "negative": "--no dawn", "cards": [{"line": line}]})
    by_program, by_command = made_again(**code)
    assert by_program == by_command
    assert (by_program.prompt, by_program.negative) == (prompt, "--no dawn")
    assert by_program.seeds == (0, 1, 2, 7)


def test_code_finds_the_pictures_that_come_in_the_zip(registry, tmp_path, monkeypatch):
    name, png = admit(Image.new("RGB", (9, 7), "red"))
    lines = ["ddim steps=2", f"ddim | controlnet annotator=canny image={name}"]
    comparison = Comparison(prompt="a cat", cells=lines, pictures={name: png})
    _, _, archive = exports.file(new_run(comparison, [], registry), "zip")
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = made_again(exports.python(comparison), exports.command(comparison))
    assert found == (comparison, comparison)
    assert [each.pictures for each in found] == [{name: png}] * 2


@pytest.mark.parametrize("name", ["", "x", NAME, "../" + "a" * 21, "." * 24, "a" * 65, "a/b" * 8])
def test_nothing_is_read_by_a_name_that_is_no_run(call, runner, name):
    (runner.shelf.folder / "secret").mkdir()
    for function in ("look_at", "cell_way", "export_run", "stop_run"):
        assert "error" in call[function]({"id": name})


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        {},
        {**ASK, "cards": "ddim"},
        {**ASK, "cards": [{"line": "x" * 3000}]},
        {**ASK, "cards": [{"line": "ddim"}] * 13},
        {**ASK, "cards": []},
        {**ASK, "model": "folder:/etc", "cards": [{"line": "ddim"}]},
        {**ASK, "cards": [{"line": "ddim steps=1..20 eta=0..1..0.05"}]},
        {**ASK, "seeds": "0..999", "cards": [{"line": "ddim"}]},
    ],
)
def test_what_cannot_be_asked_is_answered_in_words(call, given):
    reply = call["start_run"](given)
    assert list(reply) == ["error"]
    assert reply["error"]


def test_names_cannot_be_guessed_and_old_runs_go(call, runner, tmp_path):
    one, other = begin(call, "ddim steps=1"), begin(call, "ddim steps=1")
    assert len({one["id"], other["id"], one["key"], other["key"]}) == 4
    assert all(len(text) >= 24 for text in (one["id"], one["key"]))
    ended(call, other)
    import os

    past = time.time() - (DAYS + 1) * 86400
    os.utime(tmp_path / one["id"] / "page.json", (past, past))
    (tmp_path / "not-a-run").mkdir()
    Shelf(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {other["id"], "not-a-run"}
