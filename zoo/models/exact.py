"""Closed-form models: Gaussian mixtures, whose every noisy marginal is known exactly.

For a component N(m, S) with S diagonal in a fixed orthonormal basis, variance s² along an axis,

    x_t ~ N(alpha·m, alpha²s² + sigma²),     E[x_0 | x_t] = m + alpha·s²/(alpha²s² + sigma²) · (x_t − alpha·m)

along each axis; a mixture weighs the components by their posterior p(k | x_t). No training, no approximation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from zoo.model import Model, Network
from zoo.prediction import to_eps
from zoo.schedule import DiscreteSchedule, Level, Schedule

Array = npt.NDArray[np.float64]

STUDENTS = (1, 2, 4, 8)
"""Steps of the exact students that a mixture has: the roles distilled/1, distilled/2, …"""
CONSISTENCY = ("consistency/distillation", "consistency/training", "consistency/tuning")
"""Roles of a mixture's consistency function, to which every recipe leads when nothing is lost on the way."""


class GaussianMixture(Model):
    """A class-conditional Gaussian mixture, one component a class.

    Args:
        means: (K, d), in the basis.
        variances: (K, d), positive, along the basis.
        words: the K class names, which are the prompts; the empty prompt is the whole mixture.
        weights: (K,), the classes' shares; equal by default.
        shape: of one datum, d elements.
        basis: (d, d) orthonormal rows; the standard basis by default.
        schedule: cosine by default.
        prediction: what its exact network predicts: x0, eps, v or score.
    """

    precision: ClassVar[str] = "float64"

    def __init__(
        self,
        means: npt.ArrayLike,
        variances: npt.ArrayLike,
        words: Sequence[str],
        weights: npt.ArrayLike | None = None,
        shape: tuple[int, ...] | None = None,
        basis: npt.ArrayLike | None = None,
        schedule: Schedule | None = None,
        prediction: str = "x0",
        name: str = "mixture",
        title: str = "Gaussian mixture",
        summary: str = "",
    ) -> None:
        self.means = torch.tensor(np.asarray(means, dtype=np.float64))
        self.variances = torch.tensor(np.asarray(variances, dtype=np.float64))
        k, d = self.means.shape
        if self.variances.shape != (k, d) or not (self.variances > 0).all() or len(words) != k:
            raise ValueError(f"means {k, d} need as many positive variances, and {k} words, one a class")
        self.words = tuple(words)
        share = np.ones(k) if weights is None else np.asarray(weights, dtype=np.float64)
        self.log_weights = torch.as_tensor(np.log(share / share.sum()))
        self.shape = shape or (d,)
        self.basis = None if basis is None else torch.as_tensor(np.asarray(basis, dtype=np.float64))
        self.schedule = schedule or DiscreteSchedule.cosine()
        self.kind = prediction
        self.name, self.title, self.summary = name, title, summary
        longest = getattr(self.schedule, "timesteps", max(STUDENTS))
        students = (f"distilled/{n}" for n in STUDENTS if n <= longest)
        self.roles = ("denoiser", "classifier", *students, *CONSISTENCY)

    def network(self, role: str, device: torch.device, dtype: torch.dtype) -> Network | ExactClassifier:
        if role not in self.roles:
            raise LookupError(f"{self.name} has no network {role!r}, only {', '.join(self.roles)}")
        if role == "classifier":
            return ExactClassifier(self)
        if role in CONSISTENCY:
            return ExactConsistency(self)
        _, distilled, steps = role.partition("distilled/")
        return ExactStudent(self, int(steps)) if distilled else ExactNetwork(self)

    def prediction_kind(self, role: str) -> str:
        if role == "classifier":
            return ""
        return self.kind if role == "denoiser" else "x0"

    def classes(self, role: str = "classifier") -> Sequence[str]:
        return self.words if role == "classifier" else ()

    def condition(self, text: str, device: torch.device) -> int | None:
        """The class that the prompt names; None, the whole mixture, when it names none."""
        named = self.named_class(text)
        return None if named is None else self.words.index(named)

    def notices(self, text: str) -> list[str]:
        words = re.findall(r"\w+", text.lower())
        unknown = [word for word in words if word not in self.words]
        known = [word for word in words if word in self.words]
        notices = []
        if unknown:
            notices.append(f"{self.name} ignores {', '.join(unknown)}; it knows {', '.join(self.words)}")
        if len(known) > 1:
            notices.append(f"{self.name} takes one class, {known[0]} was used")
        return notices

    def project(self, x0: torch.Tensor, threshold: str | float) -> torch.Tensor:
        """Exact data has no range to be kept within."""
        return x0

    def examples(self) -> list[str]:
        return list(self.words[:4])

    def x0(self, x: torch.Tensor, level: Level, condition: int | None) -> torch.Tensor:
        """E[x_0 | x_t, class], (n, *shape) like x; the whole mixture's when condition is None."""
        z = self._to_basis(x)
        means, variances = self._components(condition, z)
        marginal = level.alpha**2 * variances + level.sigma**2
        gain = level.alpha * variances / marginal
        posterior = means + gain * (z[:, None] - level.alpha * means)
        if condition is not None:
            return self._from_basis(posterior[:, 0], x)
        weights = self.log_posterior(x, level).exp()
        return self._from_basis((weights[..., None] * posterior).sum(1), x)

    def eps(self, x: torch.Tensor, level: Level, condition: int | None = None) -> torch.Tensor:
        """The exact noise prediction, (n, *shape)."""
        return to_eps(self.x0(x, level, condition), x, level)

    def log_density(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        """log p(x_t) of the whole mixture, (n,)."""
        return self.log_joint(x, level).logsumexp(1)

    def log_posterior(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        """log p(y | x_t) of each class, (n, K)."""
        return self.log_joint(x, level).log_softmax(1)

    def solve(self, x: torch.Tensor, start: Level, end: Level, condition: int) -> torch.Tensor:
        """The exact probability-flow ODE from one level to another, for one class.

        Along each axis alpha'·m + (x − alpha·m)·√((alpha'²s² + sigma'²)/(alpha²s² + sigma²)); the whole mixture
        has no such closed form.
        """
        z = self._to_basis(x)
        m, s2 = self.means[condition].to(z), self.variances[condition].to(z)
        wide = start.alpha**2 * s2 + start.sigma**2
        narrow = end.alpha**2 * s2 + end.sigma**2
        return self._from_basis(end.alpha * m + (z - start.alpha * m) * (narrow / wide).sqrt(), x)

    def draw(self, n: int, seed: int, condition: int | None = None) -> torch.Tensor:
        """`n` exact clean samples, (n, *shape) float64."""
        generator = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.log_weights.exp(), n, True, generator=generator)
        if condition is not None:
            k = torch.full((n,), condition)
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        z = self.means[k] + self.variances[k].sqrt() * noise
        return self._from_basis(z, torch.empty(n, *self.shape, dtype=torch.float64))

    def data(self, text: str, n: int, seed: int) -> torch.Tensor:
        """Exact samples of the class that the prompt names."""
        return self.draw(n, seed, self.condition(text, torch.device("cpu")))

    def log_joint(self, x: torch.Tensor, level: Level) -> torch.Tensor:
        """log p(y, x_t) of each class, (n, K)."""
        z = self._to_basis(x)
        means, variances = self._components(None, z)
        marginal = level.alpha**2 * variances + level.sigma**2
        square = (z[:, None] - level.alpha * means) ** 2 / marginal
        log_density = -0.5 * (square + marginal.log() + math.log(2 * math.pi)).sum(-1)
        return log_density + self.log_weights.to(z)

    def _components(self, condition: int | None, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        which = slice(None) if condition is None else slice(condition, condition + 1)
        return self.means[which].to(like), self.variances[which].to(like)

    def _to_basis(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        return flat if self.basis is None else flat @ self.basis.to(flat).T

    def _from_basis(self, z: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        flat = z if self.basis is None else z @ self.basis.to(z)
        return flat.view(like.shape)


class ExactNetwork:
    """A mixture's exact answer in the clothes of a network, in whichever prediction the model names."""

    def __init__(self, model: GaussianMixture) -> None:
        self.model = model
        self.schedule, self.prediction = model.schedule, model.kind

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any]) -> torch.Tensor:
        return _rowwise(self._answer, x, t, conditions)

    def _answer(self, x: torch.Tensor, t: float, condition: int | None) -> torch.Tensor:
        level = self.schedule.level(t)
        x0 = self.model.x0(x, level, condition)
        if self.prediction == "x0":
            return x0
        eps = to_eps(x0, x, level)
        if self.prediction == "eps":
            return eps
        if self.prediction == "score":
            return -eps / level.sigma
        return level.alpha * eps - level.sigma * x0


class ExactStudent:
    """The student that progressive distillation ends with when nothing is lost on the way: N exact steps.

    From its level t to its next, s, the probability-flow ODE leads from z to z_s, and so does one DDIM step with

        x0 = (z_s − (sigma_s/sigma_t)·z) / (alpha_s − (sigma_s/sigma_t)·alpha_t)

    (Salimans & Ho 2022, arXiv:2202.00512). It is exact for one class, whose ODE has a closed form. Where the cleanest
    timestep is the clean level itself, that step goes nowhere, and x0 is the model's own: the limit of smaller steps.
    """

    prediction = "x0"

    def __init__(self, model: GaussianMixture, steps: int) -> None:
        self.model, self.schedule, self.steps = model, model.schedule, steps
        self._next = {t.t: (t, s) for t, s in model.schedule.levels(steps).pairs()}

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any]) -> torch.Tensor:
        return _rowwise(self._answer, x, t, conditions)

    def _answer(self, x: torch.Tensor, time: float, condition: int | None) -> torch.Tensor:
        known_class = _one_class(self.model, condition, "a student")
        if time not in self._next:
            known = ", ".join(f"{own:g}" for own in self._next if own is not None)
            raise ValueError(f"the student of {self.steps} steps knows the levels t = {known}, not {time:g}")
        t, s = self._next[time]
        if math.isclose(t.log_snr, s.log_snr):
            return self.model.x0(x, t, known_class)
        ratio = s.sigma / t.sigma
        z = self.model.solve(x, t, s, known_class)
        return (z - ratio * x) / (s.alpha - ratio * t.alpha)


