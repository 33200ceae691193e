"""What recipes share that start from a trained model: its networks, their questions at a table of levels, copies."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.models.text import encode, unknown_words
from zoo.models.tinyworld import TextToPixels
from zoo.schedule import Level


class LevelTable:
    """Levels as tables over an index k, so that every row of a batch can have its own.

    Attributes:
        t: what the network calls them, (K,); a clean level, which it is not asked about, has 0.
        alpha, sigma: (K, 1, 1, 1).
    """

    def __init__(
        self,
        levels: Sequence[Level],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        def table(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self.t = table([level.t or 0.0 for level in levels])
        self.alpha = table([level.alpha for level in levels]).view(-1, 1, 1, 1)
        self.sigma = table([level.sigma for level in levels]).view(-1, 1, 1, 1)

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """z = α·x0 + σ·eps at each row's level; x0 and noise (B, C, H, W), k (B,) long."""
        return self.alpha[k] * x0 + self.sigma[k] * noise

    def x0(self, kind: str, output: torch.Tensor, z: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """The clean data that an output at z says, of a network that predicts v or x0."""
        return output if kind == "x0" else self.alpha[k] * z - self.sigma[k] * output


@dataclass(frozen=True)
class Teacher:
    """A network to learn from, with the text encoder that its students share.

    Attributes:
        network: a `UNet2DConditionModel`.
        kind: what it predicts, v or x0.
    """

    network: Any
    kind: str
    tokenizer: Any
    text_encoder: Any

    @classmethod
    def of(cls, model: TextToPixels, kinds: Sequence[str], size: int, device: torch.device) -> Teacher:
        """The denoiser and the text encoder of a model.

        Args:
            kinds: predictions that will do.
            size: of the pictures that it is to make.

        Raises:
            ValueError: it predicts something else, or makes pictures of another size.
        """
        kind, own = model.prediction_kind("denoiser"), model.shape[-1]
        if kind not in kinds:
            raise ValueError(f"{model.name} predicts {kind}; this recipe needs {' or '.join(kinds)}")
        if own != size:
            raise ValueError(f"{model.name} makes pictures of {own} pixels, not {size}: add --size {own}")
        tokenizer, text_encoder = model.text_parts()
        denoiser: Any = model.network("denoiser", device, torch.float32)
        return cls(denoiser.module, kind, tokenizer, text_encoder.to(device))

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """The captions' embeddings (B, length, width), and as many of the empty caption, encoded once."""
        text = encode(self.tokenizer, self.text_encoder, [*captions, ""])
        return text[:-1], text[-1:].expand_as(text[:-1])

    def predictor(
        self, levels: LevelTable, text: torch.Tensor, empty: torch.Tensor, guidance: float = 1.0
    ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """x0 from (z, k) under these embeddings, guided but not clipped: empty + guidance·(text − empty)."""

        @torch.no_grad()
        def predict(z: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            t = levels.t[k]
            if guidance == 1:
                output = ask(self.network, z, t, text)
            else:
                both = ask(self.network, torch.cat([z, z]), torch.cat([t, t]), torch.cat([text, empty]))
                towards, without = both.chunk(2)
                output = without + guidance * (towards - without)
            return levels.x0(self.kind, output, z, k)

        return predict

    def fingerprint(self) -> str:
        """A hash of its weights and the text encoder's."""
        digest = hashlib.sha256()
        for module in (self.network, self.text_encoder):
            for parameter in module.parameters():
                digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def check_captions(words: Sequence[str], tokenizer: Any, data: str) -> None:
    """Refuse pictures whose captions a trained model does not know: they are hardly those that it was trained on.

    Args:
        words: of all captions.
        tokenizer: the model's.
        data: what `--data` names.

    Raises:
        ValueError: the model does not know some of them.
    """
    unknown = unknown_words(tokenizer, " ".join(words))
    if unknown:
        some = ", ".join(unknown[:8]) + (", …" if len(unknown) > 8 else "")
        raise ValueError(
            f"captions of {data} have words that the model does not know ({some}): name the pictures that it was "
            "trained on with --data"
        )


def ask(network: Any, z: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """A U-Net's output, float32."""
    output: torch.Tensor = network(z, t, encoder_hidden_states=text).sample
    return output.float()


def blank(network: Any) -> Any:
    """A network of the same architecture with weights from the global random generator."""
    return type(network).from_config({k: v for k, v in network.config.items() if k[0] != "_"})  # not its path


def copy_of(network: Any) -> Any:
    """A network of the same architecture with the same weights."""
    copy = blank(network)
    copy.load_state_dict(network.state_dict())
    return copy


def copy_model(folder: Path, model: Path) -> None:
    """Begin a model's folder with the parts that stay as they are."""
    for part in ("denoiser", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(folder / part, model / part, dirs_exist_ok=True)
