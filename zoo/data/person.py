"""The person: a jointed figure in varied poses, whose joints are also its keypoints."""

from __future__ import annotations

import numpy as np

from zoo.data.canvas import Colour, shade
from zoo.data.pen import INK, Pen

# Skin and hair go together so that a face five pixels high still stands out from its hair.
LOOKS: tuple[tuple[Colour, Colour], ...] = (
    ((250, 218, 196), (98, 68, 54)),
    ((250, 218, 196), (214, 190, 150)),
    ((232, 186, 152), (52, 40, 42)),
    ((196, 146, 112), (58, 40, 36)),
    ((150, 104, 80), (34, 28, 32)),
    ((150, 104, 80), (196, 192, 196)),
)

# Arm poses as (upper arm, forearm), leg poses as (thigh, shin): degrees outwards from straight
# down, so 90 is level and 180 straight up.
ARMS = ((18, 8), (48, 40), (90, 88), (70, 165), (135, 150), (62, -40))
LEGS = (((8, 6), (8, 6)), ((26, 20), (26, 20)), ((34, -14), (14, 10)), ((8, 4), (40, 24)))

_HEAD, _NECK, _SHOULDER, _HIP = (0.0, 0.79), (0.0, 0.61), (0.135, 0.56), (0.085, 0.31)
_ARM, _LEG, _FOOT = 0.145, 0.145, 0.055


def draw_person(pen: Pen, colour: Colour, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Draw the figure; returns its joints in the thing's frame, left and right as seen."""
    skin, hair = LOOKS[rng.integers(len(LOOKS))]
    joints = _pose(rng)
    trousers = shade(colour, 0.72)
    for side in ("left", "right"):
        leg = [joints[f"{side}_{part}"] for part in ("hip", "knee", "foot")]
        pen.stroke(leg, 0.115, trousers)
        u, v = leg[-1]
        pen.stroke([(u, v), (u + 0.04, v)], 0.085, INK, outline=False)
    for side in ("left", "right"):
        arm = [joints[f"{side}_{part}"] for part in ("shoulder", "elbow", "hand")]
        pen.stroke(arm, 0.095, colour)
        pen.dot(*arm[-1], 0.056, skin)
    (left, shoulder), (right, _) = joints["left_shoulder"], joints["right_shoulder"]
    hip = joints["left_hip"][1]
    top, low = shoulder + 0.06, hip - 0.05
    pen.polygon([(left - 0.04, top), (right + 0.04, top), (right + 0.02, low), (left - 0.02, low)], colour)
    for side in ("left", "right"):  # hide the outline where sleeve and torso meet
        pen.stroke([joints[f"{side}_shoulder"], joints[f"{side}_elbow"]], 0.08, colour, False)
    _draw_head(pen, joints["head"], skin, hair, long_hair=rng.random() < 0.5)
    if not pen.mirrored:
        return joints
    swap = {"left": "right", "right": "left"}
    return {
        "_".join(swap.get(word, word) for word in name.split("_")): joint for name, joint in joints.items()
    }


def _draw_head(pen: Pen, head: tuple[float, float], skin: Colour, hair: Colour, long_hair: bool) -> None:
    u, v = head
    pen.ellipse(u - 0.025, v + 0.025, 0.18, 0.185, hair)
    if long_hair:
        pen.ellipse(u - 0.11, v - 0.06, 0.08, 0.14, hair, outline=False)
    pen.ellipse(u + 0.025, v - 0.025, 0.145, 0.14, skin, outline=False)
    for eye in (0.0, 0.1):
        pen.dot(u + eye, v - 0.01, 0.026, INK)
    smile = [(u + 0.01, v - 0.075), (u + 0.05, v - 0.095), (u + 0.09, v - 0.075)]
    pen.stroke(smile, 0.02, (150, 60, 66), outline=False)


def _pose(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Joint positions (u, v) of an unmirrored figure, its lowest foot standing on v = 0."""
    joints = {"head": _HEAD, "neck": _NECK}
    legs = LEGS[rng.integers(len(LEGS))]
    for index, (side, out) in enumerate((("left", -1), ("right", 1))):
        upper, fore = np.radians(ARMS[rng.integers(len(ARMS))]) + rng.uniform(-0.12, 0.12, 2)
        thigh, shin = np.radians(legs[index]) + rng.uniform(-0.06, 0.06, 2)
        shoulder, hip = (out * _SHOULDER[0], _SHOULDER[1]), (out * _HIP[0], _HIP[1])
        elbow, knee = _along(shoulder, out, upper, _ARM), _along(hip, out, thigh, _LEG)
        joints[f"{side}_shoulder"], joints[f"{side}_elbow"] = shoulder, elbow
        joints[f"{side}_hand"] = _along(elbow, out, fore, _ARM)
        joints[f"{side}_hip"], joints[f"{side}_knee"] = hip, knee
        joints[f"{side}_foot"] = _along(knee, out, shin, _LEG)
    drop = min(joints["left_foot"][1], joints["right_foot"][1]) - _FOOT
    return {name: (float(u), float(v - drop)) for name, (u, v) in joints.items()}


def _along(start: tuple[float, float], out: int, angle: float, length: float) -> tuple[float, float]:
    return start[0] + out * np.sin(angle) * length, start[1] - np.cos(angle) * length
