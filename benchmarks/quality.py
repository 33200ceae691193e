"""How well the bundled model draws what it is asked for, judged by the independent feature network.

Draws one picture for each of `--prompts` random prompts that name a kind, a colour and a scene, with DDIM, unguided
and with guidance, and counts how often the classifier of clean pictures finds what was asked. The same classifier on
as many real pictures is the yardstick. Intervals are Wilson's, 95 %.

    python benchmarks/quality.py [--model tinyworld] [--prompts 500] [--steps 50] [--guidance 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from zoo.cell import Cell
from zoo.data.tinyworld import Attributes, caption, draw_attributes, render
from zoo.device import resolve_device, resolve_dtype
from zoo.driving import drive
from zoo.engine import Engine
from zoo.method import Method
from zoo.metrics.features import load_features
from zoo.metrics.intervals import wilson
from zoo.pixels import from_bytes
from zoo.planning import load_model, resolve
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT

ASKED = ("kind", "colour", "scene")


def main() -> None:
    """Draw, classify, print the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tinyworld", help="a model's name, or folder:PATH")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    arguments = parser.parse_args()
    asked = [draw_attributes(np.random.default_rng([1, i])) for i in range(arguments.prompts)]
    real = [render(a, np.random.default_rng([2, i])).image for i, a in enumerate(asked)]
    real_pictures = from_bytes(np.stack(real))
    report = {"real pictures": accuracy(real_pictures, asked)}
    for scale in (1.0, arguments.guidance):
        line = f"ddim steps={arguments.steps} | cfg scale={scale:g}"
        report[line] = accuracy(
            draw(arguments.model, line, asked, arguments.device, not arguments.json), asked
        )
    print(json.dumps(report) if arguments.json else _table(report, arguments.prompts))


def draw(model_name: str, line: str, asked: list[Attributes], device_name: str, bar: bool) -> torch.Tensor:
    """One picture a prompt, all in one running batch; prompt number i starts from seed i."""
    from tqdm import tqdm

    model = load_model(model_name, default_registry())
    device = resolve_device(device_name)
    engine = Engine(device, resolve_dtype("auto", device))
    cells = []
    for i, attributes in enumerate(asked):
        sampler, conditioners = resolve(Method.parse(line), default_registry())
        cells.append(Cell(model, sampler, conditioners, {PROMPT: caption(attributes), NEGATIVE: ""}, [i]))
    progress = tqdm(total=len(cells), desc=line, disable=not bar)
    for first in range(0, len(cells), engine.max_rows):
        for _, cell in drive(engine, cells[first : first + engine.max_rows]):
            progress.update(cell.status == "done")
    progress.close()
    failed = [cell.traceback for cell in cells if cell.samples is None]
    if failed:
        raise SystemExit(failed[0])
    return torch.cat([model.pictures(cell.samples) for cell in cells if cell.samples is not None])


def accuracy(pictures: torch.Tensor, asked: list[Attributes]) -> dict[str, Any]:
    """Share of pictures in which the classifier finds the asked kind, colour and scene, each [value, low, high]."""
    found = [answer for batch in pictures.split(100) for answer in load_features().classify(batch)]
    report: dict[str, Any] = {"n": len(asked)}
    for name in ASKED:
        hits = sum(answer[name] == getattr(a, name) for answer, a in zip(found, asked, strict=True))
        report[name] = [round(v, 4) for v in (hits / len(asked), *wilson(hits, len(asked)))]
    return report


def _table(report: dict[str, Any], n: int) -> str:
    lines = [f"{n} prompts, 95 % intervals", "", "| | kind | colour | scene |", "|---|---|---|---|"]
    for line, figures in report.items():
        cells = (f"{v:.1%} ({low:.1%} to {high:.1%})" for v, low, high in (figures[name] for name in ASKED))
        lines.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
