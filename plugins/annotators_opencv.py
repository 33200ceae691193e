"""Annotators by OpenCV alone: no weights, nothing to fetch.

A map shows what a picture of `resolution` pixels on its shorter side shows, since that is what control networks were
trained on: larger pictures are reduced to it by area, and the map is enlarged to the picture's own size. Smaller
pictures are taken as they are, so that a picture of 32 pixels has lines of one pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import Annotator, AnnotatorSpec, Field, hookimpl

if TYPE_CHECKING:
    import numpy as np

LOOKED_AT = 256
"""Shorter side, in pixels, at which straight lines can be told from staircases."""


class OpenCVAnnotator(Annotator):
    """Draws at a bounded resolution; a subclass defines `draw`."""

    class Params(Annotator.Params):
        resolution: int = Field(
            512,
            ge=32,
            le=4096,
            title="Resolution",
            description="a larger picture is reduced to this shorter side before anything is looked for",
        )

    params: Params

    def draw(self, image: np.ndarray) -> np.ndarray:
        """The map of (H, W, 3) uint8, (H, W) or (H, W, 3) uint8."""
        raise TypeError(f"{type(self).__name__} must define draw(image)")

    def annotate(self, image):
        import cv2
        import numpy as np

        height, width = image.shape[:2]
        factor = min(height, width) / self.params.resolution
        if factor > 1:
            size = max(1, round(width / factor)), max(1, round(height / factor))
            drawn = self.draw(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_NEAREST)
        else:
            drawn = self.draw(np.ascontiguousarray(image))
        return drawn if drawn.ndim == 3 else np.repeat(drawn[:, :, None], 3, axis=2)


class Canny(OpenCVAnnotator):
    """Edges of one pixel, where the gradient is largest across its own direction (Canny 1986).

    A pixel counts if its gradient, |∂x| + |∂y| by Sobel's 3 × 3 filter in the channel where it is largest, is above
    `high`, or above `low` beside one that counts.
    """

    class Params(OpenCVAnnotator.Params):
        low: float = Field(100, ge=0, le=2040, title="Low threshold")
        high: float = Field(200, ge=0, le=2040, title="High threshold")

    params: Params

    def draw(self, image):
        import cv2

        return cv2.Canny(image, self.params.low, self.params.high)


class HoughLines(OpenCVAnnotator):
    """Straight lines among Canny's edges, by the probabilistic Hough transform (Matas, Galambos & Kittler 2000).

    In a picture of few pixels any two of them look like a line, so a small one is looked at enlarged.
    """

    class Params(Canny.Params):
        length: float = Field(
            0.15, gt=0, le=1, title="Least length", description="as a share of the shorter side"
        )
        gap: float = Field(
            0.01, ge=0, le=1, title="Largest gap", description="as a share of the shorter side"
        )

    params: Params

    def draw(self, image):
        import cv2
        import numpy as np

        height, width = image.shape[:2]
        zoom = max(1.0, LOOKED_AT / min(height, width))
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        seen = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) if zoom > 1 else image
        # Enlarged, a step is as high and spread over more pixels, so that its gradient is smaller by that factor.
        edges = cv2.Canny(seen, self.params.low / zoom, self.params.high / zoom)
        length = self.params.length * min(edges.shape)
        lines = cv2.HoughLinesP(
            edges,
            rho=1,
            theta=np.pi / 180,
            threshold=max(1, round(0.8 * length)),
            minLineLength=length,
            maxLineGap=self.params.gap * min(edges.shape),
        )
        drawn = np.zeros((height, width), np.uint8)
        for ends in [] if lines is None else np.floor(lines.reshape(-1, 4) / zoom).astype(int).tolist():
            cv2.line(drawn, ends[:2], ends[2:], 255)
        return drawn


class Scribble(OpenCVAnnotator):
    """Strokes as of a thick pen, white on black: where the picture is darker than its surroundings, or borders on them.

    max over channels of blur(x, spread) − blur(x, spread / 8), above a threshold: a difference of Gaussians.
    """

    class Params(OpenCVAnnotator.Params):
        spread: float = Field(
            0.01, gt=0, le=0.2, title="Width of strokes", description="as a share of the shorter side"
        )
        threshold: int = Field(20, ge=1, le=255, title="Threshold")

    params: Params

    def draw(self, image):
        import cv2
        import numpy as np

        spread = max(1.2, self.params.spread * min(image.shape[:2]))
        picture = image.astype(np.float32)
        wide, narrow = (cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (spread, spread / 8))
        return np.where((wide - narrow).max(axis=2) > self.params.threshold, 255, 0).astype(np.uint8)


class Threshold(OpenCVAnnotator):
    """Black and white: whether a pixel's brightness is above a level."""

    class Params(OpenCVAnnotator.Params):
        level: int = Field(0, ge=0, le=254, title="Level", description="0 lets Otsu's method choose it")
        invert: bool = Field(False, title="Invert", description="dark becomes white")

    params: Params

    def draw(self, image):
        import cv2

        kind = cv2.THRESH_BINARY_INV if self.params.invert else cv2.THRESH_BINARY
        kind |= 0 if self.params.level else cv2.THRESH_OTSU
        return cv2.threshold(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.params.level, 255, kind)[1]


class SoftEdges(OpenCVAnnotator):
    """How much the picture changes from pixel to pixel, in grey: |∇ blur(x)|, the largest over channels.

    Multiplied so that the strongest hundredth is white, but never more than by `gain`, so that a plain picture stays
    dark.
    """

    class Params(OpenCVAnnotator.Params):
        blur: float = Field(1.0, ge=0, le=20, title="Blur", description="standard deviation in pixels")
        gain: float = Field(8.0, ge=1, le=100, title="Largest gain")

    params: Params

    def draw(self, image):
        import cv2
        import numpy as np

        picture = image.astype(np.float32)
        if self.params.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.params.blur)
        across, down = (cv2.Scharr(picture, cv2.CV_32F, *d, scale=1 / 32) for d in ((1, 0), (0, 1)))
        change = np.hypot(across, down).max(axis=2)
        gain = min(self.params.gain, 255 / max(float(np.percentile(change, 99)), 1e-6))
        return (change * gain).clip(0, 255).astype(np.uint8)


class Palette(OpenCVAnnotator):
    """The picture's colours on a coarse grid, each tile their mean."""

    class Params(OpenCVAnnotator.Params):
        tiles: int = Field(8, ge=1, le=256, title="Tiles", description="along the shorter side")

    params: Params

    def draw(self, image):
        import cv2

        height, width = image.shape[:2]
        side = min(height, width) / self.params.tiles
        grid = max(1, round(width / side)), max(1, round(height / side))
        tiles = cv2.resize(image, grid, interpolation=cv2.INTER_AREA)
        return cv2.resize(tiles, (width, height), interpolation=cv2.INTER_NEAREST)


@hookimpl
def register_annotators():
    return [
        AnnotatorSpec("canny", Canny, title="Canny edges", summary="Edges of one pixel, by two thresholds."),
        AnnotatorSpec("hough_lines", HoughLines, title="Hough lines", summary="Straight lines only."),
        AnnotatorSpec("scribble", Scribble, title="Scribble", summary="Strokes as of a thick pen."),
        AnnotatorSpec("threshold", Threshold, title="Threshold", summary="Black and white by brightness."),
        AnnotatorSpec("soft_edges", SoftEdges, title="Soft edges", summary="How much each pixel changes."),
        AnnotatorSpec("palette", Palette, title="Colour palette", summary="Mean colours on a coarse grid."),
    ]
