"""`mixture`: eight leaning Gaussians in the plane, drawn as points over the exact density."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from zoo.models.exact import GaussianMixture
from zoo.schedule import Level

WORDS = ("east", "northeast", "north", "northwest", "west", "southwest", "south", "southeast")
SPAN = 2.2
"""The plots show the square of ± this."""


class PlaneMixture(GaussianMixture):
    """A mixture in the plane; its pictures are plots, the image's own point large, its companions small."""

    plot_size = 96

    def pictures(self, x: torch.Tensor) -> torch.Tensor:
        """Plots (n, 3, S, S) within [-1, 1]: paper where there is no density, ink where there is much."""
        import cv2

        scale = self.plot_size / (2 * SPAN)
        plots = []
        points = x.detach().double().cpu().numpy()
        pixels = np.stack([(points[:, 0] + SPAN) * scale, (SPAN - points[:, 1]) * scale], axis=1)
        pixels = np.clip(np.nan_to_num(pixels, nan=-9), -9, self.plot_size + 9)
        for i in range(len(points)):
            plot = self._backdrop.copy()
            for j, (px, py) in enumerate(pixels):
                if j != i:
                    cv2.circle(plot, (round(px * 8), round(py * 8)), 10, (110, 110, 120), -1, cv2.LINE_AA, 3)
            px, py = pixels[i]
            cv2.circle(plot, (round(px * 8), round(py * 8)), 26, (206, 52, 72), -1, cv2.LINE_AA, 3)
            plots.append(plot)
        stacked = torch.from_numpy(np.stack(plots)).permute(0, 3, 1, 2).float()
        return stacked / 127.5 - 1

    @cached_property
    def _backdrop(self) -> npt.NDArray[np.uint8]:
        centres = (np.arange(self.plot_size) + 0.5) / self.plot_size * 2 * SPAN - SPAN
        grid = np.stack(np.meshgrid(centres, -centres), axis=-1).reshape(-1, 2)
        clean = Level(1.0, 1e-3, None)
        density = self.log_density(torch.from_numpy(grid), clean).exp().numpy()
        ink = np.sqrt(density / density.max()).reshape(self.plot_size, self.plot_size, 1)
        paper, dark = np.array([250, 249, 245]), np.array([88, 120, 176])
        return np.ascontiguousarray((paper + (dark - paper) * ink).round().astype(np.uint8))


def build() -> PlaneMixture:
    """Eight modes on a ring, each leaning; class names are points of the compass."""
    angles = np.arange(8) * np.pi / 4
    lean = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    centres = 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return PlaneMixture(
        means=centres @ lean.T,
        variances=np.broadcast_to([0.22**2, 0.09**2], (8, 2)),
        words=WORDS,
        basis=lean,
        name="mixture",
        title="2-D Gaussian mixture (exact)",
        summary="Eight modes in the plane, each picture a point: where samplers go wrong can be seen and measured.",
    )
