"""Intervals agree with scipy, with the jackknife, and with Wilson's own definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from tests.metrics.cells import vectors
from zoo.metrics.intervals import mean_interval, pairs_interval, student, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (50, 100), (100, 100)])
def test_wilson_holds_the_proportions_that_the_count_does_not_contradict(hits, n):
    """At its ends the observed share is just 1.96 standard deviations away (Wilson's own definition)."""
    for end in wilson(hits, n):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(hits / n - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / n))


def test_student_is_the_table_of_textbooks():
    for degrees, reach in {1: 12.706, 2: 4.303, 9: 2.262, 30: 2.042, 1000: 1.962}.items():
        assert student(degrees) == pytest.approx(reach, abs=5e-4)
    assert student(15, alternatives=5) == pytest.approx(2.947, abs=5e-4)  # 99 %


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = vectors(6).abs() + 1
    mean, low, high = mean_interval(values)
    expected = scipy.stats.t.interval(0.95, 5, mean, scipy.stats.sem(values.numpy()))
    assert (low, high) == pytest.approx(expected, abs=1e-3)
    assert mean_interval(values[:1]) == (float(values[0]), None, None)


def test_the_interval_of_pairs_is_the_jackknifes():
    x = vectors(7, 2)
    pairs = torch.cdist(x, x)

    def mean_of(rows) -> float:
        return float(np.mean([float(pairs[i, j]) for i, j in itertools.permutations(rows, 2)]))

    left_out = [mean_of([j for j in range(7) if j != i]) for i in range(7)]
    error = math.sqrt(6 / 7 * sum((v - np.mean(left_out)) ** 2 for v in left_out))
    mean, low, high = pairs_interval(pairs)
    assert mean == pytest.approx(mean_of(range(7)))
    assert (low, high) == pytest.approx((mean - 2.446912 * error, mean + 2.446912 * error))
    assert pairs_interval(pairs[:2, :2])[1:] == (None, None)
