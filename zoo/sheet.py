"""The sheet: all cells of a comparison as one picture (`grid.png`), or as an HTML table for notebooks."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.metric import Score
from zoo.store import png, to_pil

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from zoo.comparison import CellResult, ComparisonResult

INK, FAINT, PAPER, HOLLOW = (32, 34, 40), (110, 114, 124), (255, 255, 255), (240, 240, 242)
GAP, MARGIN, SIDE = 8, 20, 300
SMALLEST = 96
"""Pictures smaller than this are enlarged by a whole factor, without blur."""
COLUMNS = 64
"""Of more seeds than this, the first ones are shown."""


def cost_line(cell: CellResult, timing: str) -> str:
    """What a cell has cost: `20 NFE · 0.31 s shared`."""
    return f"{nfe_line(cell.nfe)} · {cell.seconds:.2f} s {timing}"


def nfe_line(nfe: Mapping[str, int]) -> str:
    """`20 NFE`; what a sampler does not ask for is told apart: `20 NFE + 1 decoding`."""
    decodings = nfe.get("decoder", 0)
    return f"{sum(nfe.values()) - decodings} NFE" + (f" + {decodings} decoding" if decodings else "")


def scored(cells: Sequence[CellResult]) -> dict[str, list[Score | None]]:
    """What could be measured: name, and which way is better, → the score of every cell that has one."""
    columns: dict[str, list[Score | None]] = {}
    for i, cell in enumerate(cells):
        for name, score in cell.metrics.items():
            if isinstance(score, Score):
                columns.setdefault(score_name(name, score), [None] * len(cells))[i] = score
    return columns


def score_name(name: str, score: Score) -> str:
    """`frechet ↓`: smaller is better."""
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[score.better]
    return f"{name}{arrow}"


def draw_sheet(result: ComparisonResult) -> Image.Image:
    """One row per method, one column per seed; what is missing says why."""
    from PIL import Image, ImageDraw

    height, width = _picture_size(result)
    seeds = result.comparison.seeds[:COLUMNS]
    top = MARGIN + 64
    size = (
        2 * MARGIN + SIDE + len(seeds) * (width + GAP),
        top + len(result.cells) * (height + GAP) + MARGIN,
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), _clip_text(draw, _title(result), size[0] - 2 * MARGIN, 20), INK, _font(20))
    for column, seed in enumerate(seeds):
        x = MARGIN + SIDE + column * (width + GAP)
        draw.text((x, top - 20), f"seed {seed}", FAINT, _font(13))
    for row, cell in enumerate(result.cells):
        y = top + row * (height + GAP)
        _label(draw, cell, result.comparison.timing, y, y + height)
        for column in range(len(seeds)):
            x = MARGIN + SIDE + column * (width + GAP)
            if cell.images is None:
                draw.rectangle((x, y, x + width - 1, y + height - 1), HOLLOW)
                draw.text((x + 8, y + height // 2 - 8), cell.status, FAINT, _font(13))
            else:
                picture = to_pil(cell.images[column])
                sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (x, y))
    return sheet


def html_table(result: ComparisonResult) -> str:
    """The same as a self-contained HTML table."""
    rows = []
    for cell in result.cells:
        if cell.images is None:
            body = f"<td colspan={len(result.comparison.seeds)}>{html.escape(cell.status)}: "
            body += f"{html.escape(cell.error)}</td>"
        else:
            height, width = _picture_size(result)
            body = "".join(
                f'<td><img alt="{html.escape(cell.method, quote=True)}, seed {seed}" width={width} height={height} '
                f'style="image-rendering: pixelated" src="{data_uri(png(to_pil(image)))}"></td>'
                for seed, image in zip(result.comparison.seeds[:COLUMNS], cell.images, strict=False)
            )
        cost = html.escape(cost_line(cell, result.comparison.timing))
        scores = "".join(f"<br><small>{html.escape(line)}</small>" for line in _score_lines(cell))
        rows.append(f"<tr><th>{html.escape(cell.method)}<br><small>{cost}</small>{scores}</th>{body}</tr>")
    prompt = html.escape(_title(result))
    notices = "".join(f"<p>{html.escape(notice)}</p>" for notice in result.notices)
    return f"{notices}<table><caption>{prompt}</caption>{''.join(rows)}</table>"


def data_uri(data: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _title(result: ComparisonResult) -> str:
    prompt, count = result.comparison.prompt or "no prompt", len(result.comparison.seeds)
    return f"{prompt} (the first {COLUMNS} of {count} seeds)" if count > COLUMNS else prompt


def _label(draw: ImageDraw.ImageDraw, cell: CellResult, timing: str, y: int, bottom: int) -> None:
    texts = [(cell.method, INK, 15, 3)]
    if cell.nfe:
        texts.append((cost_line(cell, timing), FAINT, 13, 1))
    if cell.error:
        texts.append((f"{cell.status}: {cell.error}", FAINT, 12, 3))
    texts += [
        (line.replace(" ↑", "").replace(" ↓", ""), FAINT, 12, 1) for line in _score_lines(cell)
    ]  # not in the font
    for text, colour, points, most in texts:
        for line in _wrapped(draw, text, SIDE - 2 * GAP, points, most):
            if y + points + 4 > bottom:
                return
            draw.text((MARGIN, y + 4), line, colour, _font(points))
            y += points + 4
        y += 4


def _score_lines(cell: CellResult) -> list[str]:
    scores = cell.metrics.items()
    return [f"{score_name(name, score)} {score}" for name, score in scores if isinstance(score, Score)]


def _picture_size(result: ComparisonResult) -> tuple[int, int]:
    shapes = [cell.images.shape[-2:] for cell in result.cells if cell.images is not None]
    height, width = shapes[0] if shapes else (SMALLEST, SMALLEST)
    factor = max(1, -(-SMALLEST // int(width)))
    return int(height) * factor, int(width) * factor


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: int, points: int, most: int) -> list[str]:
    """A text in at most so many lines; what does not fit into the last one is cut off."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most - 1:
        count = len(words)
        while count > 1 and draw.textlength(" ".join(words[:count]), _font(points)) > width:
            count -= 1
        lines.append(_clip_text(draw, " ".join(words[:count]), width, points))
        words = words[count:]
    return [*lines, _clip_text(draw, " ".join(words), width, points)] if words else lines


def _clip_text(draw: ImageDraw.ImageDraw, text: str, width: int, points: int) -> str:
    text = " ".join(text.split())
    if draw.textlength(text, _font(points)) <= width:
        return text
    while text and draw.textlength(text + "…", _font(points)) > width:
        text = text[:-1]
    return text + "…"


def _font(points: int):  # type: ignore[no-untyped-def]
    from PIL import ImageFont

    return ImageFont.load_default(points)
