"""What the zoo is told. Importing this loads nothing heavy: the implementation is imported at first use."""

from __future__ import annotations

from zoo import SamplerSpec, hookimpl


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "restart",
            "sampler_zoo_restart.restart:Restart",
            title="Restart (Heun)",
            summary="Solves the ODE, and between two levels goes back up with fresh noise, several times.",
            paper="2306.14878",
        )
    ]
