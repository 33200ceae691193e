import base64
import io
import re
import threading
import time

import pytest
from PIL import Image

from tests.small_model import save_small_model
from zoo import planning
from zoo.comparison import Comparison
from zoo.pictures import admit
from zoo.registry import Registry
from zoo.ui import request
from zoo.ui.cost import estimate
from zoo.ui.request import BUDGET, MAX_CARDS, MAX_METHODS, comparison_from, limits_for, receive, uploaded
from zoo.ui.zerogpu import PASS, ROW, START, seconds_for

ODD = """
from zoo import Metric, MetricSpec, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Levelless(Sampler):
    def levels(self, schedule):
        raise RuntimeError("no levels")

class Held(Metric):
    solves = True

class Costless(Sampler):
    def evaluations(self, levels):
        raise RuntimeError("no idea")

@hookimpl
def register_samplers():
    return [SamplerSpec("levelless", Levelless, title="A"), SamplerSpec("costless", Costless, title="B")]

@hookimpl
def register_metrics():
    return [MetricSpec("held", Held, title="C"), MetricSpec("gone", "no_such_module:Metric", title="D")]
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(safe_mode=True)


def ask(registry, model="gaussian", prompt="dawn", negative="", seeds="0", methods=("ddim steps=5",), **more):
    return comparison_from(model, prompt, negative, seeds, methods, registry, **more)


def test_what_exists_becomes_a_comparison(registry):
    comparison = ask(registry, seeds="0..2,7", alone=True)
    assert comparison.seeds == (0, 1, 2, 7)
    assert comparison.timing == "alone"
    assert [str(cell) for cell in comparison.cells] == ["ddim steps=5"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": []}, "no method"),
        ({"methods": ["  "]}, "no method"),
        ({"methods": ["ddim"] * (MAX_METHODS + 1)}, "At most"),
        ({"methods": ["nope"]}, "no sampler 'nope'"),
        ({"methods": ["ddim steps=0"]}, "greater than or equal to 1"),
        ({"methods": ["ddim | | cfg"]}, "name is missing"),
        ({"methods": ["ddim stepz=3"]}, "no parameter 'stepz'"),
        ({"seeds": "one"}, "Seeds are written"),
        ({"seeds": ""}, "Seeds are written"),
        ({"seeds": "5..1"}, "must ascend"),
        ({"seeds": "-1"}, "Seeds are written"),
        ({"model": "nope"}, "There is no model"),
        ({"model": "folder:/etc"}, "There is no model"),
        ({"prompt": "a" * 1001}, "at most 1000"),
        ({"seeds": "0..256"}, "At most 256 seeds"),
        ({"metrics": ["nope"]}, "There is no metric 'nope'"),
        ({"metrics": ["clip_score model=/etc"]}, "There is no metric 'clip_score model=/etc'"),
    ],
)
def test_what_does_not_exist_is_refused_in_words(registry, given, message):
    with pytest.raises(ValueError, match=message):
        ask(registry, **given)


def test_an_ordinary_comparison_is_within_the_budget(registry):
    limits = limits_for(
        ask(registry, seeds="0..15", methods=["ddim steps=100 | cfg scale=3"] * MAX_CARDS), registry
    )
    assert limits.nfe is not None
    assert 0 < limits.nfe <= BUDGET
    assert limits.seconds


def test_too_much_work_is_refused_before_it_starts(registry):
    with pytest.raises(ValueError, match="command line"):
        limits_for(ask(registry, seeds="0..99", methods=["ddim steps=1000"]), registry)


def test_solving_in_fine_steps_counts_too(registry):
    given = {"seeds": "0..99", "methods": ["ddim steps=100", "ddim steps=100 | cfg"]}
    assert limits_for(ask(registry, **given), registry)
    with pytest.raises(ValueError, match="about 897 network evaluations"):
        limits_for(ask(registry, **given, metrics=["solution_error"]), registry)


def test_a_second_evaluation_of_each_step_counts(registry):
    given = {"seeds": "0..29"}
    assert limits_for(ask(registry, **given, methods=["euler steps=1000"]), registry)
    for line in ("heun steps=1000", "diffusers/HeunDiscreteScheduler steps=1000"):
        with pytest.raises(ValueError, match="about 1999 network evaluations"):
            limits_for(ask(registry, **given, methods=[line]), registry)


def test_a_sampler_that_cannot_be_asked_what_it_costs_stops_no_other(tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    asked = ask(Registry(tmp_path), methods=["odd/levelless", "odd/costless", "ddim steps=5"])
    assert estimate(asked, Registry(tmp_path)).cells == (0, 0, 5)


def test_a_solution_that_a_plugin_s_metric_asks_for_counts(tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    registry = Registry(tmp_path)
    for metrics, solutions in [(["odd/held", "solution_error"], (199,)), (["odd/gone", "exact_error"], ())]:
        assert estimate(ask(registry, metrics=metrics), registry).solutions == solutions


def test_the_estimate_makes_no_control_maps(registry, monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "control_maps", lambda *_: pytest.fail("a control map was made"))
    name, png = admit(Image.new("RGB", (9, 7), "red"))
    asked = Comparison(
        model=f"folder:{save_small_model(tmp_path / 'small')}",
        cells=[f"ddim steps=50 | controlnet annotator=canny image={name}"],
        pictures={name: png},
    )
    assert estimate(asked, registry).cells == (100,)
    assert limits_for(asked, registry)
    assert seconds_for(asked, registry) == round(START + 100 * (PASS + ROW))


def test_larger_pictures_cost_more(registry):
    methods = ["ddim steps=1000"]
    small = limits_for(ask(registry, model="mixture", prompt="", seeds="0..39", methods=methods), registry)
    assert small.nfe == BUDGET // 40


def data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_uploads_are_named_by_their_content_and_kept_where_they_are_used(registry):
    red, blue = (Image.new("RGB", (9, 7), colour) for colour in ("red", "blue"))
    lines = ["ddim steps=5", "ddim | controlnet annotator=canny image=mine"]
    methods, known = uploaded(lines, {"mine": data_uri(red), "unused": data_uri(blue)}, registry)
    name, png = admit(red)
    assert methods == ["ddim steps=5", f"ddim | controlnet annotator=canny image={name}"]
    assert known == {name: png}
    other = dict([admit(blue)])
    comparison = ask(registry, methods=methods, pictures=known | other)
    assert comparison.pictures == {name: png}
    assert "pictures" not in comparison.model_dump(mode="json")


def test_of_uploads_two_are_decoded_at_a_time_and_large_photos_are_reduced_on_the_way(monkeypatch):
    monkeypatch.setattr(request, "MAX_PIXELS", 1024 * 768)
    at_work, most, lock = 0, 0, threading.Lock()

    def counted(*given):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.05)
        with lock:
            at_work -= 1
        return admit(*given)

    monkeypatch.setattr("zoo.pictures.admit", counted)
    photo, png = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (2048, 1536), "teal").save(photo, format="JPEG")
    Image.new("LA", (1024, 769)).save(png, format="PNG")
    threads = [threading.Thread(target=receive, args=(photo.getvalue(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
    _, kept = receive(photo.getvalue())
    assert Image.open(io.BytesIO(kept)).size == (1024, 768)
    with pytest.raises(ValueError, match="it has 1024 × 769 pixels; at most 786,432 in all are read"):
        receive(png.getvalue())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("other", "The picture 'other' was not sent; there are: mine."),
        ("/etc/hostname", "The picture '/etc/hostname' was not sent"),
        ("mine", "cannot be read as a picture"),
    ],
)
def test_an_upload_that_cannot_be_used_is_named(registry, image, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        uploaded([f"ddim | controlnet image={image}"], {"mine": "data:image/png;base64,AAAA"}, registry)
    with pytest.raises(ValueError, match="no data URI"):
        uploaded(["ddim | controlnet image=mine"], {"mine": "data:image/png;base64,?"}, registry)


def test_each_conditioner_counts_in_the_budget(registry):
    with pytest.raises(ValueError, match="about 3000 network evaluations"):
        limits_for(
            ask(registry, methods=["ddim steps=1000 | cfg | cfg"], seeds="0..255", prompt="dawn"), registry
        )
