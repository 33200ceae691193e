"""Metrics by CLIP and Inception: as the libraries compute them, and nothing is fetched."""

from __future__ import annotations

import hashlib
import importlib.machinery
import sys
import types
from dataclasses import replace

import pytest
import torch

from tests.metrics.cells import finished, real_pictures
from zoo import Absent
from zoo.metrics import pretrained
from zoo.metrics.pretrained import FID, INCEPTION, CLIPScore
from zoo.planning import load_model
from zoo.registry import default_registry


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A random CLIP of a few thousand parameters, in a folder."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    from zoo.data.tinyworld import VOCABULARY
    from zoo.models.text import build_tokenizer

    tokenizer = build_tokenizer(VOCABULARY)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 2},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    folder = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def test_clip_score_is_the_cosine_that_clip_itself_computes(tiny_clip):
    from transformers import CLIPModel, CLIPProcessor

    from zoo.store import to_pil

    images, prompt = real_pictures("", 40)[:34], "a red cat at night"
    metric = CLIPScore(CLIPScore.Params(model=str(tiny_clip)))
    with torch.no_grad():
        score = metric.score(finished(images=images, prompt=prompt))
        clip, processor = CLIPModel.from_pretrained(tiny_clip), CLIPProcessor.from_pretrained(tiny_clip)
        inputs = processor(text=[prompt], images=[to_pil(image) for image in images], return_tensors="pt")
        output = clip(**inputs)
        cosines = output.logits_per_image / clip.logit_scale.exp()
    assert score.value == pytest.approx(100 * float(cosines.clamp(min=0).mean()), rel=1e-4, abs=1e-4)
    assert score.n == 34


def test_weights_that_are_not_here_are_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(Absent, match="hf download nobody/no-such-clip"):
        CLIPScore(CLIPScore.Params(model="nobody/no-such-clip")).score(
            finished(images=torch.zeros(1, 3, 8, 8), prompt="x")
        )
    many = finished("gaussian", images=torch.zeros(2049, 3, 16, 16))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Absent, match="pip install torchmetrics torch-fidelity"):
        FID().score(many)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: importlib.machinery.ModuleSpec(name, None))
    with pytest.raises(Absent, match="91 MB: download https"):
        FID().score(many)


def test_fid_hands_real_and_drawn_pictures_to_torchmetrics(tmp_path, monkeypatch):
    """Against a stand-in with torchmetrics' interface, whose distance is that of the mean pixels."""

    class FrechetInceptionDistance(torch.nn.Module):
        def __init__(self, feature, normalize):
            super().__init__()
            assert (feature, normalize) == (2048, True)
            self.seen = {True: [], False: []}

        def update(self, pictures, real):
            assert pictures.min() >= 0 and pictures.max() <= 1
            self.seen[real].append(pictures)

        def compute(self):
            real, fake = (torch.cat(self.seen[key]) for key in (True, False))
            assert len(real) == len(fake) == 2049
            return (real.mean() - fake.mean()).square()

    for name in ("torch_fidelity", "torchmetrics", "torchmetrics.image", "torchmetrics.image.fid"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    module.FrechetInceptionDistance = FrechetInceptionDistance
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = tmp_path / "hub" / "checkpoints" / INCEPTION.rpartition("/")[2]
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"Inception")
    digest = hashlib.sha256(b"Inception").hexdigest()
    model = load_model("gaussian", default_registry())
    drawn = finished(model, images=torch.full((2049, 3, 16, 16), -1.0), prompt="dusk")
    with pytest.raises(Absent, match=r"it was published: its SHA-256 is not 6726825d"):
        FID().score(drawn)
    monkeypatch.setattr(pretrained, "WEIGHTS", replace(pretrained.WEIGHTS, sha256=digest[:8]))
    score = FID().score(drawn)
    mean = float((model.pictures(model.draw(2049, 0, 2)).mean() + 1) / 2)
    assert score.value == pytest.approx(mean**2, rel=0.02)
    assert score.better == "lower"
