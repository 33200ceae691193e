"""Where and in which precision networks run."""

from __future__ import annotations

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """`auto` is the first of cuda, mps and cpu that is there.

    Raises:
        ValueError: no such device here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    kind = name.partition(":")[0]
    if not available.get(kind, False):
        here = ", ".join(device for device, there in available.items() if there)
        raise ValueError(f"no device {name!r} here; choose auto or one of: {here}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"{name!r} is not a device; write for example cpu, cuda or cuda:1") from None
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise ValueError(f"no device {name!r} here; there are {torch.cuda.device_count()} CUDA devices")
    return device


def resolve_dtype(name: str, device: torch.device, preferred: str = "") -> torch.dtype:
    """`auto` is what the model prefers, if it may be; else bfloat16 where it is native, else float32.

    Raises:
        ValueError: unknown name, or float16 on a CPU, where it is neither fast nor safe.
    """
    if name == "auto" and preferred and not (preferred == "fp16" and device.type == "cpu"):
        name = preferred
    if name == "auto":
        return torch.bfloat16 if native_bf16(device) else torch.float32
    if name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}; choose auto or one of: {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise ValueError("fp16 is for GPUs; on a CPU choose auto, fp32 or bf16")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """The short name of a dtype: fp32, bf16 or fp16."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device; to CUDA through pinned memory, so that nobody waits for its arrival."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def native_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed in hardware; emulated, it is about ten times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
