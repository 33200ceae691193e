"""Model cards: what made a model, beside the model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.training.recipe import Recipe


def command_line(name: str, recipe: Recipe) -> str:
    """The `zoo train` command that repeats a recipe, whatever the defaults will be by then."""
    words = ["python", "-m", "zoo", "train", name]
    for key, value in recipe.model_dump(mode="json", exclude_none=True).items():
        option = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words += [option] if value else []
        elif isinstance(value, list):
            words += [option, *(str(v) for v in value)]
        else:
            words += [option, str(value)]
    return shlex.join(words)


def write_card(
    folder: Path,
    name: str,
    recipe: Recipe,
    facts: dict[str, Any],
    earlier: Sequence[tuple[int, int]] = (),
) -> None:
    """Write README.md: the exact commands and the facts of the run.

    Args:
        earlier: (steps, stopped at) of runs that were resumed with another number of steps, oldest first.
    """
    stages = [recipe.model_copy(update={"steps": steps, "stop_at": stop}) for steps, stop in earlier]
    commands = "\n".join(command_line(name, stage) for stage in [*stages, recipe])
    measured = "\n".join(f"| {k} | {v} |" for k, v in facts.items())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(
        f"# {name}\n\nMade by\n\n```\n{commands}\n```\n\n| of the run | |\n|---|---|\n{measured}\n",
        encoding="utf-8",
    )
