"""Runs on disk, so that they survive a refresh, a lost connection and a restart: a store's folder each, for a week."""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.comparison import CellResult, Comparison
from zoo.metric import NoScore, Score
from zoo.ui.runs import Run
from zoo.ui.words import received, say, sent

if TYPE_CHECKING:
    import torch

    from zoo.cell import Status
    from zoo.frames import Frames

log = logging.getLogger(__name__)

DAYS = 7
"""How long a run is kept."""

MOST = 200
"""Of more runs than this, the oldest go."""

MEGABYTES = 2000
"""Of runs that take more than this together, the oldest go."""

LEFT_OVER = 3600
"""Seconds after which a file that is still only being written was left by a process that was killed."""

_ID = re.compile(r"[A-Za-z0-9_-]{24}")


class Shelf:
    """A folder of runs, each named by its id.

    A disk that is full or read-only stops no run: what could not be written is noted in it, for the page to say.

    Args:
        folder: by default what ZOO_RUNS_DIR names, else a folder in the user's cache, else a temporary one.
        days, most, megabytes: what is kept; by default what ZOO_RUNS_DAYS, ZOO_RUNS_MOST and ZOO_RUNS_MB say, else
            `DAYS`, `MOST` and `MEGABYTES`.

    Raises:
        ValueError: one of these is no number above 0.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        days: float | None = None,
        most: float | None = None,
        megabytes: float | None = None,
    ) -> None:
        self.folder = folder or _default_folder()
        self.days = days or _limit("ZOO_RUNS_DAYS", DAYS)
        self.most = most or _limit("ZOO_RUNS_MOST", MOST)
        self.megabytes = megabytes or _limit("ZOO_RUNS_MB", MEGABYTES)
        self._sizes: dict[str, tuple[float, int]] = {}
        self._pruning = threading.Lock()
        if problem := _unwritable(self.folder):
            log.warning("comparisons are not kept: %s", problem)
        self.prune()

    def begin(self, run: Run) -> None:
        """Make a place for a run."""
        from zoo.store import Store

        self.prune()
        try:
            Store(self.folder / run.id, run.comparison)
            self.write(run)
        except OSError as error:
            run.lose(range(len(run.results)), reason(error))

    def keep(self, run: Run, index: int, result: CellResult, steps: int = 0, *, scored: bool = False) -> None:
        """Write what a cell has come to; to be done before anybody is told, so that what was shown as done is there.

        Args:
            run, index: which cell.
            result: what it has come to.
            steps: how many it took.
            scored: it was written already, and only its scores are new.
        """
        from zoo.store import Store

        folder = self.folder / run.id
        try:
            if not scored or index in run.unkept:
                Store(folder, run.comparison, again=(folder / "comparison.json").is_file()).add(index, result)
                if result.frames is not None and result.frames.kept:
                    self.keep_way(run, index, result.frames, steps)
            self.write(run, {index: result})
        except OSError as error:
            run.lose([index], reason(error))
        else:
            run.regain(index)

    def write(self, run: Run, ended: Mapping[int, CellResult] | None = None) -> None:
        """Note how far a run is: everything but pictures.

        Args:
            run: which.
            ended: what has become of some cells, which the run is not told yet.

        Raises:
            OSError: it cannot be written.
        """
        from zoo.store import write_whole

        results = [(ended or {}).get(index, result) for index, result in enumerate(run.results)]
        about = {
            "key": run.key,
            "blocks": run.blocks,
            "phrases": run.phrases,
            "stochastic": run.stochastic,
            "state": run.state,
            "status": sent(run.status),
            "seconds": run.seconds,
            "notices": list(run.notices),
            "cells": [cell.to_dict() for cell in results],
        }
        write_whole(self.folder / run.id / "page.json", json.dumps(about).encode("utf-8"))

    def load(self, name: str) -> Run | None:
        """The run of this id; None if there is none, or none that can be read."""
        folder = self.path(name)
        if folder is None:
            return None
        try:
            comparison = Comparison.load(folder / "comparison.json")
            about = json.loads((folder / "page.json").read_text(encoding="utf-8"))
            results = [_result(folder, i, comparison, cell) for i, cell in enumerate(about["cells"])]
            return Run(
                id=name,
                key=about["key"],
                comparison=comparison,
                blocks=about["blocks"],
                phrases=about["phrases"],
                stochastic=about["stochastic"],
                results=results,
                state="ended",
                status=_status(about, results),
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
        """Write how a cell got there, in how many steps.

        Raises:
            OSError: it cannot be written.
        """
        from zoo.store import write_whole

        folder = self.folder / run.id / "ways"
        folder.mkdir(exist_ok=True)
        text = json.dumps(way_as_json(way) | {"steps": steps})
        write_whole(folder / f"{index:02d}.json", text.encode("utf-8"))
        run.ways.add(index)

    def way(self, name: str, index: int) -> dict[str, Any] | None:
        """How a cell got there; None if that was not kept."""
        folder = self.path(name)
        if folder is None or not (file := folder / "ways" / f"{index:02d}.json").is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def prune(self) -> None:
        """Remove what is too old, or too much, the oldest first."""
        if not self._pruning.acquire(blocking=False):
            return  # another thread is at it
        try:
            runs = [path for path in self.folder.iterdir() if _ID.fullmatch(path.name)]
            oldest = time.time() - self.days * 86400
            total = 0
            for place, folder in enumerate(sorted(runs, key=_written, reverse=True)):
                total += self._size(folder)
                too_much = place >= self.most or (place > 0 and total > self.megabytes * 1e6)
                if too_much or _written(folder) < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
                    self._sizes.pop(folder.name, None)
        except OSError:
            log.debug("%s cannot be tidied up", self.folder, exc_info=True)
        finally:
            self._pruning.release()

    def _size(self, folder: Path) -> int:
        """Bytes of a run, counted again when something was written; what a killed process left goes meanwhile."""
        from zoo.store import PART

        written = _written(folder)
        known = self._sizes.get(folder.name)
        if known and known[0] == written:
            return known[1]
        size = 0
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # it was renamed meanwhile
                about = path.stat()
                if path.name.endswith(PART) and time.time() - about.st_mtime > LEFT_OVER:
                    path.unlink()
                elif path.is_file():
                    size += about.st_size
        self._sizes[folder.name] = written, size
        return size


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


def reason(error: OSError) -> str:
    """Why something cannot be written, for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return say("run.disk_full")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return say("run.disk_locked")
    return say("run.disk_refuses", error=error.strerror or type(error).__name__)


