"""The cells of a comparison as HTML. Whatever a person or a plugin wrote is escaped here."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from zoo.metric import Score
from zoo.sheet import data_uri, nfe_line, score_name

if TYPE_CHECKING:
    import torch

    from zoo.comparison import CellResult, Event

STATES: Mapping[str, str] = {
    "queued": "queued",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "na": "N/A",
}
LARGE = 64
"""Pictures at least this wide fill their place; smaller ones are enlarged by a whole factor."""

Timing = Literal["shared", "alone"]
TIME_LABELS: Mapping[str, str] = {
    "shared": "share of the fused batch’s time",
    "alone": "alone, after a warm-up",
}


def card(
    title: str,
    result: CellResult,
    seeds: Sequence[int],
    timing: Timing,
    event: Event | None = None,
    pictures: torch.Tensor | None = None,
) -> str:
    """One cell: title, pictures, state and cost, at a size that does not depend on how far it is.

    Args:
        title: the method in words.
        result: what there is of the cell.
        seeds: one picture each.
        timing: what the seconds mean.
        event: how far it is.
        pictures: (n, 3, H, W) within [-1, 1], the finished ones or a preview.
    """
    state = STATES[result.status]
    if result.status == "running" and event is not None:
        state = f"step {event.step} of {event.steps}"
    figures = "".join(_map(name, pixels) for name, pixels in result.maps.items())
    figures += "".join(_figure(title, seed, i, pictures, result.status) for i, seed in enumerate(seeds))
    shown = _count_class(len(seeds) + len(result.maps))
    share = event.step / event.steps if event is not None and event.steps else 0.0
    return (
        f'<article class="zoo-cell" data-state="{result.status}" data-count="{shown}">'
        f"<header><h3>{html.escape(title)}</h3><code>{html.escape(result.method)}</code></header>"
        f'<div class="zoo-pictures">{figures}{_message(result)}</div>'
        f'<div class="zoo-bar"><i style="width:{100 * share:.0f}%"></i></div>'
        f'<footer><span class="zoo-state">{html.escape(state)}</span>{_cost(result, timing)}</footer>'
        f"{_scores(result)}{_traceback(result)}</article>"
    )


def grid(cells: Sequence[str]) -> str:
    """The cells side by side."""
    return f'<div class="zoo-grid">{"".join(cells)}</div>'


def notices(lines: Sequence[str]) -> str:
    """What the person should know about the prompt."""
    return "".join(f'<p class="zoo-notice" role="status">{html.escape(line)}</p>' for line in lines)


def problem(message: str) -> str:
    """What was wrong with the input; nothing for an empty message."""
    return f'<p class="zoo-problem" role="alert">{html.escape(message)}</p>' if message else ""


def heading(text: str) -> str:
    """A small heading between controls."""
    return f'<h4 class="zoo-heading">{html.escape(text)}</h4>'


def small(text: str) -> str:
    """A line of explanation."""
    return f'<p class="zoo-small">{html.escape(text)}</p>'


def summary(text: str, noise: str = "") -> str:
    """One line over the grid: how far it is, and the noise that all cells start from."""
    start = ""
    if noise:
        start = (
            f'<span class="zoo-noise">same start noise in every cell <code>{html.escape(noise)}</code></span>'
        )
    return f'<p class="zoo-summary"><span role="status">{html.escape(text)}</span>{start}</p>'


def _figure(title: str, seed: int, index: int, pictures: torch.Tensor | None, status: str) -> str:
    picture = '<div class="zoo-tile"></div>'
    if pictures is not None:
        kind = "" if status == "done" else ", preview of the predicted picture"
        picture = _tile(pictures[index], f"{title}, seed {seed}{kind}")
    return f"<figure>{picture}<figcaption>seed {seed}</figcaption></figure>"


def _map(name: str, pixels: torch.Tensor) -> str:
    """What a control network got, (3, H, W) within [0, 1]."""
    caption = html.escape(f"control: {name}")
    return (
        f"<figure>{_tile(pixels * 2 - 1, f'control map, {name}')}<figcaption>{caption}</figcaption></figure>"
    )


def _tile(picture: torch.Tensor, text: str) -> str:
    from zoo.store import png, to_pil

    image = to_pil(picture)
    return (
        f'<div class="zoo-tile"><img src="{data_uri(png(image))}" alt="{html.escape(text, quote=True)}" '
        f'decoding="sync" style="--px:{image.width if image.width < LARGE else 1}px"></div>'
    )


def _message(result: CellResult) -> str:
    """Why there are no finished pictures, over the place where they would be."""
    if result.status == "failed":
        return f'<p class="zoo-why" role="alert"><b>Failed.</b> {html.escape(result.error)}</p>'
    if result.status == "na":
        return f'<p class="zoo-why"><b>Not possible here:</b> {html.escape(result.error)}</p>'
    return ""


def _cost(result: CellResult, timing: Timing) -> str:
    if result.status in ("queued", "na"):
        return '<span class="zoo-nfe">&nbsp;</span><small>&nbsp;</small>'
    roles = ", ".join(f"{role} {count}" for role, count in result.nfe.items())
    return (
        f'<span class="zoo-nfe" title="{html.escape(f"network evaluations per image: {roles}", quote=True)}">'
        f"{nfe_line(result.nfe)}</span>"
        f'<span class="zoo-time">{result.seconds:.2f} s</span><small>{TIME_LABELS[timing]}</small>'
    )


def _scores(result: CellResult) -> str:
    """What the metrics say, or why they say nothing."""
    rows = ""
    for name, score in result.metrics.items():
        label, title = name, ""
        if isinstance(score, Score):
            label, title = score_name(name, score), f"of {score.n} pictures"
        rows += f'<dt>{html.escape(label)}</dt><dd title="{title}">{html.escape(str(score))}</dd>'
    return f'<dl class="zoo-scores">{rows}</dl>' if rows else ""


def _traceback(result: CellResult) -> str:
    if not result.traceback:
        return ""
    return f"<details><summary>Traceback</summary><pre>{html.escape(result.traceback)}</pre></details>"


def _count_class(count: int) -> str:
    """How many pictures a cell has, as the style sheet tells them apart."""
    return "one" if count == 1 else "few" if count <= 4 else "many"
