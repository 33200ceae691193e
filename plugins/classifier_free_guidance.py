"""Classifier-free guidance: away from the empty (or negative) prompt, towards the prompt.

Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv:2207.12598. Their w is scale − 1.
Dynamic thresholding: Saharia et al. 2022 (Imagen), arXiv:2205.11487.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from zoo import NEGATIVE, PROMPT, Conditioner, ConditionerSpec, Field, hookimpl


class ClassifierFreeGuidance(Conditioner):
    """eps = eps_n + scale·(eps_p − eps_n), p the prompt and n the negative (or empty) one.

    Two evaluations a step; one at scale 1 (guidance off) and at scale 0 (unconditional), where a weight vanishes.
    Then x0 is thresholded, and eps derived from it again.
    """

    class Params(Conditioner.Params):
        scale: float = Field(
            3.0, ge=0, le=50, title="Guidance scale", description="1 = off, 0 = unconditional"
        )
        threshold: Literal["static", "dynamic", "none"] = Field(
            "static", title="Threshold", description="how predicted x0 is kept within the data's range"
        )
        percentile: float = Field(
            0.995, gt=0, lt=1, title="Percentile", description="of |x0|, for the dynamic threshold"
        )

    params: Params

    def needs_mean(self):
        return self.params.scale not in (0, 1)

    def guide(self, query):
        scale = self.params.scale
        terms = dict(query.terms)
        weight = terms.pop(PROMPT, 0.0)
        terms[PROMPT] = weight * scale
        terms[NEGATIVE] = terms.get(NEGATIVE, 0.0) + weight * (1 - scale)
        thresholds = {"static": "model", "dynamic": self.params.percentile, "none": "none"}
        return (yield replace(query, terms=terms, threshold=thresholds[self.params.threshold]))


@hookimpl
def register_conditioners():
    return [
        ConditionerSpec(
            "cfg",
            ClassifierFreeGuidance,
            title="Classifier-free guidance",
            summary="It extrapolates from the answer to the empty or negative prompt past the answer to the prompt. "
            "Pictures keep closer to the words, and vary less.",
            paper="2207.12598",
            equation=r"\hat\varepsilon = \varepsilon_\theta(x_t, n)"
            r" + \text{scale}\,\big(\varepsilon_\theta(x_t, p) - \varepsilon_\theta(x_t, n)\big)",
            cost="Two evaluations a step, at any scale but 0 and 1.",
            when="Whenever pictures should keep to the prompt. The higher the scale, the more alike and "
            "the more garish they get; thresholding tames the colours.",
        )
    ]
