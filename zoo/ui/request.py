"""What people ask for, checked before anything runs: the same for the page and for its API."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zoo.comparison import MAX_TEXT, Comparison
from zoo.method import MAX_LENGTH
from zoo.planning import resolve
from zoo.registry import Registry, UnknownName
from zoo.ui.cost import estimate
from zoo.ui.disclosure import unexpected, visible
from zoo.ui.words import Said, say

if TYPE_CHECKING:
    from zoo.limits import Limits

MAX_METHODS = 200
"""Most methods that the page compares at once, those of grids counted one by one."""

MAX_CARDS = 12
"""Most cards that the page shows."""

MAX_UPLOAD = 16_000_000
"""Most characters of an uploaded picture, as a data URI."""

MAX_PIXELS = 4096**2
"""Most pixels that are decoded of an uploaded picture, a large JPEG's after it was reduced on the way."""

MAX_PICTURES = 256
"""Most seeds that the page draws."""

BUDGET = 50_000
"""Most network evaluations of a comparison, all cells and images together, counted in pictures of 32 × 32."""

CELL_SECONDS = 900.0
"""Most seconds that one cell may take."""


MAX_LINES = 8
"""Of more lines than this that tell what is wrong, the first are shown."""


class Card(BaseModel):
    """A method line as a person edits it, which may stand for a grid of methods."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    line: str = Field(max_length=MAX_LENGTH)
    swap: bool = False
    """Rows for columns."""


class _Question(BaseModel):
    """What the page and the API ask alike."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    model: str = Field(max_length=MAX_TEXT)
    prompt: str = Field("", max_length=MAX_TEXT)
    negative: str = Field("", max_length=MAX_TEXT)
    seeds: str = Field("0", max_length=MAX_TEXT)
    alone: bool = False
    metrics: tuple[Annotated[str, Field(max_length=MAX_TEXT)], ...] = Field((), max_length=64)
    pictures: dict[
        Annotated[str, Field(max_length=MAX_TEXT)], Annotated[str, Field(max_length=MAX_UPLOAD)]
    ] = Field({}, max_length=MAX_CARDS)
    """Data URIs of those that the methods name."""


class Asked(_Question):
    """What the page's form holds, as the browser sends it."""

    cards: tuple[Card, ...] = Field((), max_length=MAX_CARDS)


class Called(_Question):
    """What a caller of the API asks, the same as the page's form but for the methods, which stand for themselves."""

    methods: tuple[Annotated[str, Field(max_length=MAX_LENGTH)], ...] = Field(max_length=MAX_METHODS)


def comparison_of(asked: Asked | Called, methods: Sequence[str], registry: Registry) -> Comparison:
    """The comparison that a question asks for, with the pictures that came along.

    Args:
        asked: what was sent.
        methods: its methods, one line each.
        registry: where names are looked up.

    Raises:
        ValueError: it cannot be run; the message is for the person who asked.
    """
    lines, pictures = uploaded(methods, asked.pictures, registry)
    return comparison_from(
        asked.model,
        asked.prompt,
        asked.negative,
        asked.seeds,
        lines,
        registry,
        asked.alone,
        asked.metrics,
        pictures,
    )


def comparison_from(
    model: str,
    prompt: str,
    negative: str,
    seeds: str,
    methods: Sequence[str],
    registry: Registry,
    alone: bool = False,
    metrics: Sequence[str] = (),
    pictures: Mapping[str, bytes] | None = None,
) -> Comparison:
    """The comparison asked for; every name and value in it exists, and what it needs of `pictures` is in it.

    Raises:
        ValueError: it cannot be run; the message is for the person who asked.
    """
    lines = [line for line in methods if line.strip()]
    if not lines:
        raise ValueError(say("ask.no_method"))
    if len(lines) > MAX_METHODS:
        raise ValueError(say("ask.methods", most=MAX_METHODS, n=len(lines)))
    try:  # not Comparison's "folder:PATH": a page must not read any folder that its visitors name
        registry.model(model)
    except UnknownName as error:
        raise ValueError(sentence(error)) from None
    try:
        comparison = Comparison(
            model=model,
            prompt=prompt or "",
            negative=negative or "",
            seeds=seeds,  # type: ignore[arg-type]
            cells=lines,  # type: ignore[arg-type]
            timing="alone" if alone else "shared",
            metrics=metrics,  # type: ignore[arg-type]
            pictures={
                name: png for name, png in (pictures or {}).items() if any(name in line for line in lines)
            },
        )
    except ValidationError as error:
        raise ValueError(readable(error)) from None
    if len(comparison.seeds) > MAX_PICTURES:
        raise ValueError(say("ask.seeds", most=MAX_PICTURES, n=len(comparison.seeds)))
    for method in comparison.cells:
        check_method(str(method), registry)
    for name in map(str, comparison.metrics):  # names alone: a parameter could name any folder too
        try:
            registry.metric(name)
        except UnknownName as error:
            raise ValueError(sentence(error)) from None
    return comparison


