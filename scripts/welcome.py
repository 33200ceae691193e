"""Make what a first visitor sees at once, zoo/ui/static/welcome.json and latents.json. Run it when the weights change.

python scripts/welcome.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from zoo.comparison import compare
from zoo.interpolation import interpolate
from zoo.inversion import invert
from zoo.picture import load_picture
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui import latents
from zoo.ui.catalogue import WELCOME, card
from zoo.ui.methods import DEFAULT_LINES
from zoo.ui.request import Asked, comparison_from
from zoo.ui.runs import blocks_of, new_run

MODEL, SEEDS = "tinyworld", "0..1"


def main() -> None:
    """Run all of it on the CPU in fp32."""
    registry = Registry(safe_mode=True)
    write(WELCOME, comparison(registry))
    write(latents.EXAMPLES, deterministic(registry))


def write(path: Path, seen: dict[str, Any]) -> None:
    """Put it where the page finds it."""
    path.write_text(json.dumps(seen, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


def comparison(registry: Registry) -> dict[str, Any]:
    """A comparison, as the page's script reads a run."""
    model = load_model(MODEL, registry)
    prompt = model.examples()[0]
    asked = Asked(model=MODEL, prompt=prompt, seeds=SEEDS, cards=[{"line": line} for line in DEFAULT_LINES])
    lines, blocks = blocks_of(asked, registry)
    chosen = comparison_from(MODEL, prompt, "", SEEDS, lines, registry)
    result = compare(chosen, device="cpu", dtype="fp32", registry=registry)
    assert result.done, [cell.error for cell in result.cells]
    run = new_run(chosen, blocks, registry)
    for index, cell in enumerate(result.cells):
        run.note(index, cell)
    seen = {
        key: value for key, value in run.since(0).items() if key not in ("id", "version", "state", "status")
    }
    return seen | {
        "examples": model.examples(),
        "cards": [card(line, registry) for line in DEFAULT_LINES],
        "weights": model.fingerprint(),
    }


def deterministic(registry: Registry) -> dict[str, Any]:
    """What the tabs of interpolation and inversion begin with."""
    model = load_model(latents.MODEL, registry)
    own: dict[str, Any] = {"model": latents.MODEL, "device": "cpu", "dtype": "fp32", "registry": registry}
    between = interpolate(
        latents.SEEDS, frames=latents.FRAMES, prompt=latents.PROMPT, method=latents.BETWEEN, **own
    )
    image, caption = latents.drawn_picture(0, model.shape[-1])
    picture = load_picture(Image.fromarray(image), *model.shape[1:])
    back = invert(picture, prompt=caption, method=f"ddim steps={latents.BACK_STEPS}", **own)
    return {
        "between": latents.interpolation_record(between),
        "back": latents.inversion_record(back),
        "weights": model.fingerprint(),
    }


if __name__ == "__main__":
    main()
