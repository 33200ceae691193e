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


def title(line: str, registry: Registry) -> str:
    """The method in words: `DDIM, 20 steps + Classifier-free guidance, guidance scale 3`; else the line itself."""
    try:
        method = Method.parse(line)
        return " + ".join(words(part, spec) for part, spec in specs(method, registry))
    except (ValueError, LookupError, ImportError, ValidationError):
        return line


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


def words(part: Part, spec: Spec, without: Collection[str] = ()) -> str:
    """A part in words, but for some of its parameters."""
    declared = fields(spec)
    params = {name: value for name, value in part.params if name not in without}
    phrases = [spec.title]
    if "steps" in declared and "steps" not in without:
        steps = params.pop("steps", None) or written(declared["steps"].get_default(call_default_factory=True))
        phrases.append(f"{steps} step" if steps == "1" else f"{steps} steps")
    for name, value in params.items():
        if name in declared and is_picture(declared[name]):
            continue  # its name is a hash; the cell shows the picture itself
        label = (declared[name].title if name in declared else None) or name
        phrases.append(f"{label if len(label) < 2 else label[0].lower() + label[1:]} {value}")
    return ", ".join(phrases)


def written(value: Any) -> str:
    """A value as people write it: 3 and not 3.0, true and not True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(getattr(value, "value", value))
