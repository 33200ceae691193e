"""Models: a data space, a noise schedule, and networks by role, loaded at first use."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from zoo.prediction import clip, dynamic_threshold
from zoo.schedule import Schedule

if TYPE_CHECKING:
    import torch


class Network(Protocol):
    """A network of one role, with the schedule that its times belong to."""

    schedule: Schedule
    prediction: str
    """What it predicts: x0, eps, v or score."""

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any]) -> torch.Tensor:
        """Answer a batch.

        Args:
            x: states, (rows, *shape), in this network's scaling.
            t: its name for the level of each row, (rows,).
            conditions: one per row, as `Model.condition` made them.

        A network that takes a guidance scale as an input gets those of the rows as a fourth argument, (rows,).
        Where some row is controlled, one more argument follows: what the model's control networks add, as they gave
        it, 0 in all other rows. A network of a model without control networks need not take it.

        Returns:
            The raw output, (rows, *shape).
        """
        ...


class ControlNetwork(Protocol):
    """A network that reads a control map beside the state, and says what is to be added inside another network."""

    schedule: Schedule

    def __call__(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any], maps: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """Answer a batch.

        Args:
            x: states, (rows, *shape), in this network's scaling.
            t: its name for the level of each row, (rows,).
            conditions: one per row, as `Model.condition` made them.
            maps: control maps, (rows, 3, H, W) within [0, 1].

        Returns:
            One tensor, (rows, …), for each place where something is added.
        """
        ...


@dataclass(frozen=True)
class ControlFacts:
    """What is to be known of a control network before it is loaded.

    Attributes:
        annotator: what makes the maps that it was trained on, in one line such as "canny low=100"; "" if nothing
            makes them from a picture, so that they must be given.
        reads_prompt: whether its residuals depend on the prompt. If not, it is given the empty one, and one pass
            serves all conditions of a query.
    """

    annotator: str
    reads_prompt: bool


class Classifier(Protocol):
    """A network that says which class the clean data behind a noisy state belongs to."""

    schedule: Schedule
    classes: Sequence[str]
    """What it chooses from, in the order of its logits."""

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Answer a batch.

        Args:
            x: states, (rows, *shape), in this network's scaling.
            t: its name for the level of each row, (rows,).

        Returns:
            Unnormalised log p(class | x_t), (rows, K), differentiable with respect to x.
        """
        ...


class Decoder(Protocol):
    """Turns finished data into pictures, where that takes a network."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, H, W) within [-1, 1] of data (n, *shape); it minds by itself how many fit into memory."""
        ...


class Model(ABC):
    """What methods are compared on.

    Attributes:
        name, title, summary: for people.
        shape: of one datum, without the batch.
        schedule: the noise schedule, with the clean level at which every method on the model ends.
        roles: the networks it has. One with a `decoder` works on latents, which that turns into pictures: a query of
            its own after a sampler's last, counted like any other.
        precision: dtype of the state between steps, "float32" or "float64".
        dtype: of its networks where nobody asks for another: a name as in `--dtype`, or "" for what suits the device.
    """

    name: str
    title: str
    summary: str = ""
    shape: tuple[int, ...]
    schedule: Schedule
    roles: tuple[str, ...] = ("denoiser",)
    precision: ClassVar[str] = "float32"
    dtype: str = ""

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of its pictures; larger than its data where it has a decoder."""
        return self.shape[-2], self.shape[-1]

    @abstractmethod
    def network(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        """The `Network`, `Classifier` or `Decoder` of a role, loaded onto the device at the first call.

        Raises:
            LookupError: the model has no such role.
            OSError: its files are missing or damaged.
        """

    @abstractmethod
    def prediction_kind(self, role: str) -> str:
        """What the network of a role predicts, known without loading it; "" if it predicts no x0."""

    @abstractmethod
    def condition(self, text: str, device: torch.device) -> Any:
        """What a network gets for a prompt; the empty text is unconditional."""

    def learns_variance(self, role: str) -> bool:
        """Whether the network of a role answers with twice the channels, the other half being `variance_share`."""
        return False

    def check_prompt(self, text: str) -> None:
        """Refuse a prompt that it cannot draw at all; by default none.

        Raises:
            ValueError: what it can draw instead.
        """
        return

    def is_consistency(self, role: str) -> bool:
        """Whether the network of a role says where the ODE ends in place of the mean of what x_t may come from.

        Its replies have no eps, and it is asked about one condition at a time: where two trajectories end says
        nothing of a third. By default what is called consistency/… or lcm is such a network; a model whose own was
        trained to be guided from outside says False here.
        """
        return role.partition("/")[0] in ("consistency", "lcm")

    def classes(self, role: str = "classifier") -> Sequence[str]:
        """What a classifier chooses from, known without loading it; none if the role is no classifier."""
        return ()

    def named_class(self, text: str, role: str = "classifier") -> str | None:
        """The class whose name comes first in a text, as a whole word; None if it names none."""
        found = [
            (match.start(), -len(name), name)
            for name in self.classes(role)
            if (match := re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE))
        ]
        return min(found)[2] if found else None

    def target(self, prompt: str, target: str = "", role: str = "classifier") -> str:
        """The class that a classifier guides to: `target`, or the one that the prompt names if that is "".

        Raises:
            ValueError: there is no such class, or the prompt names none.
        """
        classes = self.classes(role)
        known = f"the classes of {self.name} are {', '.join(classes)}" if classes else f"{role} has none"
        if target and target not in classes:
            raise ValueError(f"unknown class {target!r}; {known}")
        named = target or self.named_class(prompt, role)
        if named is None:
            raise ValueError(f"the prompt {prompt!r} names no class, and no target is given; {known}")
        return named

    def control(self, role: str) -> ControlFacts:
        """What a control network needs, known without loading it.

        Raises:
            LookupError: the role is no control network.
        """
        raise LookupError(f"{self.name} has no control network {role!r}")

    def notices(self, text: str) -> list[str]:
        """What the person should know about this prompt, such as words the model does not understand."""
        return []

    def project(self, x0: torch.Tensor, threshold: str | float) -> torch.Tensor:
        """Keep a predicted x0 within the data's range, the one place where that is done.

        Pixels in [-1, 1] are clipped ("model"), thresholded dynamically (a percentile) or left alone ("none").
        """
        if threshold == "none":
            return x0
        if threshold == "model":
            return clip(x0)
        return dynamic_threshold(x0, float(threshold))

    def pictures(self, x: torch.Tensor) -> torch.Tensor:
        """Data as pictures to look at, (n, 3, H, W) float32 within [-1, 1], on the CPU.

        Of a model with a decoder it is a cheap approximation, for previews.
        """
        return x.detach().float().clamp(-1, 1).cpu()

    def examples(self) -> list[str]:
        """A few prompts worth trying."""
        return []

    def data_set(self) -> str:
        """What the model was trained on, where metrics know it: "tinyworld", or "" for anything else."""
        return ""

    def data(self, text: str, n: int, seed: int) -> torch.Tensor:
        """`n` real data that fit the prompt, (n, *shape), drawn from what the model imitates.

        Raises:
            LookupError: there are none at hand.
        """
        raise LookupError(f"there are no real data of {self.name} at hand")

    def fingerprint(self) -> str:
        """A hash of what the pictures depend on, such as the weights."""
        return ""
