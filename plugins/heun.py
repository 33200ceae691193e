"""Heun's method, second order at two evaluations a step, with churn if wanted: the sampler of EDM.

Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
arXiv:2206.00364, algorithm 2; algorithm 1 where churn is 0.
"""

from __future__ import annotations

from zoo import Field, KarrasSampler, Query, SamplerSpec, hookimpl


class Heun(KarrasSampler):
    """z_s = z + (σ_s − σ)·(d + d′)/2, in z = x/alpha and σ = sigma/alpha, where d = eps at level t, raised by
    churn, and d′ = eps where Euler's step z + (σ_s − σ)·d ends, at the next, cleaner level s.

    The step onto the clean level is Euler's: N levels take 2N − 1 evaluations.
    """

    class Params(KarrasSampler.Params):
        steps: int = Field(
            18, ge=1, le=1000, title="Steps", description="N, how many levels are visited, in 2N − 1 NFE"
        )

    params: Params

    def order(self):
        return None if self.is_stochastic() else 2

    def evaluations(self, levels):
        return 2 * levels.steps - 1

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            x, hat = self.churned(x, t, levels, noise)
            prediction = yield Query(x, hat)
            d = prediction.eps
            x = s.alpha * prediction.x0 + s.sigma * d  # Euler's step, without the rounding of z at large σ
            if not s.is_clean:
                d_next = (yield Query(x, s)).eps
                x = x + s.alpha * (s.sigma / s.alpha - hat.sigma / hat.alpha) * (d_next - d) / 2
        return x


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "heun",
            Heun,
            title="Heun (EDM)",
            summary="Each step but the last follows the mean of two slopes: at its start, and where Euler’s step "
            "would end. That solves the probability-flow ODE to second order, and churn can mix in fresh noise.",
            paper="2206.00364",
            equation=r"z_s = z_t + (\varsigma_s - \varsigma_t)\,\frac{d + d'}{2}, \qquad d = \hat\varepsilon(z_t),"
            r"\quad d' = \hat\varepsilon\big(z_t + (\varsigma_s - \varsigma_t)\,d\big)",
            cost="Two evaluations a step but the last: 2N − 1 for N steps.",
            when="For exact solutions at 30 evaluations and more. At ten or fewer it has asked at too few levels, and "
            "one evaluation a step is better spent.",
        )
    ]
