"""What a network is asked on behalf of a query: in its own scaling and time, and only where it can be asked."""

from __future__ import annotations

import pytest
import torch

from tests.helpers import finish, leaning_mixture, make_cell, sample
from zoo.models import gaussian
from zoo.models.exact import GaussianMixture
from zoo.sampler import Query, Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule


class Elsewhere(GaussianMixture):
    """A mixture whose network lives on another schedule than the model itself."""

    def __init__(self, model: GaussianMixture, network_schedule) -> None:
        self.__dict__.update(model.__dict__)
        self.inner = leaning_mixture(network_schedule, model.kind)
        self.asked: list[float] = []

    def network(self, role, device, dtype):
        network = self.inner.network(role, device, dtype)

        def recording(x, t, conditions):
            self.asked += t.tolist()
            return network(x, t, conditions)

        recording.schedule, recording.prediction = network.schedule, network.prediction
        return recording


@pytest.mark.parametrize("kind", ["x0", "v", "eps"])
@pytest.mark.parametrize(
    ("schedule", "network_schedule"),
    [
        (DiscreteSchedule.linear(), KarrasSchedule()),
        (KarrasSchedule(0.02, 100.0), DiscreteSchedule.linear()),
        (DiscreteSchedule.linear(400), DiscreteSchedule.linear()),
    ],
    ids=["VP on VE", "VE on VP", "VP on VP"],
)
def test_a_query_is_rescaled_for_the_networks_own_schedule(schedule, network_schedule, kind):
    own = leaning_mixture(schedule, kind)
    other = Elsewhere(own, network_schedule)
    for line in ("ddim steps=6", "ddpm steps=6 | cfg scale=2"):
        expected = sample(own, line, (0, 1), prompt="sun")
        found = sample(other, line, (0, 1), prompt="sun")
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    first = schedule.levels(6)[0]
    log_snrs = [network_schedule.level(t).log_snr for t in other.asked]
    assert min(log_snrs) == pytest.approx(first.log_snr, abs=1e-6)


def test_a_level_beyond_the_networks_own_schedule_is_refused_and_not_taken_for_its_nearest():
    model = Elsewhere(leaning_mixture(DiscreteSchedule.cosine()), DiscreteSchedule.linear())
    (cell,) = finish(make_cell(model, "ddim steps=4"))
    assert cell.status == "failed"
    assert "within 0.01 … 157, so it cannot be asked about 2.03e+04" in cell.error
    assert model.asked == []
    (within,) = finish(make_cell(model, "euler steps=4 sigma_min=0.02"))
    assert within.status == "done", within.error


def test_the_same_chain_kept_in_single_precision_is_no_other():
    betas = torch.linspace(1e-4, 0.02, 1000)
    rounded = DiscreteSchedule((1 - betas).cumprod(0).double().numpy())
    own = leaning_mixture(DiscreteSchedule.linear())
    (cell,) = finish(make_cell(Elsewhere(own, rounded), "ddim steps=1000"))
    assert cell.status == "done", cell.error


def test_a_clean_level_cannot_be_asked_about():
    class Late(Sampler):
        def sample(self, x, levels, noise):
            return (yield Query(x, levels[-1])).x0

    (cell,) = finish(make_cell(gaussian.build(size=4), Late()))
    assert (cell.status, "there is nothing to ask a network there" in cell.error) == ("failed", True)
