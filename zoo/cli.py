"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, get_args, get_origin


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="zoo")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a network")
    recipes = train.add_subparsers(dest="recipe", required=True)
    from zoo.training.denoiser import DenoiserRecipe

    add_options(recipes.add_parser("denoiser"), DenoiserRecipe)
    arguments = vars(parser.parse_args(argv))
    arguments.pop("command"), arguments.pop("recipe")
    from zoo.training.denoiser import train as train_denoiser

    train_denoiser(DenoiserRecipe(**arguments))
    return 0


def add_options(parser: argparse.ArgumentParser, recipe: Any) -> None:
    """One `--option` for each field of a recipe."""
    for name, field in recipe.model_fields.items():
        option = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%") + f" (default: {field.default})"
        kind = field.annotation
        if kind is bool:
            parser.add_argument(option, action="store_true", help=text)
        elif get_origin(kind) is list:
            parser.add_argument(option, nargs="+", type=get_args(kind)[0], default=field.default, help=text)
        else:
            parser.add_argument(option, default=field.default, help=text)


if __name__ == "__main__":
    sys.exit(main())
