"""The models that come with the zoo."""

from zoo import ModelSpec, hookimpl


@hookimpl
def register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            "tinyworld",
            "zoo.models.tinyworld:build",
            title="Tiny World",
            summary="4 M parameters, 32 × 32 pixels: ten kinds of thing, six colours, five scenes.",
        ),
        ModelSpec(
            "gaussian",
            "zoo.models.gaussian:build",
            title="Gaussian skies (exact)",
            summary="Cloudy skies from an anisotropic Gaussian: every prediction is closed form.",
        ),
        ModelSpec(
            "mixture",
            "zoo.models.mixture:build",
            title="2-D Gaussian mixture (exact)",
            summary="Eight modes in the plane, each picture a point over the exact density.",
        ),
    ]
