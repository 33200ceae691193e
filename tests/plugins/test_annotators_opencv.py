"""Annotators by OpenCV, on pictures of which the map is known."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from zoo import annotate
from zoo.data.tinyworld import TinyWorld
from zoo.registry import Registry

NAMES = ["canny", "hough_lines", "scribble", "threshold", "soft_edges", "palette"]


def plain(height: int, width: int, value: int = 255) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_they_are_listed_and_need_nothing():
    specs = Registry(safe_mode=True).annotators
    assert [name for name in specs if "/" not in name] == NAMES
    assert {specs[name].needs for name in NAMES} == {""}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (32, 32), (33, 47), (700, 540)])
def test_maps_have_the_size_of_the_picture(name, size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    drawn = annotate(picture, name)
    assert drawn.shape == picture.shape and drawn.dtype == np.uint8
    if name not in ("soft_edges", "palette"):
        assert set(np.unique(drawn)) <= {0, 255}


@pytest.mark.parametrize("size", [32, 128, 512])
def test_canny_is_opencvs(size):
    picture = TinyWorld(3, size=size)[0].image
    edges = cv2.Canny(picture, 60, 150)
    assert 0 < edges.mean() < 128
    for channel in range(3):
        np.testing.assert_array_equal(annotate(picture, "canny low=60 high=150")[:, :, channel], edges)


def test_a_large_picture_is_seen_at_the_resolution():
    picture = TinyWorld(3, size=256)[0].image
    large = np.repeat(np.repeat(picture, 4, axis=0), 4, axis=1)
    expected = np.repeat(np.repeat(annotate(picture, "canny"), 4, axis=0), 4, axis=1)
    np.testing.assert_array_equal(annotate(large, "canny resolution=256"), expected)


@pytest.mark.parametrize("size", [32, 200])
def test_hough_finds_straight_lines_and_no_others(size):
    picture = plain(size, size)
    picture[:, size // 2 :] = 0
    columns = np.flatnonzero(annotate(picture, "hough_lines").any(axis=(0, 2)))
    assert len(columns) and np.abs(columns - size / 2).max() <= 2

    disc = cv2.circle(plain(size, size), (size // 2, size // 2), size // 3, (0, 0, 0), -1)
    edge = annotate(disc, "canny").any(axis=2).sum()
    assert edge > size and annotate(disc, "hough_lines").any(axis=2).sum() < edge / 4


@pytest.mark.parametrize("size", [32, 256])
def test_a_scribble_follows_dark_strokes(size):
    picture = plain(size, size)
    width = max(2, size // 64)
    picture[size // 2 : size // 2 + width, size // 4 : 3 * size // 4] = 0
    drawn = annotate(picture, "scribble")[:, :, 0]
    assert drawn[size // 2, size // 4 + 2 : 3 * size // 4 - 2].all()
    assert not drawn[: size // 4].any() and not drawn[3 * size // 4 :].any()


def test_threshold():
    picture = plain(4, 4, 90)
    picture[:, :2] = 120
    left, right = (slice(None), slice(0, 2)), (slice(None), slice(2, 4))
    otsu = annotate(picture, "threshold")
    assert (otsu[left] == 255).all() and (otsu[right] == 0).all()
    assert (annotate(picture, "threshold level=80") == 255).all()
    np.testing.assert_array_equal(annotate(picture, "threshold invert=true"), 255 - otsu)


def test_soft_edges_are_the_gradient():
    ramp = np.repeat(np.arange(0, 120, 2, dtype=np.uint8)[None, :, None], 20, axis=0).repeat(3, axis=2)
    inside = annotate(ramp, "soft_edges blur=0 gain=8")[1:-1, 1:-1]
    assert (inside == 16).all()  # 2 a pixel, times 8
    steep = annotate(ramp, "soft_edges blur=0 gain=100")[1:-1, 1:-1]
    assert (steep == 200).all()
    assert not annotate(plain(20, 20, 77), "soft_edges").any()


def test_palette_is_the_mean_over_tiles():
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    means = picture.reshape(8, 4, 16, 4, 3).mean((1, 3))
    drawn = annotate(picture, "palette tiles=8").reshape(8, 4, 16, 4, 3)
    assert (drawn == drawn[:, :1, :, :1]).all()
    assert np.abs(drawn[:, 0, :, 0] - means).max() <= 0.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cany", "no annotator 'cany'. Did you mean 'canny'"),
        ("canny lo=3", "canny has no parameter 'lo'; it has resolution, low, high"),
        ("canny low=-1", "low=-1: input should be greater than or equal to 0"),
        ("canny low=nan", "low=nan"),
        ("canny | cfg", "holds a bar"),
    ],
)
def test_wrong_lines_are_refused(line, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        annotate(plain(4, 4), line)
