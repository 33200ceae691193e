"""The sampler zoo's page: `python app.py`, the same as `python -m zoo page`. Also the entry of a Hugging Face Space."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zoo.cli import main

if __name__ == "__main__":
    beside = Path(__file__).with_name("models.toml")
    if beside.is_file():
        os.environ.setdefault("ZOO_MODELS", str(beside))
    sys.exit(main(["page", *sys.argv[1:]]))
