"""Intervals of measured values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a proportion, 95 % by default (Wilson 1927); sensible also near 0 and 1."""
    p, c = hits / n, z * z / n
    middle, half = p + c / 2, z * math.sqrt(p * (1 - p) / n + c / (4 * n))
    return (middle - half) / (1 + c), (middle + half) / (1 + c)


def student(degrees: int, alternatives: int = 1) -> float:
    """How many standard errors a 95 % interval reaches to each side, after Student.

    Args:
        degrees: of freedom.
        alternatives: how many intervals are looked at, all of which shall be right in 95 % (Bonferroni).
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - 0.025 / alternatives))


def mean_interval(values: torch.Tensor) -> tuple[float, float | None, float | None]:
    """The mean of independent values (n,), none negative, and its 95 % interval; None of one value."""
    n, mean = len(values), float(values.mean())
    if n < 2:
        return mean, None, None
    half = student(n - 1) * float(values.std()) / math.sqrt(n)
    return mean, max(0.0, mean - half), mean + half


def pairs_interval(pairs: torch.Tensor) -> tuple[float, float | None, float | None]:
    """The mean over all pairs i ≠ j of a symmetric (n, n) matrix, none negative, and its 95 % interval; None of one.

    The pairs are not independent; the interval is that of the jackknife, which leaves out one i after the other.
    """
    n = len(pairs)
    rows = pairs.sum(1) - pairs.diagonal()
    mean = float(rows.sum()) / (n * (n - 1))
    if n < 3:
        return mean, None, None
    without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2))
    spread = (n - 1) / n * float((without - without.mean()).square().sum())
    half = student(n - 1) * math.sqrt(spread)
    return mean, max(0.0, mean - half), mean + half
