"""UniPC: a multistep predictor, and a corrector that costs no evaluation of its own.

Zhao, Bai, Rao, Zhou, Lu 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion
Models", arXiv:2302.04867: the multistep form, in data prediction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from zoo import Field, Level, Query, Sampler, SamplerSpec, Spacing, hookimpl

if TYPE_CHECKING:
    import torch

Answer = tuple[Level, "torch.Tensor"]
"""A level, and the x0 that the network predicted there."""


class UniPC(Sampler):
    """x_s = (sigma_s/sigma_t)·x + alpha_s·[M_0·x0_t + Σ_m c_m·(x0_m − x0_t)/r_m] from level t to the next s, where

    h = λ_s − λ_t,    r_m = (λ_m − λ_t)/h,    λ = log(alpha/sigma),

    and m runs over earlier levels, order − 1 of them (the predictor, UniP). When the network has answered at s,
    the step is made again with m = s among them (the corrector, UniC), one order better. The weights c solve

    Σ_m r_m^{k−1}·c_m = M_k,    M_k = ∫_0^h e^{u−h}·(u/h)^k du,    k = 1, 2, …,

    so that polynomials in λ are integrated exactly; a single weight is B(h)/2, with B(h) = h (bh1) or
    1 − e^{−h} (bh2). The order grows with the number of earlier levels, and falls to one towards the clean
    level, where h = ∞.
    """

    class Params(Sampler.Params):
        steps: int = Field(20, ge=1, le=1000, title="Steps", description="how many levels are visited")
        order: int = Field(
            2, ge=1, le=3, title="Order", description="of the predictor; the corrector adds one"
        )
        variant: Literal["bh1", "bh2"] = Field("bh2", title="Variant", description="B(h) = h or 1 − e^{−h}")
        spacing: Spacing = Field(
            "trailing",
            title="Spacing",
            description="which levels are visited; karras: sigma/alpha 80 to 0.002",
        )

    params: Params

    def order(self):
        return self.params.order + 1

    def sample(self, x, levels, noise):
        known: list[Answer] = []  # the last one first
        start, order = x, 0
        for i, (t, s) in enumerate(levels.pairs()):
            x0 = (yield Query(x, t)).x0
            if known:
                x = self.step(start, t, known[0], [*known[1:order], (t, x0)])
            known = [(t, x0), *known[:2]]
            start, order = x, min(self.params.order, i + 1, levels.steps - i)
            x = self.step(start, s, known[0], known[1:order])
        return x

    def step(self, x: torch.Tensor, s: Level, current: Answer, others: list[Answer]) -> torch.Tensor:
        """From x at the current level to level s, with the others as the levels m."""
        t, x0 = current
        h = (s.log_snr - t.log_snr) / 2
        total = -math.expm1(-h) * x0
        if others:
            rs = [(level.log_snr - t.log_snr) / 2 / h for level, _ in others]
            for (_, x0_m), r, c in zip(others, rs, self.weights(rs, h), strict=True):
                total = total + c / r * (x0_m - x0)
        return (s.sigma / t.sigma) * x + s.alpha * total

    def weights(self, rs: list[float], h: float) -> list[float]:
        """c_m for each r_m; M_k = 1 − k·M_{k−1}/h, by parts, from M_0 = 1 − e^{−h}."""
        if len(rs) == 1:
            return [(h if self.params.variant == "bh1" else -math.expm1(-h)) / 2]
        moments = [-math.expm1(-h)]
        for k in range(1, len(rs) + 1):
            moments.append(1 - k * moments[-1] / h)
        weights: list[float] = np.linalg.solve(np.vander(rs, increasing=True).T, moments[1:]).tolist()
        return weights


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "unipc",
            UniPC,
            title="UniPC",
            summary="It predicts each step from earlier answers, and corrects it when the next answer is there. Both "
            "are multistep formulas in log-SNR, up to third order to predict and one order more to correct.",
            paper="2302.04867",
            equation=r"x_s = \frac{\sigma_s}{\sigma_t}\,x_t + \alpha_s\Big[M_0\,\hat x_0(t)"
            r" + \sum_m \frac{c_m}{r_m}\big(\hat x_0(m) - \hat x_0(t)\big)\Big]",
            cost="One evaluation a step: the corrector reuses the answer that the next step needs anyway.",
            when="At 5 to 20 evaluations, where its corrector pays most. Order 3 is for smooth problems: with "
            "guidance, stay at 2.",
        )
    ]
