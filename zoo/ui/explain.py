"""What may be compared, and what a method does, as JSON for those who ask through the API or an assistant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from zoo.hookspecs import ImplementationError, Spec
from zoo.lessons.methods import Lesson, lessons
from zoo.method import Method, Part
from zoo.registry import Registry, UnknownName
from zoo.ui import methods
from zoo.ui.controls import control

PAPERS = "https://arxiv.org/abs/"


class Named(TypedDict):
    """Something that is registered."""

    name: str
    title: str
    summary: str


class Offered(TypedDict):
    """What there is to compare, and to score it with."""

    samplers: list[Named]
    conditioners: list[Named]
    models: list[Named]
    metrics: list[Named]


class Source(TypedDict):
    """Lines of a file."""

    file: str
    line: int
    text: str


class Explained(TypedDict):
    """A sampler or a conditioner; its equation is LaTeX, and its parameters are those of `zoo.ui.controls`."""

    name: str
    kind: str
    title: str
    summary: str
    equation: str
    cost: str
    when: str
    paper: str
    parameters: list[dict[str, Any]]
    source: Source | None
    problem: str


class Explanation(TypedDict):
    """A method, part by part."""

    line: str
    title: str
    parts: list[Explained]


def offered(registry: Registry) -> Offered:
    """All samplers, conditioners, models and metrics."""
    return {
        "samplers": _named(registry.samplers),
        "conditioners": _named(registry.conditioners),
        "models": _named(registry.models),
        "metrics": _named(registry.metrics),
    }


def explanation(line: str, registry: Registry) -> Explanation:
    """A method, part by part: equation, paper, cost, use, parameters and source.

    Args:
        line: a method, such as "ddim steps=20 | cfg scale=3", or the name of a sampler or a conditioner alone.

    Raises:
        ValueError: it cannot be read, or names what does not exist.
    """
    method = Method.parse(line)
    known: dict[tuple[str, str], Lesson] = {
        (lesson.kind, name): lesson for lesson in lessons(registry) for name in lesson.names
    }
    try:
        if not method.conditioners and method.sampler.name in registry.conditioners:
            specs: list[tuple[Part, Spec]] = [(method.sampler, registry.conditioner(method.sampler.name))]
        else:
            specs = methods.specs(method, registry)
    except UnknownName as error:
        raise ValueError(str(error)) from None
    return {
        "line": str(method),
        "title": methods.in_english([methods.told(part, spec) for part, spec in specs]),
        "parts": [_part(spec, known[spec.kind, spec.name]) for _, spec in specs],
    }


def _named(table: Mapping[str, Spec]) -> list[Named]:
    return [{"name": spec.name, "title": spec.title, "summary": spec.summary} for spec in table.values()]


def _part(spec: Spec, lesson: Lesson) -> Explained:
    try:
        parameters = [control(name, field) for name, field in spec.params_model().model_fields.items()]
        problem = ""
    except ImplementationError as error:
        parameters, problem = [], str(error)
    source = lesson.source
    return {
        "name": spec.name,
        "kind": spec.kind,
        "title": spec.title,
        "summary": spec.summary,
        "equation": spec.equation,
        "cost": spec.cost,
        "when": spec.when,
        "paper": PAPERS + spec.paper if spec.paper else "",
        "parameters": parameters,
        "source": {"file": source.file, "line": source.first, "text": source.text} if source else None,
        "problem": problem,
    }
