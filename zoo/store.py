"""Finished work, on disk: every cell the moment it is done, every file whole or not there.

grid.png is the sheet, all cells labelled; cells/NN/SEED.png are the pictures themselves, cells/NN/map-NAME.png what
control networks got; comparison.json, with the pictures in pictures/, is everything needed to run it again;
results.json tells the state, cost and error of each cell.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.pictures import FOLDER as PICTURES

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from zoo.comparison import CellResult, Comparison, ComparisonResult
    from zoo.engine import Engine
    from zoo.model import Model
    from zoo.registry import Registry

PART = ".part"
"""Ends the name of a file while it is written; a process that is killed then leaves it so."""

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "pluggy")


class Store:
    """A folder that fills as cells end; what an earlier comparison left in it is replaced.

    Args:
        folder: made if it is not there.
        comparison: whose cells will be added.
        again: the folder holds the same comparison already, some of whose cells will be replaced.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, comparison: Comparison, *, again: bool = False) -> None:
        self.folder = Path(folder)
        self.comparison = comparison
        if again:
            return
        (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        for old in (
            self.folder / "results.json",
            self.folder / "grid.png",
            *self.folder.glob("cells/*/*.png"),
            *self.folder.glob(f"{PICTURES}/*.png"),
        ):
            old.unlink(missing_ok=True)  # of an earlier comparison, which this one replaces
        for name, data in comparison.pictures.items():
            (self.folder / PICTURES).mkdir(exist_ok=True)
            write_whole(self.folder / PICTURES / f"{name}.png", data)
        self._write_comparison()

    def add(self, index: int, cell: CellResult) -> None:
        """Write the pictures of a cell, if it has any."""
        for name, data in pictures_of(self.comparison, index, cell):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            write_whole(path, data)

    def finish(self, result: ComparisonResult) -> None:
        """Write the sheet, the results, and the comparison again, now with its record."""
        from zoo.sheet import draw_sheet

        self.comparison = result.comparison
        self._write_comparison()
        _write_text(self.folder / "results.json", results_json(result))
        data = png(draw_sheet(result), result.comparison)
        write_whole(self.folder / "grid.png", data)

    def _write_comparison(self) -> None:
        _write_text(self.folder / "comparison.json", self.comparison.model_dump_json(indent=2))


def pictures_of(comparison: Comparison, index: int, cell: CellResult) -> Iterator[tuple[str, bytes]]:
    """The pictures of a cell as PNG, each with its path in the folder; none if it is not done."""
    if cell.images is None:
        return
    folder = f"cells/{index:02d}"
    for seed, image in zip(comparison.seeds, cell.images, strict=True):
        yield (
            f"{folder}/{seed}.png",
            png(to_pil(image), comparison, {"method": cell.method, "seed": str(seed)}),
        )
    for name, pixels in cell.maps.items():
        yield f"{folder}/map-{name}.png", png(to_pil(pixels * 2 - 1))


def results_json(result: ComparisonResult) -> str:
    """results.json as text."""
    return json.dumps(result.to_dict(), indent=2, ensure_ascii=False)


def to_pil(image: torch.Tensor) -> Image.Image:
    """A picture (3, H, W) within [-1, 1] as 8-bit RGB."""
    from PIL import Image

    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous()
    return Image.fromarray(pixels.numpy())


def png(
    image: Image.Image, comparison: Comparison | None = None, facts: dict[str, str] | None = None
) -> bytes:
    """PNG bytes that carry the comparison in their text metadata."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if comparison is not None:
        info.add_itxt("comparison", comparison.model_dump_json())
    for key, value in (facts or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def zip_folder(folder: Path, target: Path) -> Path:
    """The folder as one zip file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder).as_posix())

    _write(target, write)
    return target


def record(comparison: Comparison, model: Model, engine: Engine, registry: Registry) -> dict[str, Any]:
    """What a comparison was run with: versions, plugins, device, precision and the hash of the weights."""
    from zoo import __version__
    from zoo.device import dtype_name

    return {
        "zoo": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "plugins": {
            info.name: info.version or _hash(info.location) for info in registry.plugins if info.registers
        },
        "model": {"name": model.name, "weights": model.fingerprint()},
        "device": str(engine.device),
        "dtype": "fp64" if model.precision == "float64" else dtype_name(engine.dtype_of(model)),
    }


def _hash(file: str) -> str:
    """What a drop-in plugin has for a version."""
    path = Path(file)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def _write_text(path: Path, text: str) -> None:
    write_whole(path, (text + "\n").encode("utf-8"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it: it is there as it was before, or as it is now.

    Raises:
        OSError: it could not be written; nothing is left of the attempt.
    """
    _write(path, lambda part: part.write_bytes(data))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the target, then rename."""
    part = path.with_name(path.name + PART)
    try:
        write(part)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)  # on a full disk every byte counts
        raise
