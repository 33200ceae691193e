"""Classifier guidance: towards what a noise-aware classifier takes for the class.

Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis", arXiv:2105.05233, section 4.
"""

from __future__ import annotations

from dataclasses import replace

from zoo import PROMPT, ClassQuery, Conditioner, ConditionerSpec, Field, hookimpl


class ClassifierGuidance(Conditioner):
    """eps = eps − scale·sigma·∇ log p(y | x_t) (algorithm 2), y the target, or the class that the prompt names.

    Ancestral samplers shift their mean by scale·Σ·∇ log p(y | x_t) instead (algorithm 1). The denoiser is still
    asked about the prompt: with an empty one and a target, the classifier alone makes the class.

    One evaluation of the classifier a step, forward and back; none at scale 0.
    """

    class Params(Conditioner.Params):
        scale: float = Field(2.0, ge=0, le=100, title="Classifier scale", description="0 = off")
        target: str = Field(
            "", max_length=100, title="Target class", description="empty: the one that the prompt names"
        )

    params: Params

    def requires(self):
        return ("classifier",)

    def needs_mean(self):
        return self.params.scale > 0

    def check(self, model, conditions):
        model.target(conditions[PROMPT], self.params.target)

    def guide(self, query):
        scale = self.params.scale
        if scale > 0:
            gradient = yield ClassQuery(query.x, query.level, target=self.params.target)
            query = replace(query, guidance=query.guidance + scale * gradient)
        return (yield query)


@hookimpl
def register_conditioners():
    return [
        ConditionerSpec(
            "classifier_guidance",
            ClassifierGuidance,
            title="Classifier guidance",
            summary="It pulls every step towards what a classifier takes for the class. The classifier was trained on "
            "noisy pictures, and its gradient says which way to go.",
            paper="2105.05233",
            equation=r"\hat\varepsilon = \varepsilon_\theta(x_t)"
            r" - \text{scale}\,\sigma_t\,\nabla_{x_t} \log p_\phi(y \mid x_t)",
            cost="One evaluation of the classifier a step, forward and back, beside the denoiser’s.",
            when="When the denoiser was trained without conditions, or the class is one that it was not told of. It "
            "needs a classifier of noisy pictures.",
        )
    ]
