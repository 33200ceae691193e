"""Write docs/plugins/reference.md, and what follows the mark in docs/plugins/testing.md and docs/python.md.

All of it comes from the docstrings.

    python scripts/reference.py

A test says when they are out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import zoo
from zoo import hookspecs
from zoo.testing import CHECKS

DOCS = Path(__file__).parents[1] / "docs"
MARK = "<!-- written by scripts/reference.py -->"

SPECS = [zoo.SamplerSpec, zoo.ConditionerSpec, zoo.ModelSpec, zoo.AnnotatorSpec, zoo.MetricSpec]
PROTOCOLS = {
    "Samplers": [zoo.Sampler, zoo.Query, zoo.ClassQuery, zoo.Prediction, zoo.KarrasSampler],
    "Levels and schedules": [zoo.Level, zoo.Levels, zoo.Schedule, zoo.DiscreteSchedule, zoo.KarrasSchedule],
    "Conditioners": [zoo.Conditioner],
    "Models": [zoo.Model],
    "Annotators": [zoo.Annotator],
    "Metrics": [zoo.Metric, zoo.Finished, zoo.Score, zoo.Absent],
}

PYTHON = {
    "Comparing": [zoo.compare, zoo.stream, zoo.Comparison, zoo.Method, zoo.Limits, zoo.Registry],
    "What comes out": [zoo.ComparisonResult, zoo.CellResult, zoo.Event],
    "Noise and pictures": [zoo.invert, zoo.Inversion, zoo.interpolate, zoo.Interpolation, zoo.annotate],
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
            parts += [f"### `{cls.__name__}`\n\n{_text(cls)}", *_members(cls)]
    return "\n\n".join(parts) + "\n"


def python(text: str) -> str:
    """The page on Python with its reference renewed; what stands above the mark is written by hand."""
    parts = [MARK]
    for heading, things in PYTHON.items():
        parts.append(f"## {heading}")
        for thing in things:
            if inspect.isclass(thing):
                parts += [f"### `{thing.__name__}`\n\n{_text(thing)}", *_members(thing)]
            else:
                parts.append(f"### `{thing.__name__}({_parameters(thing)})`\n\n{_text(thing)}")
    return text.partition(MARK)[0] + "\n\n".join(parts) + "\n"


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


def _members(cls: type) -> Iterator[str]:
    """Its public methods and properties, those with docstrings."""
    for name, member in vars(cls).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function) or not inspect.getdoc(function):
            continue
        called = "" if isinstance(member, property) else f"({_parameters(function)})"
        yield f"#### `{cls.__name__}.{name}{called}`\n\n{_text(function)}"


def _parameters(function: Callable[..., object]) -> str:
    return ", ".join(p for p in inspect.signature(function).parameters if p not in ("self", "cls"))


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
    """Write all three pages."""
    (DOCS / "plugins/reference.md").write_text(reference(), encoding="utf-8")
    for name, renew in {"plugins/testing.md": testing, "python.md": python}.items():
        page = DOCS / name
        page.write_text(renew(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
