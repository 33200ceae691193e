"""Whatever is asked: no unhandled exception, nothing out of bounds, and a message that names the field."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

import zoo
from zoo.cli import _parser
from zoo.commands import compare as command
from zoo.comparison import MAX_CELLS, MAX_IMAGES, MAX_TEXT, Comparison
from zoo.method import MAX_LENGTH, Method, Part
from zoo.noise import MAX_SEED
from zoo.picture import read_picture
from zoo.planning import resolve
from zoo.registry import Registry
from zoo.ui import request
from zoo.ui.calls import calls
from zoo.ui.controls import bounds
from zoo.ui.methods import fields
from zoo.ui.request import Asked, Called, check_method, comparison_from, limits_for, readable
from zoo.ui.running import Runner
from zoo.ui.runs import new_run
from zoo.ui.shelf import Shelf
from zoo.ui.words import received

settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,  # machines differ
    derandomize=True,  # the same examples everywhere; ZOO_PROPERTIES=long looks for others
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=2000, derandomize=False)
settings.load_profile(os.environ.get("ZOO_PROPERTIES", "quick"))

REGISTRY = Registry(safe_mode=True)
METHODS = {**REGISTRY.samplers, **REGISTRY.conditioners}

ODD = st.sampled_from(
    [
        *(
            "",
            " ",
            "-1",
            "0",
            "1e999",
            "-1e999",
            "nan",
            "inf",
            "1e400",
            "0x10",
            "١٢",
            "1_000",
            "9" * 400,
            "1;2",
            "5,5",
        ),
        *(
            "true",
            "None",
            "null",
            "[]",
            "{}",
            "'",
            '"',
            "\\",
            "|",
            "=",
            "a=b",
            "..",
            "0..9",
            "../../etc/passwd",
            "\0",
        ),
        *(
            "/etc/passwd",
            "http://127.0.0.1/",
            "%2e%2e%2f",
            "${HOME}",
            "<script>alert(1)</script>",
            "\u202e",
            "\ud800",
        ),
    ]
)
"""What people, scripts and mistakes write into fields."""

WORDS = st.one_of(ODD, st.text(max_size=12), st.integers().map(str), st.floats().map(str))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def parts(draw: Any, names: list[str]) -> str:
    """A sampler or conditioner of the zoo's with parameters that it has, most of their values wrong."""
    name = draw(st.sampled_from(names))
    known = [field for field in fields(METHODS[name])] or ["steps"]
    given = draw(st.dictionaries(st.sampled_from([*known, "stepz"]), WORDS, max_size=3))
    return " ".join([name, *(f"{key}={json.dumps(value)}" for key, value in given.items())])


def tried(do: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """What it returns, or in which words it refuses; nothing but these two may happen."""
    try:
        return do(*arguments), ""
    except (ValueError, OSError) as error:  # what the page and the command line show
        return None, str(error) or pytest.fail("refused without a word")


SAMPLER_NAMES = [name for name in REGISTRY.samplers if "/" not in name] + ["diffusers/DDIMScheduler"]
LINES = st.one_of(
    st.text(alphabet=string.printable, max_size=60),
    st.builds(
        lambda sampler, more: " | ".join([sampler, *more]),
        parts(SAMPLER_NAMES),
        st.lists(parts(list(REGISTRY.conditioners)), max_size=3),
    ),
)


@given(line=LINES)
@example(line="ddim " + "x" * MAX_LENGTH)
@example(line="ddim steps='5")
@example(line="ddim 'steps=5' | cfg 'scale=3'")
def test_a_method_is_read_back_as_it_was_written_or_refused_in_words(line):
    method, reason = tried(Method.parse, line)
    if reason:
        assert "a method has at most" in reason or "in the method" in reason
    else:
        assert Method.parse(str(method)) == method


@given(line=LINES)
def test_what_a_method_builds_is_within_the_bounds_that_its_parameters_declare(line):
    _, reason = tried(check_method, line, REGISTRY)
    if reason:
        return
    method = Method.parse(line)
    sampler, conditioners = resolve(method, REGISTRY)
    for part in (sampler, *conditioners):
        for name, field in type(part.params).model_fields.items():
            value, (low, high) = getattr(part.params, name), bounds(field)
            if isinstance(value, int | float):
                assert math.isfinite(value), f"{line!r}: {name}={value}"
                assert low is None or low <= value, f"{line!r}: {name}={value} is below {low}"
                assert high is None or value <= high, f"{line!r}: {name}={value} is above {high}"


@given(data=st.data(), name=st.sampled_from(sorted(METHODS)), value=WORDS)
def test_a_parameter_that_is_refused_is_named(data, name, value):
    declared = list(fields(METHODS[name])) or ["steps"]
    field = data.draw(st.sampled_from(declared))
    part = Part.of(name, **{field: value})
    line = str(part) if name in REGISTRY.samplers else f"ddim | {part}"
    _, reason = tried(check_method, line, REGISTRY)
    assert not reason or field in reason, f"{reason} does not name {field}"


COMPARISONS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.one_of(st.sampled_from(["gaussian", "mixture", "folder:/etc", "hub:a/b"]), JSON),
        "prompt": st.one_of(st.text(max_size=20), st.just("a" * (MAX_TEXT + 1)), JSON),
        "negative": JSON,
        "seeds": st.one_of(
            ODD,
            st.lists(st.integers(), max_size=5),
            st.from_regex(r"\d+\.\.\d+(,\d+)*", fullmatch=True),
            JSON,
        ),
        "cells": st.one_of(st.lists(LINES, max_size=4), JSON),
        "timing": JSON,
        "metrics": st.one_of(st.lists(LINES, max_size=3), JSON),
        "record": JSON,
        "odd": JSON,
    },
)


