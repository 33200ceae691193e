"""The tabs of interpolation and inversion, asked without a browser."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from gradio.helpers import special_args

from zoo.limits import Limits
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui import latents
from zoo.ui.people import People
from zoo.ui.running import Runner
from zoo.ui.shelf import Shelf


@pytest.mark.parametrize("tab", [latents.between_tab, latents.back_tab])
def test_what_they_compute_is_limited_as_a_cell_is(tab, tmp_path, monkeypatch):
    registry = Registry(safe_mode=True)
    with gr.Blocks() as blocks, gr.Tabs():
        tab(registry, Runner(registry, "cpu", Shelf(tmp_path)), People(), "accelerator")
    (event,) = (event for event in blocks.fns.values() if event.concurrency_id == "accelerator")
    values: list[Any] = [component.value for component in event.inputs]
    monkeypatch.setattr(latents, "limits_for", lambda *_: Limits(nfe=3))
    _, problem = event.fn(*special_args(event.fn, values, None)[0])
    assert "used up its 3 network evaluations" in problem


def test_the_examples_made_earlier_are_what_the_tabs_begin_with_and_of_these_weights():
    kept = latents.examples()
    assert kept["weights"] == load_model(latents.MODEL, Registry(safe_mode=True)).fingerprint()
    assert len(kept["between"]["frames"]) == latents.FRAMES
    assert kept["back"]["up"] == kept["back"]["down"] == latents.BACK_STEPS
    assert 0.6 < kept["back"]["std"] < 1.1, "noise, though calmer where the picture is flat"
    assert 0 < kept["back"]["rmse"] < 0.1, "what it gives back is the picture again"
