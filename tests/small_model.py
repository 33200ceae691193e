"""A model folder whose networks are so small, and so random, that tests of what they are used for cost nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from zoo.data.tinyworld import KINDS
from zoo.models.classifier import NoisyClassifier
from zoo.models.control import build_controlnet
from zoo.models.tinyworld import CONTROL_CARD, STUDENT_CARD, WEIGHTS
from zoo.schedule import DiscreteSchedule

SIZE = 8


def save_small_model(folder: Path) -> Path:
    """Pictures of 8 × 8: a denoiser, a classifier, a student of two steps, and ControlNets.

    control/fresh is untrained; control/canny and control/pose don't read the prompt, control/reading does, and has
    no card, as if it came from elsewhere. The text parts and the schedule are the bundled model's.
    """
    for part in ("text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(WEIGHTS / "tinyworld" / part, folder / part)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIZE,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        in_channels=3,
        out_channels=3,
        cross_attention_dim=128,
        attention_head_dim=2,
        norm_num_groups=4,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    unet.save_pretrained(folder / "denoiser")
    student = folder / "distilled" / "2"
    unet.save_pretrained(student)
    timesteps = [level.t for level, _ in DiscreteSchedule.cosine().levels(2).pairs()]
    card = {"steps": 2, "prediction": "v", "timesteps": timesteps}
    (student / STUDENT_CARD).write_text(json.dumps(card))
    NoisyClassifier(KINDS, [8, 16], 1, 2).save_pretrained(folder / "classifier")
    for name, annotator in (
        ("fresh", ""),
        ("canny", "canny low=100 high=200"),
        ("pose", ""),
        ("reading", None),
    ):
        network = build_controlnet(unet)
        if name != "fresh":
            _wake(network)
        network.save_pretrained(folder / "control" / name)
        if annotator is not None:
            said = {"annotator": annotator, "reads_prompt": False}
            (folder / "control" / name / CONTROL_CARD).write_text(json.dumps(said))
    return folder


def _wake(network: ControlNetModel) -> None:
    """Numbers in place of the zeros that a ControlNet begins with."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
