"""What all models from elsewhere share: files from a source, networks on the shelf, prompts or classes."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cached_property
from typing import Any

import torch

from zoo.memory import shelf
from zoo.model import Model
from zoo.models.elsewhere.labels import Labels
from zoo.models.elsewhere.source import Source, matching


class ModelFromElsewhere(Model):
    """Networks that diffusers saved, each loaded at its first use and again after it had to leave.

    Args:
        source: the files.

    Raises:
        OSError: a file is missing, or there are pickled weights only.
        ValueError: it is not the kind of model that the adapter knows.

    Attributes:
        prompt: a first example; the adapter's own if it is "".
    """

    prompt: str = ""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name, self.title = source.name, source.title
        self.index = source.json("model_index.json") if "model_index.json" in source.files else {}

    def network(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        if role not in self.roles:
            raise LookupError(f"{self.name} has no network {role!r}, only {', '.join(self.roles)}")
        return shelf.get(
            self,
            role,
            device,
            dtype,
            load=lambda: self.load(role, device, dtype),
            size=lambda: self.size(role, dtype),
        )

    @abstractmethod
    def load(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        """Load the network of a role, which the model has; it must not refer to the model."""

    @abstractmethod
    def size(self, role: str, dtype: torch.dtype) -> int:
        """Bytes that the network of a role will take."""

    def notices(self, text: str) -> list[str]:
        """Which commit is used, where a name left that open."""
        if self.source.pinned:
            return []
        return [f"{self.title} is at commit {self.source.commit}; {self.name} will find it again."]

    def examples(self) -> list[str]:
        own = [text for text in self.suggestions() if text != self.prompt]
        return [self.prompt, *own] if self.prompt else own

    def suggestions(self) -> list[str]:
        """What any model of this kind can draw."""
        return []

    def fingerprint(self) -> str:
        """The commit, or SHA-256 over the weight files, first 16 digits."""
        return self.source.commit[:16] or self._hash

    @cached_property
    def _hash(self) -> str:
        digest = hashlib.sha256()
        for file in self.source.files:
            if file.endswith(".safetensors"):
                with self.source.path(file).open("rb") as weights:
                    while block := weights.read(2**20):
                        digest.update(block)
        return digest.hexdigest()[:16]

    def part(self, name: str, *allowed: str) -> str:
        """The class of a part in model_index.json.

        Raises:
            ValueError: it is none of those allowed; above all not code that comes with the model.
        """
        given = self.index.get(name)
        cls = given[1] if isinstance(given, list) and len(given) == 2 else None
        if cls not in allowed:
            raise ValueError(f"{self.name}: {name} is {given}, and has to be one of {', '.join(allowed)}")
        return str(cls)

    def folder(self, name: str, file: str) -> str:
        """Where the files of a part are, `file` among them: its own folder, or the root, as in the first pipelines."""
        return "" if file in self.source.files and not matching(self.source.files, name) else name

    def has_part(self, name: str) -> bool:
        """Whether model_index.json lists a part that is there."""
        given = self.index.get(name)
        return isinstance(given, list) and len(given) == 2 and given[1] is not None


class ByClass(ModelFromElsewhere):
    """A model that is conditioned on a class, or on nothing.

    Attributes:
        labels: the classes; None of an unconditional model.
        null: the class that stands for none, which guidance needs; None where the network has none.
    """

    labels: Labels | None = None
    null: int | None = None

    def condition(self, text: str, device: torch.device) -> int | None:
        """The class that the prompt names; `null` for the empty prompt."""
        return self.labels.find(text) if self.labels and text.strip() else self.null

    def check_prompt(self, text: str) -> None:
        if self.labels and text.strip():
            self.labels.find(text)
        elif self.labels and self.null is None:
            raise ValueError(f"{self.name} draws nothing without a class: {self.labels.hint()}")

    def notices(self, text: str) -> list[str]:
        ignored = [f"{self.title} is unconditional: it ignores the prompt."]
        return super().notices(text) + (ignored if not self.labels and text.strip() else [])

    def suggestions(self) -> list[str]:
        return self.labels.examples() if self.labels else []


def class_rows(conditions: Any, device: torch.device) -> torch.Tensor:
    """The classes of a batch's rows.

    Raises:
        ValueError: a row has none.
    """
    if any(condition is None for condition in conditions):
        raise ValueError(
            "this network has no answer without a class: give a prompt, and for guidance a negative prompt"
        )
    return torch.tensor(list(conditions), dtype=torch.long, device=device)
