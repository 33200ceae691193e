"""One lesson per method, taken from its plugin: what it does, its equation, paper, cost, use, and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoo.hookspecs import Spec
from zoo.lessons.source import Excerpt, implementation, same_code
from zoo.registry import Registry

FAMILY = 3
"""At least so many methods that run the same code share one lesson."""


@dataclass(frozen=True)
class Lesson:
    """What can be learned of one method, or of a family that runs the same code.

    Attributes:
        kind: sampler or conditioner.
        names: as written in a method's line.
        title, summary, equation, paper, cost, when: the plugin's own; see `zoo.hookspecs.Spec`.
        source: the code as it runs; None for an implementation that is imported at its first use.
    """

    kind: Literal["sampler", "conditioner"]
    names: tuple[str, ...]
    title: str
    summary: str
    equation: str
    paper: str
    cost: str
    when: str
    source: Excerpt | None


def lessons(registry: Registry) -> list[Lesson]:
    """Of all samplers and conditioners that are registered, in their order."""
    return [
        *_lessons("sampler", registry.samplers, "sample"),
        *_lessons("conditioner", registry.conditioners, "guide"),
    ]


def _lessons(kind: Literal["sampler", "conditioner"], specs: Mapping[str, Spec], method: str) -> list[Lesson]:
    groups: dict[Any, list[str]] = {}
    for name, spec in specs.items():
        groups.setdefault(_code(spec, method) or name, []).append(name)
    found = []
    for names in groups.values():
        families = [names] if len(names) >= FAMILY else [[name] for name in names]
        found += [_lesson(kind, tuple(family), specs[family[0]], method) for family in families]
    return found


def _code(spec: Spec, method: str) -> Any:
    return same_code(spec.implementation, method) if isinstance(spec.implementation, type) else None


def _lesson(
    kind: Literal["sampler", "conditioner"], names: tuple[str, ...], spec: Spec, method: str
) -> Lesson:
    source = None
    if isinstance(spec.implementation, type):
        try:
            source = implementation(spec.implementation, method)
        except (OSError, TypeError, StopIteration):  # made at run time, or without its source
            source = None
    title = spec.title
    if len(names) > 1:
        title = f"{names[0].partition('/')[0]}: {len(names)} {kind}s"
    return Lesson(kind, names, title, spec.summary, spec.equation, spec.paper, spec.cost, spec.when, source)
