"""Distances between two samples of vectors, (n, d) and (m, d); everything is computed in float64."""

from __future__ import annotations

import torch


def frechet_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """|m_x − m_y|² + tr(C_x + C_y − 2·(C_x·C_y)^{1/2}), of the samples' means and covariances.

    The squared Wasserstein-2 distance of the two Gaussians (Dowson & Landau 1982). The estimate is biased
    upwards, the more the fewer vectors there are for their dimension.
    """
    x, y = x.double(), y.double()
    c_x, c_y = torch.cov(x.T).view(x.shape[1], -1), torch.cov(y.T).view(x.shape[1], -1)
    return frechet_of_moments(x.mean(0), c_x, y.mean(0), c_y)


def frechet_of_moments(m_x: torch.Tensor, c_x: torch.Tensor, m_y: torch.Tensor, c_y: torch.Tensor) -> float:
    """The same, of means (d,) and covariances (d, d)."""
    values, vectors = torch.linalg.eigh(c_x)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # C_x·C_y has the eigenvalues of the symmetric C_x^{1/2}·C_y·C_x^{1/2}.
    shared = torch.linalg.eigvalsh(root @ c_y @ root).clamp(min=0).sqrt().sum()
    means = (m_x - m_y).square().sum()
    return max(0.0, float(means + c_x.trace() + c_y.trace() - 2 * shared))


def kernel_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy under k(x, y) = (x·y/d + 1)³.

    It can be negative. Bińkowski et al. 2018 (arXiv:1801.01401), who take Inception's features.
    """
    x, y = x.double(), y.double()
    n, m, d = len(x), len(y), x.shape[1]
    k_xx, k_yy, k_xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (k_xx.sum() - k_xx.trace()) / (n * (n - 1)) + (k_yy.sum() - k_yy.trace()) / (m * (m - 1))
    return float(within - 2 * k_xy.mean())


def precision_recall(fake: torch.Tensor, real: torch.Tensor, k: int = 3) -> tuple[int, int]:
    """How many fake vectors lie in the manifold of the real ones, and how many real ones in that of the fake.

    The manifold of a sample is the union of balls around its vectors, each reaching to the vector's k-th nearest
    neighbour in the sample (Kynkäänniemi et al. 2019, arXiv:1904.06991).
    """
    between = _distances(fake, real)
    return (
        int((between <= _radii(real, k)).any(1).sum()),
        int((_radii(fake, k) >= between.T).any(1).sum()),
    )


def energy_distance(x: torch.Tensor, y: torch.Tensor, within: float | None = None) -> float:
    """√(2·E|X − Y| − E|X − X'| − E|Y − Y'|), 0 only for equal distributions (Székely & Rizzo 2013).

    Over all pairs, each vector with itself too, which biases it upwards: two samples of one distribution are
    not at distance 0.

    Args:
        within: the `mean_distance` of y to itself, where it is known already.
    """
    within = mean_distance(y, y) if within is None else within
    square = 2 * mean_distance(x, y) - mean_distance(x, x) - within
    return float(max(0.0, square) ** 0.5)


def mean_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """E|X − Y| over all pairs."""
    return float(torch.cdist(x.double(), y.double()).mean())


def _radii(x: torch.Tensor, k: int) -> torch.Tensor:
    """Distance of each vector to its k-th nearest neighbour in the sample, itself not counted."""
    return _distances(x, x).kthvalue(k + 1, dim=1).values


def _distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # Not by matrix products, whose rounding would put a vector at some distance from itself.
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
