"""Latents to pictures: the decoder of a variational auto-encoder, and a linear map in its place for previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from zoo.memory import out_of_memory, shelf
from zoo.models.elsewhere.safety import SafetyChecker

PIXELS = 2**20
"""Most pixels that are decoded at once: four pictures of 512 × 512."""


class LatentDecoder:
    """A VAE's decoder; as many latents at once as fit into memory beside it, a single one too large for it in tiles.

    Tiles overlap and are blended, but each is normalised by itself: colours may differ a little from the whole's.

    Args:
        vae: a diffusers auto-encoder.
        checker: sees every picture, and blackens what it objects to.

    References:
        Rombach et al. 2022, arXiv:2112.10752.
    """

    def __init__(self, vae: Any, checker: SafetyChecker | None = None) -> None:
        self.vae, self.checker = vae, checker
        self.enlargement = enlargement(vae.config)
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(getattr(vae.config, "shift_factor", None) or 0.0)
        self.pixels = PIXELS

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        pictures: list[torch.Tensor] = []
        first, rows = 0, len(x)
        while first < len(x):
            rows = max(1, min(rows, self.pixels // (x.shape[-1] * x.shape[-2] * self.enlargement**2)))
            part, short_of_memory = x[first : first + rows], False
            try:
                decoded = self.decode(part).float().clamp(-1, 1)
                pictures.append(decoded if self.checker is None else self.checker(decoded))
                first += rows
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or (rows == 1 and self.vae.use_tiling):
                    raise
                short_of_memory = True
            if short_of_memory and shelf.release(x.device):
                continue
            if short_of_memory and rows == 1:
                self._tile(x.shape[-1])
            elif short_of_memory:
                rows //= 2
                self.pixels //= 2
        return torch.cat(pictures)

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (n, C, h, w) of the diffusion model as pictures (n, 3, H, W), not clipped."""
        latents = x.to(self.vae.dtype) / self.scale + self.shift
        decoded: torch.Tensor = self.vae.decode(latents, return_dict=False)[0]
        return decoded

    def _tile(self, side: int) -> None:
        """From now on in tiles of half the side."""
        self.vae.enable_tiling()
        self.vae.tile_latent_min_size = max(1, side // 2)
        self.vae.tile_sample_min_size = self.vae.tile_latent_min_size * self.enlargement


class LinearPreview:
    """rgb ≈ W·z + b for every latent pixel z, at the size of the latents: what a preview costs is nothing.

    Args:
        weights: (channels + 1, 3), the last row being b.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    @classmethod
    def fit(cls, decoder: LatentDecoder, channels: int, device: torch.device) -> LinearPreview:
        """Least squares over what the decoder makes of random latents, unit noise blurred so that it has areas."""
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(8, channels, 4, 4, generator=generator)
        latents = torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")
        latents = latents / latents.std()
        with torch.no_grad():
            decoded = torch.cat([decoder.decode(z[None].to(device)).float().cpu() for z in latents])
        colours = torch.nn.functional.adaptive_avg_pool2d(decoded, 16).permute(0, 2, 3, 1).reshape(-1, 3)
        z = latents.permute(0, 2, 3, 1).reshape(-1, channels)
        ones = torch.ones(len(z), 1)
        return cls(torch.linalg.lstsq(torch.cat([z, ones], 1).double(), colours.double()).solution.float())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) within [-1, 1] of latents (n, C, h, w), on the CPU."""
        z = x.detach().float().cpu()
        rgb = torch.einsum("nchw,ck->nkhw", z, self.weights[:-1]) + self.weights[-1].view(1, 3, 1, 1)
        return rgb.clamp(-1, 1)


def enlargement(config: Mapping[str, Any]) -> int:
    """How many pixels wide a latent of an auto-encoder is: each of its blocks but the last doubles."""
    return int(2 ** (len(config["block_out_channels"]) - 1))
