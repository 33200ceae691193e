"""Closed-form models against torch's distributions, numerical differentiation and numerical integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from tests.helpers import CPU, leaning_mixture
from zoo.models import gaussian, mixture
from zoo.models.exact import GaussianMixture
from zoo.schedule import Level

LEVELS = {"VP": Level(0.8, 0.6, 1), "VP noisy": Level(0.1, math.sqrt(0.99), 2), "VE": Level(1.0, 2.0, 3)}
every_level = pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)


@pytest.fixture
def model():
    return leaning_mixture()


@pytest.fixture
def x():
    return 1.5 * torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def moments(model: GaussianMixture) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shares (K,), means (K, d) and covariances (K, d, d) of the classes in data space."""
    basis = model.basis
    covariances = basis.T @ torch.diag_embed(model.variances) @ basis
    return model.log_weights.exp(), model.means @ basis, covariances


def marginal(model: GaussianMixture, level: Level) -> MixtureSameFamily:
    weights, means, covariances = moments(model)
    noisy = level.alpha**2 * covariances + level.sigma**2 * torch.eye(means.shape[1]).double()
    return MixtureSameFamily(Categorical(weights), MultivariateNormal(level.alpha * means, noisy))


@every_level
def test_density_is_that_of_the_noisy_mixture(model, x, level):
    torch.testing.assert_close(model.log_density(x, level), marginal(model, level).log_prob(x))


@every_level
def test_class_posterior_is_bayes_rule(model, x, level):
    joint = marginal(model, level)
    each = joint.component_distribution.log_prob(x[:, None]).exp() * joint.mixture_distribution.probs
    posterior = model.log_posterior(x, level).exp()
    torch.testing.assert_close(posterior, each / each.sum(1, keepdim=True))
    torch.testing.assert_close(posterior.sum(1), torch.ones(len(x)).double())


@every_level
def test_noise_prediction_is_the_gradient_of_the_log_density(model, x, level):
    h = 1e-5
    gradient = torch.stack(
        [
            (model.log_density(x + h * e, level) - model.log_density(x - h * e, level)) / (2 * h)
            for e in torch.eye(2).double()
        ],
        dim=1,
    )
    torch.testing.assert_close(-model.eps(x, level) / level.sigma, gradient, rtol=1e-6, atol=1e-7)


@every_level
def test_x0_is_tweedies_posterior_mean(model, x, level):
    density = marginal(model, level)
    x.requires_grad_()
    (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    expected = (x.detach() + level.sigma**2 * score) / level.alpha
    torch.testing.assert_close(model.x0(x.detach(), level, None), expected)


@every_level
@pytest.mark.parametrize("k", [0, 2])
def test_x0_of_a_class_is_that_of_a_conditional_gaussian(model, x, level, k):
    _, means, covariances = moments(model)
    noisy = level.alpha**2 * covariances[k] + level.sigma**2 * torch.eye(2).double()
    gain = level.alpha * covariances[k] @ torch.linalg.inv(noisy)
    expected = means[k] + (x - level.alpha * means[k]) @ gain.T
    torch.testing.assert_close(model.x0(x, level, k), expected)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (Level(math.cos(1.5), math.sin(1.5), 1), Level(math.cos(0.1), math.sin(0.1), 0)),
        (Level(1.0, 40.0, 1), Level(1.0, 0.05, 0)),
        (Level(1.0, 5.0, 1), Level(math.cos(0.3), math.sin(0.3), 0)),
    ],
    ids=["VP", "VE", "VE to VP"],
)
def test_solve_is_the_probability_flow_ode(model, x, start, end):
    """Fourth-order Runge–Kutta on dz/dρ = eps in z = x/alpha, ρ = sigma/alpha, in steps of log ρ."""

    def slope(z, log_rho):
        rho = math.exp(log_rho)
        return rho * model.eps(z, Level(1.0, rho, None), condition=1)

    z = x / start.alpha
    grid = np.linspace(math.log(start.sigma / start.alpha), math.log(end.sigma / end.alpha), 401)
    h = grid[1] - grid[0]
    for s in grid[:-1]:
        k1 = slope(z, s)
        k2 = slope(z + h / 2 * k1, s + h / 2)
        k3 = slope(z + h / 2 * k2, s + h / 2)
        k4 = slope(z + h * k3, s + h)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    torch.testing.assert_close(model.solve(x, start, end, 1), z * end.alpha, rtol=1e-7, atol=1e-7)