def check_method(line: str, registry: Registry) -> str:
    """The method in its usual spelling.

    Raises:
        ValueError: it cannot be read, or does not exist; the message is for the person who wrote it.
    """
    from zoo.method import Method

    try:
        method = Method.parse(line)
        resolve(method, registry)
    except ValueError as error:
        raise ValueError(sentence(error)) from None
    except Exception as error:  # a plugin's own code ran
        raise ValueError(f"In the method {line!r}: {unexpected(error)}") from error
    return str(method)


def uploaded(
    methods: Sequence[str], pictures: Mapping[str, str], registry: Registry
) -> tuple[list[str], dict[str, bytes]]:
    """Methods whose pictures have the names of their content, and these; `pictures` are data URIs by any name.

    Raises:
        ValueError: a picture is missing or cannot be read; the message is for the person who asked.
    """
    from zoo.method import Method
    from zoo.pictures import adopt

    def take(name: str) -> tuple[str, bytes]:
        if name not in pictures:
            raise ValueError(say("ask.picture_missing", name=name, there=", ".join(pictures) or "–"))
        try:
            content = base64.b64decode(pictures[name].rpartition(",")[2], validate=True)
        except ValueError:
            raise ValueError(say("ask.picture_uri", name=name)) from None
        return receive(content)

    try:
        adopted, known = adopt([Method.parse(line) for line in methods if line.strip()], {}, registry, take)
    except ValueError as error:
        raise ValueError(sentence(error)) from None
    return [str(method) for method in adopted], known


def receive(content: bytes) -> tuple[str, bytes]:
    """The name of a picture that was uploaded, and itself as it is kept, as of `zoo.pictures.admit`.

    Raises:
        ValueError: it is no picture, or too large a one.
    """
    from zoo.pictures import admit

    with _decoding:
        return admit(content, MAX_PIXELS)


_decoding = threading.BoundedSemaphore(2)
"""Gradio answers forty people at once; as many large pictures would not fit into memory."""


def limits_for(comparison: Comparison, registry: Registry) -> Limits:
    """What one cell may cost; needs torch, but loads no network.

    Raises:
        ValueError: the comparison asks for more than `BUDGET`, or its model cannot be loaded.
    """
    from zoo.limits import Limits

    found = estimate(comparison, registry)
    cost = found.evaluations * found.weight
    if cost > BUDGET:
        raise ValueError(
            say(
                "ask.budget",
                evaluations=found.evaluations,
                seeds=len(comparison.seeds),
                cost=f"{cost:,.0f}",
                budget=f"{BUDGET:,}",
            )
        )
    return Limits(nfe=min(10_000, max(1, int(BUDGET // found.weight))), seconds=CELL_SECONDS)


def sentence(error: object) -> str:
    """An error's message as visitors read it, like a sentence; what the page itself says stays translatable."""
    given = error.args[0] if isinstance(error, Exception) and error.args else error
    if isinstance(given, Said):
        return visible(given)
    text = visible(str(error))
    return text[:1].upper() + text[1:]


def readable(error: ValidationError) -> str:
    """What is wrong with each field, a line each; of many lines, the first."""
    lines = list(dict.fromkeys(_line(problem) for problem in error.errors(include_url=False)))
    more = f"\n… and {len(lines) - MAX_LINES} more." if len(lines) > MAX_LINES else ""
    return "\n".join(lines[:MAX_LINES]) + more


def _line(problem: Any) -> str:
    where = str(problem["loc"][0]) if problem["loc"] else ""
    message = problem["msg"].removeprefix("Value error, ")
    if where == "cells" or message.startswith(where):
        return sentence(message)
    whole = ".".join(str(part)[:40] for part in problem["loc"])  # some of it may be what was sent
    return f"{sentence(whole)}: {sentence(message)}"
