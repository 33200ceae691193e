"""Sweeps: one line that stands for a grid of methods, `ddim steps=5,10,20 eta=0..1..0.5`.

Values are written like seeds: a list with commas, or first..last..step. The first parameter with several values
runs across the columns, the second down the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic.fields import FieldInfo

from zoo.method import Method, Part
from zoo.registry import Registry, UnknownName
from zoo.ui.controls import control
from zoo.ui.methods import fields

MOST = 24
"""Most values of one swept parameter."""

_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Axis:
    """A parameter with several values.

    Attributes:
        part: 0 for the sampler, 1 for its first conditioner, and so on.
        name: of the parameter.
        title: for people.
        values: as written.
    """

    part: int
    name: str
    title: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Spot:
    """One method of a grid, and where it stands."""

    method: Method
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Grid:
    """What a line stands for: rows × columns of methods; without axes one method alone."""

    spots: tuple[Spot, ...]
    columns: Axis | None = None
    rows: Axis | None = None


def expand(line: str, registry: Registry, swap: bool = False) -> Grid:
    """The methods that a line stands for.

    Args:
        line: a method, some of whose values may be lists or ranges.
        registry: tells which parameters are texts, in which a comma is a comma.
        swap: rows for columns.

    Raises:
        ValueError: the line cannot be read, names what does not exist, or sweeps more than two parameters.
    """
    method = Method.parse(line)
    axes = [
        Axis(place, name, _title(declared.get(name), name), values)
        for place, part in enumerate((method.sampler, *method.conditioners))
        for declared in [_declared(part, place, registry)]
        for name, value in part.params
        if (values := _values(value, name, declared.get(name)))
    ]
    if len(axes) > 2:
        names = ", ".join(axis.title for axis in axes)
        raise ValueError(f"a grid has two axes, and {len(axes)} parameters have several values: {names}")
    ordered: list[Axis | None] = [*axes, None, None][:2]
    columns, rows = reversed(ordered) if swap else ordered
    spots = [
        Spot(_with(_with(method, rows, row), columns, column), row, column)
        for row in range(len(rows.values) if rows else 1)
        for column in range(len(columns.values) if columns else 1)
    ]
    return Grid(tuple(spots), columns, rows)


def _declared(part: Part, place: int, registry: Registry) -> dict[str, FieldInfo]:
    try:
        return fields(registry.conditioner(part.name) if place else registry.sampler(part.name))
    except UnknownName as error:
        raise ValueError(str(error)) from None


def _title(field: FieldInfo | None, name: str) -> str:
    return (field.title if field else None) or name


def _values(text: str, name: str, field: FieldInfo | None) -> tuple[str, ...]:
    """The several values that a text stands for; none if it is one value."""
    if (
        field is None
        or control(name, field)["kind"] in ("text", "picture")
        or not ("," in text or ".." in text)
    ):
        return ()
    values: list[str] = []
    for piece in text.split(","):
        piece = piece.strip()
        match = _RANGE.fullmatch(piece)
        if not match and (not piece or ".." in piece):
            raise ValueError(
                f"{name}={text}: several values are written 5,10,20 or first..last..step, such as 0..1..0.25"
            )
        values += _range(name, *match.groups()) if match else [piece]
    if len(set(values)) != len(values):
        raise ValueError(f"{name}={text}: a value stands there twice")
    if len(values) > MOST:
        raise ValueError(f"{name}={text}: at most {MOST} values, these are {len(values)}")
    return tuple(values)


def _range(name: str, first: str, last: str, step: str | None) -> list[str]:
    """Both ends included, in decimals, so that 0..1..0.1 holds 0.3 and not 0.30000000000000004."""
    low, high, by = Decimal(first), Decimal(last), Decimal(step or "1")
    if by <= 0 or high < low:
        raise ValueError(f"{name}={first}..{last}: a range ascends, in steps above 0")
    if (high - low) / by > MOST:
        raise ValueError(f"{name}={first}..{last}: at most {MOST} values")
    return [f"{low + k * by:f}" for k in range(int((high - low) / by) + 1)]


def _with(method: Method, axis: Axis | None, index: int) -> Method:
    """The method with one value of an axis."""
    if axis is None:
        return method
    parts = [method.sampler, *method.conditioners]
    part = parts[axis.part]
    params = tuple((name, axis.values[index] if name == axis.name else value) for name, value in part.params)
    parts[axis.part] = replace(part, params=params)
    return Method(parts[0], tuple(parts[1:]))
