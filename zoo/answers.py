"""What goes into a network for a query, and what its output means to who asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from zoo.cell import weighted
from zoo.model import Classifier, ControlNetwork, Model, Network
from zoo.prediction import Endpoint, Prediction, to_eps, to_x0
from zoo.sampler import PROMPT, ClassQuery, Query
from zoo.schedule import Level

LOG_SNR_SLACK = 0.01
"""How far off the level may be that a network is asked about: half a percent of sigma/alpha. A table of ᾱ kept in fp32
is up to 5e-4 off the same one in float64 (the cosine schedule's); beyond a chain's ends one is soon further off."""


def as_the_network_sees(
    model: Model, network: Network | Classifier | ControlNetwork, query: Query | ClassQuery
) -> tuple[torch.Tensor, Level]:
    """The query's state and level in the scaling and time of the network's own schedule."""
    level = network_level(model, network, query.level)
    if level.alpha == query.level.alpha:
        return query.x, level
    return query.x * (level.alpha / query.level.alpha), level


def network_level(model: Model, network: Network | Classifier | ControlNetwork, level: Level) -> Level:
    """The same log-SNR in the scaling and time of the network's own schedule.

    Raises:
        ValueError: the level is one that the network cannot be asked about: it is clean, or beyond its schedule's ends.
    """
    if level.t is None:
        raise ValueError("the clean level has no noise: there is nothing to ask a network there")
    if network.schedule is model.schedule:
        return level
    own = network.schedule.level_at(level.log_snr)
    if not abs(own.log_snr - level.log_snr) <= LOG_SNR_SLACK:
        low, high = network.schedule.sigma_range
        raise ValueError(
            f"the network's own schedule has sigma/alpha within {low:.3g} … {high:.3g}, so it cannot be asked about "
            f"{level.sigma / level.alpha:.3g}: take levels within that range, such as by a sampler's sigma_max"
        )
    return own


def refuse_guided_endpoint(model: Model, query: Query) -> None:
    """Raises ValueError where a consistency network is asked for what only a mean of x0 can give."""
    single = [weight for weight in query.terms.values() if weight != 0] == [1.0]
    if model.is_consistency(query.role) and (not single or isinstance(query.guidance, torch.Tensor)):
        raise ValueError(
            f"{query.role} says where the ODE ends, not the mean of x0, and cannot be guided: ask it about one "
            "condition, with weight 1 and no guidance"
        )


def reply(
    model: Model,
    network: Network,
    query: Query,
    outputs: Sequence[torch.Tensor],
    shares: Sequence[torch.Tensor] = (),
) -> Prediction | Endpoint:
    """Guide, project, derive eps again, in this order; a consistency network's answer is projected only.

    Args:
        outputs: the network's raw ones, (n, *shape) each, for the conditions of the query that have weight.
        shares: what it says of its variance for each, if it has learned that.
    """
    names = weighted(query)
    weights = [query.terms[name] for name in names]
    output = outputs[0] if weights == [1.0] else _weighted(outputs, weights)
    x, level = as_the_network_sees(model, network, query)
    x0 = to_x0(network.prediction, output, x, level)
    if model.is_consistency(query.role):
        return Endpoint(query.x, query.level, model.project(x0, query.threshold))
    # The prompt's own variance, which guidance leaves alone.
    share = shares[names.index(PROMPT) if PROMPT in names else 0] if shares else None
    unguided = _projected(model, query, x0, share)
    if not isinstance(query.guidance, torch.Tensor):
        return unguided
    shift = query.level.sigma**2 / query.level.alpha
    guided = _projected(model, query, x0 + shift * query.guidance, share)
    return replace(guided, guidance=query.guidance, unguided=unguided)


def class_gradient(
    network: Classifier, x: torch.Tensor, t: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """∇_x log p(target | x) of every row, (rows, *shape): the gradient of the sum over the rows.

    Args:
        network: its logits go through the softmax in the precision of x.
        x: states, (rows, *shape).
        t: the network's name for the level of each row, (rows,).
        targets: index into `network.classes` for each row, (rows,).

    Raises:
        ValueError: the logits are not of shape (rows, K).

    References:
        Dhariwal & Nichol 2021, arXiv:2105.05233.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = network(x, t)
        expected = (len(x), len(network.classes))
        if logits.shape != expected:
            raise ValueError(f"the classifier answered {tuple(logits.shape)}, expected logits {expected}")
        log_p = logits.to(x.dtype).log_softmax(1)
        return torch.autograd.grad(log_p.gather(1, targets[:, None]).sum(), x)[0]


def _projected(model: Model, query: Query, x0: torch.Tensor, share: torch.Tensor | None) -> Prediction:
    x0 = model.project(x0, query.threshold)
    eps = to_eps(x0, query.x, query.level)
    return Prediction(query.x, query.level, x0, eps, variance_share=share)


def _weighted(outputs: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    total = outputs[0] * weights[0]
    for output, weight in zip(outputs[1:], weights[1:], strict=True):
        total = total + output * weight
    return total
