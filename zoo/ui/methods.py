"""A method as the page edits it: a line of text, the values of its controls, and a title in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from zoo.hookspecs import Spec
from zoo.method import Method, Part
from zoo.pictures import is_picture
from zoo.registry import Registry

DEFAULT_LINES = ("ddim steps=5", "ddim steps=20", "ddpm steps=50", "ddim steps=20 | cfg scale=3")
"""What the page begins with."""

Values = dict[tuple[str, str], Any]
"""(name of the sampler or conditioner, name of its parameter) → value."""


def split(line: str, registry: Registry) -> tuple[str, list[str], Values]:
    """The sampler, the conditioners and the values of all their parameters.

    Raises:
        ValueError: the line cannot be read, or names or values in it do not exist.
    """
    from zoo.planning import resolve

    method = Method.parse(line)
    resolve(method, registry)
    values: Values = {}
    for part, spec in _specs(method, registry):
        params = spec.params_model()(**dict(part.params))
        values.update({(part.name, name): getattr(params, name) for name in type(params).model_fields})
    return method.sampler.name, [part.name for part in method.conditioners], values


def join(
    line: str,
    sampler: str,
    conditioners: Sequence[str],
    values: Mapping[tuple[str, str], Any],
    registry: Registry,
) -> str:
    """The line for these choices, which says what `line` said already and whatever is not the default."""
    try:
        old = Method.parse(line)
        said = {part.name: dict(part.params) for part in (old.sampler, *old.conditioners)}
    except ValueError:
        said = {}
    parts = []
    for spec in [registry.sampler(sampler), *(registry.conditioner(name) for name in conditioners)]:
        mine = said.get(spec.name, {})
        defaults = fields(spec)
        params = {}
        for name in [*mine, *(name for name in defaults if name not in mine)]:
            if name not in defaults:
                continue
            default = defaults[name].get_default(call_default_factory=True)
            value = values.get((spec.name, name), mine.get(name, default))
            if name in mine or value != default:
                params[name] = written(value)
        parts.append(Part(spec.name, tuple(params.items())))
    return str(Method(parts[0], tuple(parts[1:])))


def fresh(sampler: str, registry: Registry) -> str:
    """A line for a sampler newly chosen; its number of steps is said, being what people look for first."""
    declared = fields(registry.sampler(sampler))
    if "steps" not in declared:
        return sampler
    return f"{sampler} steps={written(declared['steps'].get_default(call_default_factory=True))}"


def title(line: str, registry: Registry) -> str:
    """The method in words: `DDIM, 20 steps + Classifier-free guidance, guidance scale 3`; else the line itself."""
    try:
        method = Method.parse(line)
        return " + ".join(_words(part, spec) for part, spec in _specs(method, registry))
    except (ValueError, LookupError, ImportError, ValidationError):
        return line


def fields(spec: Spec) -> dict[str, FieldInfo]:
    """The parameters of a sampler or conditioner; none if its implementation cannot be imported."""
    try:
        model: type[BaseModel] = spec.params_model()
    except ImportError:
        return {}
    return dict(model.model_fields)


def written(value: Any) -> str:
    """A value as people write it: 3 and not 3.0, true and not True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(getattr(value, "value", value))


def _specs(method: Method, registry: Registry) -> list[tuple[Part, Spec]]:
    return [
        (method.sampler, registry.sampler(method.sampler.name)),
        *((part, registry.conditioner(part.name)) for part in method.conditioners),
    ]


def _words(part: Part, spec: Spec) -> str:
    declared = fields(spec)
    params = dict(part.params)
    phrases = [spec.title]
    if "steps" in declared:
        steps = params.pop("steps", None) or written(declared["steps"].get_default(call_default_factory=True))
        phrases.append(f"{steps} step" if steps == "1" else f"{steps} steps")
    for name, value in params.items():
        if name in declared and is_picture(declared[name]):
            continue  # its name is a hash; the cell shows the picture itself
        label = (declared[name].title if name in declared else None) or name
        phrases.append(f"{label if len(label) < 2 else label[0].lower() + label[1:]} {value}")
    return ", ".join(phrases)
