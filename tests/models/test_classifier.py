"""The bundled classifier of noisy pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.data.tinyworld import KINDS, draw_attributes, render
from zoo.models.classifier import FAINT, FolderClassifier
from zoo.models.tinyworld import WEIGHTS
from zoo.schedule import DiscreteSchedule

SCHEDULE = DiscreteSchedule.cosine()


@pytest.fixture(scope="module")
def classifier() -> FolderClassifier:
    folder = WEIGHTS / "tinyworld" / "classifier"
    return FolderClassifier(folder, SCHEDULE, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(5)
    asked = [draw_attributes(rng) for _ in range(32)]
    images = np.stack([render(a, rng).image for a in asked])
    x0 = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x0, torch.tensor([KINDS.index(a.kind) for a in asked])


def noisy(x0: torch.Tensor, t: float) -> torch.Tensor:
    level = SCHEDULE.level(t)
    return level.alpha * x0 + level.sigma * torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))


def test_the_kind_is_found_through_noise(classifier, pictures):
    x0, kinds = pictures
    logits = classifier(noisy(x0, 400), torch.full((32,), 400.0))
    assert (logits.argmax(1) == kinds).float().mean() > 0.9


def test_guidance_moves_the_clean_picture_no_further_from_pure_noise_than_from_a_faint_picture(
    classifier, pictures
):
    x0, kinds = pictures

    def moved(t: float) -> float:
        level = SCHEDULE.level(t)
        x = noisy(x0, t).requires_grad_()
        likely = classifier(x, torch.full((32,), t)).log_softmax(1).gather(1, kinds.view(-1, 1)).sum()
        (gradient,) = torch.autograd.grad(likely, x)
        return float(level.sigma**2 / level.alpha * gradient.square().mean().sqrt())

    assert moved(999.0) < 2 * moved(900.0)


def test_only_faint_pictures_count_less(classifier, pictures):
    x = pictures[0][:2]
    t = torch.tensor([900.0, 995.0])
    assert SCHEDULE.level(995).alpha < FAINT < SCHEDULE.level(900).alpha
    plain = classifier.module(x, t)
    damped = classifier(x, t)
    torch.testing.assert_close(damped[0], plain[0])
    torch.testing.assert_close(damped[1], plain[1] * SCHEDULE.level(995).alpha / FAINT)
