"""What a network says, readable as x0, eps, v or score; conversions are exact, whatever the scaling.

With x = alpha·x_0 + sigma·eps, any one of these determines the others:

    eps = (x − alpha·x0) / sigma        v = alpha·eps − sigma·x0        score = −eps / sigma
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from zoo.schedule import Level

if TYPE_CHECKING:
    import torch

Kind = Literal["x0", "eps", "v", "score"]
KINDS: tuple[str, ...] = get_args(Kind)

MIN_ALPHA_BAR = 1e-6
"""Below this ᾱ a predicted eps says nothing about x0: the error of eps is multiplied by sigma/alpha > 1000."""


@dataclass(frozen=True)
class Prediction:
    """The reply to a query, guided and projected already.

    Attributes:
        x: the state that was asked about, (n, *shape).
        level: its noise level.
        x0: the predicted clean data, (n, *shape).
        eps: the predicted noise, consistent with x0: x = alpha·x0 + sigma·eps.
        guidance: Σ scale · ∇ log p(y | x_t), which x0 and eps hold already; 0 without.
        unguided: the same without it, None where there is none. Ancestral samplers start from `unguided` and add
            variance · guidance to the mean instead (Dhariwal & Nichol 2021, arXiv:2105.05233, algorithm 1).
        variance_share: what a network that learned its variance says of it, (n, *shape): 0 is β̃, 1 is β; else None.
    """

    x: torch.Tensor
    level: Level
    x0: torch.Tensor
    eps: torch.Tensor
    guidance: torch.Tensor | float = 0.0
    unguided: Prediction | None = None
    variance_share: torch.Tensor | None = None

    @property
    def v(self) -> torch.Tensor:
        """alpha·eps − sigma·x0 (Salimans & Ho 2022, arXiv:2202.00512)."""
        return self.level.alpha * self.eps - self.level.sigma * self.x0

    @property
    def score(self) -> torch.Tensor:
        """∇ log p(x_t) = −eps / sigma."""
        return -self.eps / self.level.sigma

    def log_variance(self, s: Level) -> torch.Tensor:
        """log Σ = f·log β + (1 − f)·log β̃ of an ancestral step to the cleaner level s, f the learned share.

            β = sigma_t² − (alpha_t/alpha_s)²·sigma_s²,    β̃ = β·sigma_s²/sigma_t²

        Args:
            s: where the step goes; it has noise left.

        Raises:
            ValueError: the network learned no variance, or s has no noise.

        References:
            Nichol & Dhariwal 2021, arXiv:2102.09672, equation 15.
        """
        if self.variance_share is None:
            raise ValueError("the network has not learned its variance")
        if s.sigma == 0:
            raise ValueError("a step to a level without noise has no variance")
        t = self.level
        beta = t.sigma**2 - (t.alpha / s.alpha) ** 2 * s.sigma**2
        small = beta * s.sigma**2 / t.sigma**2
        return self.variance_share * math.log(beta) + (1 - self.variance_share) * math.log(small)


@dataclass(frozen=True)
class Endpoint:
    """The reply of a consistency network: where the ODE ends, not the mean of what x_t may come from.

    There is no noise in it that could be read off or guided, so eps, v and score are refused; to go on from here,
    noise is added anew.

    Attributes:
        x: the state that was asked about, (n, *shape).
        level: its noise level.
        x0: the clean data at the end of the trajectory through x, (n, *shape).
    """

    x: torch.Tensor
    level: Level
    x0: torch.Tensor

    def __getattr__(self, name: str) -> torch.Tensor:
        if name in ("eps", "v", "score", "guidance", "unguided"):
            raise ValueError(
                f"a consistency network says where the ODE ends, which has no {name}: use x0 and fresh noise, "
                "or ask the denoiser"
            )
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")


def to_x0(kind: str, output: torch.Tensor, x: torch.Tensor, level: Level) -> torch.Tensor:
    """The clean data that a network's raw output implies.

    Args:
        kind: what the network predicts: x0, eps, v or score.
        output: its output at `x`, same shape.
        x: the state in this level's scaling, (n, *shape).
        level: the noise level of `x`.

    Raises:
        ValueError: unknown kind, or an eps or score so close to pure noise that it determines no x0.
    """
    alpha, sigma = level.alpha, level.sigma
    if kind == "x0":
        return output
    if kind == "v":
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)
    check_determines_x0(kind, level)
    if kind == "eps":
        return (x - sigma * output) / alpha
    return (x + sigma**2 * output) / alpha


def to_eps(x0: torch.Tensor, x: torch.Tensor, level: Level) -> torch.Tensor:
    """The noise that goes with x0 at x; to be derived again whenever x0 was changed.

    Raises:
        ValueError: the level has no noise.
    """
    if level.sigma == 0:
        raise ValueError("a level without noise has no eps: no network is to be asked there")
    return (x - level.alpha * x0) / level.sigma


def check_determines_x0(kind: str, level: Level) -> None:
    """Refuse an eps- or score-prediction where dividing by alpha would only amplify its error.

    Raises:
        ValueError: unknown kind, or ᾱ below `MIN_ALPHA_BAR`.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown prediction {kind!r}; there are {', '.join(KINDS)}")
    alpha_bar = level.alpha**2 / (level.alpha**2 + level.sigma**2)
    # A variance-exploding level is exempt: its alpha is 1, so nothing is divided by a small number.
    if kind in ("eps", "score") and level.alpha < 1 and alpha_bar < MIN_ALPHA_BAR:
        raise ValueError(
            f"{kind}-prediction at ᾱ = {alpha_bar:.1e} divides by (nearly) zero: start at a level with "
            f"ᾱ ≥ {MIN_ALPHA_BAR:.0e} (leading spacing does), or use a network that predicts v or x0"
        )


def clip(x0: torch.Tensor, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    """Static thresholding: x0 within the range of the data."""
    return x0.clamp(low, high)


def dynamic_threshold(x0: torch.Tensor, percentile: float) -> torch.Tensor:
    """Clip each sample to ±s and divide by s, s = max(1, percentile of |x0|).

    Args:
        x0: (n, *shape), data in [-1, 1].
        percentile: within (0, 1), such as 0.995.

    References:
        Saharia et al. 2022 (Imagen), arXiv:2205.11487.
    """
    flat = x0.flatten(1)
    s = flat.abs().float().quantile(percentile, dim=1).to(x0.dtype).clamp(min=1.0)
    s = s.view(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) / s
