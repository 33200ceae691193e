"""The claims: what a claim is made of, and how measured values decide it.

A claim is a list of margins, numbers that are positive where it is true, each a function of measured values. A margin
is computed from all pictures, and again without each group of them; the spread of these gives the jackknife's 95 %
interval, in which what methods share by seeing the same prompts and noise cancels. A claim `holds` when every margin's
interval lies above zero, `does not hold` when one lies below, and is `undecided` otherwise.

What holds of the best of k methods is a margin of k alternatives, not of their least value: the jackknife needs what is
smooth, and the best of several estimates flatters. Each alternative gets an interval of its own at 1 − 5 %/k.
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

PICTURES = ("distance", "accuracy", "diversity")
"""The measures of pictures that are drawn at scale; those of exact models and of control are quickly found."""


@dataclass(frozen=True)
class Estimate:
    """A number found from all groups of pictures, and again without each of them.

    Attributes:
        value: from all of them.
        without: one number a group, from all the others.
    """

    value: float
    without: tuple[float, ...]

    @classmethod
    def mean(cls, groups: Sequence[float]) -> Estimate:
        """The mean of groups of equal size."""
        total, n = sum(groups), len(groups)
        return cls(total / n, tuple((total - one) / (n - 1) for one in groups))

    @classmethod
    def of(cls, function: Callable[..., float], estimates: Sequence[Estimate]) -> Estimate:
        """A function of several numbers, found from the same groups."""
        without = zip(*(estimate.without for estimate in estimates), strict=True)
        return cls(function(*(e.value for e in estimates)), tuple(function(*values) for values in without))


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: Estimate, alternatives: int = 1) -> Interval:
        """The jackknife's: of a number θ and its G leave-one-out values θ_g with mean θ̄, the value without bias is

            G·θ − (G − 1)·θ̄, and its standard error √((G − 1)/G · Σ(θ_g − θ̄)²), times Student's t for 95 %.

        What is linear in the pictures, as an accuracy is, has no bias and stays as it is. With `alternatives`, it is
        one of several that shall all be right in 95 %.

        References:
            Efron & Stein 1981, "The Jackknife Estimate of Variance".
        """
        without, n = estimate.without, len(estimate.without)
        mean = sum(without) / n
        error = math.sqrt((n - 1) / n * sum((value - mean) ** 2 for value in without))
        value, half = n * estimate.value - (n - 1) * mean, student(n - 1, alternatives) * error
        return cls(value, value - half, value + half)

    @classmethod
    def best(cls, estimates: Sequence[Estimate]) -> Interval:
        """Of the largest of several numbers: above zero where one of them is."""
        each = [cls.of(estimate, len(estimates)) for estimate in estimates]
        return cls(max(i.value for i in each), max(i.low for i in each), max(i.high for i in each))


Measure = Callable[[str], Estimate]
"""What a method's line scores; the smaller the better unless the margin says otherwise."""


@dataclass(frozen=True)
class Margin:
    """A number that is positive where a part of a claim is true.

    Attributes:
        text: what it compares.
        measure: one of `PICTURES`, or another's name, such as "energy on gaussian".
        lines: the methods whose values `of` gets, in this order.
        of: from the values to the number; of several, one that is positive is enough.
    """

    text: str
    measure: str
    lines: tuple[str, ...]
    of: tuple[Callable[..., float], ...]


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
    def measures(self) -> set[str]:
        """What its margins are measured by."""
        return {margin.measure for margin in self.margins}

    @property
    def lines(self) -> list[str]:
        """The methods whose pictures it needs, each once."""
        needed = [margin for margin in self.margins if margin.measure in PICTURES]
        return list(dict.fromkeys(line for margin in needed for line in margin.lines))


@dataclass(frozen=True)
class Finding:
    """What came out for a claim.

    Attributes:
        claim: which.
        verdict: what the margins decide.
        margins: one interval a margin.
        values: measure → line → what it scored.
        n: pictures, or samples of an exact model, of each method.
        reason: why it is undecided, where nothing could be measured.
    """

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


def judge(claim: Claim, measures: Mapping[str, Measure], n: int) -> Finding:
    """Decide a claim from measured values.

    Args:
        claim: what to decide.
        measures: by the names that its margins use.
        n: pictures of each method.
    """
    margins = []
    values: dict[str, dict[str, Interval]] = {}
    for margin in claim.margins:
        estimates = [measures[margin.measure](line) for line in margin.lines]
        margins.append(Interval.best([Estimate.of(function, estimates) for function in margin.of]))
        for line, estimate in zip(margin.lines, estimates, strict=True):
            values.setdefault(margin.measure, {})[line] = Interval.of(estimate)
    verdict: Verdict = "undecided"
    if all(margin.low > 0 for margin in margins):
        verdict = "holds"
    elif any(margin.high < 0 for margin in margins):
        verdict = "does not hold"
    return Finding(claim, verdict, tuple(margins), values, n)


def less(better: str, worse: str, measure: str = "distance", factor: float = 1.0) -> Margin:
    """The first method's value is less than `factor` times the second's."""
    text = f"{better} < {'' if factor == 1 else f'{factor:g} × '}{worse} ({measure})"
    return Margin(text, measure, (better, worse), (lambda a, b: factor * b - a,))


def least(
    others: Sequence[str], than: str, text: str, measure: str = "distance", factor: float = 1.0
) -> Margin:
    """One of `others` has a value less than `factor` times that of `than`."""
    of = tuple(lambda bound, *values, k=k: factor * bound - values[k] for k in range(len(others)))
    return Margin(text, measure, (than, *others), of)


def ascending(lines: Sequence[str], measure: str) -> tuple[Margin, ...]:
    """Each method's value is less than the next one's."""
    return tuple(less(a, b, measure) for a, b in itertools.pairwise(lines))
