"""Comparisons worth seeing, that end within seconds on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.method import Method
from zoo.registry import Registry


@dataclass(frozen=True)
class Preset:
    """A comparison under a name.

    Attributes:
        name: under which `zoo/ui/words` has what the button says, and what there is to see (`…_why`).
        lines: the methods; lists and ranges of values are grids, and the picture `example` is drawn for the prompt.
        seeds: one picture each.
        metrics: what scores the cells, beside what is ticked already.
    """

    name: str
    lines: tuple[str, ...]
    seeds: str = "0..1"
    metrics: tuple[str, ...] = ()


PRESETS = (
    Preset(
        "shootout",
        (
            "ddim steps=4",
            "dpmpp_2m steps=4",
            "unipc steps=4",
            "euler steps=4",
            "heun steps=2",
            "ddpm steps=4",
        ),
    ),
    Preset(
        "guidance",
        ("ddim steps=15 | cfg scale=1,2,4,8",),
        "0..3",
        ("diversity", "prompt_accuracy"),
    ),
    Preset(
        "eta",
        ("ddim steps=5,10,20 eta=0,0.5,1",),
        "0",
    ),
    Preset(
        "steps",
        ("ddim steps=2,5,10,20,50", "dpmpp_2m steps=2,5,10,20,50"),
        "0",
    ),
    Preset(
        "distilled",
        (
            "progressive_distillation steps=4",
            "ddim steps=4",
            "dpmpp_2m steps=4",
            "progressive_distillation steps=1",
            "ddim steps=1",
            "ddim steps=50",
        ),
    ),
    Preset(
        "consistency",
        ("consistency steps=1,2", "ddim steps=1,2", "ddim steps=50"),
    ),
    Preset(
        "control",
        (
            "ddim steps=15",
            "ddim steps=15 | cfg scale=3",
            "ddim steps=15 | classifier_guidance scale=3",
            "ddim steps=15 | controlnet annotator=canny image=example",
            "ddim steps=15 | controlnet annotator=canny image=example | cfg scale=3",
        ),
    ),
)


def known(registry: Registry) -> list[Preset]:
    """Those whose methods are all registered; whether a model can run them is asked later."""

    def named(line: str) -> bool:
        method = Method.parse(line)
        return method.sampler.name in registry.samplers and all(
            part.name in registry.conditioners for part in method.conditioners
        )

    return [preset for preset in PRESETS if all(map(named, preset.lines))]
