"""Control maps from the renderer's truth: right colours in right places."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.maps import BONES, SEGMENT_COLOURS, TRUTHS, pose_map, segmentation_map
from zoo.data.tinyworld import KINDS, SEGMENTS, TinyWorld


def test_every_segment_has_its_colour():
    for index in range(5):
        sample = TinyWorld(seed=1, maps=True)[index]
        colours = segmentation_map(sample)
        for label in np.unique(sample.maps.segmentation):
            name = SEGMENTS[label] if SEGMENTS[label] not in KINDS else "thing"
            found = np.unique(colours[sample.maps.segmentation == label], axis=0)
            assert found.tolist() == [list(SEGMENT_COLOURS[name])]
    assert len(set(SEGMENT_COLOURS.values())) == len(SEGMENT_COLOURS)


def test_bones_run_between_the_joints():
    """At eight times the usual size every bone's middle shows its colour, unless a later bone crosses it."""
    size = 256
    world = TinyWorld(seed=1, size=size, maps=True, kind="person")
    for index in range(5):
        sample = world[index]
        drawn, joints = pose_map(sample), sample.maps.keypoints
        hits = 0
        for start, end, colour in BONES:
            x, y = (np.array(joints[start]) + np.array(joints[end])) / 2
            if 0 <= x < size and 0 <= y < size:
                hits += drawn[int(y), int(x)].tolist() == list(colour)
        assert hits >= len(BONES) - 2
        far = np.ones((size, size), bool)
        rows, columns = np.mgrid[:size, :size]
        for x, y in joints.values():
            far &= np.hypot(columns - x, rows - y) > size / 4
        assert not drawn[far].any()


def test_only_a_person_has_a_pose():
    assert TRUTHS["pose"][1] == {"kind": "person"}
    with pytest.raises(ValueError, match="only a person has a pose, not a cat"):
        pose_map(TinyWorld(seed=1, maps=True, kind="cat")[0])
    with pytest.raises(ValueError, match="ask for maps=True"):
        segmentation_map(TinyWorld(seed=1)[0])


def test_a_world_with_an_attribute_fixed_is_otherwise_the_same():
    free, fixed = TinyWorld(seed=4)[2].attributes, TinyWorld(seed=4, kind="person")[2].attributes
    assert fixed.kind == "person"
    assert (fixed.colour, fixed.scene, fixed.size) == (free.colour, free.scene, free.size)
