"""The ten things. Each stands on v = 0 around u = 0, looks towards +u and is about 1 unit big."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.data.canvas import CIRCLE, Colour, shade
from zoo.data.pen import CREAM, INK, WHITE, Pen
from zoo.data.person import draw_person

BROWN: Colour = (112, 82, 62)
SLATE: Colour = (82, 84, 98)
GLASS: Colour = (206, 232, 244)
LEAF: Colour = (84, 140, 78)


Joints = dict[str, tuple[float, float]]


def house(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """Coloured walls under a slate roof, a cream door and a lit window."""
    wall = rng.uniform(0.36, 0.4)
    if rng.random() < 0.6:
        pen.polygon([(-0.3, 0.6), (-0.3, 0.95), (-0.16, 0.95), (-0.16, 0.6)], BROWN)
    pen.polygon([(-wall, 0.0), (-wall, 0.56), (wall, 0.56), (wall, 0.0)], colour)
    pen.polygon([(-wall - 0.12, 0.54), (0.0, 0.98), (wall + 0.12, 0.54)], SLATE)
    pen.polygon([(0.06, 0.0), (0.06, 0.32), (0.26, 0.32), (0.26, 0.0)], CREAM)
    pen.polygon([(-0.27, 0.2), (-0.27, 0.4), (-0.07, 0.4), (-0.07, 0.2)], (255, 240, 170))
    return {}


def tree(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A brown trunk under a crown of leaves: round, or a fir of three tiers."""
    pen.polygon([(-0.11, 0.0), (-0.07, 0.45), (0.07, 0.45), (0.11, 0.0)], BROWN)
    if rng.random() < 0.3:
        for low, wide in ((0.2, 0.42), (0.43, 0.35), (0.64, 0.26)):
            pen.polygon([(-wide, low), (0.0, low + 0.4), (wide, low)], colour)
        return {}
    lean = rng.uniform(-0.04, 0.04)
    crown = [
        (-0.23, 0.52, 0.2),
        (0.23, 0.52, 0.2),
        (-0.13, 0.73, 0.2),
        (0.15, 0.73, 0.2),
        (lean, 0.8, 0.2),
        (0.0, 0.56, 0.22),
    ]
    pen.blob(crown, colour)
    for u, v in ((-0.18, 0.76), (0.04, 0.62), (0.26, 0.56), (-0.24, 0.5)):
        pen.dot(u + lean, v, 0.05, shade(colour, 1.25))
    return {}


