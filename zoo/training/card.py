"""Model cards: what made a model, beside the model."""

from __future__ import annotations

import re
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
    """Write README.md: the exact commands, those of the network that `--init` names first, and the facts of the run.

    Args:
        earlier: (steps, stopped at) of runs that were resumed with another number of steps, oldest first.
    """
    stages = [recipe.model_copy(update={"steps": steps, "stop_at": stop}) for steps, stop in earlier]
    own = [command_line(name, stage) for stage in [*stages, recipe]]
    commands = "\n".join(commands_before(folder, recipe) + own)
    measured = "\n".join(f"| {k} | {v} |" for k, v in facts.items())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(
        f"# {name}\n\nMade by\n\n```\n{commands}\n```\n\n| of the run | |\n|---|---|\n{measured}\n",
        encoding="utf-8",
    )


def commands_before(folder: Path, recipe: Recipe) -> list[str]:
    """What made the network that a recipe goes on from, by its card; none if it has no card, or there is none."""
    init: Path | None = getattr(recipe, "init", None)
    if init is None:
        return []
    card = init / folder.relative_to(recipe.out / "model") / "README.md"
    found = re.search(r"```\n(.*?)\n```", card.read_text("utf-8"), re.DOTALL) if card.is_file() else None
    return found[1].splitlines() if found else []
