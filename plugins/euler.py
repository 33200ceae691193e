"""Euler's method at the noise levels of Karras et al., with churn if wanted.

Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
arXiv:2206.00364, algorithm 2 without its second-order correction.
"""

from __future__ import annotations

from zoo import KarrasSampler, Query, SamplerSpec, hookimpl


class Euler(KarrasSampler):
    """z_s = z + (σ_s − σ)·d with d = (z − x0)/σ = eps, in z = x/alpha and σ = sigma/alpha; that is

    x_s = alpha_s·x0 + sigma_s·eps,

    from level t, raised by churn, to the next, cleaner level s. Without churn it is DDIM at other levels.
    """

    def order(self):
        return None if self.is_stochastic() else 1

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            x, hat = self.churned(x, t, levels, noise)
            prediction = yield Query(x, hat)
            x = s.alpha * prediction.x0 + s.sigma * prediction.eps
        return x


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "euler",
            Euler,
            title="Euler (Karras)",
            summary="Each step follows the slope of the probability-flow ODE at its start. Its noise levels are dense "
            "near the data, and churn can mix in fresh noise.",
            paper="2206.00364",
            equation=r"z_s = z_t + (\varsigma_s - \varsigma_t)\,\hat\varepsilon,"
            r"\qquad z = \frac{x}{\alpha}, \quad \varsigma = \frac{\sigma}{\alpha}",
            cost="One evaluation a step.",
            when="For many steps at levels dense near the data, and as the baseline for Heun’s correction. With a "
            "handful of steps DDIM’s trailing levels serve better.",
        )
    ]
