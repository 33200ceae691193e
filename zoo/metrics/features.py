"""A classifier of tinyworld pictures, whose penultimate activations are the features of Fréchet distances.

What Inception is to FID, this network is to tinyworld: it names what a clean picture shows, and on the way
describes the picture by one vector. It knows nothing but tinyworld; of other pictures it says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from zoo.data.tinyworld import COLOURS, KINDS, SCENES

WEIGHTS = Path(__file__).parents[1] / "weights" / "tinyworld" / "features"
"""Folder of the bundled network."""

HEADS: tuple[str, ...] = ("kind", "colour", "scene")
"""What the network tells of a picture; also the names of the fields of `FeatureOutput`."""


class FeatureOutput(NamedTuple):
    """What the network says of n pictures.

    Attributes:
        features: (n, d) pooled activations.
        kind: (n, kinds) logits, in the order of `config.kinds`; colour and scene alike.
        colour: (n, colours) logits.
        scene: (n, scenes) logits.
    """

    features: torch.Tensor
    kind: torch.Tensor
    colour: torch.Tensor
    scene: torch.Tensor


class FeatureNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A small residual network with three linear heads on features averaged over the picture.

    Normalisation is by groups within one picture, so a picture's features do not depend on its batch.

    Args:
        kinds, colours, scenes: the names that the heads choose from.
        channels: width at 1/2, 1/4, … of `size`; the last is the dimension d of the features.
        size: height and width that pictures are brought to.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        kinds: Sequence[str] = KINDS,
        colours: Sequence[str] = COLOURS,
        scenes: Sequence[str] = SCENES,
        channels: Sequence[int] = (32, 64, 128),
        size: int = 32,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((3, *channels[:-1]), channels, strict=True):
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), _Residual(width)]
        self.body = nn.Sequential(*layers, _norm(channels[-1]), nn.SiLU())
        self.kind = nn.Linear(channels[-1], len(kinds))
        self.colour = nn.Linear(channels[-1], len(colours))
        self.scene = nn.Linear(channels[-1], len(scenes))

    def forward(self, x: torch.Tensor) -> FeatureOutput:
        """Features and logits of pictures.

        Args:
            x: (n, 3, H, W) in [-1, 1]; where H or W is not `config.size`, resized by area.

        Raises:
            ValueError: x has another shape, or holds integers.
        """
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(
                f"expected floating-point pictures (n, 3, H, W) in [-1, 1], got {x.dtype} {tuple(x.shape)}: "
                "of uint8 pictures (n, H, W, 3) make x.permute(0, 3, 1, 2) / 127.5 - 1"
            )
        size = self.config.size
        if x.shape[2:] != (size, size):
            x = F.interpolate(x, (size, size), mode="area")
        features = self.body(x).mean((2, 3))
        return FeatureOutput(features, self.kind(features), self.colour(features), self.scene(features))

    @torch.no_grad()
    def classify(self, x: torch.Tensor) -> list[dict[str, str]]:
        """The likeliest kind, colour and scene of each picture, by name.

        Args:
            x: as in `forward`.

        Raises:
            ValueError: as in `forward`.
        """
        output = self(x)
        named = [[self.names(head)[i] for i in getattr(output, head).argmax(1).tolist()] for head in HEADS]
        return [dict(zip(HEADS, names, strict=True)) for names in zip(*named, strict=True)]

    def names(self, head: str) -> Sequence[str]:
        """What the "kind", "colour" or "scene" head chooses from, in the order of its logits."""
        choices: Sequence[str] = self.config[f"{head}s"]
        return choices


def load_features(device: str = "cpu") -> FeatureNetwork:
    """The bundled network, in single precision, loaded once per device; shared, so do not change it.

    Raises:
        FileNotFoundError: the weights are not there.
    """
    return _load(str(torch.device(device)))


@cache
def _load(device: str) -> FeatureNetwork:
    if not (WEIGHTS / "config.json").exists():
        raise FileNotFoundError(f"no feature network in {WEIGHTS}: `zoo train features` makes one")
    network: FeatureNetwork = FeatureNetwork.from_pretrained(
        WEIGHTS, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    network.to(device).eval().requires_grad_(False)
    return network


class _Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        halves = [[_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)] for _ in range(2)]
        self.branch = nn.Sequential(*halves[0], *halves[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.branch(x)
        return out


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, width)
