"""The built-ins pass the kit that strangers' plugins are held to."""

from __future__ import annotations

import importlib

from zoo.builtins import MODULES
from zoo.hookspecs import HOOKS
from zoo.testing import CHECKS, checks_of, parametrize_with_checks

SETTINGS = {
    "ddim": [{"eta": 1.0}],
    "ddpm": [{"variance": "large"}],
    "euler": [{"churn": 10.0}],
    "heun": [{"churn": 10.0}],
    "unipc": [{"order": p, "variant": v} for p in (1, 2, 3) for v in ("bh1", "bh2")],
    "cfg": [{"scale": 1.0}, {"scale": 0.0}],
}
PLUGINS = [importlib.import_module(module) for name, module in MODULES.items() if "diffusers" not in name]


@parametrize_with_checks(PLUGINS, SETTINGS)
def test_built_ins(check):
    check()


def bridged(*names: str) -> list:
    """Some of diffusers' schedulers: one first-order, one multistep, one ancestral."""
    plugin = importlib.import_module(MODULES["diffusers_schedulers"])
    return [spec for spec in plugin.register_samplers() if spec.name.partition("/")[2] in names]


@parametrize_with_checks(
    bridged("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler")
)
def test_schedulers_of_diffusers(check):
    check()


def test_every_kind_of_contribution_has_checks():
    assert set(CHECKS) == {spec.kind for spec in HOOKS.values()}
    assert len(checks_of(PLUGINS)) > 100
