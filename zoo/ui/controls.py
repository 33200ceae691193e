"""What the page needs to know to draw a control for a parameter, read off its pydantic field."""

from __future__ import annotations

import math
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from zoo.pictures import is_picture
from zoo.ui.methods import written

Control = dict[str, Any]
"""name, title, help, kind (slider, number, switch, choice, picture or text), default, and what else it needs."""


def control(name: str, field: FieldInfo) -> Control:
    """The control that fits a field.

    A bounded number gets a slider, another number a number field, a choice a menu, a truth value a switch, a picture
    an upload, and everything else a text field, which pydantic reads like a value on the command line.
    """
    default = field.get_default(call_default_factory=True)
    about: Control = {
        "name": name,
        "title": field.title or name,
        "help": field.description or "",
        "kind": "text",
        "default": "" if default is None else written(default),
    }
    if is_picture(field):
        return about | {"kind": "picture"}
    kind = _unwrapped(field.annotation)
    if kind is bool:
        return about | {"kind": "switch"}
    choices = _choices(kind)
    if choices is not None:
        return about | {"kind": "choice", "choices": choices}
    if kind not in (int, float):
        return about
    low, high = bounds(field)
    whole = kind is int
    about |= {"kind": "number", "min": low, "max": high, "whole": whole}
    if low is None or high is None:
        return about
    step = 1.0 if whole else _step(low, high, default)
    low += step if _has(field, "gt") else 0
    high -= step if _has(field, "lt") else 0
    # Between 10 and 20 steps there is more to see than between 900 and 910.
    logarithmic = low > 0 and high / low >= 100
    return about | {"kind": "slider", "min": low, "max": high, "step": step, "logarithmic": logarithmic}


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


def _choices(kind: Any) -> list[str] | None:
    if get_origin(kind) is Literal:
        return [written(choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [written(choice) for choice in kind]
    return None


def _step(low: float, high: float, default: Any) -> float:
    """About a hundredth of the range, in powers of ten, and fine enough for the default to be reachable."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-12) / 50))
    for _ in range(4):
        if not isinstance(default, int | float) or abs((p := (default - low) / step) - round(p)) < 1e-6:
            break
        step /= 10
    return float(f"{step:.6g}")
