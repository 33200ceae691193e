"""The shelf of runs: what is kept, where, and for how long."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import pytest
import torch

from zoo import Comparison
from zoo.comparison import CellResult
from zoo.registry import Registry
from zoo.ui.disclosure import visible
from zoo.ui.runs import Run, new_run
from zoo.ui.shelf import LEFT_OVER, Shelf


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(safe_mode=True)


def a_run(registry: Registry, shelf: Shelf, picture: torch.Tensor) -> Run:
    comparison = Comparison(model="gaussian", cells=("ddim steps=1",))
    run = new_run(comparison, [], registry)
    shelf.begin(run)
    shelf.keep(run, 0, CellResult("ddim steps=1", "done", images=picture[None]))
    return run


def test_a_folder_that_is_not_there_is_made(tmp_path):
    shelf = Shelf(tmp_path / "not" / "yet")
    assert shelf.folder.is_dir()
    assert shelf.load("A" * 24) is None


def test_the_oldest_runs_go_when_all_together_take_too_much(registry, tmp_path):
    picture = torch.rand(3, 256, 256) * 2 - 1  # 200 kB as PNG: noise cannot be compressed
    shelf = Shelf(tmp_path, megabytes=0.5)
    runs = []
    for age in (30, 20, 10):
        runs.append(a_run(registry, shelf, picture))
        past = time.time() - age
        os.utime(tmp_path / runs[-1].id / "page.json", (past, past))
    shelf.prune()
    assert {path.name for path in tmp_path.iterdir()} == {runs[1].id, runs[2].id}
    Shelf(tmp_path, most=1)
    assert {path.name for path in tmp_path.iterdir()} == {runs[2].id}
    last = a_run(registry, Shelf(tmp_path, megabytes=0.1), picture)
    Shelf(tmp_path, megabytes=0.1)
    assert [path.name for path in tmp_path.iterdir()] == [last.id], "the latest one stays, however large"


def test_what_a_killed_process_left_half_goes_once_nobody_can_be_writing_it(registry, tmp_path):
    run = a_run(registry, Shelf(tmp_path), torch.zeros(3, 8, 8))
    fresh, old = tmp_path / run.id / "fresh.png.part", tmp_path / run.id / "old.png.part"
    for path in (fresh, old):
        path.write_bytes(b"half")
    past = time.time() - LEFT_OVER - 60
    os.utime(old, (past, past))
    Shelf(tmp_path)
    assert fresh.is_file() and not old.exists()


def test_where_there_is_no_home_runs_are_kept_in_a_folder_for_the_time_being(tmp_path, monkeypatch):
    pwd = pytest.importorskip("pwd")

    def unknown(number: int) -> Any:
        raise KeyError(f"uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)  # as in a container that runs under any number
    for name in ("HOME", "XDG_CACHE_HOME", "ZOO_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert Shelf().folder.parent == tmp_path
    monkeypatch.setenv("ZOO_RUNS_DIR", "~/runs")
    with pytest.raises(
        ValueError, match=r"ZOO_RUNS_DIR=~/runs: there is no home folder; name the whole path"
    ):
        Shelf()
    monkeypatch.setenv("ZOO_HOSTED", "1")
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert visible(f"no file {gone}/a.txt") == "no file …/a.txt"


@pytest.mark.parametrize("given", ["nan", "0", "-1", "many"])
def test_a_limit_that_is_no_number_is_refused(tmp_path, monkeypatch, given):
    monkeypatch.setenv("ZOO_RUNS_MB", given)
    with pytest.raises(ValueError, match=f"ZOO_RUNS_MB is a number above 0, got '{given}'"):
        Shelf(tmp_path)
    monkeypatch.setenv("ZOO_RUNS_MB", "1.5")
    assert Shelf(tmp_path).megabytes == 1.5
