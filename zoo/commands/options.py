"""Options and messages that commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.registry import Registry


def plugin_options(parser: argparse.ArgumentParser) -> None:
    """Where plugins and models come from."""
    parser.add_argument(
        "--plugins-dir", metavar="DIR", help="load the .py files in this folder as plugins too"
    )
    parser.add_argument("--models", metavar="FILE", help="a models.toml, whose models have names here too")
    parser.add_argument("--safe-mode", action="store_true", help="built-in plugins only")


def registry_of(arguments: argparse.Namespace) -> Registry:
    """The registry that `plugin_options` ask for."""
    from zoo.registry import Registry

    return Registry(arguments.plugins_dir, safe_mode=arguments.safe_mode, models=arguments.models)


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """A number above 0, as argparse wants its types."""

    def parse(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


def problem_line(problem: Any) -> str:
    """One of pydantic's errors in one line: where, what."""
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}".removeprefix(": ").replace("Value error, ", "", 1)
