"""A pen that draws a thing in the thing's own frame, with a thin dark outline."""

from __future__ import annotations

import numpy as np

from zoo.data.canvas import Canvas, Colour, Points, shade

CREAM: Colour = (252, 242, 220)
WHITE: Colour = (255, 255, 255)
INK: Colour = (38, 34, 46)

OUTLINE = 0.026  # share of the picture: three quarters of a pixel at 32 x 32


class Pen:
    """Maps (u, v), u to the thing's front and v up from where it stands, onto a canvas.

    `x`, `y` is the picture position of (0, 0), `scale` the picture length of one unit.
    """

    def __init__(self, canvas: Canvas, x: float, y: float, scale: float, facing: str) -> None:
        self.canvas = canvas
        self.mirrored = facing == "left"
        self.scale = scale
        self._origin = (x, y)
        self._axes = (-scale if self.mirrored else scale, -scale)

    def place(self, points: Points) -> np.ndarray:
        """Unit picture coordinates, (n, 2), of points in the thing's frame, (n, 2)."""
        return np.asarray(points) * self._axes + self._origin

    def polygon(self, points: Points, colour: Colour, outline: bool = True) -> None:
        """Fill a polygon and, unless told otherwise, draw around it."""
        placed = self.place(points)
        self.canvas.polygon(placed, colour)
        if outline:
            self.canvas.line(placed, OUTLINE, shade(colour, 0.45), closed=True)

    def ellipse(self, u: float, v: float, ru: float, rv: float, colour: Colour, outline: bool = True) -> None:
        """Fill an ellipse around (u, v)."""
        x, y = self._point(u, v)
        rx, ry = ru * self.scale, rv * self.scale
        self.canvas.ellipse(x, y, rx, ry, colour)
        if outline:
            self.canvas.ellipse(x, y, rx, ry, shade(colour, 0.45), OUTLINE)

    def dot(self, u: float, v: float, radius: float, colour: Colour) -> None:
        """A small round spot without an outline."""
        self.ellipse(u, v, radius, radius, colour, outline=False)

    def blob(self, discs: list[tuple[float, float, float]], colour: Colour) -> None:
        """Several discs (u, v, radius) joined into one shape with a single outline."""
        for u, v, radius in discs:
            self.ellipse(u, v, radius, radius, colour)
        for u, v, radius in discs:
            self.dot(u, v, radius, colour)

    def stroke(self, points: Points, width: float, colour: Colour, outline: bool = True) -> None:
        """A round-ended line; width in the thing's own units."""
        placed = self.place(points)
        wide = width * self.scale
        if outline:
            self.canvas.line(placed, wide + OUTLINE, shade(colour, 0.45))
        self.canvas.line(placed, wide, colour)

    def _point(self, u: float, v: float) -> tuple[float, float]:
        x, y = self._origin
        return x + u * self._axes[0], y + v * self._axes[1]
