"""Runs on disk, so that they survive a refresh, a lost connection and a restart: a store's folder each, for a week."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.comparison import CellResult, Comparison
from zoo.metric import NoScore, Score
from zoo.ui.runs import Run
from zoo.ui.words import received, sent

if TYPE_CHECKING:
    import torch

    from zoo.cell import Status
    from zoo.frames import Frames
    from zoo.store import Store

log = logging.getLogger(__name__)

DAYS = 7
"""How long a run is kept."""

MOST = 200
"""Of more runs than this, the oldest go."""

_ID = re.compile(r"[A-Za-z0-9_-]{24}")


class Shelf:
    """A folder of runs, each named by its id.

    Args:
        folder: by default what ZOO_RUNS_DIR names, else a folder in the user's cache, else a temporary one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _default_folder()
        self.prune()

    def begin(self, run: Run) -> Store:
        """A place for a run."""
        from zoo.store import Store

        store = Store(self.folder / run.id, run.comparison)
        self.write(run)
        return store

    def write(self, run: Run) -> None:
        """Note how far a run is: everything but pictures."""
        about = {
            "key": run.key,
            "blocks": run.blocks,
            "titles": run.titles,
            "stochastic": run.stochastic,
            "status": sent(run.status),
            "seconds": run.seconds,
            "notices": list(run.notices),
            "cells": [cell.to_dict() for cell in run.results],
        }
        target = self.folder / run.id / "page.json"
        part = target.with_suffix(".part")
        part.write_text(json.dumps(about), encoding="utf-8")
        os.replace(part, target)

    def load(self, name: str) -> Run | None:
        """The run of this id; None if there is none, or none that can be read."""
        folder = self.path(name)
        if folder is None:
            return None
        try:
            comparison = Comparison.load(folder / "comparison.json")
            about = json.loads((folder / "page.json").read_text(encoding="utf-8"))
            return Run(
                id=name,
                key=about["key"],
                comparison=comparison,
                blocks=about["blocks"],
                titles=about["titles"],
                stochastic=about["stochastic"],
                results=[_result(folder, i, comparison, cell) for i, cell in enumerate(about["cells"])],
                state="ended",
                status=received(about["status"]),
                seconds=about["seconds"],
                notices=tuple(about["notices"]),
                ways={int(file.stem) for file in folder.glob("ways/*.json")},
            )
        except (OSError, ValueError, LookupError, TypeError):
            log.warning("the run in %s cannot be read", folder, exc_info=True)
            return None

    def path(self, name: str) -> Path | None:
        """The folder of a run; None for what is no id, or of nothing here."""
        if not _ID.fullmatch(name):
            return None
        folder = self.folder / name
        return folder if (folder / "page.json").is_file() else None

    def keep_way(self, run: Run, index: int, way: Frames, steps: int) -> None:
        """Write how a cell got there, in how many steps."""
        folder = self.folder / run.id / "ways"
        folder.mkdir(exist_ok=True)
        (folder / f"{index:02d}.json").write_text(
            json.dumps(way_as_json(way) | {"steps": steps}), encoding="utf-8"
        )
        run.ways.add(index)

    def way(self, name: str, index: int) -> dict[str, Any] | None:
        """How a cell got there; None if that was not kept."""
        folder = self.path(name)
        if folder is None or not (file := folder / "ways" / f"{index:02d}.json").is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def prune(self) -> None:
        """Remove what is too old, or too much."""
        runs = sorted((p for p in self.folder.iterdir() if _ID.fullmatch(p.name)), key=_age)
        for place, folder in enumerate(runs):
            if place >= MOST or _age(folder) > DAYS * 86400:
                shutil.rmtree(folder, ignore_errors=True)


def way_as_json(way: Frames) -> dict[str, Any]:
    """Frames as two sprites, a row a frame and a column an image, with what is known of each row."""
    import torch

    from zoo.sheet import data_uri
    from zoo.store import png

    frames = way.kept

    def sprite(stacks: list[torch.Tensor]) -> str:
        from PIL import Image

        rows = torch.stack(stacks)  # (frames, n, 3, H, W)
        f, n, c, h, w = rows.shape
        pixels = rows.permute(0, 3, 1, 4, 2).reshape(f * h, n * w, c).contiguous()
        return data_uri(png(Image.fromarray(pixels.numpy())))

    if not frames:
        return {"frames": []}
    return {
        "frames": [{"log_snr": f.log_snr, "nfe": f.nfe, "seconds": round(f.seconds, 4)} for f in frames],
        "images": int(frames[0].x0.shape[0]),
        "height": int(frames[0].x0.shape[-2]),
        "width": int(frames[0].x0.shape[-1]),
        "x_t": sprite([f.x_t for f in frames]),
        "x0": sprite([f.x0 for f in frames]),
    }


def _result(folder: Path, index: int, comparison: Comparison, about: dict[str, Any]) -> CellResult:
    """A cell as it was written; one that was under way then is cancelled now."""
    import torch

    files = sorted(folder.glob(f"cells/{index:02d}/map-*.png"))
    maps = {file.stem.removeprefix("map-"): (_pixels(file) + 1) / 2 for file in files}
    status: Status = about["status"] if about["status"] not in ("queued", "running") else "cancelled"
    images = None
    if status == "done":
        files = [folder / "cells" / f"{index:02d}" / f"{seed}.png" for seed in comparison.seeds]
        images = torch.stack([_pixels(file) for file in files])
    return CellResult(
        about["method"],
        status,
        images=images,
        nfe=about["nfe"],
        seconds=about["seconds"],
        noise=about["noise"],
        error=about["error"],
        traceback=about["traceback"],
        metrics={name: _score(score) for name, score in about["metrics"].items()},
        maps=maps,
    )


def _pixels(file: Path) -> torch.Tensor:
    """A picture as it was before it was written, (3, H, W) within [-1, 1], but for the rounding to 8 bits."""
    import numpy as np
    import torch
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1


def _score(about: dict[str, Any]) -> Score | NoScore:
    if "value" in about:
        return Score(**about)
    return NoScore(about.get("absent") or about.get("failed", ""), failed="failed" in about)


def _age(folder: Path) -> float:
    try:
        return time.time() - (folder / "page.json").stat().st_mtime
    except OSError:
        return float("inf")


def _default_folder() -> Path:
    named = os.environ.get("ZOO_RUNS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named).expanduser() if named else cache / "sampler-zoo" / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        if named:
            raise
        return Path(tempfile.mkdtemp(prefix="sampler-zoo-"))
