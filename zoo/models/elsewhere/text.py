"""Prompts through CLIP's text encoder."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from zoo.memory import shelf
from zoo.models.elsewhere.parts import TRANSFORMERS, Weights
from zoo.models.elsewhere.source import Source, matching


class TextEncoder:
    """tokenizer/ and text_encoder/ of a pipeline, in single precision; an owner of its own on the shelf."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.weights = Weights.find(source, "text_encoder", TRANSFORMERS)

    def encode(self, text: str, device: torch.device) -> torch.Tensor:
        """The last hidden states, (tokens, width)."""
        tokens = self.tokenizer(
            [text], padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        encoder = shelf.get(
            self,
            "text_encoder",
            device,
            torch.float32,
            load=lambda: self._load(device),
            size=lambda: self.weights.size(torch.float32),
        )
        masked = getattr(encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask.to(device) if masked else None
        with torch.no_grad():
            states: torch.Tensor = encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
        return states[0]

    def cut(self, text: str) -> str:
        """The end of a prompt that is too long to be read; "" of any other."""
        tokens = self.tokenizer(text).input_ids
        if len(tokens) <= self.length:
            return ""
        return str(self.tokenizer.decode(tokens[self.length - 1 : -1]))

    @property
    def length(self) -> int:
        """Tokens that it reads, start and end included."""
        return int(self.tokenizer.model_max_length)

    @property
    def room(self) -> int:
        """Tokens that a prompt may have."""
        return self.length - 2

    @cached_property
    def tokenizer(self) -> Any:
        """transformers' `CLIPTokenizer`."""
        from transformers import CLIPTokenizer

        for file in matching(self.source.files, "tokenizer"):
            self.source.path(file)
        return CLIPTokenizer.from_pretrained(self.source.path("tokenizer/tokenizer_config.json").parent)

    def _load(self, device: torch.device) -> Any:
        from transformers import CLIPTextModel

        return self.weights.transformers(CLIPTextModel, torch.float32).to(device)
