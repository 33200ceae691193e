"""Comparisons worth seeing, that end within seconds on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.method import Method
from zoo.registry import Registry


@dataclass(frozen=True)
class Preset:
    """A comparison under a name.

    Attributes:
        title: what the button says.
        why: what there is to see, in one sentence.
        lines: the methods; lists and ranges of values are grids.
        seeds: one picture each.
    """

    title: str
    why: str
    lines: tuple[str, ...]
    seeds: str = "0..1"


PRESETS = (
    Preset(
        "4-step shoot-out",
        "Four evaluations each: which solver makes the most of them?",
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
        "What guidance buys",
        "More guidance follows the prompt more closely, and draws more alike; 1 is none.",
        ("ddim steps=15 | cfg scale=1,2,4,8",),
        "0..3",
    ),
    Preset(
        "η sweep",
        "η = 0 solves an ODE, η = 1 is as noisy as DDPM: with few steps, noise costs quality.",
        ("ddim steps=5,10,20 eta=0,0.5,1",),
        "0",
    ),
    Preset(
        "How many steps?",
        "One sampler at 2 to 50 steps: where do the pictures stop changing?",
        ("ddim steps=2,5,10,20,50", "dpmpp_2m steps=2,5,10,20,50"),
        "0",
    ),
    Preset(
        "Distilled vs solver",
        "A student trained for a few steps, against solvers given as many.",
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
        "Consistency vs solver",
        "One or two evaluations of a consistency network, against solvers given as many.",
        ("consistency steps=1,2", "ddim steps=1,2", "ddim steps=50"),
    ),
    Preset(
        "Control everything",
        "Prompt, guidance and a classifier: what each of them adds.",
        (
            "ddim steps=15",
            "ddim steps=15 | cfg scale=3",
            "ddim steps=15 | classifier_guidance scale=3",
            "ddim steps=15 | cfg scale=3 | classifier_guidance scale=3",
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
