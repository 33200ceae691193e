"""A comparison: one model, one prompt, shared noise, and the methods to be seen side by side.

`stream` runs one and yields what happens; `compare` waits for the end. The same `Comparison` gives the same
pictures from the page, the command line, a notebook and another machine, up to the rounding of the dtype it is run in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from zoo.method import Method, Part
from zoo.metric import NoScore, Score
from zoo.noise import MAX_SEED
from zoo.pictures import beside
from zoo.registry import Registry
from zoo.watchdog import Watch

if TYPE_CHECKING:
    import torch

    from zoo.cell import Status
    from zoo.frames import Frames
    from zoo.limits import Limits

MAX_IMAGES, MAX_CELLS, MAX_TEXT = 4096, 256, 1000


def _method(value: Any) -> Any:
    return Method.parse(value) if isinstance(value, str) else value


def _metric(value: Any) -> Any:
    return Part.parse(value) if isinstance(value, str) else value


def _seeds(value: Any) -> Any:
    """Seeds as written on a command line: `7`, `0..3` (both included), `1,5,8..10`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return value
    seeds: list[int] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,16})(?:\s*\.\.\s*(\d{1,16}))?\s*", part)
        if match is None:
            raise ValueError(f"seeds are written 7, 0..3 or 1,5,8..10, got {value!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MAX_IMAGES:
            raise ValueError(f"{part.strip()!r} must ascend and hold at most {MAX_IMAGES} seeds")
        seeds.extend(range(first, last + 1))
        if len(seeds) > MAX_IMAGES:  # before a long text has become a longer list
            raise ValueError(f"there are at most {MAX_IMAGES} seeds, these are more")
    return seeds


MethodLine = Annotated[
    Method,
    BeforeValidator(_method, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]

MetricLine = Annotated[
    Part,
    BeforeValidator(_metric, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]


class Comparison(BaseModel):
    """Everything that decides the pictures of a comparison; JSON both ways.

    Attributes:
        model: a registered model's name, folder:PATH for a folder that diffusers or `zoo train denoiser` saved, or
            hub:OWNER/NAME[@REVISION].
        prompt, negative: what to draw, and what classifier-free guidance leads away from; "" is unconditional.
        seeds: one image each, the same start noise in every cell; also "0..3".
        cells: methods in one line each, `ddim steps=20 | cfg scale=3`.
        timing: "shared" runs all cells fused and tells each one's share of the time; "alone" runs them one by one,
            each after a warm-up.
        metrics: what scores the cells that are done, in one line each, such as `frechet`.
        record: what it was run with (versions, device, hashes), and the page's cards; written beside results, ignored
            when run again.
        pictures: PNG by the name that methods call it, see `zoo.pictures`; no part of the JSON, files beside it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    model: str = Field("tinyworld", min_length=1, max_length=MAX_TEXT)
    prompt: str = Field("", max_length=MAX_TEXT)
    negative: str = Field("", max_length=MAX_TEXT)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...], BeforeValidator(_seeds)] = Field(
        (0,), min_length=1, max_length=MAX_IMAGES
    )
    cells: tuple[MethodLine, ...] = Field(min_length=1, max_length=MAX_CELLS)
    timing: Literal["shared", "alone"] = "shared"
    metrics: tuple[MetricLine, ...] = Field((), max_length=MAX_CELLS)
    record: dict[str, Any] | None = None
    pictures: Mapping[str, bytes] = Field({}, exclude=True, repr=False)

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """A saved comparison.json, with the pictures beside it.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no comparison.
        """
        saved = cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        return saved.model_copy(update={"pictures": beside(path, [str(line) for line in saved.cells])})


@dataclass(frozen=True)
class CellResult:
    """What became of one cell.

    Attributes:
        method: in one line.
        status: queued, running, done, failed, cancelled, or na (impossible on this model; `error` says why).
        images: (n, 3, H, W) float within [-1, 1], on the CPU; None unless done.
        samples: the raw sample (n, *shape), which for some models is not a picture.
        nfe: network evaluations per image, by role.
        seconds: of all its images; shared or alone as the comparison says.
        noise: hash of the start noise; equal hashes started from the same noise.
        error, traceback: what went wrong.
        metrics: scores by name, or why there is none; empty before, and for cells that are not done.
        frames: of the way there, if it was asked for.
        maps: what its control networks got, (3, H, W) within [0, 1], by name, such as "canny".
    """

    method: str
    status: Status
    images: torch.Tensor | None = None
    samples: torch.Tensor | None = None
    nfe: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    noise: str = ""
    error: str = ""
    traceback: str = ""
    metrics: Mapping[str, Score | NoScore] = field(default_factory=dict)
    frames: Frames | None = None
    maps: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON part: everything but pictures."""
        return {
            "method": self.method,
            "status": self.status,
            "nfe": self.nfe,
            "seconds": round(self.seconds, 4),
            "noise": self.noise,
            "error": self.error,
            "traceback": self.traceback,
            "metrics": {name: score.to_dict() for name, score in self.metrics.items()},
        }


@dataclass(frozen=True)
class ComparisonResult:
    """All cells of a comparison, in its order, and what it was run with."""

    comparison: Comparison
    cells: tuple[CellResult, ...]
    notices: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether every cell is done."""
        return all(cell.status == "done" for cell in self.cells)

    def to_dict(self) -> dict[str, Any]:
        """What results.json holds."""
        return {
            "timing": self.comparison.timing,
            "notices": list(self.notices),
            "cells": [cell.to_dict() for cell in self.cells],
        }

    def save(self, folder: str | Path) -> Path:
        """Write grid.png, cells/, comparison.json and results.json."""
        from zoo.store import Store

        store = Store(folder, self.comparison)
        for index, cell in enumerate(self.cells):
            store.add(index, cell)
        store.finish(self)
        return store.folder

    def _repr_html_(self) -> str:
        from zoo.sheet import html_table

        return html_table(self)


@dataclass(frozen=True)
class Event:
    """Something that happened to a cell.

    Attributes:
        kind: progress, or how the cell ended: done, failed, cancelled, na; scored when its metrics are known: at once,
            and of those that solve the ODE in fine steps when all cells have ended.
        cell: its index.
        step, steps: levels passed, of how many.
        result: what there is of the cell by now.
        preview: the predicted clean pictures (n, 3, H, W) within [-1, 1] while it forms; the images when done.
    """

    kind: Literal["progress", "done", "failed", "cancelled", "na", "scored"]
    cell: int
    step: int
    steps: int
    result: CellResult
    preview: torch.Tensor | None = None


def compare(
    comparison: Comparison,
    *,
    device: str = "auto",
    dtype: str = "auto",
    limits: Limits | None = None,
    registry: Registry | None = None,
) -> ComparisonResult:
    """Run a comparison to its end.

    Args:
        comparison: what to compare.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16 or fp16, of the networks.
        limits: what one cell may cost.
        registry: where names are looked up; all installed plugins by default.

    Raises:
        ValueError: a name or a parameter that does not exist, with what there is. A cell that fails or is
            impossible raises nothing: its result says so.
    """
    events = stream(comparison, device=device, dtype=dtype, limits=limits, registry=registry)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            result: ComparisonResult = stop.value
            return result


def stream(
    comparison: Comparison,
    *,
    device: str = "auto",
    dtype: str = "auto",
    limits: Limits | None = None,
    registry: Registry | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    watch: Watch | None = None,
    frames: int = 0,
) -> Generator[Event, None, ComparisonResult]:
    """Run a comparison, yielding an `Event` whenever there is something to show; ends with the result.

    Args and errors are those of `compare`; `cancelled` is asked at every tick, and `watch` knows whose code is at
    work. What fails in use is noted with the plugins that the method names, in `registry.plugins`. At most `frames`
    pictures of each cell's way are kept in its result's `frames`.
    """
    from zoo.device import resolve_device, resolve_dtype
    from zoo.driving import answered
    from zoo.engine import Engine
    from zoo.prepared import prepare

    chosen = resolve_device(device)
    precision = None if dtype == "auto" else resolve_dtype(dtype, chosen)
    engine = Engine(chosen, precision, watch=watch)
    prepared = prepare(comparison, registry, limits)
    return (yield from answered(engine, prepared.run(engine, cancelled, frames)))
