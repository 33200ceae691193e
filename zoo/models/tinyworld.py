"""`tinyworld`, and any folder that `zoo train denoiser` wrote: text to pixels with diffusers' U-Net."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.consistency import Boundary, Scaled
from zoo.data.tinyworld import VOCABULARY, draw_pictures, named
from zoo.model import ControlFacts, Model
from zoo.models.control import ControlNet
from zoo.models.saved import load_saved
from zoo.models.text import encode, saved_vocabulary, unknown_words, vocabulary
from zoo.models.unet import UNet
from zoo.pixels import from_bytes
from zoo.schedule import DiscreteSchedule, Schedule

if TYPE_CHECKING:
    from zoo.models.classifier import FolderClassifier

WEIGHTS = Path(__file__).parent.parent / "weights"
ROLES = ("denoiser", "classifier", "distilled/*", "consistency/*", "control/*")
"""Where a model's folder keeps its networks; the first it must have."""
STUDENT_CARD = "distillation.json"
"""In the folder of a student: its steps, what it predicts, and the timesteps that it knows."""
CONSISTENCY_CARD = "consistency.json"
"""In the folder of a consistency network: the chain that it was trained on, and its scalings."""
CONTROL_CARD = "control.json"
"""In the folder of a ControlNet: the annotator whose maps it knows, and whether it reads the prompt."""


PROMPTS = (
    "a red mushroom at night",
    "a blue fish on the beach",
    "a large orange cat in the snow",
    "a small purple house on the left at sunset",
)
"""Examples of what a model of tinyworld's pictures can draw."""