def mushroom(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A domed cap with white dots on a stout cream stem that has two little eyes."""
    stem = rng.uniform(0.15, 0.19)
    stem_line = [(-stem - 0.05, 0.0), (-stem, 0.48), (stem, 0.48), (stem + 0.05, 0.0)]
    pen.polygon(stem_line, CREAM)
    dome = np.where(CIRCLE[:, 1:] > 0, CIRCLE * (0.5, 0.5), CIRCLE * (0.5, 0.09)) + (0.0, 0.42)
    pen.polygon(dome, colour)
    wobble = rng.uniform(-0.02, 0.02, (5, 2))
    spots = ((-0.3, 0.54), (-0.09, 0.74), (0.04, 0.5), (0.2, 0.69), (0.34, 0.5))
    for (u, v), (du, dv), radius in zip(spots, wobble, (0.07, 0.09, 0.08, 0.07, 0.06), strict=True):
        pen.dot(u + du, v + dv, radius, WHITE)
    for u in (-0.07, 0.09):
        pen.dot(u, 0.22, 0.035, INK)
    return {}


def car(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A round little car with its cabin towards the back and a headlight at the front."""
    roof = rng.uniform(0.66, 0.72)
    pen.polygon([(-0.5, 0.38), (-0.4, roof), (0.1, roof), (0.28, 0.38)], colour)
    body = [
        (-0.56, 0.14),
        (-0.57, 0.38),
        (-0.52, 0.43),
        (0.3, 0.43),
        (0.5, 0.38),
        (0.57, 0.28),
        (0.57, 0.14),
    ]
    pen.polygon(body, colour)
    pen.polygon([(-0.46, 0.38), (-0.4, 0.6), (0.06, 0.6), (0.2, 0.38)], colour, outline=False)
    pen.polygon([(-0.4, 0.43), (-0.34, 0.61), (-0.18, 0.61), (-0.18, 0.43)], GLASS)
    pen.polygon([(-0.1, 0.43), (-0.1, 0.61), (0.06, 0.61), (0.17, 0.43)], GLASS)
    for u in (-0.31, 0.31):
        pen.dot(u, 0.14, 0.15, INK)
        pen.dot(u, 0.14, 0.065, (196, 198, 206))
    pen.dot(0.51, 0.31, 0.055, (255, 246, 190))
    return {}


def flower(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A bloom of five or six petals around a cream middle, on a leafy stem."""
    pen.stroke([(0.0, 0.02), (0.0, 0.6)], 0.06, LEAF)
    for side in (-1, 1):
        leaf = CIRCLE * (0.15, 0.065)
        tilt = np.array([[0.87, 0.5 * side], [-0.5 * side, 0.87]])
        pen.polygon(leaf @ tilt + (0.15 * side, 0.17), LEAF)
    petals = int(rng.integers(5, 7))
    turns = rng.uniform(0.0, 6.28) + np.arange(petals) * (2 * np.pi / petals)
    bloom = [(0.21 * np.cos(turn), 0.66 + 0.21 * np.sin(turn), 0.145) for turn in turns]
    for u, v, radius in bloom:
        pen.ellipse(u, v, radius, radius, colour)
    pen.dot(0.0, 0.66, 0.14, CREAM)
    for u in (-0.045, 0.045):
        pen.dot(u, 0.68, 0.027, INK)
    return {}


def fish(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A plump fish with a forked tail, a big eye and bubbles, afloat wherever it is."""
    plump = rng.uniform(0.27, 0.32)
    fin = shade(colour, 0.78)
    pen.polygon([(-0.28, 0.4), (-0.6, 0.68), (-0.5, 0.4), (-0.6, 0.12)], fin)
    pen.polygon([(-0.2, 0.56), (-0.12, 0.82), (0.14, 0.62)], fin)
    pen.ellipse(0.06, 0.4, 0.44, plump, colour)
    pen.ellipse(0.08, 0.4 - plump * 0.55, 0.26, plump * 0.26, shade(colour, 1.45), outline=False)
    pen.polygon([(0.02, 0.42), (-0.16, 0.46), (-0.16, 0.28)], fin, outline=False)
    pen.dot(0.26, 0.48, 0.1, WHITE)
    pen.dot(0.285, 0.48, 0.055, INK)
    pen.stroke([(0.34, 0.3), (0.43, 0.33)], 0.03, INK, outline=False)
    for u, v, radius in ((0.56, 0.58, 0.035), (0.6, 0.72, 0.045)):
        pen.dot(u, v + rng.uniform(-0.03, 0.03), radius, (236, 248, 255))
    return {}


def star(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A smiling five-pointed star."""
    turns = np.pi / 2 + np.arange(10) * np.pi / 5 + rng.uniform(-0.17, 0.17)
    radii = np.where(np.arange(10) % 2, 0.29, 0.55)
    tips = np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii[:, None]
    pen.polygon(tips + (0.0, 0.5), colour)
    for u in (-0.1, 0.1):
        pen.dot(u, 0.55, 0.045, INK)
    smile = np.linspace(np.pi * 1.15, np.pi * 1.85, 7)
    curve = np.stack([np.cos(smile) * 0.13, 0.49 + np.sin(smile) * 0.13], axis=1)
    pen.stroke(curve, 0.04, INK, outline=False)
    return {}


def boat(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A coloured hull and jib with a white sail, on a little water of its own."""
    top = rng.uniform(0.92, 1.0)
    pen.stroke([(0.0, 0.3), (0.0, top)], 0.05, BROWN, outline=False)
    pen.polygon([(-0.07, top - 0.04), (-0.07, 0.4), (-0.46, 0.4)], CREAM)
    pen.polygon([(0.07, top - 0.1), (0.07, 0.4), (0.42, 0.4)], colour)
    pen.polygon([(-0.52, 0.32), (0.6, 0.36), (0.38, 0.02), (-0.38, 0.02)], colour)
    pen.stroke([(-0.43, 0.25), (0.5, 0.275)], 0.04, WHITE, outline=False)
    ripples = [
        (-0.6, 0.03),
        (-0.4, 0.07),
        (-0.2, 0.03),
        (0.0, 0.07),
        (0.2, 0.03),
        (0.4, 0.07),
        (0.6, 0.03),
    ]
    pen.stroke(ripples, 0.06, (226, 244, 250), outline=False)
    return {}


def cat(pen: Pen, colour: Colour, rng: np.random.Generator) -> Joints:
    """A sitting cat, its face towards the front and its tail curling up behind."""
    curl = rng.uniform(-0.05, 0.08)
    tail = [(-0.15, 0.07), (-0.36, 0.08), (-0.44, 0.2), (-0.42 + curl, 0.36), (-0.34 + curl, 0.44)]
    pen.stroke(tail, 0.1, colour)
    pen.ellipse(-0.04, 0.25, 0.26, 0.27, colour)
    pen.ellipse(0.05, 0.19, 0.11, 0.15, shade(colour, 1.5), outline=False)
    for u in (-0.02, 0.14):
        pen.ellipse(u, 0.035, 0.08, 0.05, shade(colour, 1.5))
    u, v = 0.08, 0.62
    for side in (-1, 1):
        ear = [(u + side * 0.28, v + 0.38), (u + side * 0.27, v), (u + side * 0.04, v + 0.19)]
        pen.polygon(ear, colour)
    pen.ellipse(u, v, 0.3, 0.235, colour)
    for side in (-1, 1):
        ear = [
            (u + side * 0.23, v + 0.28),
            (u + side * 0.22, v + 0.14),
            (u + side * 0.12, v + 0.19),
        ]
        pen.polygon(ear, (255, 190, 196), outline=False)
        eye = u + 0.04 + side * 0.12
        pen.ellipse(eye, v + 0.03, 0.055, 0.07, WHITE, outline=False)
        pen.ellipse(eye + 0.015, v + 0.03, 0.035, 0.06, INK, outline=False)
        for tilt in (-0.03, 0.03):
            whisker = [
                (u + 0.04 + side * 0.13, v - 0.09),
                (u + 0.03 + side * 0.32, v - 0.09 + tilt),
            ]
            pen.stroke(whisker, 0.012, INK, outline=False)
    pen.ellipse(u + 0.04, v - 0.09, 0.085, 0.06, shade(colour, 1.6), outline=False)
    pen.dot(u + 0.05, v - 0.06, 0.032, (240, 120, 140))
    return {}


DRAW_THING: dict[str, Callable[[Pen, Colour, np.random.Generator], Joints]] = {
    "house": house,
    "tree": tree,
    "mushroom": mushroom,
    "car": car,
    "flower": flower,
    "fish": fish,
    "star": star,
    "boat": boat,
    "person": draw_person,
    "cat": cat,
}

AFLOAT = frozenset({"fish", "star"})
"""Things that hover over the ground instead of standing on it."""

DIRECTED = frozenset({"car", "fish", "boat", "person", "cat"})
"""Things that visibly face left or right; the others merely get mirrored."""
