"""Samplers: generators that turn noise into a sample by asking queries. They never call a network."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from zoo.schedule import Level, Levels, Schedule

if TYPE_CHECKING:
    import torch

    from zoo.model import Model

PROMPT, NEGATIVE = "prompt", "negative"
"""Names of the two conditions that every comparison has."""


@dataclass(frozen=True)
class Control:
    """A picture that the answer is to follow: a control network's residuals are added inside the network asked.

    Attributes:
        role: the control network, such as "control/canny".
        picture: its name among the comparison's pictures.
        is_map: whether it is a control map already; if not, the annotator whose maps the network knows makes one.
        scale: what the residuals are multiplied by; 0 costs nothing. Those of several controls add up.
        start, end: the shares of the steps between which it is active: in step i = 0 … N−1 of N where
            start ≤ i/N and (i+1)/N ≤ end.

    References:
        Zhang, Rao, Agrawala 2023, arXiv:2302.05543.
    """

    role: str
    picture: str
    is_map: bool = False
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    @property
    def source(self) -> Source:
        """What decides the map that its network gets."""
        return Source(self.role, self.picture, self.is_map)

    def is_active(self, step: int, steps: int) -> bool:
        """Whether it counts in this step, from 0, of so many."""
        return self.scale != 0 and self.start <= step / steps and (step + 1) / steps <= self.end


class Source(NamedTuple):
    """Where a control map comes from: a picture, for a network, made by its annotator or taken as it is."""

    role: str
    picture: str
    is_map: bool


@dataclass(frozen=True)
class Query:
    """One question to a network: "what is behind x at this level, under these conditions?"

    Attributes:
        x: the state, (n, *shape), in the scaling of `level`.
        level: its noise level.
        role: which of the model's networks is asked.
        terms: weight of each named condition. The reply is Σ weight · output(condition), combined before
            anything is clipped; a weight of 0 costs nothing.
        threshold: how the predicted x0 is kept within the data's range: as the model does it ("model"), not
            at all ("none"), or by dynamic thresholding at this percentile (a number).
        guidance: Σ scale · ∇ log p(y | x_t), like x, or 0. The reply's x0 is moved by sigma²/alpha times it before
            it is kept within the range, which is eps − sigma · guidance (Dhariwal & Nichol 2021, arXiv:2105.05233).
        told_scale: guidance scale that the network gets as an input, where it was distilled from a guided teacher
            and takes one (Meng et al. 2023, arXiv:2210.03142); None for all others.
        controls: pictures to follow, under every condition alike.
    """

    x: torch.Tensor
    level: Level
    role: str = "denoiser"
    terms: Mapping[str, float] = field(default_factory=lambda: {PROMPT: 1.0})
    threshold: Literal["model", "none"] | float = "model"
    guidance: torch.Tensor | float = 0.0
    told_scale: float | None = None
    controls: tuple[Control, ...] = ()

    @property
    def evaluations(self) -> int:
        """Evaluations per image of the network asked: one for each condition that has weight."""
        return sum(1 for weight in self.terms.values() if weight != 0)


@dataclass(frozen=True)
class ClassQuery:
    """One question to a classifier: "which way is x more of this class?", answered with ∇_x log p(target | x).

    The reply is that gradient, (n, *shape), in the scaling of `level`. It passes by the conditioners further to
    the left, and costs one evaluation, forward and back.

    Attributes:
        x: the state, (n, *shape), in the scaling of `level`.
        level: its noise level.
        role: which of the model's networks is asked.
        target: the class; "" is the one that the prompt names.
    """

    x: torch.Tensor
    level: Level
    role: str = "classifier"
    target: str = ""
    evaluations: ClassVar[int] = 1


Queries = Generator[Query | ClassQuery, Any, "torch.Tensor"]
"""What `Sampler.sample` returns: yields queries, is sent what answers them, ends with the sample.

A `Query` is answered by a `Prediction`, or by an `Endpoint` if it goes to a consistency network; a `ClassQuery` by a
tensor.
"""

Noise = Callable[[], "torch.Tensor"]
"""Each call draws the next unit noise, (n, *shape), every image from its own seed."""


class Parameters(BaseModel):
    """Parameters of a method: defaults and bounds for every field, nothing besides."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sampler:
    """Turns noise into a sample.

    Subclass it with a nested `Params(Sampler.Params)` whose fields all have defaults, and write `sample`.
    """

    class Params(Parameters):
        """Parameters of the sampler; the page and the command line are built from this model."""

    stochastic: ClassVar[bool] = False
    """Whether every setting of this sampler draws noise on the way; see `is_stochastic`."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params if params is not None else self.Params()

    def requires(self) -> tuple[str, ...]:
        """The roles of the networks that it asks."""
        return ("denoiser",)

    def levels(self, schedule: Schedule) -> Levels:
        """The levels it visits; by default `params.steps` of them in the spacing that `params` names.

        A sampler without a parameter `steps` visits 50, or all of a shorter chain.

        Raises:
            ValueError: impossible on this schedule; the cell is then N/A with this message.
        """
        steps = getattr(self.params, "steps", None) or min(50, getattr(schedule, "timesteps", 50))
        return schedule.levels(steps, getattr(self.params, "spacing", "trailing"))

    def evaluations(self, levels: Levels) -> int:
        """How many network evaluations it takes at most, for one image; by default one for each level but the last.

        A page for many asks before anything runs, to keep to its budget. What is shown of a cell is counted.

        Args:
            levels: what `self.levels` gave.
        """
        return levels.steps

    def check(self, model: Model, conditions: Mapping[str, str]) -> None:
        """Refuse a model, or the texts of the conditions, for which it makes no sense; by default none.

        Raises:
            ValueError: why not; the cell is then N/A with this message.
        """

    def is_stochastic(self) -> bool:
        """Whether it draws noise on the way, with these parameters."""
        return self.stochastic

    def order(self) -> int | None:
        """Its order of convergence on the probability-flow ODE, with these parameters; None if it claims none.

        `zoo.testing` holds a sampler to it.
        """
        return None

    def sample(self, x: torch.Tensor, levels: Levels, noise: Noise) -> Queries:
        """Yield a `Query` whenever a network is to be asked, receive its `Prediction`, return the sample.

        Args:
            x: the start state, (n, *shape), at `levels[0]`.
            levels: what `self.levels` gave; the sample belongs to the last of them.
            noise: draws unit noise like x.

        Returns:
            The sample, (n, *shape), as the generator's return value.
        """
        raise TypeError(f"{type(self).__name__} must define sample(x, levels, noise)")
