"""TinyWorld: unlimited captioned pictures of one thing in one scene, deterministic by seed.

Every picture follows from (seed, index) alone: not from the order of access, and, but for its
resolution, not from the picture size, since everything is drawn in unit coordinates.
"""

from __future__ import annotations

import colorsys
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from zoo.data.canvas import Canvas, Colour, shade
from zoo.data.pen import Pen
from zoo.data.scenes import BACKGROUND, DRAW_SCENE, PHRASES, THING_DEPTH, use_layer
from zoo.data.things import AFLOAT, DIRECTED, DRAW_THING

KINDS: tuple[str, ...] = tuple(DRAW_THING)
COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple")
SCENES: tuple[str, ...] = tuple(DRAW_SCENE)
SIZES: tuple[str, ...] = ("small", "medium", "large")
PLACES: tuple[str, ...] = ("left", "middle", "right")
FACINGS: tuple[str, ...] = ("left", "right")

SEGMENTS: tuple[str, ...] = BACKGROUND + KINDS
"""Names of the labels in `Maps.segmentation`."""

PALETTE: dict[str, Colour] = {
    "red": (218, 34, 42),
    "orange": (250, 138, 22),
    "yellow": (252, 226, 44),
    "green": (42, 158, 64),
    "blue": (40, 96, 226),
    "purple": (154, 64, 202),
}
"""The colours before each picture's slight variation, RGB."""

_SCALE = {"small": 0.48, "medium": 0.64, "large": 0.82}
# A large thing has less room to move aside, and little need: its middle still shows the place.
_ASIDE = {"small": 0.23, "medium": 0.17, "large": 0.12}
# Wider than high: drawn a little smaller, or the sides of the picture would cut off much.
_WIDE = frozenset({"house", "car", "fish", "boat"})
_SIDE = {"left": -1.0, "middle": 0.0, "right": 1.0}
_PLACE_PHRASES = {"left": "on the left", "middle": "in the middle", "right": "on the right"}

VOCABULARY: tuple[str, ...] = tuple(
    sorted(
        {"a", "an", "facing", *SIZES, *COLOURS, *KINDS, *FACINGS}
        | {word for phrase in PHRASES.values() for word in phrase.split()}
        | {word for phrase in _PLACE_PHRASES.values() for word in phrase.split()}
    )
)
"""Every word a caption can contain, sorted."""

_SPELLINGS: dict[str, dict[str, str]] = {
    "kind": {kind: kind for kind in KINDS},
    "colour": {colour: colour for colour in COLOURS},
    "scene": {scene: phrase.split()[-1] for scene, phrase in PHRASES.items()},
    "size": {size: size for size in SIZES},
    "place": _PLACE_PHRASES,
    "facing": {facing: f"facing {facing}" for facing in FACINGS},
}


@dataclass(frozen=True)
class Attributes:
    """What a picture shows.

    Raises:
        ValueError: a name is not among the allowed ones.
    """

    kind: str
    colour: str
    scene: str
    size: str
    place: str
    facing: str

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            given = getattr(self, name)
            if given not in allowed:
                raise ValueError(f"unknown {name} {given!r}: choose one of {', '.join(allowed)}")


_ALLOWED: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": COLOURS,
    "scene": SCENES,
    "size": SIZES,
    "place": PLACES,
    "facing": FACINGS,
}


@dataclass(frozen=True)
class Maps:
    """Exact per-pixel truth about a picture.

    Attributes:
        segmentation: (H, W) uint8, index into SEGMENTS, not anti-aliased.
        depth: (H, W) uint8 depth order, 0 the farthest layer, larger is nearer.
        keypoints: the person's joints as pixels (x, y), where pixel (0, 0) covers 0 to 1 both
            ways; "head", "neck" and left_/right_ (as seen) shoulder, elbow, hand, hip, knee,
            foot. Joints may lie outside the picture. Empty for every other kind.
    """

    segmentation: np.ndarray
    depth: np.ndarray
    keypoints: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Sample:
    """One picture, (H, W, 3) uint8 RGB, with what it shows; maps only where asked for."""

    image: np.ndarray
    attributes: Attributes
    caption: str
    maps: Maps | None


def draw_attributes(rng: np.random.Generator) -> Attributes:
    """Attributes picked uniformly and independently of each other."""
    picks = rng.random(len(_ALLOWED)).tolist()
    choices = zip(_ALLOWED.items(), picks, strict=True)
    return Attributes(**{name: allowed[int(p * len(allowed))] for (name, allowed), p in choices})


def caption(attributes: Attributes, rng: np.random.Generator | None = None) -> str:
    """A lower-case caption: "a red mushroom at night".

    Without `rng` it names exactly colour, kind and scene. With it captions vary: some also name
    size, place or, for things that visibly face one way, the facing; one in ten leaves out the
    colour, one in ten the scene.
    """
    chance = [1.0] * 6 if rng is None else rng.random(6).tolist()
    with_colour, with_scene = chance[0] >= 0.1, chance[1] >= 0.1
    with_size, with_place, with_facing = chance[2] < 0.35, chance[3] < 0.3, chance[4] < 0.3
    words = [attributes.size] if with_size else []
    words += [attributes.colour] if with_colour else []
    words.append(attributes.kind)
    words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if with_facing and attributes.kind in DIRECTED:
        words += ["facing", attributes.facing]
    phrases = [PHRASES[attributes.scene]] if with_scene else []
    if with_place:
        at = 0 if chance[5] < 0.5 else len(phrases)
        phrases.insert(at, _PLACE_PHRASES[attributes.place])
    return " ".join(words + phrases)