def _status(about: dict[str, Any], results: list[CellResult]) -> str:
    """What was said of the whole; of a run whose server ended before it did, what is there."""
    before = sum(cell["status"] == "done" for cell in about["cells"])
    done = sum(cell.status == "done" for cell in results)
    if about.get("state", "ended") == "ended" and done == before:
        return received(about["status"])
    return say("run.reopened", done=done, cells=len(results))


def _result(folder: Path, index: int, comparison: Comparison, about: dict[str, Any]) -> CellResult:
    """A cell as it was written; one that was under way then, or whose pictures are not all there, is cancelled now."""
    import torch

    files = sorted(folder.glob(f"cells/{index:02d}/map-*.png"))
    status: Status = about["status"] if about["status"] not in ("queued", "running") else "cancelled"
    images, maps = None, {}
    try:
        if status == "done":
            shown = [folder / "cells" / f"{index:02d}" / f"{seed}.png" for seed in comparison.seeds]
            images = torch.stack([_pixels(file) for file in shown])
        maps = {file.stem.removeprefix("map-"): (_pixels(file) + 1) / 2 for file in files}
    except (OSError, SyntaxError, ValueError, RuntimeError):
        # Pictures are missing, damaged or of other sizes.
        log.warning("cell %d of %s cannot be read", index, folder, exc_info=True)
        status, images = "cancelled", None
    return CellResult(
        about["method"],
        status,
        images=images,
        nfe=about["nfe"],
        seconds=about["seconds"],
        noise=about["noise"],
        error=about["error"],
        traceback=about["traceback"],
        metrics={name: _score(score) for name, score in about["metrics"].items() if status == "done"},
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


def _written(folder: Path) -> float:
    """When something was last written of a run, in seconds of the clock; 0 if nothing can be read."""
    for path in (folder / "page.json", folder):  # the one is there when the run has begun
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _limit(name: str, default: float) -> float:
    given = os.environ.get(name, "")
    try:
        limit = float(given or default)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise ValueError(f"{name} is a number above 0, got {given!r}; without it, it is {default}")
    return limit


def _unwritable(folder: Path) -> str:
    """Why nothing can be written in a folder, which is made if it is not there; "" if something can."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder}: {error.strerror or error}"


def _default_folder() -> Path:
    if named := os.environ.get("ZOO_RUNS_DIR"):
        try:
            return Path(named).expanduser()
        except RuntimeError:
            raise ValueError(f"ZOO_RUNS_DIR={named}: there is no home folder; name the whole path") from None
    folder = Path("runs")
    with contextlib.suppress(RuntimeError):  # there is no home folder
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "sampler-zoo" / "runs"
        if not _unwritable(folder):
            return folder
    try:
        made = Path(tempfile.mkdtemp(prefix="sampler-zoo-"))
    except OSError:
        return folder
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