@given(asked=COMPARISONS)
@example(asked={"cells": ["ddim"] * (MAX_CELLS + 1)})
@example(asked={"cells": ["ddim"], "seeds": ",".join(["0..4095"] * 50_000)})
@example(asked={"cells": ["ddim"], "seeds": [MAX_SEED + 1]})
def test_a_comparison_is_within_its_bounds_or_names_what_is_wrong(asked):
    try:
        comparison = Comparison(**asked)
    except ValidationError as error:
        for problem in error.errors():
            assert str(problem["loc"][0]) in {*Comparison.model_fields, *asked}
            assert problem["msg"]
        return
    assert 1 <= len(comparison.seeds) <= MAX_IMAGES
    assert all(0 <= seed <= MAX_SEED for seed in comparison.seeds)
    assert 1 <= len(comparison.cells) <= MAX_CELLS
    assert len(comparison.prompt) <= MAX_TEXT and len(comparison.negative) <= MAX_TEXT
    again = Comparison.model_validate_json(comparison.model_dump_json())
    assert again.cells == comparison.cells and again.seeds == comparison.seeds


FORMS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"model": st.one_of(st.sampled_from(["gaussian", "mixture"]), JSON)},
        optional={
            "prompt": st.one_of(st.sampled_from(["", "dawn"]), JSON),
            "negative": JSON,
            "seeds": st.one_of(st.sampled_from(["0", "0..3", "0..255"]), JSON),
            "alone": JSON,
            "metrics": st.one_of(st.just([]), JSON),
            "cards": st.one_of(st.lists(st.fixed_dictionaries({"line": LINES}), max_size=3), JSON),
            "methods": st.one_of(st.lists(LINES, max_size=3), JSON),
            "pictures": JSON,
            "line": LINES,
            "id": WORDS,
            "uri": JSON,
        },
    ),
)


class Recorded(Runner):
    """Takes what it is asked, and runs nothing."""

    def start(self, comparison, blocks):
        limits_for(comparison, self.registry)
        return new_run(comparison, blocks, self.registry)


@pytest.fixture(scope="module")
def asked_of(tmp_path_factory):
    runner = Recorded(REGISTRY, "cpu", Shelf(tmp_path_factory.mktemp("runs")))
    return {call.__name__: call for call in calls(REGISTRY, runner)}


@given(data=st.data(), form=FORMS)
def test_every_question_of_the_page_is_answered_in_json(asked_of, data, form):
    name = data.draw(st.sampled_from(sorted(asked_of)))
    answer = asked_of[name](form)
    assert isinstance(answer, dict)
    json.dumps(answer)
    if "error" in answer:
        said = received(answer["error"])
        assert said.strip(), f"{name} refused {form!r} without a word"
        assert not re.match(r"\w+Error: ", said), f"{name} {form!r}: {said}"


