"""Detectors: annotators that see a picture of any size at a size of their own, as networks want it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from zoo.annotator import Annotator

if TYPE_CHECKING:
    import numpy as np

STEP = 64
"""Both sides of what a detector sees are multiples of it, so that a network may halve them six times."""

LONGEST = 4
"""A picture narrower than 1 : 4 is squeezed to that, or the detector's memory would have no bound."""


class Detector(Annotator):
    """Sees the picture with its shorter side at `resolution`, and brings the map to the picture's own size.

    A small picture is enlarged, a large one reduced by area. The map is enlarged linearly; it is reduced by area, or,
    where it consists of lines and becomes much smaller, by the maximum. A subclass defines `detect`.
    """

    class Params(Annotator.Params):
        """Parameters of the detector."""

        resolution: int = Field(
            512,
            ge=STEP,
            le=2048,
            multiple_of=STEP,
            title="Resolution",
            description="the shorter side that it sees",
        )

    params: Params
    lines: ClassVar[bool] = False
    """Whether its map consists of lines, which a mean would fade."""
    enlarges: ClassVar[bool] = True
    """Whether it sees a small picture at the full resolution. What looks for steep gradients must not: enlarging
    flattens them."""

    def detect(self, seen: np.ndarray) -> np.ndarray:
        """The map of what it sees, (h, w, 3) uint8 both."""
        raise TypeError(f"{type(self).__name__} must define detect(seen)")

    def annotate(self, image: np.ndarray) -> np.ndarray:
        """The map at the picture's own size."""
        import cv2
        import numpy as np

        height, width = image.shape[:2]
        resolution = self.resolution_for(height, width)
        how = cv2.INTER_LANCZOS4 if min(height, width) < resolution else cv2.INTER_AREA
        seen = cv2.resize(image, seen_size(width, height, resolution), interpolation=how)
        return _brought_to(np.ascontiguousarray(self.detect(seen)), width, height, self.lines)

    def resolution_for(self, height: int, width: int) -> int:
        """The shorter side that it sees of a picture of this size."""
        enough = STEP * math.ceil(min(height, width) / STEP)
        return self.params.resolution if self.enlarges else min(self.params.resolution, enough)


def seen_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Width and height of what a detector sees."""
    factor = resolution / min(width, height)
    sides = (
        STEP * max(1, round(min(side * factor, LONGEST * resolution) / STEP)) for side in (width, height)
    )
    return next(sides), next(sides)


def _brought_to(drawn: np.ndarray, width: int, height: int, lines: bool) -> np.ndarray:
    import cv2
    import numpy as np

    factor = math.sqrt(drawn.shape[0] * drawn.shape[1] / (width * height))
    if lines and factor > 1.5:
        across, down = -(-drawn.shape[1] // width), -(-drawn.shape[0] // height)
        # The maximum from a pixel on.
        blocks = cv2.dilate(drawn, np.ones((down, across), np.uint8), anchor=(0, 0))
        return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(
        drawn, (width, height), interpolation=cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR
    )