class ExactConsistency:
    """The consistency function: the probability-flow ODE from any level to the clean one, in one evaluation.

    It is exact for one class, whose ODE has a closed form (Song et al. 2023, arXiv:2303.01469).
    """

    prediction = "x0"

    def __init__(self, model: GaussianMixture) -> None:
        self.model, self.schedule = model, model.schedule

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any]) -> torch.Tensor:
        return _rowwise(self._answer, x, t, conditions)

    def _answer(self, x: torch.Tensor, time: float, condition: int | None) -> torch.Tensor:
        known_class = _one_class(self.model, condition, "the consistency function")
        return self.model.solve(x, self.schedule.level(time), self.schedule.clean, known_class)


def _one_class(model: GaussianMixture, condition: int | None, whose: str) -> int:
    """The class that is asked about; a mixture of one needs none.

    Raises:
        ValueError: none is named.
    """
    if condition is None and len(model.words) > 1:
        raise ValueError(
            f"{whose} of {model.name} is exact for one class, and no class is named; "
            f"name one of {', '.join(model.words)} in the prompt (and in the negative prompt, if guided by it)"
        )
    return condition or 0


def _rowwise(
    answer: Callable[[torch.Tensor, float, int | None], torch.Tensor],
    x: torch.Tensor,
    t: torch.Tensor,
    conditions: Sequence[Any],
) -> torch.Tensor:
    """The answers of a batch, all rows of one time and class together."""
    out = torch.empty_like(x)
    keys = list(zip(t.tolist(), conditions, strict=True))
    for time, condition in dict.fromkeys(keys):
        rows = [i for i, key in enumerate(keys) if key == (time, condition)]
        out[rows] = answer(x[rows], time, condition)
    return out


class ExactClassifier:
    """A mixture's exact p(class | x_t) in the clothes of a classifier; its logits are log p(class, x_t)."""

    def __init__(self, model: GaussianMixture) -> None:
        self.model = model
        self.schedule, self.classes = model.schedule, model.words

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        logits = x.new_empty(len(x), len(self.classes))
        for time in dict.fromkeys(t.tolist()):
            rows = t == time
            logits[rows] = self.model.log_joint(x[rows], self.schedule.level(time))
        return logits
