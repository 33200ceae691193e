"""Make the comparison that a first visitor sees at once, zoo/ui/static/welcome.json. Run it when the weights change.

python scripts/welcome.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zoo.comparison import compare
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui.catalogue import WELCOME, card
from zoo.ui.methods import DEFAULT_LINES
from zoo.ui.request import Asked, comparison_from
from zoo.ui.runs import blocks_of, new_run

MODEL, SEEDS = "tinyworld", "0..1"


def main() -> None:
    """Run it on the CPU in fp32, and write what the page's script reads of a run."""
    registry = Registry(safe_mode=True)
    model = load_model(MODEL, registry)
    prompt = model.examples()[0]
    asked = Asked(model=MODEL, prompt=prompt, seeds=SEEDS, cards=[{"line": line} for line in DEFAULT_LINES])
    lines, blocks = blocks_of(asked, registry)
    comparison = comparison_from(MODEL, prompt, "", SEEDS, lines, registry)
    result = compare(comparison, device="cpu", dtype="fp32", registry=registry)
    assert result.done, [cell.error for cell in result.cells]
    run = new_run(comparison, blocks, registry)
    for index, cell in enumerate(result.cells):
        run.note(index, cell)
    seen = {
        key: value for key, value in run.since(0).items() if key not in ("id", "version", "state", "status")
    }
    seen |= {
        "examples": model.examples(),
        "cards": [card(line, registry) for line in DEFAULT_LINES],
        "weights": model.fingerprint(),
    }
    WELCOME.write_text(json.dumps(seen, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{WELCOME}: {WELCOME.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
