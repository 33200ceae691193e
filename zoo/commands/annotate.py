"""`zoo annotate` and `zoo annotators`: control maps of pictures, and what can draw them."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from zoo.commands.options import plugin_options, registry_of


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    annotate = commands.add_parser("annotate", help="turn a picture into a control map, such as its edges")
    annotate.add_argument("image", metavar="IMAGE", help="a picture of any size and format")
    annotate.add_argument(
        "--annotator",
        metavar="LINE",
        default="canny",
        help="a name that `zoo annotators` lists, with parameters: 'canny low=50 high=150' (default: canny)",
    )
    annotate.add_argument(
        "--out", metavar="FILE", required=True, help="where the map goes, such as edges.png"
    )
    annotate.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    plugin_options(annotate)
    annotate.set_defaults(run=_annotate)

    annotators = commands.add_parser("annotators", help="list annotators and what they need")
    annotators.add_argument("--json", action="store_true", help="as JSON")
    plugin_options(annotators)
    annotators.set_defaults(run=_annotators)


def _annotate(arguments: argparse.Namespace) -> int:
    from PIL import Image

    from zoo.picture import read_picture
    from zoo.planning import make_annotator

    out = Path(arguments.out)
    if out.suffix.lower() not in (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"):
        raise ValueError(f"--out {out} must end in .png, .webp, .jpg, .bmp or .tif")
    annotator = make_annotator(arguments.annotator, registry_of(arguments))
    annotator.check()  # before torch is imported, or anyone waits for anything
    picture = read_picture(arguments.image)
    annotator.device = _device(arguments.device)
    with redirect_stdout(sys.stderr):  # some detectors print while they load
        drawn = annotator.annotate(picture)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn).save(out)
    print(f"{drawn.shape[1]} × {drawn.shape[0]} pixels written to {out}")
    return 0


def _device(name: str) -> str:
    from zoo.device import resolve_device

    return str(resolve_device(name))


def _annotators(arguments: argparse.Namespace) -> int:
    specs = registry_of(arguments).annotators
    if arguments.json:
        fields = ("title", "summary", "needs")
        listed = [
            {"name": n, **{field: getattr(spec, field) for field in fields}} for n, spec in specs.items()
        ]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
        return 0
    rows = [("name", "what", "needs"), *((n, spec.title, spec.needs or "–") for n, spec in specs.items())]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, title, needs in rows:
        print(f"{name:{widths[0]}}  {title:{widths[1]}}  {needs}")
    return 0
