"""`zoo example`: pictures and maps to try a ControlNet with."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from zoo.cli import main
from zoo.data.maps import pose_map
from zoo.data.tinyworld import TinyWorld


def test_a_map_or_a_picture_is_written(tmp_path, capsys):
    pose, picture = tmp_path / "new folder/pose.png", tmp_path / "picture.png"
    assert main(["example", "pose", "--prompt", "in the snow", "--seed", "3", "--out", str(pose)]) == 0
    expected = TinyWorld(3, maps=True, kind="person", scene="snow")[0]
    np.testing.assert_array_equal(np.asarray(Image.open(pose)), pose_map(expected))
    assert f"controlnet annotator=pose image={pose} map=true" in capsys.readouterr().out
    assert main(["example", "canny", "--prompt", "a blue cat", "--out", str(picture)]) == 0
    expected = TinyWorld(0, kind="cat", colour="blue")[0]
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), expected.image)
    assert "map=true" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pose", "--prompt", "a cat"], "a pose map needs a person, the prompt names a cat"),
        (["pose", "--seed", "-1"], "seed must be >= 0"),
    ],
)
def test_what_cannot_be_drawn_is_wrong_input(arguments, message, tmp_path, capsys):
    assert main(["example", *arguments, "--out", str(tmp_path / "x.png")]) == 2
    assert message in capsys.readouterr().err
