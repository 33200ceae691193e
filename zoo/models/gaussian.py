"""`gaussian`: cloudy skies as an anisotropic Gaussian, class-conditional means, exact everywhere."""

from __future__ import annotations

import numpy as np

from zoo.models.exact import Array, GaussianMixture

SIZE = 16
# Top and bottom colour of each sky, RGB within [-1, 1].
SKIES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "dawn": ((-0.35, -0.3, 0.3), (0.85, 0.35, 0.2)),
    "noon": ((-0.55, 0.05, 0.75), (0.35, 0.65, 0.9)),
    "dusk": ((-0.3, -0.55, 0.15), (0.8, -0.05, -0.2)),
    "night": ((-0.95, -0.95, -0.7), (-0.75, -0.7, -0.35)),
}


def build(size: int = SIZE) -> GaussianMixture:
    """Skies of `size` × `size` pixels: a vertical gradient a class, and clouds whose variance falls with frequency."""
    basis = _colour_cosine_basis(size)
    ramp = np.linspace(0, 1, size)[None, :, None]
    means = []
    for top, bottom in SKIES.values():
        sky = np.asarray(top)[:, None, None] * (1 - ramp) + np.asarray(bottom)[:, None, None] * ramp
        means.append(basis @ np.broadcast_to(sky, (3, size, size)).ravel())
    frequency = np.hypot(np.arange(size)[:, None] * 1.6, np.arange(size)[None, :])  # clouds are wide
    luminance = 0.8 * size**2 / (1 + frequency**2) ** 1.5 * 0.02
    variances = np.stack([luminance, 0.04 * luminance, 0.04 * luminance]).ravel() + 1e-5
    return GaussianMixture(
        means=np.stack(means),
        variances=np.broadcast_to(variances, (len(SKIES), variances.size)),
        words=tuple(SKIES),
        shape=(3, size, size),
        basis=basis,
        name="gaussian",
        title="Gaussian skies (exact)",
        summary="Cloudy skies from an anisotropic Gaussian: every prediction is closed form, nothing is trained.",
    )


def _colour_cosine_basis(size: int) -> Array:
    """Rows: grey and two opponent colours, times the two-dimensional cosine basis (DCT-II), orthonormal."""
    k, n = np.arange(size)[:, None], np.arange(size)[None, :]
    cosine = np.sqrt(2 / size) * np.cos(np.pi * (n + 0.5) * k / size)
    cosine[0] /= np.sqrt(2)
    colours = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    return np.asarray(np.kron(colours, np.kron(cosine, cosine)), dtype=np.float64)
