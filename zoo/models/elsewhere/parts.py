"""The parts of a model that diffusers saved: weights, from safetensors alone, and the schedule of a scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.models.elsewhere.source import Source, matching
from zoo.models.saved import PICKLES, elements, load_saved
from zoo.schedule import DiscreteSchedule, Level

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
"""What the two libraries call the weights of a part."""
PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
"""diffusers' prediction types and ours."""


@dataclass(frozen=True)
class Weights:
    """The weight files of one part, all safetensors, and the variant that they are, such as fp16."""

    source: Source
    part: str
    files: tuple[str, ...]
    variant: str | None = None

    @classmethod
    def find(cls, source: Source, part: str, stem: str = DIFFUSERS, variant: str = "") -> Weights:
        """Those of the variant if there is one, else the plain ones, else the half-precision ones.

        Raises:
            OSError: there are none, or pickled ones only.
        """
        there = {Path(file).name: file for file in matching(source.files, part)}
        for wanted in dict.fromkeys((variant, "", "fp16", "bf16")):
            dotted = f".{wanted}" if wanted else ""
            single = there.get(f"{stem}{dotted}.safetensors")
            if single:
                return cls(source, part, (single,), wanted or None)
            if index := there.get(f"{stem}.safetensors.index{dotted}.json"):
                shards = sorted(set(source.json(index)["weight_map"].values()))
                lost = [shard for shard in shards if shard not in there]
                if lost:
                    raise OSError(
                        f"{source.name}: {', '.join(inside(part, shard) for shard in lost)} is missing"
                    )
                return cls(source, part, (index, *(there[shard] for shard in shards)), wanted or None)
        pickled = [name for name in there if name.endswith(PICKLES)]
        if pickled:
            raise OSError(
                f"{source.name}: {inside(part, pickled[0])} is a pickle, which runs whatever code it holds when it is "
                "loaded, and there is no .safetensors beside it: ask for a revision that has one, or load it where "
                "you trust it and save_pretrained() it again"
            )
        raise OSError(f"{source.name}: {inside(part, f'{stem}.safetensors')} is missing")

    def fetch(self) -> Path:
        """The folder of the part, with the configuration and the weights in it."""
        paths = [self.source.path(file) for file in (inside(self.part, CONFIG), *self.files)]
        return paths[0].parent

    def size(self, dtype: torch.dtype) -> int:
        """Bytes that the weights take in a dtype; fetches them."""
        return sum(map(elements, self._paths())) * dtype.itemsize

    def diffusers(self, cls: Any, dtype: torch.dtype) -> Any:
        """A model of a diffusers class, for inference."""
        return load_saved(cls, self.fetch(), dtype, self._paths(), self.variant)

    def transformers(self, cls: Any, dtype: torch.dtype) -> Any:
        """A model of a transformers class, for inference."""
        from transformers.utils import logging

        logging.disable_progress_bar()
        return load_saved(cls, self.fetch(), dtype, self._paths(), self.variant)

    def _paths(self) -> list[Path]:
        return [self.source.path(file) for file in self.files if file.endswith(".safetensors")]


@dataclass(frozen=True)
class Training:
    """What a scheduler's configuration says of how the network was trained.

    Attributes:
        schedule: with the clean level and the offset of leading spacing that the model's own samplers have.
        prediction: x0, eps or v.
        config: all of it, defaults included.
    """

    schedule: DiscreteSchedule
    prediction: str
    config: dict[str, Any]

    @classmethod
    def read(cls, source: Source, part: str = "scheduler") -> Training:
        """From scheduler_config.json, through diffusers' own class.

        Raises:
            OSError: the file is missing.
            ValueError: it is no chain of timesteps.
        """
        return cls.of(source.json(inside(part, SCHEDULER)), source.name)

    @classmethod
    def of(cls, given: dict[str, Any], name: str) -> Training:
        """From a configuration; `name` is the model's, for errors."""
        import diffusers.schedulers

        wanted = str(given.get("_class_name", ""))
        found: Any = getattr(diffusers.schedulers, wanted, None) if wanted.endswith("Scheduler") else None
        if not hasattr(found, "from_config"):
            raise ValueError(f"{name}: scheduler_config.json names {wanted!r}, which diffusers does not have")
        scheduler = found.from_config(given)
        alpha_bars = getattr(scheduler, "alphas_cumprod", None)
        if alpha_bars is None:
            raise ValueError(
                f"{name}: its {wanted} has no chain of timesteps with ᾱ_t, the only kind of schedule that is read"
            )
        config = {**scheduler.config, **given}
        kind = config.get("prediction_type", "epsilon")
        if kind not in PREDICTIONS:
            raise ValueError(f"{name}: prediction_type {kind!r} is none of {', '.join(PREDICTIONS)}")
        a = alpha_bars.double().clamp(min=2**-24).numpy()  # a terminal SNR of zero, as nearly as it can be
        # Without this option a scheduler steps to ᾱ = 1.
        ends_at_first = not config.get("set_alpha_to_one", True)
        clean = Level(a[0] ** 0.5, (1 - a[0]) ** 0.5, None) if ends_at_first else None
        schedule = DiscreteSchedule(a, clean, steps_offset=int(config.get("steps_offset", 0)))
        return cls(schedule, PREDICTIONS[kind], config)


def square(config: dict[str, Any], name: str) -> tuple[int, int]:
    """Height and width that a network was made for.

    Raises:
        ValueError: the configuration does not say.
    """
    size = config.get("sample_size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, list) and len(size) == 2:
        return int(size[0]), int(size[1])
    raise ValueError(
        f"{name}: sample_size of the network is {size!r}, so the size of its pictures is unknown"
    )


def inside(part: str, file: str) -> str:
    """The path of a file in a part; in the root if the part is ""."""
    return f"{part}/{file}" if part else file


def variant_of(dtype: torch.dtype) -> str:
    """The variant of the files that serves a dtype best: half the download, where half the precision is wanted."""
    return "fp16" if dtype == torch.float16 else ""
