"""Controls for the parameters of plugins, made from their pydantic fields."""

from __future__ import annotations

import math
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from zoo.pictures import is_picture
from zoo.ui.methods import written


def control(name: str, field: FieldInfo, value: Any, **placement: Any) -> Component:
    """The control that fits a field: its title as the label, its description beneath.

    A bounded number gets a slider, another number a number field, a choice a dropdown, a truth value a
    checkbox, a picture an upload, and everything else a text field, which pydantic reads like a value on the command
    line.
    """
    if is_picture(field):
        label = f"{field.title or name}: {field.description}" if field.description else field.title or name
        return gr.File(label=label, file_types=["image"], type="binary", height=120, **placement)
    common = {"label": field.title or name, "info": field.description, "interactive": True, **placement}
    kind = _unwrapped(field.annotation)
    if kind is bool:
        return gr.Checkbox(value=bool(value), **common)
    choices = _choices(kind)
    if choices is not None:
        return gr.Dropdown(choices=choices, value=getattr(value, "value", value), filterable=False, **common)
    if kind in (int, float):
        low, high = bounds(field)
        if low is not None and high is not None:
            whole = kind is int
            step = 1.0 if whole else _step(low, high, [value, field.get_default(call_default_factory=True)])
            low += step if _has(field, "gt") else 0
            high -= step if _has(field, "lt") else 0
            number = int if whole else float
            return gr.Slider(number(low), number(high), value=value, step=number(step), buttons=[], **common)
        return gr.Number(
            value=value, minimum=low, maximum=high, precision=0 if kind is int else None, buttons=[], **common
        )
    return gr.Textbox(value="" if value is None else written(value), max_lines=1, **common)


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """The lowest and the highest value that a field allows, or excludes just so; None where there is no bound."""
    low = high = None
    for rule in field.metadata:
        low = next((v for k in ("ge", "gt") if (v := getattr(rule, k, None)) is not None), low)
        high = next((v for k in ("le", "lt") if (v := getattr(rule, k, None)) is not None), high)
    return low, high


def _has(field: FieldInfo, rule: str) -> bool:
    return any(getattr(entry, rule, None) is not None for entry in field.metadata)


def _unwrapped(annotation: Any) -> Any:
    """`X` of an optional `X | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation


def _choices(kind: Any) -> list[tuple[str, Any]] | None:
    if get_origin(kind) is Literal:
        return [(written(choice), choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [(written(choice), choice.value) for choice in kind]
    return None


def _step(low: float, high: float, values: list[Any]) -> float:
    """About a hundredth of the range, in powers of ten, and fine enough for the values that must be reachable."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-12) / 50))
    for _ in range(4):
        places = [(float(v) - low) / step for v in values if isinstance(v, int | float)]
        if all(abs(place - round(place)) < 1e-6 for place in places):
            break
        step /= 10
    return float(f"{step:.6g}")
