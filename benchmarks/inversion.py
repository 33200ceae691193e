"""How far a picture of the bundled world comes back from its own noise: median and worst RMSE, pixels within [-1, 1].

python benchmarks/inversion.py [--model tinyworld] [--pictures 8] [--device auto]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

import zoo
from zoo.data import TinyWorld

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
    """Invert every picture by every row, with its caption and without; print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tinyworld", help="a model's name, or folder:PATH")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    world = TinyWorld(seed=123)
    drawn = [world[i] for i in range(arguments.pictures)]
    print("| method | iterations | NFE up | with the caption | without a prompt |\n|---|---|---|---|---|")
    for method, iterations in ROWS:
        figures = []
        for prompted in (True, False):
            found = [
                zoo.invert(
                    Image.fromarray(sample.image),
                    model=arguments.model,
                    prompt=sample.caption if prompted else "",
                    method=method,
                    iterations=iterations,
                    device=arguments.device,
                )
                for sample in drawn
            ]
            errors = [inversion.rmse for inversion in found]
            figures.append(f"{np.median(errors):.3f} ({max(errors):.3f})")
        nfe = sum(found[0].nfe["inversion"].values())
        print(
            f"| `{method.replace('|', chr(92) + '|')}` | {iterations} | {nfe} | {' | '.join(figures)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
