"""`zoo invert` and `zoo interpolate`: what the determinism of DDIM gives."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from typing import Any

from zoo.commands.options import plugin_options, registry_of


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    invert = commands.add_parser("invert", help="find the noise that DDIM turns into a picture")
    invert.add_argument("image", metavar="IMAGE", help="a picture of any size and format")
    _generation_options(invert, dtype="fp32")
    which = invert.add_mutually_exclusive_group()
    which.add_argument("--steps", type=int, default=50, help="DDIM steps each way (default: 50)")
    which.add_argument("--method", metavar="LINE", help="'ddim steps=50 | cfg scale=2' in place of --steps")
    invert.add_argument(
        "--iterations", type=int, default=1, help="queries a step upwards; 1 is plain inversion (default: 1)"
    )
    invert.add_argument(
        "--out", metavar="DIR", help="write picture.png, reconstruction.png, latents.npy and inversion.json"
    )
    invert.set_defaults(run=_invert)

    between = commands.add_parser("interpolate", help="make the pictures between those of two seeds")
    between.add_argument("--seeds", type=_seed_pair, required=True, metavar="A,B", help="two seeds: 3,8")
    between.add_argument("--frames", type=int, default=9, help="with both ends (default: 9)")
    _generation_options(between, dtype="auto")
    between.add_argument(
        "--method", metavar="LINE", default="ddim steps=20", help="deterministic (default: 'ddim steps=20')"
    )
    between.add_argument("--out", metavar="DIR", help="write strip.png, frames/ and interpolation.json")
    between.set_defaults(run=_interpolate)


def _generation_options(parser: argparse.ArgumentParser, dtype: str) -> None:
    parser.add_argument("--model", default="tinyworld", help="as for compare (default: tinyworld)")
    parser.add_argument("--prompt", default="", help="what the picture shows; none means unconditional")
    parser.add_argument("--negative", default="", help="what guidance leads away from")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--dtype", default=dtype, help=f"auto, fp32, bf16 or fp16 (default: {dtype})")
    parser.add_argument("--json", action="store_true", help="print the results as JSON and nothing else")
    plugin_options(parser)


def _seed_pair(text: str) -> tuple[int, int]:
    first, comma, second = text.partition(",")
    try:
        if comma:
            return int(first), int(second)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"two seeds are written 3,8, got {text!r}")


def _invert(arguments: argparse.Namespace) -> int:
    from zoo.inversion import invert

    line = arguments.method or f"ddim steps={arguments.steps}"
    return _report(
        arguments,
        lambda: invert(arguments.image, method=line, iterations=arguments.iterations, **_given(arguments)),
        lambda result: (
            f"inversion       {sum(result.nfe['inversion'].values())} NFE\n"
            f"reconstruction  {sum(result.nfe['reconstruction'].values())} NFE · "
            f"RMSE {result.rmse:.4f} of pixels within [-1, 1] · PSNR {result.psnr:.1f} dB"
        ),
    )


def _interpolate(arguments: argparse.Namespace) -> int:
    from zoo.interpolation import interpolate

    return _report(
        arguments,
        lambda: interpolate(
            arguments.seeds, frames=arguments.frames, method=arguments.method, **_given(arguments)
        ),
        lambda result: (
            f"{len(result.images)} frames from seed {result.seeds[0]} to seed {result.seeds[1]}  "
            f"{sum(result.nfe.values())} NFE each"
        ),
    )


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "prompt", "negative", "device", "dtype")
    return {"registry": registry_of(arguments), **{name: getattr(arguments, name) for name in names}}


def _report(arguments: argparse.Namespace, run: Callable[[], Any], lines: Callable[[Any], str]) -> int:
    """Run, write and print an inversion or an interpolation."""
    try:
        with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
            result = run()
    except RuntimeError as error:
        print(f"zoo: failed: {error}", file=sys.stderr)
        return 1
    for notice in result.notices:
        print(f"zoo: {notice}", file=sys.stderr)
    folder = result.save(arguments.out) if arguments.out else None
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2))
        return 0
    print(lines(result))
    print(f"written to {folder}" if folder else "nothing written: name a folder with --out DIR")
    return 0
