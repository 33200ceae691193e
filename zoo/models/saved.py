"""Networks that `save_pretrained` wrote: loaded whole, from safetensors alone, or refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import torch

from zoo.memory import out_of_memory

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
MOST_HEADER = 100_000_000
"""Bytes; safetensors itself refuses longer headers."""

_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How what `torch.save` and `pickle` write begins."""
_POINTER = b"version https://git-lfs"
_TRANSFORMERS = {"ignore_mismatched_sizes": True}


def load_saved(
    cls: Any,
    folder: Path,
    dtype: torch.dtype,
    files: Iterable[Path] | None = None,
    variant: str | None = None,
) -> Any:
    """A network of a class of diffusers or transformers, for inference.

    The libraries fill what a file lacks with random numbers, and say so in a log: here that is an error, since the
    pictures would be noise and nobody would know why.

    Args:
        cls: a `ModelMixin` of diffusers or a `PreTrainedModel` of transformers.
        folder: with its configuration and its weights.
        dtype: of the weights.
        files: the weights that will be read; by default all safetensors in the folder.
        variant: which of several sets of weights, such as fp16.

    Raises:
        OSError: a file is missing, truncated, no safetensors, or belongs to another network.
    """
    from diffusers import ModelMixin

    paths = sorted(folder.glob("*.safetensors")) if files is None else list(files)
    if not paths:
        pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
        beside = f"; {pickles[0]} is a pickle, which is never opened" if pickles else ""
        raise OSError(f"{folder} holds no .safetensors: it was moved or deleted, or never complete{beside}")
    for path in paths:
        header(path)
    # transformers names the mismatched tensors only if it may pass over them, diffusers at once.
    own = {"torch_dtype": dtype} if issubclass(cls, ModelMixin) else _TRANSFORMERS | {"dtype": dtype}
    try:
        module, found = cls.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=variant,
            **own,
        )
    except (ValueError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        raise OSError(_of_another(folder, cls, str(error).partition(". ")[0])) from error
    if found["mismatched_keys"]:
        name, given, wanted = min(found["mismatched_keys"])
        raise OSError(_of_another(folder, cls, f"{name} is {tuple(given)} and not {tuple(wanted)}"))
    if missing := sorted(found["missing_keys"]):
        few = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise OSError(_of_another(folder, cls, f"it lacks {len(missing)} of its tensors: {few}"))
    for tensor in (*module.parameters(), *module.buffers()):
        # It may be a window on the file, and whoever shortens that later would kill this process (SIGBUS).
        tensor.data = tensor.data.clone()
    return module.eval().requires_grad_(False)


def header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors: by name, their dtype, shape and place; no tensor is read.

    Raises:
        OSError: the file is missing, truncated, or something else, such as a pickle; the message names it.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            length = int.from_bytes(start[:8], "little")
            if start.startswith(_POINTER):
                raise OSError(f"{path} is a pointer of Git LFS and not the file: `git lfs pull` fetches it")
            if size < 8 or length > min(size - 8, MOST_HEADER):
                raise OSError(_damaged(path, size, start))
            file.seek(8)
            text = file.read(length)
    except FileNotFoundError:
        raise OSError(f"{path} is missing: it was moved or deleted") from None
    try:
        found: dict[str, Any] = json.loads(text)
        found.pop("__metadata__", None)
        ends = [int(entry["data_offsets"][1]) for entry in found.values()]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise OSError(_damaged(path, size, start)) from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise OSError(
            f"{path} is {'truncated' if size < expected else 'damaged'}: it has {size:,} bytes, and its header speaks "
            f"of {expected:,}; copy or fetch it again"
        )
    return found


def elements(path: Path) -> int:
    """How many numbers a safetensors file holds.

    Raises:
        OSError: as `header`.
    """
    return sum(prod(entry["shape"]) for entry in header(path).values())


def _damaged(path: Path, size: int, start: bytes) -> str:
    if start.startswith(_PICKLED):
        return (
            f"{path} is a pickle under the name of a safetensors file. Loading it could run whatever code it holds, "
            "so it is not opened: replace it by what save_pretrained() writes"
        )
    return f"{path} is no safetensors file, or only the beginning of one ({size:,} bytes); copy or fetch it again"


def _of_another(folder: Path, cls: Any, reason: str) -> str:
    return (
        f"the weights in {folder} do not belong to the {cls.__name__} that config.json describes: {reason}; put back "
        "the file that was saved with it"
    )
