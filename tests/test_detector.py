"""Detectors see a bounded size, and their maps come back at the picture's own."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.detector import Detector, seen_size


class Drawn(Detector):
    """Draws what it is told to, and remembers what it saw."""

    def __init__(self, draw, resolution=64):
        super().__init__(self.Params(resolution=resolution))
        self.draw = draw

    def detect(self, seen):
        self.seen = seen
        return self.draw(seen)


class DrawnLines(Drawn):
    lines = True


class DrawnClose(Drawn):
    enlarges = False


def one_column(seen):
    drawn = np.zeros_like(seen)
    drawn[:, 21] = 255
    return drawn


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((32, 32), (512, 512)),
        ((640, 480), (704, 512)),
        ((4000, 3000), (704, 512)),
        ((1, 1000), (512, 2048)),
        ((1, 1), (512, 512)),
    ],
)
def test_both_sides_are_multiples_of_64_and_bounded(size, seen):
    assert seen_size(*size, 512) == seen


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (64, 64), (64, 1), (100, 333)])
def test_a_map_is_brought_to_the_pictures_size(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert Drawn(lambda seen: seen).annotate(picture).shape == picture.shape


def test_a_picture_of_the_size_seen_is_seen_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    np.testing.assert_array_equal(Drawn(lambda seen: seen).annotate(picture), picture)


def test_lines_are_reduced_by_the_maximum_and_the_rest_by_the_mean():
    picture = np.zeros((16, 16, 3), np.uint8)
    lines, areas = DrawnLines(one_column).annotate(picture), Drawn(one_column).annotate(picture)
    assert (lines[:, 21 // 4] == 255).all() and lines.sum() == 255 * 16 * 3
    assert (areas[:, 21 // 4] == round(255 / 4)).all() and (areas[:, 6:] == 0).all()


def test_a_line_that_hardly_becomes_smaller_does_not_become_wider():
    drawn = DrawnLines(one_column).annotate(np.zeros((50, 50, 3), np.uint8))
    assert drawn.any(axis=(0, 2)).sum() == 2 and 255 * 0.75 < drawn[0].sum(axis=0)[0] < 255


@pytest.mark.parametrize(("side", "seen"), [(1, 64), (32, 64), (65, 128), (1000, 256)])
def test_what_looks_for_gradients_sees_a_small_picture_hardly_enlarged(side, seen):
    close, other = DrawnClose(one_column, 256), Drawn(one_column, 256)
    for detector in (close, other):
        detector.annotate(np.zeros((side, side, 3), np.uint8))
    assert close.seen.shape == (seen, seen, 3) and other.seen.shape == (256, 256, 3)
