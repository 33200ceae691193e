"""DDPM: ancestral sampling, respaced to any number of steps.

Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239, algorithm 2 and equation 7;
respacing by Nichol & Dhariwal 2021, arXiv:2102.09672, section 4.
"""

from __future__ import annotations

from typing import Literal

from zoo import Field, Query, Sampler, SamplerSpec, Spacing, hookimpl


class DDPM(Sampler):
    """x_s = mean + √var·z from level t to the next, cleaner level s, with the posterior q(x_s | x_t, x0):

    mean = [alpha_s·β·x0 + (alpha_t/alpha_s)·sigma_s²·x] / sigma_t²,    β = sigma_t² − (alpha_t/alpha_s)²·sigma_s²,

    where β is 1 − ᾱ_t/ᾱ_s when variance is preserved. The variance is β̃ = β·sigma_s²/sigma_t² ("small"), β ("large"),
    or what the network says, between the two on a log scale ("learned"; Nichol & Dhariwal 2021). No noise is added on
    the way to the clean level.

    A classifier's guidance ∇ log p(y | x_t) shifts the mean by var times it (Dhariwal & Nichol 2021, arXiv:2105.05233,
    algorithm 1), and x0 stays what it was.
    """

    class Params(Sampler.Params):
        steps: int = Field(50, ge=1, le=1000, title="Steps", description="how many levels are visited")
        variance: Literal["small", "large", "learned"] = Field(
            "small",
            title="Variance",
            description="small is β̃, right for one data point; large is β; learned is the network's own",
        )
        spacing: Spacing = Field(
            "trailing",
            title="Spacing",
            description="which levels are visited; karras: sigma/alpha 80 to 0.002",
        )

    params: Params
    stochastic = True

    def check(self, model, conditions):
        if self.params.variance == "learned" and not model.learns_variance("denoiser"):
            raise ValueError(f"{model.name} has not learned its variance: choose small or large")

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            step = t.alpha / s.alpha
            beta = t.sigma**2 - step**2 * s.sigma**2
            x0 = (prediction.unguided or prediction).x0
            x = (s.alpha * beta * x0 + step * s.sigma**2 * x) / t.sigma**2
            if not s.is_clean:
                if self.params.variance == "learned":
                    variance = prediction.log_variance(s).exp()
                else:
                    variance = beta if self.params.variance == "large" else beta * s.sigma**2 / t.sigma**2
                x = x + variance * prediction.guidance + variance**0.5 * noise()
        return x


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "ddpm",
            DDPM,
            title="DDPM",
            summary="Every step moves to the mean of a posterior and, but for the last, adds fresh noise. That mean "
            "mixes the noisy picture with the clean one that the network predicts from it.",
            paper="2006.11239",
            equation=r"x_s = \frac{\alpha_s \beta\,\hat x_0 + \frac{\alpha_t}{\alpha_s}\sigma_s^2\,x_t}{\sigma_t^2}"
            r" + \sqrt{\tilde\beta}\,z, \qquad \beta = \sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2}\,\sigma_s^2,"
            r"\qquad \tilde\beta = \beta\,\frac{\sigma_s^2}{\sigma_t^2}",
            cost="One evaluation a step; hundreds of steps for its best pictures.",
            when="When time does not matter, or as the reference that faster samplers are held against. Its fresh "
            "noise forgives earlier errors, given many steps; with few, much of that noise stays.",
        )
    ]
