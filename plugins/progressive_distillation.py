"""Progressive distillation: few large DDIM steps, by a student that was trained to take them.

Salimans & Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", arXiv:2202.00512.
"""

from __future__ import annotations

from zoo import Field, Query, Sampler, SamplerSpec, hookimpl


class ProgressiveDistillation(Sampler):
    """x_s = alpha_s·x0 + sigma_s·eps, DDIM without noise, from level t to the next, cleaner level s.

    x0 is what the student of this number of steps predicts: not the mean of what x may come from, but the point
    that makes this one step end where many of the original model's would. A student knows the levels of its own
    steps only, and each number of steps has a student of its own.
    """

    class Params(Sampler.Params):
        steps: int = Field(
            4, ge=1, le=64, title="Steps", description="the model needs a student of just as many"
        )

    params: Params

    def requires(self):
        return (f"distilled/{self.params.steps}",)

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t, f"distilled/{self.params.steps}")
            x = s.alpha * prediction.x0 + s.sigma * prediction.eps
        return x


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "progressive_distillation",
            ProgressiveDistillation,
            title="Progressive distillation",
            summary="A student network takes DDIM’s steps, each as long as many of the original model’s. It was "
            "trained in rounds, in each of which one step learned to end where two of its teacher’s do.",
            paper="2202.00512",
            equation=r"x_s = \alpha_s\,\hat x_0 + \sigma_s\,\hat\varepsilon, \qquad"
            r" \hat x_0 \approx \frac{z'' - (\sigma''/\sigma_t)\,x_t}{\alpha'' - (\sigma''/\sigma_t)\,\alpha_t}"
            r"\;\text{ of two teacher steps } x_t \to z''",
            cost="One evaluation a step, 1 to 8 steps; and the training of a student for each number of steps.",
            when="When pictures must come in a few evaluations and a student has been trained for just that number. "
            "It knows no other levels.",
        )
    ]
