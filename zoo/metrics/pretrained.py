"""FID and CLIP score, through the libraries and the weights that everyone uses, if they are on this machine.

Nothing is downloaded here: what is missing is named, with how to get it.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from zoo.hub import UrlFile
from zoo.metric import Absent, Finished, Metric, Score
from zoo.metrics.intervals import mean_interval
from zoo.store import to_pil

INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
"""The weights that torch-fidelity, and so torchmetrics, reads; they come from TensorFlow's Inception of 2015."""

WEIGHTS = UrlFile(INCEPTION.rpartition("/")[0], INCEPTION.rpartition("/")[2], "91 MB", sha256="6726825d")
"""The same as a file on this machine; torch-fidelity opens it as a pickle, so it must be the one that was published."""

SEED = 20_001


class FID(Metric):
    """Fréchet inception distance to as many real pictures of the prompt, by torchmetrics.

    It needs more pictures than Inception's features have dimensions, 2,048, or their covariance is singular; papers
    take 50,000, and values of fewer are larger. Inception was trained on photographs: of small drawings it says
    little, so figures compare with each other only.

    References:
        Heusel et al. 2017, arXiv:1706.08500.
    """

    def score(self, cell: Finished) -> Score:
        cell.must_have(2049)
        for package, module in (("torchmetrics", "torchmetrics"), ("torch-fidelity", "torch_fidelity")):
            if importlib.util.find_spec(module) is None:
                raise Absent(f"needs {package}: pip install torchmetrics torch-fidelity")
        if WEIGHTS.cached() is None:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise Absent(f"needs Inception's weights, 91 MB: download {INCEPTION} to {folder}")
        try:
            WEIGHTS.get()
        except ValueError as error:
            raise Absent(str(error)) from None
        try:
            real = cell.model.pictures(cell.model.data(cell.prompt, len(cell.images), SEED))
        except LookupError as error:
            raise Absent(str(error)) from None
        return Score(_fid(cell.images, real, cell.device), len(cell.images), better="lower")


class CLIPScore(Metric):
    """100 · max(0, cos) of CLIP's embeddings of picture and prompt, the mean over pictures, by transformers.

    References:
        Hessel et al. 2021, arXiv:2104.08718, whose factor is 2.5 in place of 100.
    """

    class Params(Metric.Params):
        model: str = Field("openai/clip-vit-base-patch16", title="CLIP model")

    params: Params

    def score(self, cell: Finished) -> Score:
        if not cell.prompt.strip():
            raise Absent("there is no prompt to compare the pictures with")
        processor, clip = _clip(self.params.model, str(cell.device))
        similarities = []
        for batch in torch.split(cell.images, 32):
            inputs = processor(
                text=[cell.prompt],
                images=[to_pil(image) for image in batch],
                return_tensors="pt",
                padding=True,
                truncation=True,
            )
            output = clip(**inputs.to(clip.device))
            similarities.append(torch.cosine_similarity(output.image_embeds, output.text_embeds).cpu())
        mean, low, high = mean_interval(100 * torch.cat(similarities).double().clamp(min=0))
        return Score(mean, len(cell.images), low, high, better="higher")


def _fid(fake: torch.Tensor, real: torch.Tensor, device: torch.device) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric: Any = FrechetInceptionDistance(feature=2048, normalize=True)
    device = torch.device("cpu") if device.type == "mps" else device  # its sums are float64, which MPS lacks
    metric = metric.to(device)
    for pictures, is_real in ((real, True), (fake, False)):
        for batch in torch.split(pictures, 64):
            metric.update((batch.to(device) + 1) / 2, real=is_real)
    return float(metric.compute())


@lru_cache(maxsize=1)
def _clip(name: str, device: str) -> tuple[Any, Any]:
    """Processor and model, from a folder or the local cache.

    Raises:
        Absent: they are in neither.
    """
    from transformers import CLIPModel, CLIPProcessor

    try:
        processor = CLIPProcessor.from_pretrained(name, local_files_only=True)
        clip = CLIPModel.from_pretrained(name, local_files_only=True, use_safetensors=True)
    except OSError:
        raise Absent(
            f"needs {name} as safetensors, which is not on this machine: `hf download {name}` puts it into the cache "
            "if it is published so (openai/clip-vit-large-patch14 is); or name a folder, clip_score model=FOLDER"
        ) from None
    return processor, clip.to(device).eval()
