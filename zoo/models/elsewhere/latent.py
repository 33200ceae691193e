"""Latent models: what all with an auto-encoder share, and Stable Diffusion 1.x and 2.x.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", arXiv:2112.10752.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch

from zoo.hub import hosted
from zoo.model import ControlFacts
from zoo.models.control import ControlNet
from zoo.models.elsewhere.base import ModelFromElsewhere
from zoo.models.elsewhere.control import own_controls
from zoo.models.elsewhere.decoder import LatentDecoder, LinearPreview, enlargement
from zoo.models.elsewhere.parts import CONFIG, TRANSFORMERS, Training, Weights, square, variant_of
from zoo.models.elsewhere.safety import SafetyChecker
from zoo.models.elsewhere.source import Source
from zoo.models.elsewhere.text import TextEncoder
from zoo.models.unet import UNet
from zoo.schedule import Schedule


class LatentModel(ModelFromElsewhere):
    """A denoiser of latents and the auto-encoder that they belong to.

    Args:
        source: the files.
        part: the denoiser's.
    """

    roles: tuple[str, ...] = ("denoiser", "decoder")

    def __init__(self, source: Source, part: str) -> None:
        super().__init__(source)
        self.config = source.json(f"{part}/{CONFIG}")
        self._part = part
        self.shape = (self.config["in_channels"], *square(self.config, self.name))
        self.part("vae", "AutoencoderKL")
        self.weights = {role: Weights.find(source, self._folder(role)) for role in self.roles}
        self.enlargement = enlargement(source.json(f"vae/{CONFIG}"))
        self.training = Training.read(source)
        self.schedule: Schedule = self.training.schedule
        self._preview: LinearPreview | None = None
        self.checked = hosted() and self.has_part("safety_checker")
        if self.checked:
            Weights.find(source, "safety_checker", TRANSFORMERS)

    def load(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        if role == "decoder":
            return self._load_decoder(device, dtype)
        return self._load_network(role, device, dtype)

    @abstractmethod
    def _load_network(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        """Load the network of any role but the decoder's."""

    def _load_decoder(self, device: torch.device, dtype: torch.dtype) -> LatentDecoder:
        """In single precision where half is asked for, since some overflow in it; its preview is fitted along."""
        from diffusers import AutoencoderKL

        safe = torch.float32 if dtype == torch.float16 else dtype
        weights = Weights.find(self.source, "vae", variant=variant_of(dtype))
        checker = SafetyChecker(self.source, device) if self.checked else None
        decoder = LatentDecoder(weights.diffusers(AutoencoderKL, safe).to(device), checker)
        if self._preview is None:
            self._preview = LinearPreview.fit(decoder, self.shape[0], device)
        return decoder

    def size(self, role: str, dtype: torch.dtype) -> int:
        return self.weights[role].size(dtype)

    def prediction_kind(self, role: str) -> str:
        return self.training.prediction if role == "denoiser" else ""

    @property
    def picture_size(self) -> tuple[int, int]:
        return self.shape[1] * self.enlargement, self.shape[2] * self.enlargement

    def project(self, x0: torch.Tensor, threshold: str | float) -> torch.Tensor:
        """As it is: latents have no range."""
        return x0

    def pictures(self, x: torch.Tensor) -> torch.Tensor:
        """A linear map of the latents, at their own size; grey where a safety checker is still to see the picture."""
        if self.checked:
            return torch.zeros(len(x), 3, *self.shape[1:])
        if self._preview is None:
            self.network("decoder", x.device, torch.float32)
        assert self._preview is not None
        return self._preview(x)

    def _folder(self, role: str) -> str:
        return "vae" if role == "decoder" else self._part


class StableDiffusion(LatentModel):
    """Text to latents to pictures; eps- or v-prediction, as its scheduler says; ControlNets in roles control/NAME."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, "unet")
        self.part("unet", "UNet2DConditionModel")
        if self.config.get("addition_embed_type") is not None or self.shape[0] != 4:
            raise ValueError(
                f"{self.name}: its U-Net has {self.shape[0]} channels and addition_embed_type "
                f"{self.config.get('addition_embed_type')!r}; only text to image with 4 and none is known here"
            )
        self.part("text_encoder", "CLIPTextModel")
        self.part("tokenizer", "CLIPTokenizer", "CLIPTokenizerFast")
        self.text = TextEncoder(source)
        for role, weights in own_controls(source, self.index).items():
            self._add_role(role, weights)

    def control(self, role: str) -> ControlFacts:
        """It reads the prompt, as published ones do, and the maps of the annotator that it is named after."""
        if not role.startswith("control/") or role not in self.roles:
            return super().control(role)
        return ControlFacts(annotator=role.removeprefix("control/"), reads_prompt=True)

    def add_control(self, name: str, source: Source) -> None:
        """Give it the role control/NAME, from a source of its own.

        Raises:
            OSError: it has no weights, or pickled ones.
            ValueError: it is no ControlNet.
        """
        saved = source.json(CONFIG).get("_class_name")
        if saved != "ControlNetModel":
            raise ValueError(f"{source.name} holds a {saved}, and has to be a ControlNetModel")
        self._add_role(f"control/{name}", Weights.find(source, ""))

    def _add_role(self, role: str, weights: Weights) -> None:
        self.roles = (*self.roles, role)
        self.weights[role] = weights

    def condition(self, text: str, device: torch.device) -> torch.Tensor:
        """CLIP's embedding of the prompt, (tokens, width)."""
        return self.text.encode(text, device)

    def notices(self, text: str) -> list[str]:
        cut = self.text.cut(text)
        said = f"{self.title} reads the first {self.text.room} tokens of a prompt; left out: {cut}."
        return super().notices(text) + ([said] if cut else [])

    def suggestions(self) -> list[str]:
        return ["a photograph of an astronaut riding a horse", "a watercolour of a lighthouse in a storm"]

    def _load_network(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        from diffusers import ControlNetModel, UNet2DConditionModel

        controls = role.startswith("control/")
        found = self.weights[role]
        weights = Weights.find(found.source, found.part, variant=variant_of(dtype))
        cls = ControlNetModel if controls else UNet2DConditionModel
        module = weights.diffusers(cls, dtype).to(device, memory_format=torch.channels_last)
        if controls:
            return ControlNet(module, self.schedule, dtype)
        return UNet(module, self.schedule, self.training.prediction, dtype)
