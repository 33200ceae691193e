"""How far apart two batches of pictures are, one number a picture, to be trained on."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import torch

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Two batches (B, C, H, W) → (B,)."""

VGG = "https://download.pytorch.org/models/vgg16-397923af.pth"
"""The weights that the lpips package reads, through torchvision."""


def l2(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean of (a − b)²."""
    return (a - b).square().flatten(1).mean(1)


def l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean of |a − b|."""
    return (a - b).abs().flatten(1).mean(1)


def pseudo_huber(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(√(‖a − b‖² + c²) − c)/√d of d elements, c = 0.00054·√d: l2 close by, the length of a − b far away.

    Dividing by √d, which the paper does not, makes it a root mean square, whatever the size of the pictures.

    References:
        Song & Dhariwal 2023, "Improved Techniques for Training Consistency Models", arXiv:2310.14189.
    """
    return (l2(a, b) + 0.00054**2).sqrt() - 0.00054


def load_lpips() -> Distance:
    """LPIPS with VGG, of pictures enlarged to 224 pixels (Zhang et al. 2018, arXiv:1801.03924).

    Raises:
        ValueError: the package or its weights are not on this machine; nothing is downloaded.
    """
    if importlib.util.find_spec("lpips") is None:
        raise ValueError(
            "distance lpips needs the lpips package (pip install lpips); pseudo-huber needs nothing"
        )
    weights = Path(torch.hub.get_dir()) / "checkpoints" / VGG.rpartition("/")[2]
    if not weights.is_file():
        raise ValueError(
            f"distance lpips needs VGG's weights, 528 MB: download {VGG} to {weights.parent}; "
            "pseudo-huber needs nothing"
        )
    import lpips

    network = lpips.LPIPS(net="vgg", verbose=False).eval().requires_grad_(False)

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        scale = 224 / min(a.shape[-2:])
        if not math.isclose(scale, 1):
            a, b = (torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear") for x in (a, b))
        found: torch.Tensor = network.to(a.device)(a, b).flatten()
        return found

    return distance


DISTANCES: dict[str, Callable[[], Distance]] = {
    "pseudo-huber": lambda: pseudo_huber,
    "l2": lambda: l2,
    "l1": lambda: l1,
    "lpips": load_lpips,
}
"""Name → what makes the distance, which may need files."""
