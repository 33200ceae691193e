"""Intervals of measured values."""

import math


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a proportion, 95 % by default (Wilson 1927); sensible also near 0 and 1."""
    p, c = hits / n, z * z / n
    middle, half = p + c / 2, z * math.sqrt(p * (1 - p) / n + c / (4 * n))
    return (middle - half) / (1 + c), (middle + half) / (1 + c)
