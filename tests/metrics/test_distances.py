"""Distances between samples agree with closed forms, with definitions, and with scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from tests.metrics.cells import exactly, vectors
from zoo.metrics.distances import energy_distance, frechet_distance, kernel_distance, precision_recall


def test_frechet_distance_of_gaussians_is_the_closed_form():
    turn = torch.linalg.qr(vectors(3, 3))[0]
    first, second = torch.tensor([4.0, 1.0, 0.25]).double(), torch.tensor([1.0, 9.0, 0.0001]).double()
    x = exactly([1.0, 2, 3], (turn @ first.diag() @ turn.T).tolist())
    y = exactly([0.0, 2, 5], (turn @ second.diag() @ turn.T).tolist())
    expected = 5 + float((first.sqrt() - second.sqrt()).square().sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(12, rel=1e-9)


@pytest.mark.parametrize("n", [60, 5])
def test_frechet_distance_agrees_with_the_square_root_of_the_product(n):
    """Also with fewer vectors than dimensions, where the covariance is singular."""
    x, y = vectors(n, 8) @ vectors(8, 8, seed=1), vectors(50, 8, seed=2) * torch.arange(1, 9) + 0.3
    c_x, c_y = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = np.sqrt(np.clip(np.linalg.eigvals(c_x @ c_y).real, 0, None)).sum()
    if n == 60:
        assert root == pytest.approx(np.trace(scipy.linalg.sqrtm(c_x @ c_y)).real, rel=1e-9)
    means = float((x.mean(0) - y.mean(0)).square().sum())
    assert frechet_distance(x, y) == pytest.approx(means + np.trace(c_x + c_y) - 2 * root, rel=1e-6)


def test_kernel_distance_agrees_with_a_double_loop():
    x, y = vectors(6, 4), vectors(5, 4, seed=1) + 0.5

    def mean_kernel(pairs) -> float:
        return float(np.mean([(float(a @ b) / 4 + 1) ** 3 for a, b in pairs]))

    within = sum(mean_kernel(itertools.permutations(z, 2)) for z in (x, y))
    expected = within - 2 * mean_kernel(itertools.product(x, y))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased():
    found = torch.tensor(
        [kernel_distance(vectors(8, 3, seed=s), vectors(8, 3, seed=-s)) for s in range(1, 400)]
    )
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5


def test_precision_and_recall_tell_wrong_pictures_from_missing_ones():
    real = torch.arange(20.0)[:, None]
    assert precision_recall(real + 0.25, real) == (20, 20)
    half, strays = real[:10] + 0.25, torch.arange(100.0, 110)[:, None]
    assert precision_recall(half, real) == (10, 13), "real 10, 11 and 12 are within the last balls"
    # The strays lie outside the real manifold, and the balls around them reach no real vector.
    assert precision_recall(torch.cat([half, strays]), real) == (10, 13)
    assert precision_recall(strays, real) == (0, 0)


def test_precision_and_recall_follow_the_definition():
    fake, real, k = vectors(30, 3) + 1.5, vectors(25, 3, seed=1), 3

    def covered(points, centres) -> int:
        def radius(centre) -> float:
            return sorted(float((centre - other).norm()) for other in centres)[k]

        return sum(any(float((p - c).norm()) <= radius(c) for c in centres) for p in points)

    expected = covered(fake, real), covered(real, fake)
    assert precision_recall(fake, real, k) == expected
    assert 0 < expected[0] < 30 and 0 < expected[1] < 25, "neither all nor nothing, or this would show little"


def test_energy_distance_agrees_with_scipy_in_one_dimension():
    x, y = vectors(40, 1), vectors(30, 1, seed=1) * 2 + 0.5
    expected = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-6)
    corner = torch.tensor([[3.0, 4.0]])
    assert energy_distance(torch.zeros(1, 2), corner) == pytest.approx(math.sqrt(10))
