"""The pieces that the tabs "See how it moves" and "Learn" are made of."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zoo.lessons.methods import Lesson
from zoo.models import mixture
from zoo.registry import Registry
from zoo.ui import forward, latents, learn, moves
from zoo.ui.offers import offers
from zoo.ui.once import Once
from zoo.ui.running import Runner

REGISTRY = Registry(safe_mode=True)

ODD = """
from zoo import Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Plain(Sampler):
    class Params(Sampler.Params):
        pass
    def sample(self, x, levels, noise):
        return (yield Query(x, levels[0])).x0

class Broken(Plain):
    def __init__(self, params=None):
        raise RuntimeError("no")

@hookimpl
def register_samplers():
    return [SamplerSpec("plain", Plain, title="Plain"), SamplerSpec("broken", Broken, title="Broken")]
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ddim steps=20 | cfg scale=3", "ddim steps=20 | cfg scale=4.5"),
        ("ddim | cfg", "ddim | cfg scale=4.5"),
        ("ddim steps=20", "ddim steps=20"),
        ("not a | method", "not a | method"),
    ],
)
def test_the_slider_writes_the_scale_of_guided_lines(line, expected):
    assert moves.with_scale(line, 4.5, REGISTRY) == expected


def test_the_modes_on_the_page_are_the_models_own():
    assert mixture.build().words == moves.MODES


def test_the_stage_gets_numbers_that_the_browser_can_read():
    lines = [
        "ddim steps=3",
        "",
        "ddim steps=2 | cfg scale=2",
        "progressive_distillation steps=3",
        "ddpm steps=400",
        "consistency",
    ]
    sent = moves.payload(lines, "", "north", "0..2", REGISTRY, Runner(REGISTRY, "cpu"))
    json.loads(json.dumps(sent, allow_nan=False))
    plain, guided, impossible, long, jump = sent["panels"]
    assert jump["status"] == "done" and jump["cost"] == "1 NFE"
    ends = jump["path"]["states"][-1], jump["solution"]["states"][-1]
    np.testing.assert_allclose(*ends, atol=2e-3)
    assert plain["terms"] == [{"weight": 1.0, "only": None}]
    assert guided["terms"] == [{"weight": 2.0, "only": 2}, {"weight": -1.0, "only": None}]
    assert impossible["status"] == "na" and "path" not in impossible
    assert len(long["path"]["states"]) == len(long["path"]["at"]) == moves.MAX_STATES
    assert len(long["asked"]) == 400
    assert plain["path"]["at"][0] == pytest.approx(1, abs=1e-3) and plain["path"]["at"][-1] == 0
    assert plain["path"]["states"][0] == long["path"]["states"][0]
    with pytest.raises(ValueError, match="At most 64 points"):
        moves.payload(["ddim"], "", "north", "0..64", REGISTRY, Runner(REGISTRY, "cpu"))


def test_only_samplers_that_the_model_can_run_are_offered_each_with_the_steps_it_has(tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    registry = Registry(tmp_path)
    found = {line.split()[0]: (title, line) for title, line in offers("mixture", registry)}
    assert found["ddim"] == ("DDIM", "ddim steps=50") and found["consistency"][1] == "consistency steps=1"
    assert found["odd/plain"] == ("Plain", "odd/plain")
    assert {"diffusers/DDIMScheduler", "ddpm", "heun", "unipc", "progressive_distillation"} <= set(found)
    assert not {"lcm", "diffusers/FlowMatchEulerDiscreteScheduler", "odd/broken"} & set(found)


def test_what_the_tab_begins_with_is_computed_once_and_what_else_is_asked_each_time(monkeypatch):
    asked: list[str] = []
    status = "failed"

    def payload(lines, plain, guided, seeds, registry, runner):
        asked.append(seeds)
        return {"panels": [{"status": "done"}, {"status": status}], "lines": lines}

    monkeypatch.setattr(moves, "payload", payload)
    drawing = moves.first_kept(REGISTRY, Runner(REGISTRY, "cpu"))
    drawing(*moves.FIRST)
    status = "done"
    kept = drawing(*moves.FIRST)
    assert len(asked) == 2, "what failed is tried again"
    assert drawing(*moves.FIRST) is kept and kept["lines"] == list(moves.LINES)
    for _ in range(2):
        assert drawing(*moves.FIRST[:3], "7") is not kept
    assert asked == ["0..23", "0..23", "7", "7"]


def test_an_error_is_not_kept_and_those_who_ask_at_once_get_one_answer():
    answers = iter([ValueError("not yet"), "found", "again"])

    def work(*asked):
        time.sleep(0.05)
        found = next(answers)
        if isinstance(found, ValueError):
            raise found
        return found

    once = Once(work, ("a",))
    with pytest.raises(ValueError, match="not yet"):
        once("a")
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(once, "aaaa")) == ["found"] * 4
    assert once("b") == "again"


def test_a_card_escapes_what_a_plugin_wrote():
    bad = "<script>alert(1)</script>"
    text = learn.card(Lesson("sampler", (f"a/{bad}",), bad, bad, bad, bad, bad, bad, None))
    assert "<script" not in text


def test_pictures_of_the_forward_process_are_strips_of_all_times():
    import base64
    import io

    from PIL import Image

    sent = forward.payload(np.zeros((forward.SIZE, forward.SIZE, 3)))
    assert len(sent["rows"]) == 3
    for row in sent["rows"]:
        for way in ("direct", "stepped"):
            picture = Image.open(io.BytesIO(base64.b64decode(row[way].partition(",")[2])))
            assert picture.size == (forward.SIZE * len(forward.TIMES), forward.SIZE)
        assert row["snr"] == sorted(row["snr"], reverse=True)


def test_the_curves_are_the_log_snr_of_the_papers_schedules():
    drawn = re.findall(r'<polyline class="zoo-curve-\d" points="([^"]*)"', forward.curves())
    u = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = [
        np.linspace(1e-4, 0.02, 1000),
        np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2,
        np.minimum(1 - u[1:] / u[:-1], 0.999),
    ]
    for points, beta in zip(drawn, betas, strict=True):
        places = [tuple(map(float, point.split(","))) for point in points.split()]
        abar = np.cumprod(1 - beta)
        for x, y in (places[0], places[60], places[110]):
            t = (x - 40) / (forward.WIDTH - 50) * 999
            log_snr = np.interp(t, range(1000), np.log(abar / (1 - abar)))
            shown = forward.HIGHEST - (y - 8) / (forward.HEIGHT - 34) * (forward.HIGHEST - forward.LOWEST)
            assert shown == pytest.approx(log_snr, abs=0.1)


def test_uploads_that_are_no_pictures_or_too_large_are_refused_without_naming_folders(tmp_path, monkeypatch):
    from PIL import Image

    (tmp_path / "broken.png").write_bytes(b"not a picture")
    Image.new("RGB", (20, 10), "teal").save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="cannot be read as a picture") as refused:
        latents.uploaded_picture(str(tmp_path / "broken.png"), 8, 8)
    assert str(tmp_path) not in str(refused.value)
    assert latents.uploaded_picture(str(tmp_path / "small.png"), 8, 8).shape == (3, 8, 8)
    monkeypatch.setattr("zoo.ui.request.MAX_PIXELS", 199)
    with pytest.raises(ValueError, match="pixels"):
        latents.uploaded_picture(str(tmp_path / "small.png"), 8, 8)
