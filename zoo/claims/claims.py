"""The claims: what papers found about samplers, each as a comparison of points that can come out either way.

A claim is a list of margins, numbers that are positive where it is true, each a function of measured points and
computed once a block, that is, once a seed. Their mean over the blocks with Student's 95 % interval decides: `holds`
when every margin's interval lies above zero, `does not hold` when one lies below, `undecided` otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.metrics.intervals import student

Kind = Literal["must", "soft"]
Verdict = Literal["holds", "does not hold", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A mean over blocks with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Student's interval of the mean of one value a block."""
        n = len(values)
        mean = sum(values) / n
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) * student(n - 1)
        return cls(mean, mean - spread, mean + spread)


Value = Callable[[str], Sequence[float]]
"""From a method's line to one value a block, the smaller the better unless the margin says otherwise."""


@dataclass(frozen=True)
class Margin:
    """A number a block that is positive where a part of a claim is true.

    Attributes:
        text: what it compares.
        measure: distance, accuracy or diversity.
        lines: the methods whose values `of` gets, in this order.
        of: from one block's values to the number.
    """

    text: str
    measure: str
    lines: tuple[str, ...]
    of: Callable[..., float]


@dataclass(frozen=True)
class Claim:
    """One thing that papers found.

    Attributes:
        text: in words.
        kind: "must" where every paper found it, so that its failing means a mistake of ours; "soft" otherwise.
        margins: all of them positive where it is true.
        quick: whether `--quick` measures it.
    """

    text: str
    kind: Kind
    margins: tuple[Margin, ...]
    quick: bool = False

    @property
    def lines(self) -> list[str]:
        """The methods it needs, each once."""
        return list(dict.fromkeys(line for margin in self.margins for line in margin.lines))


