"""Control maps of tinyworld's pictures that no annotator could make: from the renderer's own truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from zoo.data.canvas import Canvas, Colour
from zoo.data.scenes import BACKGROUND
from zoo.data.tinyworld import SEGMENTS, Maps, Sample, TinyWorld, named

SEGMENT_COLOURS: dict[str, Colour] = {
    "sky": (70, 130, 220),
    "ground": (120, 90, 50),
    "water": (60, 200, 210),
    "hill": (50, 150, 60),
    "cloud": (200, 200, 220),
    "light": (250, 220, 60),
    "thing": (220, 20, 60),
}
"""What a segmentation map shows; all kinds of thing look the same, so that the prompt says which it is."""

_COLOUR_OF_LABEL = np.array(
    [SEGMENT_COLOURS[name if name in BACKGROUND else "thing"] for name in SEGMENTS], np.uint8
)

BONES: tuple[tuple[str, str, Colour], ...] = (
    ("left_shoulder", "right_shoulder", (255, 0, 255)),
    ("neck", "left_hip", (160, 0, 255)),
    ("neck", "right_hip", (255, 0, 120)),
    ("left_shoulder", "left_elbow", (255, 60, 0)),
    ("left_elbow", "left_hand", (255, 160, 0)),
    ("right_shoulder", "right_elbow", (0, 255, 60)),
    ("right_elbow", "right_hand", (160, 255, 0)),
    ("left_hip", "left_knee", (0, 120, 255)),
    ("left_knee", "left_foot", (0, 220, 255)),
    ("right_hip", "right_knee", (90, 90, 255)),
    ("right_knee", "right_foot", (180, 180, 255)),
    ("neck", "head", (255, 255, 255)),
)
"""What a pose map shows: from joint to joint, left and right as seen, each bone in its own colour."""

_BONE, _HEAD = 0.034, 0.05  # shares of the picture: a bone is a pixel wide at 32 × 32


def segmentation_map(sample: Sample) -> np.ndarray:
    """The segments of a picture in the colours of `SEGMENT_COLOURS`, (H, W, 3) uint8."""
    colours: np.ndarray = _COLOUR_OF_LABEL[_maps(sample).segmentation]
    return colours


def pose_map(sample: Sample) -> np.ndarray:
    """A person's joints as a stick figure on black, (H, W, 3) uint8.

    Raises:
        ValueError: the picture shows no person.
    """
    joints, size = _maps(sample).keypoints, len(sample.image)
    if not joints:
        raise ValueError(f"only a person has a pose, not a {sample.attributes.kind}")
    points = {name: (x / size, y / size) for name, (x, y) in joints.items()}
    canvas = Canvas(size)
    canvas.gradient([(0, 0, 0)])
    for start, end, colour in BONES:
        canvas.line([points[start], points[end]], _BONE, colour)
    canvas.ellipse(*points["head"], _HEAD, _HEAD, (255, 255, 255))
    return canvas.image()


TRUTHS: Mapping[str, tuple[Callable[[Sample], np.ndarray], dict[str, str]]] = {
    "segmentation": (segmentation_map, {}),
    "pose": (pose_map, {"kind": "person"}),
}
"""Name → how to draw the map of a sample, and the attributes that a picture must have."""


@dataclass(frozen=True)
class ControlPicture:
    """A rendered picture, or its map where no annotator finds one, for a ControlNet to follow.

    Attributes:
        pixels: (H, W, 3) uint8.
        is_map: whether it is the map already.
        caption: of the picture.
    """

    pixels: np.ndarray
    is_map: bool
    caption: str


def control_picture(control: str, prompt: str = "", seed: int = 0, size: int = 32) -> ControlPicture:
    """An example of what `controlnet annotator=…` follows.

    Args:
        control: one of `TRUTHS`, of which the map is drawn; anything else is left to an annotator.
        prompt: what the picture shows, unless the map needs something else, as a pose needs a person.
        seed: decides what the prompt leaves open.
        size: height and width in pixels.

    Raises:
        ValueError: a negative seed.
    """
    draw, fixed = TRUTHS.get(control, (None, {}))
    sample = TinyWorld(seed, size, draw is not None, **named(prompt) | fixed)[0]
    return ControlPicture(sample.image if draw is None else draw(sample), draw is not None, sample.caption)


def _maps(sample: Sample) -> Maps:
    if sample.maps is None:
        raise ValueError("the picture was rendered without its truth: ask for maps=True")
    return sample.maps