@given(
    model=st.sampled_from(["gaussian", "mixture"]),
    lines=st.lists(LINES, min_size=1, max_size=3),
    seeds=st.sampled_from(["0", "0..9", "7,7"]),
    metrics=st.lists(st.one_of(st.sampled_from(list(REGISTRY.metrics)), LINES), max_size=2),
)
def test_what_the_form_asks_is_begun_or_refused_in_words(asked_of, model, lines, seeds, metrics):
    cards = [{"line": line} for line in lines]
    answer = asked_of["start_run"]({"model": model, "cards": cards, "seeds": seeds, "metrics": metrics})
    if "error" in answer:
        assert not re.match(r"\w+Error: ", received(answer["error"])), f"{cards}: {answer['error']}"
    else:
        assert answer["state"] == "waiting"


@given(form=st.dictionaries(st.sampled_from([*Called.model_fields, *Asked.model_fields]), JSON))
@pytest.mark.parametrize("model", [Asked, Called])
def test_what_is_wrong_with_a_request_is_named(model, form):
    try:
        asked = model.model_validate(form)
    except ValidationError as error:
        message = readable(error).lower()
        wrong = {str(problem["loc"][0]) for problem in error.errors()}
        assert any(name in message for name in wrong)
        assert len(message) < 4000
        return
    assert len(asked.model) <= MAX_TEXT and len(asked.pictures) <= request.MAX_CARDS


@settings(max_examples=12)
@given(
    lines=st.lists(
        st.builds(
            lambda name, steps, more: f"{name} steps={steps}{more}",
            st.sampled_from(["ddim", "ddpm", "heun", "euler", "dpmpp_2m", "unipc"]),
            st.integers(1, 30),
            st.sampled_from(["", " | cfg scale=2", " | cfg scale=2 | cfg scale=3"]),
        ),
        min_size=1,
        max_size=3,
    ),
    seeds=st.integers(0, 3),
    budget=st.integers(10, 200),
)
def test_no_cell_ever_spends_more_than_it_was_granted(monkeypatch, lines, seeds, budget):
    monkeypatch.setattr(request, "BUDGET", budget)
    comparison = comparison_from("mixture", "north", "", f"0..{seeds}", lines, REGISTRY)
    limits, reason = tried(limits_for, comparison, REGISTRY)
    if reason:
        assert f"the page stops at {budget}" in reason
        return
    result = zoo.compare(comparison, device="cpu", limits=limits, registry=REGISTRY)
    for cell in result.cells:
        spent = sum(cell.nfe.values())
        assert cell.status == "done" or "used up its" in cell.error, cell.error
        assert spent * len(comparison.seeds) <= budget


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    if kind == "GIF":
        picture.save(buffer, kind, save_all=True, append_images=[picture.rotate(90)] * 2)
    elif kind == "TIFF":
        picture.convert("CMYK").save(buffer, kind, compression="tiff_lzw")
    elif kind == "PNG":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(buffer, kind)
    else:
        picture.save(buffer, kind)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000")}


@given(
    kind=st.sampled_from(sorted(FILES)),
    cut=st.integers(0, 4000),
    flips=st.lists(st.integers(0, 2**16), max_size=6),
)
@example(kind="PNG", cut=0, flips=[])
def test_a_damaged_picture_is_read_or_refused_in_words(kind, cut, flips):
    content = bytearray(FILES[kind][: len(FILES[kind]) - cut])
    assume(content)
    for flip in flips:
        content[flip % len(content)] ^= 1 << flip % 8
    pixels, reason = tried(read_picture, bytes(content))
    if reason:
        assert "cannot be read as a picture" in reason
        return
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert pixels.size <= 3 * zoo.picture.MAX_PIXELS


@given(content=st.binary(max_size=200), uri=st.sampled_from(["", "data:image/png;base64,", "data:,", "x,y,"]))
def test_an_upload_that_is_no_picture_says_so(asked_of, content, uri):
    answer = asked_of["keep_picture"]({"uri": uri + base64.b64encode(content).decode()})
    assert "cannot be read as a picture" in answer["error"]


@given(
    fields=st.one_of(COMPARISONS, JSON), method=st.one_of(st.none(), LINES), seeds=st.one_of(st.none(), WORDS)
)
def test_the_command_line_refuses_in_words_what_it_cannot_run(tmp_path_factory, fields, method, seeds):

    saved = tmp_path_factory.getbasetemp() / "asked.json"
    saved.write_bytes(json.dumps(fields).encode("utf-8", "replace"))
    words = ["compare", str(saved)]
    words += [f"--method={method}"] if method is not None else []
    words += [f"--seeds={seeds}"] if seeds is not None else []
    arguments = _parser(words).parse_args(words)
    comparison, reason = tried(command._comparison, arguments, REGISTRY)
    assert reason or 1 <= len(comparison.seeds) <= MAX_IMAGES
