"""A method as the page edits it: a line of text, its parts and the values in them, and a title in words."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from zoo.hookspecs import Spec
from zoo.method import Method, Part
from zoo.pictures import is_picture
from zoo.registry import Registry

DEFAULT_LINES = ("ddim steps=5", "ddim steps=20", "ddpm steps=50", "ddim steps=20 | cfg scale=3")
"""What the page begins with."""

STEPS = "steps"

Phrase = list[str]
"""What a plugin calls something, and its value or ""; [STEPS, "20"] is 20 steps."""


def title(line: str, parts: list[list[Phrase]]) -> str:
    """The method in words, of its phrases: `DDIM, 20 steps + Classifier-free guidance, guidance scale 3`.

    The line itself where there are none.
    """
    return in_english(parts) or line


def phrases(line: str, registry: Registry) -> list[list[Phrase]]:
    """What a method's title says, part by part, for those who say it in another language; [] if it cannot be read."""
    try:
        return [told(part, spec) for part, spec in specs(Method.parse(line), registry)]
    except (ValueError, LookupError, ImportError, ValidationError):
        return []


def in_english(parts: list[list[Phrase]]) -> str:
    """A title of its phrases."""
    return " + ".join(", ".join(map(_english, enumerate(part))) for part in parts)


def specs(method: Method, registry: Registry) -> list[tuple[Part, Spec]]:
    """The parts of a method with what they name, the sampler first.

    Raises:
        UnknownName: there is no such sampler or conditioner.
    """
    return [
        (method.sampler, registry.sampler(method.sampler.name)),
        *((part, registry.conditioner(part.name)) for part in method.conditioners),
    ]


def fields(spec: Spec) -> dict[str, FieldInfo]:
    """The parameters of a sampler or conditioner; none if they, or their defaults, cannot be had."""
    try:
        model: type[BaseModel] = spec.params_model()
        for field in model.model_fields.values():
            field.get_default(call_default_factory=True)
    except (Exception, SystemExit):  # a plugin's own code ran; a comparison with it says what happened
        return {}
    return dict(model.model_fields)


def told(part: Part, spec: Spec, without: Collection[str] = ()) -> list[Phrase]:
    """The phrases of a part, but for some of its parameters."""
    declared = fields(spec)
    params = {name: value for name, value in part.params if name not in without}
    found: list[Phrase] = [[spec.title, ""]]
    if STEPS in declared and STEPS not in without:
        steps = params.pop(STEPS, None) or written(declared[STEPS].get_default(call_default_factory=True))
        found.append([STEPS, steps])
    for name, value in params.items():
        if name in declared and is_picture(declared[name]):
            continue  # its name is a hash; the cell shows the picture itself
        found.append([(declared[name].title if name in declared else None) or name, value])
    return found


def _english(numbered: tuple[int, Phrase]) -> str:
    place, (text, value) = numbered
    if not place:
        return text
    if text == STEPS:
        return f"{value} step" if value == "1" else f"{value} steps"
    return f"{text if len(text) < 2 else text[0].lower() + text[1:]} {value}"


def written(value: Any) -> str:
    """A value as people write it: 3 and not 3.0, true and not True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(getattr(value, "value", value))