class TextToPixels(Model):
    """A text-conditional pixel model in a folder: denoiser/, text_encoder/, tokenizer/ and scheduler/.

    Its roles are what the folder holds: the denoiser, a classifier, students in distilled/1, distilled/2, …, and
    consistency networks in consistency/tuning, …, and ControlNets in control/canny, control/pose, …

    Raises:
        OSError: the folder or one of its parts is missing, or a student or a consistency network belongs to another
            schedule.

    Attributes:
        prompt: an example of what it can draw, if its owner gives one.
    """

    prompt: str = ""

    def __init__(self, folder: Path | str, name: str, title: str, summary: str = "") -> None:
        self.folder = Path(folder)
        self.name, self.title, self.summary = name, title, summary
        unet = self._config("denoiser/config.json")
        scheduler = self._config("scheduler/scheduler_config.json")
        self.shape = (unet["in_channels"], unet["sample_size"], unet["sample_size"])
        self.schedule: Schedule = _schedule(scheduler, name)
        self.roles = tuple(role for pattern in ROLES for role in _found(self.folder, pattern))
        kind = {"v_prediction": "v", "epsilon": "eps", "sample": "x0"}[scheduler["prediction_type"]]
        self._boundaries = {role: self._boundary(role) for role in self.roles if self.is_consistency(role)}
        self._kinds = {
            role: self._student_kind(role) if role.startswith("distilled/") else kind
            for role in self.roles
            if role != "classifier" and not role.startswith("control/")
        } | {role: "v" if boundary.is_v else "x0" for role, boundary in self._boundaries.items()}
        self._networks: dict[
            tuple[str, torch.device, torch.dtype], UNet | Scaled | FolderClassifier | ControlNet
        ] = {}
        self._text: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def network(
        self, role: str, device: torch.device, dtype: torch.dtype
    ) -> UNet | Scaled | FolderClassifier | ControlNet:
        if role not in self.roles:
            raise LookupError(f"{self.name} has no network {role!r}, only {', '.join(self.roles)}")
        with self._lock:
            key = (role, device, dtype)
            if key not in self._networks:
                self._networks[key] = self._load(role, device, dtype)
            return self._networks[key]

    def prediction_kind(self, role: str) -> str:
        return self._kinds.get(role, "")

    def classes(self, role: str = "classifier") -> Sequence[str]:
        if role != "classifier" or role not in self.roles:
            return ()
        classes: list[str] = self._config("classifier/config.json")["classes"]
        return classes

    def control(self, role: str) -> ControlFacts:
        """What the network's card says; a ControlNet trained elsewhere has none, and is taken for a usual one."""
        if not role.startswith("control/") or role not in self.roles:
            return super().control(role)
        if not (self.folder / role / CONTROL_CARD).is_file():
            return ControlFacts(annotator=role.removeprefix("control/"), reads_prompt=True)
        card = self._config(f"{role}/{CONTROL_CARD}")
        return ControlFacts(annotator=card["annotator"], reads_prompt=card["reads_prompt"])

    def condition(self, text: str, device: torch.device) -> torch.Tensor:
        """The prompt's embedding, (tokens, width); words outside the vocabulary are left out."""
        tokenizer, text_encoder = self.text_parts()
        unknown = set(unknown_words(tokenizer, text))
        words = [word for word in _words(tokenizer, text) if word not in unknown]
        with torch.no_grad():
            return encode(tokenizer, text_encoder, [" ".join(words)])[0].to(device)

    def notices(self, text: str) -> list[str]:
        tokenizer, _ = self.text_parts()
        notices = []
        unknown = unknown_words(tokenizer, text)
        if unknown:
            known = ", ".join(vocabulary(tokenizer))
            notices.append(
                f"{self.title} does not know {', '.join(unknown)} and left it out. It knows: {known}."
            )
        room = tokenizer.model_max_length - 2
        if len(_words(tokenizer, text)) - len(unknown) > room:
            notices.append(f"{self.title} reads the first {room} words of a prompt; the rest was left out.")
        return notices

    def examples(self) -> list[str]:
        if self.prompt:
            return [self.prompt]
        return list(PROMPTS) if self.data_set() == "tinyworld" else []

    def data_set(self) -> str:
        """What it was trained on, told by its words: exactly those of tinyworld's captions, or others."""
        return "tinyworld" if saved_vocabulary(self.folder / "tokenizer") == list(VOCABULARY) else ""

    def data(self, text: str, n: int, seed: int) -> torch.Tensor:
        """tinyworld's pictures with the attributes that the prompt names, all others drawn freely."""
        if self.data_set() != "tinyworld":
            return super().data(text, n, seed)
        images = draw_pictures(n, seed, self.shape[-1], **named(text))
        return from_bytes(images)

    def fingerprint(self) -> str:
        """SHA-256 over the weight files, first 16 digits."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return weights_fingerprint(self.folder, (*self.roles, "text_encoder"))

    def _student_kind(self, role: str) -> str:
        """What a student predicts, of which its weights say nothing.

        Raises:
            OSError: it was trained for other levels than this model's, or does not say for which.
        """
        card = self._config(f"{role}/{STUDENT_CARD}")
        own = [level.t for level, _ in self.schedule.levels(card["steps"]).pairs()]
        if card["timesteps"] != own or role != f"distilled/{card['steps']}":
            raise OSError(
                f"{self.folder / role} was trained for {card['steps']} steps at t = {card['timesteps']}, "
                f"where this model has t = {own}"
            )
        kind: str = card["prediction"]
        return kind

    def _boundary(self, role: str) -> Boundary:
        """The scalings of a consistency network, of which its weights say nothing.

        Raises:
            OSError: it was trained on another chain, or does not say on which.
        """
        card = self._config(f"{role}/{CONSISTENCY_CARD}")
        own = chain_facts(self.schedule)
        if len(own) != len(card["chain"]) or not all(map(math.isclose, card["chain"], own)):
            raise OSError(
                f"{self.folder / role} was trained on a chain of (T, least, greatest sigma/alpha) = {card['chain']}, "
                f"where this model's is {own}"
            )
        return Boundary(card["sigma_data"])

    def _config(self, part: str) -> dict[str, Any]:
        path = self.folder / part
        if not path.is_file():
            raise OSError(
                f"{self.folder} is not a model folder: {part} is missing (zoo train denoiser makes one)"
            )
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config

    def _load(
        self, role: str, device: torch.device, dtype: torch.dtype
    ) -> UNet | Scaled | FolderClassifier | ControlNet:
        if role == "classifier":
            from zoo.models.classifier import FolderClassifier

            return FolderClassifier(self.folder / role, self.schedule, device, dtype)
        from diffusers import ControlNetModel, UNet2DConditionModel

        controls = role.startswith("control/")
        module = load_saved(ControlNetModel if controls else UNet2DConditionModel, self.folder / role, dtype)
        module = module.to(device, memory_format=torch.channels_last)
        if controls:
            return ControlNet(module, self.schedule, dtype)
        unet = UNet(module, self.schedule, self._kinds[role], dtype)
        boundary = self._boundaries.get(role)
        if boundary is None or boundary.is_v:
            return unet
        return Scaled(lambda *inputs: -unet(*inputs), self.schedule, boundary)

    def text_parts(self) -> tuple[Any, Any]:
        with self._lock:
            if self._text is None:
                from transformers import CLIPTextModel, PreTrainedTokenizerFast
                from transformers.utils import logging

                logging.disable_progress_bar()  # a bar for a network of 0.4 M parameters is noise
                tokenizer = PreTrainedTokenizerFast.from_pretrained(self.folder / "tokenizer")
                text_encoder = load_saved(CLIPTextModel, self.folder / "text_encoder", torch.float32)
                self._text = tokenizer, text_encoder
            return self._text


def weights_fingerprint(folder: Path, parts: Sequence[str]) -> str:
    """SHA-256 over the weight files of these parts of a model's folder, first 16 digits."""
    digest = hashlib.sha256()
    for path in sorted(path for part in parts for path in (folder / part).glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build() -> TextToPixels:
    """The bundled model."""
    return TextToPixels(
        WEIGHTS / "tinyworld",
        name="tinyworld",
        title="Tiny World",
        summary="4 M parameters, 32 × 32 pixels: ten kinds of thing, six colours, five scenes.",
    )


def chain_facts(schedule: Schedule) -> list[float]:
    """What a network must have been trained on to be at home on a schedule: T, least and greatest sigma/alpha."""
    return [float(getattr(schedule, "timesteps", 0)), *schedule.sigma_range]


def _found(folder: Path, pattern: str) -> list[str]:
    """The parts of a model's folder that match and hold a network, distilled/8 before distilled/16."""
    parts = [path.parent.relative_to(folder).as_posix() for path in folder.glob(f"{pattern}/config.json")]
    return sorted(parts, key=lambda part: (len(part), part))


def _schedule(config: dict[str, Any], name: str) -> DiscreteSchedule:
    """In double precision where β is one of the formulas; whatever else, as diffusers reads it, in single."""
    timesteps, betas = config["num_train_timesteps"], config["beta_schedule"]
    ends_clean = config.get("set_alpha_to_one", True) and not config.get("steps_offset")
    if ends_clean and config.get("trained_betas") is None and not config.get("rescale_betas_zero_snr"):
        if betas == "squaredcos_cap_v2":
            return DiscreteSchedule.cosine(timesteps)
        if betas == "linear":
            return DiscreteSchedule.linear(timesteps, config["beta_start"], config["beta_end"])
        if betas == "scaled_linear":
            return DiscreteSchedule.scaled_linear(timesteps, config["beta_start"], config["beta_end"])
    from zoo.models.elsewhere.parts import Training

    return Training.of(config, name).schedule


def _words(tokenizer: Any, text: str) -> list[str]:
    normal: str = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    return normal.split()
