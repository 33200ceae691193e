"""Write docs/plugins/reference.md and the list of checks in docs/plugins/testing.md from the docstrings.

    python scripts/plugin_docs.py

A test says when they are out of date.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import zoo
from zoo import hookspecs
from zoo.testing import CHECKS

DOCS = Path(__file__).parents[1] / "docs" / "plugins"
MARK = "<!-- written by scripts/plugin_docs.py -->"

SPECS = [zoo.SamplerSpec, zoo.ConditionerSpec, zoo.ModelSpec, zoo.AnnotatorSpec, zoo.MetricSpec]
PROTOCOLS = {
    "Samplers": [zoo.Sampler, zoo.Query, zoo.ClassQuery, zoo.Prediction, zoo.KarrasSampler],
    "Levels and schedules": [zoo.Level, zoo.Levels, zoo.Schedule, zoo.DiscreteSchedule, zoo.KarrasSchedule],
    "Conditioners": [zoo.Conditioner],
    "Models": [zoo.Model],
    "Annotators": [zoo.Annotator],
    "Metrics": [zoo.Metric, zoo.Finished, zoo.Score, zoo.Absent],
}


def reference() -> str:
    """The hooks, the specs, and the classes that plugins derive from or are handed."""
    parts = [
        "# Hooks and protocols\n\n" + MARK + "\n\n"
        "All of it can be imported from `zoo`; importing `zoo` loads neither torch nor diffusers.\n\n## Hooks\n\n"
        "Functions of the plugin's module, marked `@hookimpl`; a plugin has those that it needs."
    ]
    for name in hookspecs.HOOKS:
        parts.append(f"### `{name}()`\n\n{_text(getattr(hookspecs, name))}")
    parts.append(f"## Specs\n\nWhat hooks return.\n\n### `Spec`\n\n{_text(hookspecs.Spec)}")
    parts += [f"### `{spec.__name__}`\n\n{_text(spec)}" for spec in SPECS]
    for heading, classes in PROTOCOLS.items():
        parts.append(f"## {heading}")
        for cls in classes:
            parts.append(f"### `{cls.__name__}`\n\n{_text(cls)}")
            for name, member in vars(cls).items():
                function = getattr(member, "__func__", member)
                if name.startswith("_") or not inspect.isfunction(function) or not inspect.getdoc(function):
                    continue
                signature = ", ".join(
                    p for p in inspect.signature(function).parameters if p not in ("self", "cls")
                )
                parts.append(f"#### `{cls.__name__}.{name}({signature})`\n\n{_text(function)}")
    return "\n\n".join(parts) + "\n"


def testing(text: str) -> str:
    """The page on testing with its list of checks renewed; what stands above the mark is written by hand."""
    described: dict[str, list[str]] = {}
    for kind, checks in CHECKS.items():
        for function in checks:
            entry = described.setdefault(function.__name__, [])
            own = _text(function)
            if not entry or own not in entry[-1]:
                entry.append(f"*{kind}*: {own}")
            else:
                head, _, rest = entry[-1].partition(": ")
                entry[-1] = f"{head.rstrip('*')}, {kind}*: {rest}"
    listed = [f"### {name}\n\n" + "\n\n".join(texts) for name, texts in described.items()]
    return text.partition(MARK)[0] + "\n\n".join([MARK, *listed]) + "\n"


def _text(thing: object) -> str:
    """A docstring as Markdown: what is indented under Args, Raises and the like as it stands."""
    text = inspect.getdoc(thing) or ""
    blocks = []
    for block in text.split("\n\n"):
        indented = all(line.startswith("    ") for line in block.splitlines())
        section = re.match(r"(Args|Attributes|Raises|Returns|References):\n", block)
        blocks.append(f"```text\n{block}\n```" if section or indented else block)
    return "\n\n".join(blocks)


def main() -> None:
    """Write both pages."""
    (DOCS / "reference.md").write_text(reference(), encoding="utf-8")
    page = DOCS / "testing.md"
    page.write_text(testing(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
