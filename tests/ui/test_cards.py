import base64
import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from zoo import NoScore, Score
from zoo.comparison import CellResult, Event
from zoo.discovery import PluginInfo
from zoo.ui import cards, plugins_tab

SCRIPT = '"><script>alert(1)</script>'
RESULT = CellResult("ddim steps=5", "queued")


@pytest.mark.parametrize("status", ["queued", "running", "done", "failed", "cancelled", "na"])
def test_nothing_that_people_or_plugins_write_becomes_markup(status):
    result = CellResult(SCRIPT, status, error=SCRIPT, traceback=SCRIPT, nfe={SCRIPT: 3})
    pictures = torch.zeros(1, 3, 4, 4)
    text = cards.card(SCRIPT, result, [0], "shared", Event("progress", 0, 1, 2, result), pictures)
    assert "<script" not in text
    assert SCRIPT.split("<")[0] + "&lt;" not in text


def test_messages_are_escaped():
    for text in (
        cards.notices([SCRIPT]),
        cards.problem(SCRIPT),
        cards.summary(SCRIPT, SCRIPT),
        cards.small(SCRIPT),
        cards.heading(SCRIPT),
    ):
        assert "<script" not in text
        assert "&lt;script" in text


def test_plugins_are_escaped_and_say_what_went_wrong():
    class Registry:
        plugins = [  # noqa: RUF012
            PluginInfo(
                SCRIPT,
                "drop-in",
                SCRIPT,
                SCRIPT,
                "failed",
                {SCRIPT: [SCRIPT]},
                error=SCRIPT,
                traceback=SCRIPT,
            )
        ]

    text = plugins_tab.table(Registry())  # type: ignore[arg-type]
    assert "<script" not in text
    assert "failed" in text


def test_a_cell_has_a_place_for_each_picture_before_there_is_one():
    queued = cards.card("DDIM", RESULT, [4, 5, 6], "shared")
    done = cards.card(
        "DDIM", replace(RESULT, status="done"), [4, 5, 6], "shared", None, torch.zeros(3, 3, 4, 4)
    )
    assert queued.count("zoo-tile") == done.count("zoo-tile") == 3
    assert done.count("data:image/png;base64,") == 3
    assert "seed 5" in queued


def test_scores_or_the_reasons_for_their_absence_are_under_the_cost():
    scores = {SCRIPT: Score(0.25, 4, better="lower"), "frechet": NoScore(SCRIPT)}
    text = cards.card("DDIM", replace(RESULT, status="done", metrics=scores), [0], "shared")
    assert "<script" not in text
    assert " ↓</dt>" in text
    assert '<dd title="of 4 pictures">0.25</dd>' in text
    assert "absent: " in text
    assert "zoo-scores" not in cards.card("DDIM", RESULT, [0], "shared")


def test_times_say_what_they_are_of():
    done = replace(RESULT, status="done", nfe={"denoiser": 5}, seconds=0.25)
    shared, alone = (cards.card("DDIM", done, [0], timing) for timing in ("shared", "alone"))
    assert "5 NFE" in shared
    assert "0.25 s" in shared
    assert "share of the fused batch" in shared
    assert "share" not in alone
    assert "alone" in alone


def test_a_failed_cell_says_why_in_place_and_keeps_its_traceback_folded():
    failed = replace(RESULT, status="failed", error="ZeroDivisionError: oh", traceback="Traceback: oh")
    text = cards.card("DDIM", failed, [0], "shared")
    assert "ZeroDivisionError: oh" in text
    assert "<details><summary>Traceback" in text


def test_a_cell_that_cannot_be_says_why():
    text = cards.card("X", replace(RESULT, status="na", error="needs the network consistency"), [0], "shared")
    assert "N/A" in text
    assert "needs the network consistency" in text


def test_what_a_control_network_got_is_shown():
    control = torch.zeros(3, 4, 4)
    control[0] = 1.0
    result = replace(RESULT, status="done", maps={SCRIPT: control})
    text = cards.card("title", result, [0], "shared", pictures=torch.zeros(1, 3, 4, 4))
    assert "<script" not in text
    assert text.count("<figure>") == 2 and text.count("<img") == 2
    uri = text.partition('src="data:image/png;base64,')[2].partition('"')[0]
    picture = Image.open(io.BytesIO(base64.b64decode(uri)))
    assert picture.size == (4, 4) and picture.getpixel((0, 0)) == (255, 0, 0)
