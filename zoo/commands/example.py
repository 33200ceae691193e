"""`zoo example`: a rendered picture, or its control map, to try a ControlNet with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the command line."""
    example = commands.add_parser(
        "example",
        help="draw a control picture to try",
        description="Draw a picture of tinyworld for `controlnet … image=PATH`. For segmentation and pose, which no "
        "annotator finds in a picture, it is the map itself.",
    )
    example.add_argument(
        "control", help="what it is to control: segmentation, pose, or an annotator such as canny"
    )
    example.add_argument(
        "--prompt", default="", help="what the picture shows; anything that it leaves open is drawn"
    )
    example.add_argument(
        "--seed", type=int, default=0, help="decides what the prompt leaves open (default: 0)"
    )
    example.add_argument("--size", type=int, default=32, help="height and width in pixels (default: 32)")
    example.add_argument("--out", metavar="FILE", required=True, help="the PNG file to write")
    example.set_defaults(run=_example)


def _example(arguments: argparse.Namespace) -> int:
    from PIL import Image

    from zoo.data.maps import TRUTHS, control_picture
    from zoo.data.tinyworld import named

    asked = named(arguments.prompt)
    for name, value in TRUTHS[arguments.control][1].items() if arguments.control in TRUTHS else ():
        if asked.get(name, value) != value:
            raise ValueError(f"a {arguments.control} map needs a {value}, the prompt names a {asked[name]}")
    drawn = control_picture(arguments.control, arguments.prompt, arguments.seed, arguments.size)
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn.pixels).save(out, format="PNG")
    use = f"controlnet annotator={arguments.control} image={out}{' map=true' if drawn.is_map else ''}"
    print(f"{drawn.caption}, written to {out}: {use}")
    return 0
