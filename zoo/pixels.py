"""Pictures as bytes, as they are drawn and kept, and as data, as networks see them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def from_bytes(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (n, H, W, 3) uint8 as data (n, 3, H, W) float32 within [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
