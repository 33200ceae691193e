"""The feature network names what a picture shows, and takes pictures of any size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.data.tinyworld import COLOURS, KINDS, SCENES, TinyWorld
from zoo.metrics import features
from zoo.metrics.features import HEADS, FeatureNetwork, load_features


def pictures(count: int, size: int = 32) -> tuple[torch.Tensor, list[dict[str, str]]]:
    """Pictures (n, 3, H, W) that training never saw, and the truth about them."""
    images, _, attributes = TinyWorld(seed=77_777, size=size).batch(range(count))
    truth = [{head: getattr(a, head) for head in HEADS} for a in attributes]
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1, truth


def accuracy(said: list[dict[str, str]], truth: list[dict[str, str]], head: str) -> float:
    return sum(s[head] == t[head] for s, t in zip(said, truth, strict=True)) / len(truth)


def test_the_bundled_network_names_what_fresh_pictures_show():
    x, truth = pictures(300)
    said = load_features().classify(x)
    assert {head: accuracy(said, truth, head) for head in HEADS} == pytest.approx(
        dict.fromkeys(HEADS, 1.0), abs=0.03
    )


def test_it_does_not_name_what_it_cannot_see():
    """Without the picture, answers are right no more often than by chance."""
    x, truth = pictures(300)
    said = load_features().classify(x.flip(0))
    assert accuracy(said, truth, "kind") < 0.2


def test_a_picture_has_the_same_features_alone_and_in_a_batch():
    x, _ = pictures(5)
    network = load_features()
    together = network(x).features
    alone = torch.cat([network(one).features for one in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_it_says_the_same(tmp_path):
    torch.manual_seed(0)
    network = FeatureNetwork(channels=(8, 16), colours=("red", "blue"), size=16)
    network.save_pretrained(tmp_path)
    again = FeatureNetwork.from_pretrained(tmp_path)
    x, _ = pictures(3)
    assert all(torch.equal(a, b) for a, b in zip(network(x), again(x), strict=True))
    assert list(again.names("colour")) == ["red", "blue"]
    assert {said["colour"] for said in again.classify(x)} <= {"red", "blue"}


def test_the_bundled_network_is_small_and_knows_its_names():
    network = load_features()
    assert network.num_parameters() <= 1_000_000
    assert [tuple(network.names(head)) for head in HEADS] == [KINDS, COLOURS, SCENES]
    assert network(pictures(1)[0]).features.shape == (1, 128)
    assert not any(p.requires_grad for p in network.parameters())


def test_it_is_loaded_once_per_device():
    assert load_features("cpu") is load_features()


def test_pictures_of_another_size_are_averaged_over_areas():
    x, _ = pictures(4, size=96)
    network = load_features()
    by_area = F.avg_pool2d(x, 3)
    torch.testing.assert_close(network(x).features, network(by_area).features, rtol=1e-4, atol=1e-4)


def test_larger_pictures_are_recognised():
    x, truth = pictures(100, size=64)
    said = load_features().classify(x)
    assert all(accuracy(said, truth, head) > 0.9 for head in HEADS)


def test_no_pictures_have_no_features():
    network = load_features()
    assert network(torch.zeros(0, 3, 32, 32)).features.shape == (0, 128)
    assert network.classify(torch.zeros(0, 3, 32, 32)) == []


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3, 32, 32),
        torch.zeros(2, 32, 32, 3),
        torch.zeros(2, 1, 32, 32),
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    ],
    ids=["no batch", "channels last", "grey", "bytes"],
)
def test_what_is_no_picture_is_refused(x):
    with pytest.raises(ValueError, match=r"\(n, 3, H, W\) in \[-1, 1\]"):
        load_features()(x)


def test_missing_weights_say_how_to_make_them(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "WEIGHTS", tmp_path / "absent")
    features._load.cache_clear()
    with pytest.raises(FileNotFoundError, match="zoo train features"):
        load_features()
