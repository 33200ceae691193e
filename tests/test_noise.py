"""Noise belongs to (seed, draw) and to nothing else."""

from __future__ import annotations

import numpy as np
import torch

from zoo.noise import MAX_SEED, KeyedNoise, fingerprint, start_noise, unit_noise


def test_noise_is_keyed_by_seed_and_draw():
    arrays = [unit_noise(seed, draw, (4,)) for seed in (0, 1, 2, MAX_SEED) for draw in (0, 1, 2)]
    assert len({array.tobytes() for array in arrays}) == len(arrays)
    np.testing.assert_array_equal(unit_noise(3, 7, (2, 5)), unit_noise(3, 7, (2, 5)))


def test_an_image_has_the_same_noise_in_any_batch():
    like = torch.empty(0, dtype=torch.float64)
    together, alone = KeyedNoise((5, 3, 9), (2, 4), like), KeyedNoise((3,), (2, 4), like)
    np.testing.assert_array_equal(start_noise((5, 3, 9), (2, 4))[1], start_noise((3,), (2, 4))[0])
    for _ in range(3):
        assert torch.equal(together()[1], alone()[0])


def test_the_first_draw_of_a_cell_is_not_its_start_noise():
    draws = KeyedNoise((3,), (8,), torch.empty(0, dtype=torch.float64))
    start = torch.from_numpy(start_noise((3,), (8,)))
    first, second = draws(), draws()
    assert not torch.equal(first, start)
    assert not torch.equal(first, second)
    assert torch.equal(first[0], torch.from_numpy(unit_noise(3, 1, (8,))))


def test_noise_is_like_the_state():
    noise = KeyedNoise((0, 1), (3, 2), torch.empty(0, dtype=torch.float32))()
    assert (noise.dtype, noise.shape) == (torch.float32, (2, 3, 2))


def test_noise_is_standard_normal_and_seeds_are_independent():
    n, d = 4000, 16
    noise = start_noise(range(n), (d,))
    flat = noise.ravel()
    sigma = 1 / np.sqrt(n * d)  # standard errors of the first four moments: 1, √2, √15, √96
    moments = [np.mean(flat**k) for k in (1, 2, 3, 4)]
    for found, expected, spread in zip(moments, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        assert abs(found - expected) < 5 * np.sqrt(spread) * sigma
    neighbours = np.mean(noise[:-1] * noise[1:])
    draws = np.mean(noise * np.stack([unit_noise(seed, 1, (d,)) for seed in range(n)]))
    assert abs(neighbours) < 5 * sigma
    assert abs(draws) < 5 * sigma


def test_fingerprints_tell_noise_apart_and_survive_rounding():
    noise = start_noise((0, 1), (3, 3))
    assert (
        fingerprint(noise) == fingerprint(noise.copy()) == fingerprint(noise.astype(np.float32).astype(float))
    )
    assert fingerprint(noise) != fingerprint(start_noise((0, 2), (3, 3)))
    assert fingerprint(noise) != fingerprint(start_noise((1, 0), (3, 3)))
