"""What the page knows before anybody asks: models, methods with their controls, metrics, presets."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo.hookspecs import Spec
from zoo.method import Method
from zoo.planning import resolve
from zoo.registry import Registry
from zoo.ui import methods, presets
from zoo.ui.controls import control
from zoo.ui.disclosure import unexpected
from zoo.ui.request import MAX_CARDS, sentence
from zoo.ui.sweep import Axis, Grid, expand

WELCOME = Path(__file__).with_name("static") / "welcome.json"
"""A comparison made earlier, which `python scripts/welcome.py` writes: what a first visitor sees at once."""


def catalogue(registry: Registry) -> dict[str, Any]:
    """All of it, as JSON."""
    read = partial(card, registry=registry)
    return {
        "models": [_about(spec) for spec in registry.models.values()],
        "samplers": [_method(spec) for spec in registry.samplers.values()],
        "conditioners": [_method(spec) for spec in registry.conditioners.values()],
        "metrics": [_about(spec) for spec in registry.metrics.values()],
        "cards": [read(line) for line in methods.DEFAULT_LINES],
        "presets": [
            {
                "name": preset.name,
                "seeds": preset.seeds,
                "metrics": list(preset.metrics),
                "plain": _plain(preset, registry),
                "cards": [read(line) for line in preset.lines],
            }
            for preset in presets.known(registry)
        ],
        "most_cards": MAX_CARDS,
        "welcome": json.loads(WELCOME.read_text(encoding="utf-8")) if WELCOME.is_file() else None,
    }


def card(line: str, registry: Registry, swap: bool = False) -> dict[str, Any]:
    """A method line as the page edits it.

    Returns:
        line: in its usual spelling.
        title: in words.
        parts: each with its name and its parameters as written.
        cells: how many methods it stands for.
        columns, rows: the titles and values of its axes, or None.
        problem: what is wrong with it, "" if nothing is.
        problems: the same by "part.parameter", where a parameter is to blame.
    """
    found: dict[str, Any] = {
        "line": line,
        "swap": swap,
        "title": line,
        "phrases": [],
        "parts": [],
        "cells": 0,
    }
    found |= {"columns": None, "rows": None, "problem": "", "problems": {}}
    try:
        method = Method.parse(line)
        found |= {
            "line": str(method),
            "parts": [_part(part) for part in (method.sampler, *method.conditioners)],
        }
        grid = expand(line, registry, swap)
        found |= {"cells": len(grid.spots), "columns": axis(grid.columns), "rows": axis(grid.rows)}
        found["phrases"] = grid_phrases(grid, registry)
        found["title"] = methods.in_english(found["phrases"])
        found["problems"] = _problems(grid, registry)
        found["problem"] = "; ".join(dict.fromkeys(found["problems"].values()))
    except ValueError as error:
        found["problem"] = sentence(error)
    except Exception as error:  # a plugin's own code ran
        found["problem"] = unexpected(error)
    return found


def grid_phrases(grid: Grid, registry: Registry) -> list[list[methods.Phrase]]:
    """What the title of a line says; a swept parameter is left out, being on an axis."""
    found = []
    for place, (part, spec) in enumerate(methods.specs(grid.spots[0].method, registry)):
        swept = {axis.name for axis in (grid.columns, grid.rows) if axis and axis.part == place}
        found.append(methods.told(part, spec, swept))
    return found


def axis(found: Axis | None) -> dict[str, Any] | None:
    """An axis as JSON."""
    if found is None:
        return None
    return {"part": found.part, "name": found.name, "title": found.title, "values": list(found.values)}


def _problems(grid: Grid, registry: Registry) -> dict[str, str]:
    """What pydantic says of every value, by "part.parameter"."""
    problems: dict[str, str] = {}
    for spot in grid.spots:
        for place, (part, spec) in enumerate(methods.specs(spot.method, registry)):
            try:
                spec.params_model()(**dict(part.params))
            except ValidationError as error:
                for one in error.errors():
                    name = str(one["loc"][0]) if one["loc"] else ""
                    message = one["msg"][:1].lower() + one["msg"][1:]
                    if one["type"] == "extra_forbidden":
                        has = ", ".join(spec.params_model().model_fields) or "none"
                        message = f"there is no such parameter; {part.name} has {has}"
                    problems.setdefault(f"{place}.{name}", f"{name}={one['input']}: {message}")
    return problems


def _plain(preset: presets.Preset, registry: Registry) -> bool:
    """Whether it asks nothing but a denoiser, so that every model can be expected to run it."""
    roles: set[str] = set()
    try:
        for line in preset.lines:
            for spot in expand(line, registry).spots:
                sampler, conditioners = resolve(spot.method, registry)
                roles.update(sampler.requires(), *(conditioner.requires() for conditioner in conditioners))
    except Exception:  # a plugin's own code ran
        return False
    return roles <= {"denoiser"}


def _part(part: Any) -> dict[str, Any]:
    return {"name": part.name, "params": [list(pair) for pair in part.params]}


def _about(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "title": spec.title, "summary": spec.summary}


def _method(spec: Spec) -> dict[str, Any]:
    controls = [control(name, field) for name, field in methods.fields(spec).items()]
    return _about(spec) | {"paper": spec.paper, "controls": controls}
