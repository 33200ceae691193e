"""How far rendered pictures come back from their own noise: median and worst RMSE, pixels within [-1, 1].

python benchmarks/inversion.py [--model tinyworld] [--pictures 8] [--device auto]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from zoo.cell import Cell
from zoo.data import TinyWorld
from zoo.device import resolve_device
from zoo.driving import drive
from zoo.engine import Engine
from zoo.inversion import DDIMInversion, Unclipped
from zoo.method import Method
from zoo.pixels import from_bytes
from zoo.planning import load_model, resolve
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT, Sampler

ROWS = (
    ("ddim steps=10", 1),
    ("ddim steps=20", 1),
    ("ddim steps=50", 1),
    ("ddim steps=100", 1),
    ("ddim steps=10", 2),
    ("ddim steps=50", 2),
    ("ddim steps=50 | cfg scale=2", 1),
)


def main() -> None:
    """Invert every picture by every row, with its caption and without, all of it fused; print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tinyworld", help="a model's name, or folder:PATH")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    engine = Engine(resolve_device(arguments.device), torch.float32)
    model = load_model(arguments.model, default_registry())
    images, captions, _ = TinyWorld(seed=123).batch(range(arguments.pictures))
    pictures = from_bytes(images)
    jobs = [
        (row, prompted, i) for row in ROWS for prompted in (True, False) for i in range(arguments.pictures)
    ]

    def run(samplers: list[Sampler], starts: list[torch.Tensor]) -> list[Cell]:
        cells = []
        for ((line, _), prompted, i), sampler, start in zip(jobs, samplers, starts, strict=True):
            conditioners = [Unclipped(), *resolve(Method.parse(line), default_registry())[1]]
            conditions = {PROMPT: captions[i] if prompted else "", NEGATIVE: ""}
            cells.append(Cell(model, sampler, conditioners, conditions, (0,), start_state=start))
        for _ in drive(engine, cells):
            pass
        failed = [cell.traceback for cell in cells if cell.samples is None]
        if failed:
            raise SystemExit(failed[0])
        return cells

    samplers = [resolve(Method.parse(line), default_registry())[0] for (line, _), _, _ in jobs]
    climbs: list[Sampler] = [
        DDIMInversion(sampler, n) for sampler, ((_, n), _, _) in zip(samplers, jobs, strict=True)
    ]
    up = run(climbs, [pictures[i : i + 1] for _, _, i in jobs])
    down = run(samplers, [cell.samples for cell in up])
    errors = [
        float((cell.samples - pictures[i]).square().mean().sqrt())
        for cell, (_, _, i) in zip(down, jobs, strict=True)
    ]

    print("| method | iterations | NFE up | with the caption | without a prompt |\n|---|---|---|---|---|")
    table = np.array(errors).reshape(len(ROWS), 2, arguments.pictures)
    for k, ((line, iterations), row) in enumerate(zip(ROWS, table, strict=True)):
        nfe = sum(up[k * 2 * arguments.pictures].nfe.values())
        figures = " | ".join(f"{np.median(found):.3f} ({found.max():.3f})" for found in row)
        print("| `" + line.replace("|", "\\|") + f"` | {iterations} | {nfe} | {figures} |")


if __name__ == "__main__":
    main()
