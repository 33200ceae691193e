"""The five backgrounds. Each fills the whole canvas and returns the colour of its ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.data.canvas import Canvas, Colour, shade

BACKGROUND = ("sky", "ground", "water", "hill", "cloud", "light")
"""Segment labels of everything that is not the thing; `light` is sun, moon and stars."""

_DEPTH = {"sky": 0, "light": 1, "cloud": 2, "hill": 3, "water": 4, "ground": 5}
THING_DEPTH = 6


_ACROSS = np.linspace(0.0, 1.0, 17)
_BELOW = np.array([*((x, 0.0) for x in _ACROSS), (1.0, 1.5), (0.0, 1.5)])

# A crescent of radius 1, open to the right: the outer arc, then back along a smaller circle
# through the same two tips.
_MOON = np.array(
    [(np.cos(a), np.sin(a)) for a in np.radians(np.linspace(50, 310, 24))]
    + [(0.55 + 0.77 * np.cos(a), 0.77 * np.sin(a)) for a in np.radians(np.linspace(277, 83, 20))]
)


def use_layer(canvas: Canvas, name: str) -> None:
    """Draw from here on into one of the BACKGROUND layers."""
    canvas.layer(BACKGROUND.index(name), _DEPTH[name])


def meadow(canvas: Canvas, rng: np.random.Generator) -> Colour:
    """Pale grass with daisies, rolling hills, clouds and perhaps a sun."""
    horizon = rng.uniform(0.56, 0.66)
    _sky(canvas, rng, [(128, 196, 245), (226, 242, 250)])
    if rng.random() < 0.6:
        _disc(canvas, rng, (255, 240, 150))
    _clouds(canvas, rng, (255, 255, 255))
    _hills(canvas, rng, horizon, (158, 206, 140))
    grass = _ground(canvas, rng, horizon, (186, 222, 128))
    for x, y in _scatter(rng, 6, (0, horizon + 0.08), (1, 0.98)):
        canvas.ellipse(x, y, 0.016, 0.016, (255, 255, 250))
    return grass


def night(canvas: Canvas, rng: np.random.Generator) -> Colour:
    """A navy sky full of stars with a crescent moon above dark hills."""
    horizon = rng.uniform(0.6, 0.7)
    _sky(canvas, rng, [(12, 14, 46), (44, 50, 104)])
    use_layer(canvas, "light")
    for x, y, bright in _scatter(rng, 13, (0, 0, 0.5), (1, 0.62, 1)):
        radius = 0.007 + 0.009 * bright
        canvas.ellipse(x, y, radius, radius, shade((255, 250, 215), bright))
    canvas.polygon(_MOON * 0.095 + _corner(rng), (250, 244, 205))
    _hills(canvas, rng, horizon, (28, 36, 74))
    return _ground(canvas, rng, horizon, (40, 58, 80))


def snow(canvas: Canvas, rng: np.random.Generator) -> Colour:
    """White ground, a cold grey-blue sky, far firs and snowflakes."""
    horizon = rng.uniform(0.56, 0.66)
    _sky(canvas, rng, [(140, 164, 194), (192, 208, 226)])
    _hills(canvas, rng, horizon, (216, 228, 240))
    foot = horizon - 0.01
    for x, height in _scatter(rng, 2, (0, 0.12), (1, 0.19)):
        fir = [(x - 0.06, foot), (x, foot - height), (x + 0.06, foot)]
        canvas.polygon(fir, (104, 134, 142))
    ground = _ground(canvas, rng, horizon, (246, 249, 253))
    use_layer(canvas, "sky")
    for x, y in _scatter(rng, 15, (0, 0), (1, 0.6)):
        canvas.ellipse(x, y, 0.016, 0.016, (255, 255, 255))
    return ground


def beach(canvas: Canvas, rng: np.random.Generator) -> Colour:
    """Pale sand, a turquoise sea with a line of foam, sun and clouds."""
    horizon = rng.uniform(0.4, 0.48)
    shore = rng.uniform(0.64, 0.72)
    _sky(canvas, rng, [(112, 202, 244), (214, 242, 250)])
    if rng.random() < 0.8:
        _disc(canvas, rng, (255, 240, 150))
    if rng.random() < 0.5:
        _clouds(canvas, rng, (255, 255, 255))
    use_layer(canvas, "water")
    sea = _vary(rng, (74, 178, 196))
    canvas.polygon([(0, horizon), (1, horizon), (1, 1), (0, 1)], sea)
    for x, y in _scatter(rng, 3, (0, horizon + 0.04), (1, shore - 0.06)):
        canvas.line([(x - 0.06, y), (x + 0.06, y)], 0.015, shade(sea, 1.5))
    edge = _wave(rng, shore, 0.02)
    canvas.polygon(edge - (0, 0.035), (250, 252, 250))
    use_layer(canvas, "ground")
    sand = _vary(rng, (238, 220, 182))
    canvas.polygon(edge, sand)
    return sand


def sunset(canvas: Canvas, rng: np.random.Generator) -> Colour:
    """A violet to peach sky, a big sun sinking behind plum-dark hills."""
    horizon = rng.uniform(0.6, 0.7)
    _sky(canvas, rng, [(104, 72, 136), (226, 132, 150), (255, 206, 164), (255, 206, 164)])
    use_layer(canvas, "cloud")
    for x, y in _scatter(rng, 3, (0, 0.12), (1, 0.4)):
        canvas.ellipse(x, y, 0.17, 0.018, (242, 168, 168))
    use_layer(canvas, "light")
    x = rng.uniform(0.15, 0.85)
    canvas.ellipse(x, horizon - 0.1, 0.2, 0.2, (255, 222, 178))
    canvas.ellipse(x, horizon - 0.1, 0.15, 0.15, (255, 244, 206))
    _hills(canvas, rng, horizon, (124, 82, 112))
    return _ground(canvas, rng, horizon, (84, 60, 88))


DRAW_SCENE: dict[str, Callable[[Canvas, np.random.Generator], Colour]] = {
    "meadow": meadow,
    "night": night,
    "snow": snow,
    "beach": beach,
    "sunset": sunset,
}

PHRASES: dict[str, str] = {
    "meadow": "in a meadow",
    "night": "at night",
    "snow": "in the snow",
    "beach": "on the beach",
    "sunset": "at sunset",
}


def _scatter(
    rng: np.random.Generator, count: int, low: tuple[float, ...], high: tuple[float, ...]
) -> list[list[float]]:
    """Random points of a box; `rng.uniform` with arrays costs as much as drawing them."""
    start = np.array(low)
    points: list[list[float]] = (start + (np.array(high) - start) * rng.random((count, len(low)))).tolist()
    return points


def _vary(rng: np.random.Generator, colour: Colour) -> Colour:
    return shade(colour, rng.uniform(0.95, 1.05))


def _sky(canvas: Canvas, rng: np.random.Generator, stops: list[Colour]) -> None:
    use_layer(canvas, "sky")
    light = rng.uniform(0.95, 1.0)
    canvas.gradient([shade(stop, light) for stop in stops])


def _disc(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    """The sun, in an upper corner, where the thing seldom hides it."""
    use_layer(canvas, "light")
    x, y = _corner(rng)
    canvas.ellipse(x, y, 0.1, 0.1, colour)


def _corner(rng: np.random.Generator) -> tuple[float, float]:
    ((x, y),) = _scatter(rng, 1, (0.1, 0.09), (0.17, 0.19))
    return (x, y) if rng.random() < 0.5 else (1.0 - x, y)


def _clouds(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    use_layer(canvas, "cloud")
    for x, y, wide in _scatter(rng, 2, (0, 0.1, 0.09), (1, 0.32, 0.13)):
        canvas.ellipse(x, y, wide, 0.035, colour)
        canvas.ellipse(x - 0.02, y - 0.03, wide * 0.55, 0.045, colour)


def _hills(canvas: Canvas, rng: np.random.Generator, horizon: float, colour: Colour) -> None:
    use_layer(canvas, "hill")
    colour = _vary(rng, colour)
    for x, radius in _scatter(rng, 2, (0, 0.25), (1, 0.45)):
        canvas.ellipse(x, horizon + 0.06, radius, radius * 0.5, colour)


def _ground(canvas: Canvas, rng: np.random.Generator, horizon: float, colour: Colour) -> Colour:
    use_layer(canvas, "ground")
    colour = _vary(rng, colour)
    edge = _wave(rng, horizon, 0.025)
    canvas.polygon(edge, colour)
    canvas.polygon(edge + (0, 0.2), shade(colour, 0.94))
    return colour


def _wave(rng: np.random.Generator, y: float, height: float) -> np.ndarray:
    """A region filling the picture below a gently waving edge near y, (n, 2)."""
    waves, start = rng.uniform(3.0, 7.0), rng.uniform(0.0, 6.3)
    # The lower corners lie well outside, so that the region can be shifted without a gap.
    region: np.ndarray = _BELOW.copy()
    region[:-2, 1] = y + height * np.sin(_ACROSS * waves + start)
    return region
