"""The claim about ControlNet: the score of edges, and that a line's score is that of its control."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from tests.small_model import save_small_model
from zoo.claims import control as control_module
from zoo.claims.control import EDGES, ControlPoints, f1_within_a_pixel, other_caption
from zoo.claims.papers import CLAIMS
from zoo.claims.points import Impossible, Points
from zoo.data.tinyworld import TinyWorld, named
from zoo.engine import Engine
from zoo.models.tinyworld import TextToPixels
from zoo.registry import default_registry

LINE = "ddim steps=2 | controlnet annotator=canny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Six pictures in three groups."""
    monkeypatch.setattr(control_module, "PICTURES", 6)
    monkeypatch.setattr(control_module, "GROUPS", 3)


def points(folder, kept) -> Points:
    engine = Engine(torch.device("cpu"), torch.float32)
    return Points(TextToPixels(folder, "small", "small"), default_registry(), engine, kept, 1)


def test_a_pixel_is_met_by_its_neighbours_only():
    wanted = np.zeros((8, 8), bool)
    wanted[2, 1:7] = True
    assert f1_within_a_pixel(wanted, wanted) == 1
    assert f1_within_a_pixel(np.roll(wanted, 1, 0), wanted) == 1
    assert f1_within_a_pixel(np.roll(wanted, 2, 0), wanted) == 0
    half = wanted.copy()
    half[2, 3:] = False  # 2 of 6 are found, which meet 3
    assert f1_within_a_pixel(half, wanted) == pytest.approx(2 * 1 * 0.5 / 1.5)
    nothing = np.zeros_like(wanted)
    assert f1_within_a_pixel(nothing, wanted) == 0
    assert f1_within_a_pixel(nothing, nothing) == 1


def test_the_prompt_names_what_the_map_does_not_show():
    sample = TinyWorld(3)[5]
    told = named(other_caption(sample, 5))
    assert told["kind"] == sample.attributes.kind
    assert told["colour"] != sample.attributes.colour
    assert told["scene"] != sample.attributes.scene


def test_without_scale_there_is_no_control_and_measurements_are_kept(folder, tmp_path, monkeypatch):
    control = ControlPoints(points(folder, tmp_path))
    measure = control.by_name()[EDGES]
    without, off, on = (measure(line) for line in ("ddim steps=2", f"{LINE} scale=0", LINE))
    assert off == without
    assert on != without
    assert 0 <= on.value <= 1
    assert len(on.without) == 3
    monkeypatch.setattr(control_module, "draw", None)
    assert ControlPoints(points(folder, tmp_path)).edges(LINE) == on


def test_a_model_without_the_network_leaves_it_open(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "control")
    with pytest.raises(Impossible, match="small has no network control/canny"):
        ControlPoints(points(tmp_path / "model", tmp_path / "kept")).edges(LINE)


def test_it_is_among_the_claims():
    (claim,) = [claim for claim in CLAIMS if EDGES in claim.measures]
    assert claim.kind == "must"
    assert claim.lines == []  # nothing that is drawn at scale