@dataclass(frozen=True)
class Finding:
    """What came out for a claim."""

    claim: Claim
    verdict: Verdict
    margins: tuple[Interval, ...]
    values: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    n: int = 0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What `zoo claims --json` prints of it."""
        return {
            "claim": self.claim.text,
            "kind": self.claim.kind,
            "verdict": self.verdict,
            "values": {
                "margins": [
                    {"of": m.text, "value": i.value, "low": i.low, "high": i.high}
                    for m, i in zip(self.claim.margins, self.margins, strict=False)
                ],
                "points": {
                    measure: {line: [i.value, i.low, i.high] for line, i in points.items()}
                    for measure, points in self.values.items()
                },
            },
            "n": self.n,
            "reason": self.reason,
        }


def judge(claim: Claim, measures: Mapping[str, Value], n: int) -> Finding:
    """Decide a claim from the measured points.

    Args:
        claim: what to decide.
        measures: the values of each measure that its margins name.
        n: pictures of a point.
    """
    margins = []
    values: dict[str, dict[str, Interval]] = {}
    for margin in claim.margins:
        blocks = [measures[margin.measure](line) for line in margin.lines]
        margins.append(Interval.of([margin.of(*block) for block in zip(*blocks, strict=True)]))
        for line, per_block in zip(margin.lines, blocks, strict=True):
            values.setdefault(margin.measure, {})[line] = Interval.of(per_block)
    verdict: Verdict = "undecided"
    if all(margin.low > 0 for margin in margins):
        verdict = "holds"
    elif any(margin.high < 0 for margin in margins):
        verdict = "does not hold"
    return Finding(claim, verdict, tuple(margins), values, n)


def less(better: str, worse: str, measure: str = "distance", factor: float = 1.0) -> Margin:
    """The first method's value is less than `factor` times the second's."""
    text = f"{better} < {'' if factor == 1 else f'{factor:g} × '}{worse} ({measure})"
    return Margin(text, measure, (better, worse), lambda a, b: factor * b - a)


def ascending(lines: Sequence[str], measure: str) -> tuple[Margin, ...]:
    """Each method's value is less than the next one's."""
    return tuple(less(a, b, measure) for a, b in itertools.pairwise(lines))


def guided(scale: float, steps: int = 20) -> str:
    """DDIM with classifier-free guidance; without it at scale 1."""
    return f"ddim steps={steps}" if scale == 1 else f"ddim steps={steps} | cfg scale={scale:g}"


def distilled(steps: int) -> str:
    """A progressive student."""
    return f"progressive_distillation steps={steps}"


TEACHER = "ddim steps=64"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "At 5 and 10 steps DDIM is better with η = 0 than with η = 1",
        "must",
        tuple(less(f"ddim steps={n}", f"ddim steps={n} eta=1") for n in (5, 10)),
        quick=True,
    ),
    Claim(
        "At 4 steps progressive distillation is far better than DDIM: less than half its distance",
        "must",
        (less(distilled(4), "ddim steps=4", factor=0.5),),
        quick=True,
    ),
    Claim(
        "Progressive distillation is worse at 1 step than at 4",
        "must",
        (less(distilled(4), distilled(1)),),
        quick=True,
    ),
    Claim(
        "More classifier-free guidance: prompt accuracy up",
        "must",
        ascending([guided(1, 10), guided(3, 10)], "accuracy"),
        quick=True,
    ),
    Claim(
        "More classifier-free guidance: diversity within a prompt down",
        "must",
        ascending([guided(3, 10), guided(1, 10)], "diversity"),
        quick=True,
    ),
    Claim(
        "Classifier guidance raises prompt accuracy",
        "must",
        ascending(["ddim steps=10", "ddim steps=10 | classifier_guidance scale=4"], "accuracy"),
        quick=True,
    ),
    Claim(
        "At 10 steps the distance grows with η",
        "soft",
        ascending([f"ddim steps=10 eta={eta:g}" for eta in (0, 0.25, 0.5, 0.75, 1)], "distance"),
    ),
    Claim(
        "At 10, 20 and 50 steps DDPM with the large variance is worse than with the small one, and than DDIM",
        "soft",
        tuple(
            less(better, f"ddpm steps={n} variance=large")
            for n in (10, 20, 50)
            for better in (f"ddpm steps={n}", f"ddim steps={n}")
        ),
    ),
    Claim(
        "At 1000 steps DDPM with the large variance is at most 1.1 times as far as DDIM with 100 steps",
        "soft",
        (less("ddpm steps=1000 variance=large", "ddim steps=100", factor=1.1),),
    ),
    *(
        Claim(
            f"At 20 and 50 evaluations {title} is better than DDIM",
            "soft",
            tuple(less(line.format(n=n, half=n // 2), f"ddim steps={n}") for n in (20, 50)),
        )
        for title, line in (
            ("DPM-Solver++(2M)", "dpmpp_2m steps={n}"),
            ("UniPC", "unipc steps={n}"),
            ("Heun", "heun steps={half}"),
        )
    ),
    *(
        Claim(
            f"Progressive distillation at {n} step{'s' if n > 1 else ''} is at most {factor:g} times as far as its "
            "teacher's DDIM at 64",
            "soft",
            (less(distilled(n), TEACHER, factor=factor),),
        )
        for n, factor in ((4, 1.5), (2, 3.0), (1, 6.0))
    ),
    Claim(
        "The distance is U-shaped in the guidance scale: falls from 1 to its least, rises to 8",
        "soft",
        (
            Margin(
                "ddim steps=20 at scale 1 minus the least of 1.5, 2, 3, 5 (distance)",
                "distance",
                tuple(guided(s) for s in (1, 1.5, 2, 3, 5)),
                lambda one, *others: one - min(others),
            ),
            Margin(
                "ddim steps=20 at scale 8 minus the least of 1.5, 2, 3, 5 (distance)",
                "distance",
                tuple(guided(s) for s in (8, 1.5, 2, 3, 5)),
                lambda eight, *others: eight - min(others),
            ),
        ),
    ),
)

CURVES: Mapping[str, tuple[str, ...]] = {
    "DDIM": tuple(f"ddim steps={n}" for n in (1, 2, 4, 5, 8, 10, 20, 50, 64, 100)),
    "DDPM, small variance": tuple(f"ddpm steps={n}" for n in (10, 20, 50, 100, 1000)),
    "DDPM, large variance": tuple(f"ddpm steps={n} variance=large" for n in (10, 20, 50, 1000)),
    "Heun": tuple(f"heun steps={n}" for n in (3, 5, 10, 25)),
    "DPM-Solver++(2M)": tuple(f"dpmpp_2m steps={n}" for n in (5, 10, 20, 50)),
    "UniPC": tuple(f"unipc steps={n}" for n in (5, 10, 20, 50)),
    "Progressive distillation": tuple(distilled(n) for n in (1, 2, 4, 8)),
}
"""One line a method in the plots of quality against cost."""
