"""`zoo claims`: what papers say of samplers, measured here."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from zoo.commands.options import plugin_options, registry_of


def add(commands: Any) -> None:
    """Add the command to the command line."""
    claims = commands.add_parser(
        "claims",
        help="check what papers say of samplers",
        description="Measure what papers found about samplers on a model of tinyworld, and say what holds.",
    )
    claims.add_argument(
        "--quick",
        action="store_true",
        help="the strongest claims, paired on 256 pictures of each method: minutes, not hours",
    )
    claims.add_argument(
        "--pictures",
        type=_pictures,
        metavar="N",
        help="of each method, a multiple of 256 (default: 2048; 256 with --quick)",
    )
    claims.add_argument(
        "--speed",
        action="store_true",
        help="instead of measuring more, time the methods of the plots side by side; on an otherwise idle machine",
    )
    claims.add_argument("--model", default="tinyworld", help="a model of tinyworld (default: tinyworld)")
    claims.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    claims.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("runs/claims"),
        help="where measurements are kept, so that an interrupted run goes on (default: runs/claims)",
    )
    claims.add_argument(
        "--write",
        type=Path,
        metavar="PAGE.md",
        help="put table and plots into a page such as docs/results.md",
    )
    claims.add_argument("--json", action="store_true", help="print the findings as JSON and nothing else")
    plugin_options(claims)
    claims.set_defaults(run=_claims)


def _claims(arguments: argparse.Namespace) -> int:
    """0 unless a claim of every paper does not hold here."""
    from zoo.claims import report
    from zoo.claims.run import run

    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        found = run(
            arguments.model,
            registry_of(arguments),
            arguments.out,
            arguments.quick,
            arguments.device,
            bar=not arguments.json,
            pictures=arguments.pictures,
            time=arguments.speed,
        )
        if arguments.write is not None:
            report.write(found, arguments.write)
    if arguments.json:
        print(json.dumps([finding.to_dict() for finding in found.findings], indent=2))
    else:
        print(report.text(found))
    failed = [f for f in found.findings if f.claim.kind == "must" and f.verdict == "does not hold"]
    return 1 if failed else 0


def _pictures(text: str) -> int:
    if not text.isdigit() or int(text) < 1 or int(text) % 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive multiple of 256, such as 512")
    return int(text)
