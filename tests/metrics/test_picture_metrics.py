"""Metrics of pictures: real ones score like real ones, others worse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.cells import finished, real_pictures
from zoo.data.tinyworld import PHRASES, caption, draw_attributes, named
from zoo.metrics.intervals import wilson
from zoo.metrics.pictures import Diversity, Frechet, Kernel, PrecisionRecall, PromptAccuracy


def test_a_caption_names_what_is_read_from_it():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        attributes = draw_attributes(rng)
        text = caption(attributes, rng)
        found = named(text)
        assert found["kind"] == attributes.kind
        assert all(getattr(attributes, name) == value for name, value in found.items()), text
        assert ("colour" in found) == (attributes.colour in text.split())
        assert ("scene" in found) == (PHRASES[attributes.scene] in text)
        assert ("place" in found) == (
            " on the " in text.replace("on the beach", "") or "in the middle" in text
        )
    assert named("Snow, CATS; a cat facing right.") == {"scene": "snow", "kind": "cat", "facing": "right"}
    assert named("") == named("a photograph") == {}


def test_real_pictures_of_a_prompt_show_what_it_names():
    prompt = "a red mushroom at night"
    scores = PromptAccuracy().score(finished(images=real_pictures(prompt, 60), prompt=prompt))
    assert list(scores) == ["kind", "colour", "scene"]
    for score in scores.values():
        assert score.value > 0.95 and score.n == 60
        assert (score.low, score.high) == wilson(round(score.value * 60), 60)


def test_pictures_of_something_else_are_not_accurate():
    images = real_pictures("a red mushroom at night", 60)
    scores = PromptAccuracy().score(finished(images=images, prompt="blue fish"))
    assert list(scores) == ["kind", "colour"]
    assert max(score.value for score in scores.values()) < 0.05


def test_real_pictures_score_like_real_pictures_and_others_worse():
    prompt = "a red mushroom at night"
    good = finished(images=real_pictures(prompt, 256), prompt=prompt)
    bad = finished(images=real_pictures("a cat", 256), prompt=prompt)
    frechet, far = Frechet().score(good), Frechet().score(bad)
    assert frechet.value == pytest.approx(frechet.real, rel=0.6)
    assert far.value > 5 * frechet.value and far.real == frechet.real and far.n == 256
    kernel, far = Kernel().score(good), Kernel().score(bad)
    assert kernel.low < 0 < kernel.high and far.low > kernel.high
    within, outside = PrecisionRecall().score(good), PrecisionRecall().score(bad)
    for name in ("precision", "recall"):
        assert within[name].value == pytest.approx(within[name].real, abs=0.15)
        assert outside[name].value < 0.2 < within[name].low


def test_diversity_falls_when_pictures_repeat():
    varied = real_pictures("a cat", 40)
    same = finished(images=varied[:8].repeat(5, 1, 1, 1), prompt="a cat")
    many, few = Diversity().score(finished(images=varied, prompt="a cat")), Diversity().score(same)
    assert many.low < many.real < many.high
    assert few.value < 0.95 * many.value
    once = Diversity().score(finished(images=varied[:1].expand(4, -1, -1, -1), prompt="a cat"))
    assert once.value == pytest.approx(0, abs=1e-6)
