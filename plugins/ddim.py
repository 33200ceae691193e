"""DDIM: deterministic at η = 0, as noisy as DDPM at η = 1.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models", arXiv:2010.02502, equations 12 and 16.
"""

from __future__ import annotations

import math

from zoo import Field, Query, Sampler, SamplerSpec, Spacing, hookimpl


class DDIM(Sampler):
    """x_s = alpha_s·x0 + √(sigma_s² − σ²)·eps + σ·z, from level t to the next, cleaner level s, where

    σ = η · sigma_s · √(1 − (alpha_t·sigma_s / (alpha_s·sigma_t))²),

    which is the paper's η·√((1−ᾱ_s)/(1−ᾱ_t))·√(1 − ᾱ_t/ᾱ_s) when variance is preserved. No noise is added
    on the way to the clean level.
    """

    class Params(Sampler.Params):
        steps: int = Field(50, ge=1, le=1000, title="Steps", description="how many levels are visited")
        eta: float = Field(0.0, ge=0, le=1, title="η", description="0 = ODE, 1 = as noisy as DDPM")
        spacing: Spacing = Field(
            "trailing",
            title="Spacing",
            description="which levels are visited; karras: sigma/alpha 80 to 0.002",
        )

    params: Params

    def is_stochastic(self):
        return self.params.eta > 0

    def order(self):
        return None if self.params.eta > 0 else 1

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            sigma = 0.0
            if not s.is_clean:
                ratio = (t.alpha * s.sigma) / (s.alpha * t.sigma)
                sigma = self.params.eta * s.sigma * math.sqrt(1 - ratio**2)
            x = s.alpha * prediction.x0 + math.sqrt(s.sigma**2 - sigma**2) * prediction.eps
            if sigma > 0:
                x = x + sigma * noise()
        return x


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "ddim",
            DDIM,
            title="DDIM",
            summary="Each step takes the predicted noise out and puts less of it back. That solves the "
            "probability-flow ODE to first order; with η above 0, some of what is put back is fresh noise.",
            paper="2010.02502",
            equation=r"x_s = \alpha_s\,\hat x_0 + \sqrt{\sigma_s^2 - \sigma^2}\,\hat\varepsilon + \sigma z,"
            r"\qquad \sigma = \eta\,\sigma_s\sqrt{1 - \Big(\frac{\alpha_t\,\sigma_s}{\alpha_s\,\sigma_t}\Big)^2}",
            cost="One evaluation a step; 20 to 50 steps are usual.",
            when="The safe choice at any number of steps. At η = 0 the noise decides the picture, so that it can be "
            "inverted and interpolated.",
        )
    ]
