"""Models from a hub or a folder, in the layout of diffusers' `save_pretrained`.

An adapter maps what a pipeline saved onto roles. Which one it takes is read off the class in model_index.json (or in
config.json, of a network saved alone). No weight is read before it is asked for, and no code beside a model is run.
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from pathlib import Path

from zoo.models.elsewhere.base import ModelFromElsewhere
from zoo.models.elsewhere.source import Source, open_source
from zoo.models.tinyworld import TextToPixels

ADAPTERS: dict[str, str] = {
    "DDPMPipeline": "zoo.models.elsewhere.pixel:PixelModel",
    "DDIMPipeline": "zoo.models.elsewhere.pixel:PixelModel",
    "UNet2DModel": "zoo.models.elsewhere.pixel:PixelModel",
    "ConsistencyModelPipeline": "zoo.models.elsewhere.consistency:PixelConsistencyModel",
    "StableDiffusionPipeline": "zoo.models.elsewhere.latent:StableDiffusion",
    "StableDiffusionControlNetPipeline": "zoo.models.elsewhere.latent:StableDiffusion",
    "LatentConsistencyModelPipeline": "zoo.models.elsewhere.lcm:LatentConsistencyModel",
    "DiTPipeline": "zoo.models.elsewhere.dit:DiT",
}
"""The class that was saved → what makes a `Model` of its files."""


def open_model(name: str) -> ModelFromElsewhere | TextToPixels:
    """The model that `hub:OWNER/NAME[@REVISION]` or `folder:PATH` stands for; a folder may be one of `zoo train` too.

    Raises:
        OSError: files are missing, pickled or out of reach.
        ValueError: the name is not written like that, or no adapter knows the kind of model.
    """
    kind, _, place = name.partition(":")
    if kind == "folder" and (Path(place) / "denoiser").is_dir():  # as `zoo train denoiser` writes it
        return TextToPixels(place, name=name, title=Path(place).name)
    source = open_source(name)
    saved = saved_class(source)
    if saved not in ADAPTERS:
        near = get_close_matches(saved, ADAPTERS, n=1, cutoff=0.8)
        hint = f" (the nearest to it is {near[0]})" if near else ""
        raise ValueError(f"{name} holds a {saved}; what can be run is {', '.join(ADAPTERS)}{hint}")
    module, _, cls = ADAPTERS[saved].partition(":")
    model: ModelFromElsewhere = getattr(importlib.import_module(module), cls)(source)
    return model


def saved_class(source: Source) -> str:
    """The class that model_index.json or config.json names.

    Raises:
        OSError: there is neither.
    """
    for file in ("model_index.json", "config.json"):
        if file in source.files:
            return str(source.json(file).get("_class_name"))
    checkpoints = [f for f in source.files if f.endswith((".ckpt", ".safetensors", ".bin", ".pt", ".pth"))]
    found = f"; a lone {checkpoints[0]} is not enough" if checkpoints else ""
    raise OSError(
        f"{source.name} is not a model folder: model_index.json is missing, which diffusers' save_pretrained "
        f"writes{found}"
    )
