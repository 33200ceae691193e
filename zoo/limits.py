"""What one cell may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one cell may cost; past it the cell fails and the others go on.

    Attributes:
        nfe: network evaluations per image, all roles together.
        seconds: the cell's share of the batches' time.
    """

    nfe: int | None = 10_000
    seconds: float | None = None