def test_draws_have_the_mixtures_moments(model):
    n = 20_000
    weights, means, covariances = moments(model)
    drawn = model.draw(n, seed=1)
    mean = weights @ means
    spread = covariances + (means - mean)[:, :, None] * (means - mean)[:, None, :]
    covariance = (weights[:, None, None] * spread).sum(0)
    products = (drawn - mean)[:, :, None] * (drawn - mean)[:, None, :]
    assert ((drawn.mean(0) - mean).abs() < 5 * drawn.std(0) / n**0.5).all()
    assert ((products.mean(0) - covariance).abs() < 5 * products.std(0) / n**0.5).all()


def test_draws_of_a_class_have_its_moments(model):
    n = 20_000
    _, means, covariances = moments(model)
    drawn = model.draw(n, seed=2, condition=1)
    products = (drawn - means[1])[:, :, None] * (drawn - means[1])[:, None, :]
    assert ((drawn.mean(0) - means[1]).abs() < 5 * drawn.std(0) / n**0.5).all()
    assert ((products.mean(0) - covariances[1]).abs() < 5 * products.std(0) / n**0.5).all()
    assert torch.equal(drawn, model.draw(n, seed=2, condition=1))
    assert not torch.equal(drawn, model.draw(n, seed=3, condition=1))


@pytest.mark.parametrize("kind", ["x0", "eps", "v", "score"])
@every_level
def test_the_network_answers_in_its_own_prediction(kind, level, x):
    class OneLevel:
        def level(self, t):
            return level

    model = leaning_mixture(schedule=OneLevel(), prediction=kind)
    network = model.network("denoiser", CPU, torch.float32)
    assert network.prediction == model.prediction_kind("denoiser") == kind
    output = network(x, torch.full((6,), 3.0), [0, 0, None, 1, None, 0])
    for row, condition in enumerate([0, 0, None, 1, None, 0]):
        x0, eps = (f(x[row : row + 1], level, condition) for f in (model.x0, model.eps))
        expected = {
            "x0": x0,
            "eps": eps,
            "v": level.alpha * eps - level.sigma * x0,
            "score": -eps / level.sigma,
        }[kind]
        torch.testing.assert_close(output[row : row + 1], expected)


def test_gaussian_basis_is_orthonormal():
    model = gaussian.build(size=4)
    torch.testing.assert_close(model.basis @ model.basis.T, torch.eye(48).double(), rtol=0, atol=1e-12)


def test_gaussian_skies_fade_from_top_to_bottom_in_their_colours():
    model = gaussian.build(size=4)
    for k, (top, bottom) in enumerate(gaussian.SKIES.values()):
        sky = (model.means[k] @ model.basis).view(3, 4, 4)
        torch.testing.assert_close(sky[:, 0], torch.tensor(top).double()[:, None].expand(3, 4))
        torch.testing.assert_close(sky[:, -1], torch.tensor(bottom).double()[:, None].expand(3, 4))


def test_prompts_name_a_class():
    model = gaussian.build(size=4)
    assert model.condition("", CPU) is None
    assert model.condition("a DUSK over the sea", CPU) == 2
    assert model.notices("dusk") == []
    assert model.notices("stormy dusk") == ["gaussian ignores stormy; it knows dawn, noon, dusk, night"]
    assert model.notices("dusk dawn") == ["gaussian takes one class, dusk was used"]


def test_mixture_pictures_show_each_point_where_it_is():
    model = mixture.build()
    points = torch.tensor([[1.5, 0.0], [0.0, 1.5]], dtype=torch.float64)
    pictures = model.pictures(points)
    assert pictures.shape == (2, 3, 96, 96)
    assert pictures.abs().max() <= 1
    scale = 96 / (2 * mixture.SPAN)
    for picture, (px, py) in zip(pictures, points.tolist(), strict=True):
        row, column = int((mixture.SPAN - py) * scale), int((px + mixture.SPAN) * scale)
        red, green, blue = (picture[:, row, column] + 1) * 127.5
        assert (round(float(red)), round(float(green)), round(float(blue))) == (206, 52, 72)


def test_a_network_of_another_role_is_refused():
    with pytest.raises(LookupError, match="gaussian has no network 'oracle', only denoiser, classifier"):
        gaussian.build(size=4).network("oracle", CPU, torch.float32)


@pytest.mark.parametrize("variances", [[[0.1, 0.0]], [[0.1]], [[0.1, 0.2], [0.1, 0.2]]])
def test_impossible_variances_are_refused(variances):
    with pytest.raises(ValueError, match="need as many positive variances"):
        GaussianMixture(means=[[0.0, 1.0]], variances=variances, words=("one",))
