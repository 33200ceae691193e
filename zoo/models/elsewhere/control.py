"""The ControlNets of a latent model: its own, those in its folder control/, and those that a list of models adds.

Zhang, Rao, Agrawala 2023, "Adding Conditional Control to Text-to-Image Diffusion Models", arXiv:2302.05543.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from zoo.models.elsewhere.parts import CONFIG, Weights, inside
from zoo.models.elsewhere.source import Source


def own_controls(source: Source, index: dict[str, Any]) -> dict[str, Weights]:
    """The ControlNets among a model's files, by role: control/NAME.

    Raises:
        OSError: one of them has no weights, or pickled ones.
    """
    parts = {
        part.as_posix(): part.as_posix()
        for part in (PurePosixPath(file).parent for file in source.files if file.endswith(f"/{CONFIG}"))
        if part.parent.as_posix() == "control"
    }
    if index.get("controlnet") == ["diffusers", "ControlNetModel"]:
        parts[f"control/{control_name(source.json(inside('controlnet', CONFIG)))}"] = "controlnet"
    return {role: Weights.find(source, part) for role, part in parts.items()}


def control_name(config: dict[str, Any]) -> str:
    """What a ControlNet was made for, as the name that it was loaded by tells: `sd-controlnet-canny`; else "map"."""
    words = re.split(r"[-_/\\]", str(config.get("_name_or_path", "")))
    return words[-1] if words[-1].isalpha() and len(words) > 1 else "map"