def named(text: str) -> dict[str, str]:
    """The attributes that a text names, as captions do; the first of several, nothing of those it leaves open.

    A scene is also named by its word alone: "snow" as well as "in the snow".
    """
    words = f" {' '.join(re.findall(r'[a-z]+', text.lower()))} "
    found = {}
    for name, spellings in _SPELLINGS.items():
        places = {value: words.find(f" {spelling} ") for value, spelling in spellings.items()}
        places = {value: place for value, place in places.items() if place >= 0}
        if places:
            found[name] = min(places, key=places.__getitem__)
    return found


def draw_pictures(n: int, seed: int, size: int = 32, **fixed: str) -> np.ndarray:
    """`n` pictures (n, H, W, 3) uint8 with some attributes fixed, as in kind="cat", and the others drawn.

    Raises:
        ValueError: a name is not among the allowed ones.
    """
    images = np.empty((n, size, size, 3), np.uint8)
    for index, image in enumerate(images):
        rng = np.random.Generator(np.random.Philox(key=[seed, index]))
        image[:] = render(replace(draw_attributes(rng), **fixed), rng, size).image
    return images


def render(attributes: Attributes, rng: np.random.Generator, size: int = 32, maps: bool = False) -> Sample:
    """Draw a picture of these attributes; `rng` decides everything they leave open.

    Args:
        size: height and width of the picture in pixels.
        maps: whether to make the segmentation, depth and keypoints too.

    Returns:
        The sample, with the plain caption.

    Raises:
        ValueError: size is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    canvas = Canvas(size, maps)
    ground = DRAW_SCENE[attributes.scene](canvas, rng)
    joints, pen = _draw_thing(canvas, attributes, ground, rng)
    truth = None
    if maps:
        segmentation, depth = canvas.planes()
        pixels = {name: pen.place([joint])[0] * size for name, joint in joints.items()}
        keypoints = {name: (float(x), float(y)) for name, (x, y) in pixels.items()}
        truth = Maps(segmentation, depth, keypoints)
    return Sample(canvas.image(), attributes, caption(attributes), truth)


class TinyWorld:
    """Unlimited deterministic data set: tinyworld[i] is the i-th picture of the given seed.

    Args:
        seed: which world; at least 0.
        size: height and width of the pictures in pixels.
        maps: whether samples carry segmentation, depth and keypoints.
        fixed: attributes that all pictures have, as in kind="person".

    Raises:
        ValueError: seed is negative or size less than 1.
    """

    def __init__(self, seed: int = 0, size: int = 32, maps: bool = False, **fixed: str) -> None:
        if seed < 0 or size < 1:
            raise ValueError(f"seed must be >= 0 and size >= 1, got seed={seed}, size={size}")
        self.seed = seed
        self.size = size
        self.maps = maps
        self.fixed = fixed

    def __getitem__(self, index: int) -> Sample:
        """The picture with this index, its caption varied.

        Raises:
            IndexError: index is negative; the data set has no end to count from.
        """
        index = operator.index(index)
        if index < 0:
            raise IndexError(f"TinyWorld has no end to count back from, got index {index}")
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        attributes = replace(draw_attributes(rng), **self.fixed)
        text = caption(attributes, rng)
        drawn = render(attributes, rng, self.size, self.maps)
        return Sample(drawn.image, attributes, text, drawn.maps)

    def batch(self, indices: Iterable[int]) -> tuple[np.ndarray, list[str], list[Attributes]]:
        """Several pictures: images (n, H, W, 3) uint8, their captions and attributes."""
        samples = [self[index] for index in indices]
        images = np.empty((len(samples), self.size, self.size, 3), np.uint8)
        for image, sample in zip(images, samples, strict=True):
            image[:] = sample.image
        return images, [s.caption for s in samples], [s.attributes for s in samples]


def _draw_thing(
    canvas: Canvas, attributes: Attributes, ground: Colour, rng: np.random.Generator
) -> tuple[dict[str, tuple[float, float]], Pen]:
    """Draw the thing with its shadow; returns its joints in its own frame and the pen used."""
    jitter = rng.uniform(-1.0, 1.0, 3).tolist()
    scale = _SCALE[attributes.size] * (1.0 + 0.05 * jitter[0])
    if attributes.kind in _WIDE:
        scale *= 0.93
    x = 0.5 + _SIDE[attributes.place] * _ASIDE[attributes.size] + 0.025 * jitter[1]
    # Whatever is larger stands nearer, thus lower in the picture.
    foot = 0.71 + 0.28 * scale + 0.015 * jitter[2]
    if attributes.kind in AFLOAT:
        foot = 0.5 + 0.5 * scale + 0.03 * jitter[2]
    else:
        use_layer(canvas, "ground")
        canvas.ellipse(x, foot, 0.48 * scale, 0.06 * scale, shade(ground, 0.8))
    canvas.layer(SEGMENTS.index(attributes.kind), THING_DEPTH)
    pen = Pen(canvas, x, foot, scale, attributes.facing)
    colour = _vary_colour(PALETTE[attributes.colour], rng)
    return DRAW_THING[attributes.kind](pen, colour, rng), pen


def _vary_colour(colour: Colour, rng: np.random.Generator) -> Colour:
    """The same colour a little off in hue (3 degrees at most), saturation and brightness."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    off = rng.uniform(-1.0, 1.0, 3).tolist()
    hue = (hue + off[0] * 3 / 360) % 1.0
    saturation = min(1.0, saturation * (1.0 + 0.06 * off[1]))
    value = min(1.0, value * (1.0 + 0.06 * off[2]))
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
