"""`zoo train RECIPE`: every option is a field of the recipe."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from zoo.commands.options import problem_line

RECIPES = {
    "denoiser": "zoo.training.denoiser",
    "distill": "zoo.training.distill",
    "consistency": "zoo.training.consistency",
    "classifier": "zoo.training.classifier",
    "controlnet": "zoo.training.controlnet",
    "features": "zoo.training.features",
}


def add(commands: Any, words: Sequence[str]) -> None:
    """Add the command, with the options of the recipe that `words`, the command line, names."""
    train = commands.add_parser("train", help="train a network")
    recipes = train.add_subparsers(dest="network", required=True)
    for name, module in RECIPES.items():
        recipe = recipes.add_parser(name, help=f"see zoo train {name} --help")
        recipe.set_defaults(run=_train)
        if list(words[:2]) == ["train", name]:  # only the chosen recipe's module is imported: it needs torch
            recipe.description = _recipe(module).__doc__
            add_options(recipe, _recipe(module).model_fields)


def _train(arguments: argparse.Namespace) -> int:
    from pydantic import ValidationError

    module = RECIPES[arguments.network]
    options = {k: v for k, v in vars(arguments).items() if k not in ("command", "network", "run")}
    try:
        recipe = _recipe(module)(**options)
    except ValidationError as error:
        raise ValueError("; ".join(problem_line(problem) for problem in error.errors())) from None
    folder = importlib.import_module(module).train(recipe)
    if os.environ.get("RANK", "0") != "0":
        return 0  # one process of several speaks for all
    print(f"written to {folder}" if folder else f"stopped; repeat the command to go on from {recipe.out}")
    return 0


def _recipe(module: str) -> Any:
    """The recipe class of a training module, the one that it defines itself."""
    from zoo.training.recipe import Recipe

    found = vars(importlib.import_module(module)).values()
    return next(c for c in found if isinstance(c, type) and issubclass(c, Recipe) and c.__module__ == module)


def add_options(parser: argparse.ArgumentParser, fields: Any) -> None:
    """One `--option` for each field of a recipe."""
    for name, field in fields.items():
        option = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%") + f" (default: {field.default})"
        kind = field.annotation
        if kind is bool:
            parser.add_argument(option, action="store_true", help=text)
        elif get_origin(kind) is list:
            parser.add_argument(option, nargs="+", type=get_args(kind)[0], default=field.default, help=text)
        else:
            parser.add_argument(option, default=field.default, help=text)
