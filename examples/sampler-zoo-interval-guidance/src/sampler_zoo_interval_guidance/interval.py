"""Guidance in a limited interval of noise levels.

Kynkäänniemi, Aittala, Karras, Laine, Aila, Lehtinen 2024, "Applying Guidance in a Limited Interval Improves Sample and
Distribution Quality in Diffusion Models", arXiv:2404.07724, equation 5.
"""

from __future__ import annotations

from dataclasses import replace

from zoo import NEGATIVE, PROMPT, Conditioner, Field


class IntervalGuidance(Conditioner):
    """eps = eps_n + scale·(eps_p − eps_n) where low < sigma/alpha ≤ high, and eps_p elsewhere,

    p the prompt and n the negative (or empty) one. Two evaluations a step within the interval, one outside.
    """

    class Params(Conditioner.Params):
        scale: float = Field(3.0, ge=0, le=50, title="Guidance scale", description="1 = off")
        low: float = Field(0.3, ge=0, le=1000, title="From", description="sigma/alpha below which it is off")
        high: float = Field(3.0, ge=0, le=1000, title="To", description="sigma/alpha above which it is off")

    params: Params

    def needs_mean(self):
        return self.params.scale != 1

    def check(self, model, conditions):
        if self.params.low >= self.params.high:
            raise ValueError(
                f"from low={self.params.low:g} to high={self.params.high:g} there is nothing: low must be below high"
            )

    def guide(self, query):
        sigma = query.level.sigma / query.level.alpha
        if self.params.low < sigma <= self.params.high:
            terms = dict(query.terms)
            weight = terms.pop(PROMPT, 0.0)
            terms[PROMPT] = weight * self.params.scale
            terms[NEGATIVE] = terms.get(NEGATIVE, 0.0) + weight * (1 - self.params.scale)
            query = replace(query, terms=terms)
        return (yield query)
