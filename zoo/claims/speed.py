"""How much faster than DDPM each method is where it is about as good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.metrics.intervals import wilson

if TYPE_CHECKING:
    from zoo.claims.run import CurvePoint

BASELINE = "ddpm steps=1000"
FACTOR = 1.2


@dataclass(frozen=True)
class Setting:
    """The cheapest setting of a method that is good enough.

    Attributes:
        point: it; None if none of the measured ones is.
        times: its pictures per second, as a multiple of the baseline's.
    """

    point: CurvePoint | None
    times: float = 0.0


@dataclass(frozen=True)
class Faster:
    """The speed of each method beside DDPM's longest measured run.

    Attributes:
        baseline: that run, of DDPM with the small variance.
        distance: the largest distance that is good enough: 1.2 times the baseline's.
        error: the largest share of wrong kinds that is: 1.2 times the upper end of the baseline's 95 % interval, since
            the share itself rests on a handful of pictures.
        by_distance: title of a method → setting.
        by_accuracy: likewise.
    """

    baseline: CurvePoint
    distance: float
    error: float
    by_distance: Mapping[str, Setting]
    by_accuracy: Mapping[str, Setting]

    @property
    def complete(self) -> bool:
        """Whether the baseline is DDPM in 1000 steps."""
        return self.baseline.line == BASELINE


def fastest(curves: Mapping[str, Sequence[CurvePoint]]) -> Faster | None:
    """The cheapest good enough setting of each curve; None where no DDPM has been measured."""
    points = [point for curve in curves.values() for point in curve]
    ddpm = [p for p in points if p.line.startswith("ddpm ") and "variance=large" not in p.line]
    if not ddpm:
        return None
    base = max(ddpm, key=lambda p: p.nfe)
    distance = FACTOR * base.distance.value
    wrong = round((1 - base.accuracy.value) * base.n)
    error = FACTOR * wilson(wrong, base.n)[1]

    def cheapest(points: Sequence[CurvePoint]) -> Setting:
        point = min(points, key=lambda p: p.seconds, default=None)
        return Setting(None) if point is None else Setting(point, base.seconds / point.seconds)

    return Faster(
        base,
        distance,
        error,
        {
            title: cheapest([p for p in points if p.distance.value <= distance])
            for title, points in curves.items()
        },
        {
            title: cheapest([p for p in points if 1 - p.accuracy.value <= error])
            for title, points in curves.items()
        },
    )
