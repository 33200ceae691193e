"""Drawing in unit coordinates: the same strokes give the same picture at every size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]] | np.ndarray

SUPERSAMPLE = 4
_FRACTION_BITS = 4  # OpenCV takes sub-pixel coordinates as fixed-point integers
_HALF = 1 << (_FRACTION_BITS - 1)  # it counts from a pixel's middle, we from its corner
_TURN = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or, above 1, mixed towards white by factor - 1."""
    red, green, blue = colour
    if factor <= 1.0:
        return int(red * factor), int(green * factor), int(blue * factor)
    mix = factor - 1.0
    return (
        int(red + (255 - red) * mix),
        int(green + (255 - green) * mix),
        int(blue + (255 - blue) * mix),
    )


class Canvas:
    """A supersampled RGB picture whose coordinates run from 0 to 1, x right and y down.

    With `maps`, every stroke also writes the current layer's label and depth, not anti-aliased.
    """

    def __init__(self, size: int, maps: bool = False) -> None:
        self.size = size
        self.side = size * SUPERSAMPLE
        self.pixels: np.ndarray = np.empty((self.side, self.side, 3), np.uint8)
        self._planes = [np.zeros((self.side, self.side), np.uint8) for _ in range(2 * maps)]
        self._layer = (0, 0)

    def layer(self, label: int, depth: int) -> None:
        """Everything drawn from here on belongs to this segment label and depth order."""
        self._layer = (label, depth)

    def gradient(self, stops: Sequence[Colour]) -> None:
        """Fill the whole picture, top to bottom, with evenly spaced colour stops."""
        column = np.array(stops, np.uint8)[:, None, :]
        # Enlarging a column of one pixel per stop is the cheapest interpolation there is.
        shape = (self.side, self.side)
        self.pixels = cv2.resize(column, shape, interpolation=cv2.INTER_LINEAR)
        for plane, value in zip(self._planes, self._layer, strict=False):
            plane[:] = value

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill a polygon; points: (n, 2) in unit coordinates."""
        corners = [self._fixed(points)]
        cv2.fillPoly(self.pixels, corners, colour, shift=_FRACTION_BITS)
        for plane, value in zip(self._planes, self._layer, strict=False):
            cv2.fillPoly(plane, corners, value, shift=_FRACTION_BITS)

    def line(self, points: Points, width: float, colour: Colour, closed: bool = False) -> None:
        """Draw a round-ended line through points: (n, 2); width is a share of the picture."""
        corners = [self._fixed(points)]
        thickness = self._thickness(width)
        cv2.polylines(self.pixels, corners, closed, colour, thickness, shift=_FRACTION_BITS)
        for plane, value in zip(self._planes, self._layer, strict=False):
            cv2.polylines(plane, corners, closed, value, thickness, shift=_FRACTION_BITS)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, width: float = 0.0) -> None:
        """Fill an upright ellipse around (x, y) or, given a width, draw only its rim."""
        unit = self.side << _FRACTION_BITS
        middle = int(x * unit) - _HALF, int(y * unit) - _HALF
        axes = int(rx * unit), int(ry * unit)
        thickness = self._thickness(width) if width else cv2.FILLED
        turn = (0, 0, 360)
        cv2.ellipse(self.pixels, middle, axes, *turn, colour, thickness, cv2.LINE_8, _FRACTION_BITS)
        for plane, value in zip(self._planes, self._layer, strict=False):
            cv2.ellipse(plane, middle, axes, *turn, value, thickness, cv2.LINE_8, _FRACTION_BITS)

    def image(self) -> np.ndarray:
        """The finished picture, (size, size, 3) uint8 RGB."""
        return cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def planes(self) -> list[np.ndarray]:
        """Labels and depths, (size, size) uint8 each, read at the middle of every pixel."""
        middle = slice(SUPERSAMPLE // 2, None, SUPERSAMPLE)
        return [np.ascontiguousarray(plane[middle, middle]) for plane in self._planes]

    def _thickness(self, width: float) -> int:
        # OpenCV draws every thickness wider than asked: 2 covers 3 pixels, 3 and 4 cover 5.
        return max(1, 2 * round((width * self.side - 1) / 2))

    def _fixed(self, points: Points) -> np.ndarray:
        scaled = np.asarray(points) * float(self.side << _FRACTION_BITS) - _HALF
        return scaled.astype(np.int32)
