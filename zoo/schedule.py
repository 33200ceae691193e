"""Noise schedules, and the levels a sampler visits.

Everything noisy is x_t = alpha_t · x_0 + sigma_t · eps with eps ~ N(0, I), whatever the process is called:
variance preserving (alpha² + sigma² = 1) or variance exploding (alpha = 1). Arithmetic is float64; no torch.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Spacing = Literal["trailing", "leading", "linspace", "quadratic", "karras"]
SPACINGS: tuple[str, ...] = get_args(Spacing)

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
"""The range of sigma/alpha of Karras et al. 2022. A chain may reach further, where steps would be lost: the cosine
schedule begins at 20,000, so that of ten levels spread over all of it, six lie above 80."""


@dataclass(frozen=True)
class Level:
    """One noise level: x = alpha · x_0 + sigma · eps, which the network calls `t`.

    `t` is in the schedule's own unit (a timestep for `DiscreteSchedule`, sigma for `KarrasSchedule`), may be
    fractional, and is None at a clean end that no network is ever asked about.
    """

    alpha: float
    sigma: float
    t: float | None

    @property
    def log_snr(self) -> float:
        """log(alpha² / sigma²), +inf at a level without noise."""
        if self.sigma == 0:
            return math.inf
        return 2 * (math.log(self.alpha) - math.log(self.sigma))

    @property
    def is_clean(self) -> bool:
        return self.t is None


class Levels(Sequence[Level]):
    """The descending list that a sampler visits; its last entry is the model's clean level.

    Args:
        levels: noisiest first.
        schedule: where they are from, for samplers that also ask in between; a list made by hand has none.
    """

    def __init__(self, levels: Sequence[Level], schedule: Schedule | None = None) -> None:
        if len(levels) < 2:
            raise ValueError(f"levels need a start and an end, got {len(levels)} of them")
        for noisier, cleaner in itertools.pairwise(levels):
            # The cleanest timestep may be the clean level itself: that step goes nowhere, as in Stable Diffusion.
            equal = cleaner.is_clean and noisier.log_snr == cleaner.log_snr
            if noisier.log_snr >= cleaner.log_snr and not equal:
                raise ValueError(f"levels must descend in noise, but {cleaner} follows {noisier}")
        self._levels, self.schedule = tuple(levels), schedule

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._levels[index]

    def __len__(self) -> int:
        return len(self._levels)

    @property
    def steps(self) -> int:
        """Number of steps, one less than the number of levels."""
        return len(self) - 1

    def pairs(self) -> Iterator[tuple[Level, Level]]:
        """Yield (current, next) from the noisiest step to the one that ends clean."""
        return itertools.pairwise(self._levels)


class Schedule(ABC):
    """t ↔ (alpha_t, sigma_t, log-SNR)."""

    clean: Level = Level(1.0, 0.0, None)

    @abstractmethod
    def level(self, t: float) -> Level:
        """The level that the network calls `t`."""

    @abstractmethod
    def level_at(self, log_snr: float) -> Level:
        """The level with this log-SNR, in this schedule's own scaling and time."""

    @property
    @abstractmethod
    def sigma_range(self) -> tuple[float, float]:
        """The least and the greatest sigma/alpha of its noisy levels."""

    def level_at_sigma(self, sigma: float) -> Level:
        """The level with this sigma/alpha; outside `sigma_range` its nearest end."""
        low, high = self.sigma_range
        return self.level_at(-2 * math.log(min(max(sigma, low), high)))

    def karras_levels(
        self, steps: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = 7.0
    ) -> Levels:
        """`steps` levels evenly in (sigma/alpha)^(1/ρ), then the clean one (Karras et al. 2022, arXiv:2206.00364).

        They reach from sigma_max to sigma_min, or as far as this schedule does.

        Raises:
            ValueError: `steps` is not possible on this schedule, or it has no levels in this range.
        """
        self.check_steps(steps)
        least, greatest = self.sigma_range
        low, high = max(sigma_min, least), min(sigma_max, greatest)
        if low > high or (low == high and steps > 1):
            raise ValueError(
                f"no {steps} levels lie between sigma_min={sigma_min:g} and sigma_max={sigma_max:g} on this "
                f"model, whose sigma/alpha is within {least:.3g} … {greatest:.3g}"
            )
        sigmas = karras_sigmas(steps, low, high, rho)
        return Levels([*(self.level_at_sigma(float(sigma)) for sigma in sigmas), self.clean], self)

    def check_steps(self, steps: int) -> None:
        """Refuse a number of steps that is impossible on this schedule.

        Raises:
            ValueError: says which are possible.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")

    @abstractmethod
    def levels(self, steps: int, spacing: str = "trailing") -> Levels:
        """The `steps` + 1 levels to visit, noisiest first, clean level last.

        Raises:
            ValueError: `steps` or `spacing` is not possible on this schedule.
        """

    @abstractmethod
    def start_scale(self, level: Level) -> float:
        """Factor that turns unit noise into the start state at `level`."""


class DiscreteSchedule(Schedule):
    """A variance-preserving chain of T steps, alpha_t = √ᾱ_t and sigma_t = √(1 − ᾱ_t), t = 0 … T−1.

    Args:
        alphas_cumprod: ᾱ_t, shape (T,), strictly descending within (0, 1).
        clean: the level at which every method on the model ends; ᾱ = 1 unless said otherwise.
        steps_offset: what leading spacing adds to its timesteps; 1 in Stable Diffusion.

    References:
        Ho et al. 2020, arXiv:2006.11239.
    """

    def __init__(
        self, alphas_cumprod: npt.ArrayLike, clean: Level | None = None, steps_offset: int = 0
    ) -> None:
        self.alphas_cumprod = np.asarray(alphas_cumprod, dtype=np.float64)
        a = self.alphas_cumprod
        if a.ndim != 1 or len(a) < 1 or not ((a > 0) & (a < 1)).all() or not (np.diff(a) < 0).all():
            raise ValueError("alphas_cumprod must be a strictly descending list within (0, 1)")
        self._log_snr = np.log(a) - np.log1p(-a)
        self.steps_offset = steps_offset
        if clean is not None:
            self.clean = clean

    @classmethod
    def from_betas(cls, betas: npt.ArrayLike, clean: Level | None = None) -> DiscreteSchedule:
        """ᾱ_t = Π_{s ≤ t} (1 − β_s)."""
        return cls(np.cumprod(1 - np.asarray(betas, dtype=np.float64)), clean)

    @classmethod
    def linear(cls, timesteps: int = 1000, start: float = 1e-4, end: float = 0.02) -> DiscreteSchedule:
        """β linear in t (Ho et al. 2020, arXiv:2006.11239)."""
        return cls.from_betas(np.linspace(start, end, timesteps))

    @classmethod
    def scaled_linear(
        cls, timesteps: int = 1000, start: float = 0.00085, end: float = 0.012
    ) -> DiscreteSchedule:
        """√β linear in t (Rombach et al. 2022, arXiv:2112.10752)."""
        return cls.from_betas(np.linspace(start**0.5, end**0.5, timesteps) ** 2)

    @classmethod
    def cosine(
        cls, timesteps: int = 1000, offset: float = 0.008, max_beta: float = 0.999
    ) -> DiscreteSchedule:
        """ᾱ(u) ∝ cos²((u + s)/(1 + s) · π/2), each β capped (Nichol & Dhariwal 2021, arXiv:2102.09672)."""
        u = np.arange(timesteps + 1) / timesteps
        f = np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
        return cls.from_betas(np.minimum(1 - f[1:] / f[:-1], max_beta))

    @property
    def timesteps(self) -> int:
        """T, the length of the chain."""
        return len(self.alphas_cumprod)

    def level(self, t: float) -> Level:
        """Integer t exactly; between two of them the log-SNR is interpolated linearly."""
        if not 0 <= t <= self.timesteps - 1:
            raise ValueError(f"t must be within 0 … {self.timesteps - 1}, got {t}")
        if t == int(t):
            a = float(self.alphas_cumprod[int(t)])
            return Level(math.sqrt(a), math.sqrt(1 - a), float(t))
        log_snr = float(np.interp(t, np.arange(self.timesteps), self._log_snr))
        return _variance_preserving(log_snr, t)

    def level_at(self, log_snr: float) -> Level:
        """The (fractional) t of a log-SNR within the chain; outside it is the nearest end."""
        t = float(np.interp(-log_snr, -self._log_snr, np.arange(self.timesteps)))
        # Rounded, so that the log-SNR of a timestep finds it again whatever its last digit.
        return self.level(round(t, 9))

    def levels(self, steps: int, spacing: str = "trailing") -> Levels:
        """Timesteps by spacing, for N = `steps` of T:

        - trailing: round(T·(N − i)/N) − 1, from T − 1 down (Lin et al. 2023, arXiv:2305.08891)
        - leading: i·⌊T/N⌋ + `steps_offset`, the original DDPM and DDIM code's; reaches T − 1 only at N = T
        - linspace: evenly from T − 1 to 0, both included
        - quadratic: (T − 1)·(i/(N − 1))², dense near the data (Song et al. 2021, arXiv:2010.02502, whose
          code stops at 0.8 T; here every spacing but leading starts at T − 1)
        - karras: sigma/alpha evenly in the ρ-th root, ρ = 7, from 80 to 0.002 as far as the chain reaches, which
          are also the levels of `KarrasSampler` (Karras et al. 2022, arXiv:2206.00364)

        One step with leading, linspace or quadratic starts at T − 1 too: their formulas would give t = 0, the
        cleanest level, which pure noise is not.
        """
        self.check_steps(steps)
        if spacing == "karras":
            return self.karras_levels(steps)
        ts = _timesteps(steps, self.timesteps, spacing)
        if spacing == "leading":
            offset = min(self.steps_offset, self.timesteps - 1 - ts[0])
            ts = [t + offset for t in ts]
        return Levels([*(self.level(t) for t in ts), self.clean], self)

    def check_steps(self, steps: int) -> None:
        if not 1 <= steps <= self.timesteps:
            raise ValueError(f"steps must be within 1 … {self.timesteps} on this model, got {steps}")

    @property
    def sigma_range(self) -> tuple[float, float]:
        return math.exp(-self._log_snr[0] / 2), math.exp(-self._log_snr[-1] / 2)

    def start_scale(self, level: Level) -> float:
        """1: a variance-preserving chain starts from N(0, I)."""
        return 1.0


class KarrasSchedule(Schedule):
    """Variance exploding, alpha = 1, and t is sigma itself (Karras et al. 2022, arXiv:2206.00364).

    Args:
        sigma_min, sigma_max: the range of noise levels, in units of the data.
        rho: the larger, the denser the levels near the data.
        clean: the level at which every method on the model ends; without noise unless said otherwise.
    """

    def __init__(
        self,
        sigma_min: float = SIGMA_MIN,
        sigma_max: float = SIGMA_MAX,
        rho: float = 7.0,
        clean: Level | None = None,
    ) -> None:
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"0 < sigma_min < sigma_max is needed, got {sigma_min} and {sigma_max}")
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        if clean is not None:
            self.clean = clean

    def level(self, t: float) -> Level:
        return Level(1.0, t, t)

    def level_at(self, log_snr: float) -> Level:
        return self.level(math.exp(-log_snr / 2))

    def levels(self, steps: int, spacing: str = "karras") -> Levels:
        """σ_i = (σ_max^{1/ρ} + i/(N − 1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ, then the clean level.

        There is no list of timesteps to space, so the discrete spacings mean the same as karras here.
        """
        if spacing not in SPACINGS:
            raise ValueError(_unknown_spacing(spacing))
        self.check_steps(steps)
        sigmas = karras_sigmas(steps, self.sigma_min, self.sigma_max, self.rho)
        return Levels([*(self.level(float(sigma)) for sigma in sigmas), self.clean], self)

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max

    def start_scale(self, level: Level) -> float:
        """sigma: the data is negligible beside it."""
        return level.sigma


def karras_sigmas(
    steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> npt.NDArray[np.float64]:
    """`steps` noise levels from sigma_max down to sigma_min, evenly spaced in sigma^(1/ρ)."""
    ramp = np.linspace(0, 1, steps)
    sigmas = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    ends = [sigma_max, sigma_min][:steps]  # exactly, since the last may be the clean level itself
    sigmas[[0, -1][:steps]] = ends
    return np.asarray(sigmas, dtype=np.float64)


def _timesteps(steps: int, timesteps: int, spacing: str) -> list[int]:
    """Descending timesteps, in integer arithmetic (a float arange gives N + 1 of them for some N)."""
    n, last = steps, timesteps - 1
    if spacing == "trailing":
        return [round(Fraction(timesteps * (n - i), n)) - 1 for i in range(n)]
    if spacing not in ("leading", "linspace", "quadratic"):
        raise ValueError(_unknown_spacing(spacing))
    if n == 1:
        return [last]
    if spacing == "leading":
        return [i * (timesteps // n) for i in reversed(range(n))]
    if spacing == "linspace":
        return [round(Fraction(last * i, n - 1)) for i in reversed(range(n))]
    ascending: list[int] = []
    for i in range(n):
        t = round(Fraction(last * i * i, (n - 1) ** 2))
        ascending.append(max(t, ascending[-1] + 1) if ascending else t)
    return ascending[::-1]


def _unknown_spacing(spacing: str) -> str:
    return f"unknown spacing {spacing!r}; there are {', '.join(SPACINGS)}"


def _variance_preserving(log_snr: float, t: float) -> Level:
    return Level(math.sqrt(_sigmoid(log_snr)), math.sqrt(_sigmoid(-log_snr)), float(t))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
