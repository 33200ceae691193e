"""The built-ins: all of them are found, without anything heavy."""

import json
import os
import subprocess
import sys
from textwrap import dedent

from tests.registry.specimens import ROOT, plugin
from zoo import builtins as shipped
from zoo.registry import Registry


def test_a_broken_built_in_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr(shipped, "MODULES", {"gone": "zoo.builtins.gone", **shipped.MODULES})
    registry = Registry()
    assert plugin(registry, "gone").state == "failed"
    assert {"ddpm", "ddim"} <= registry.samplers.keys()


def test_the_shipped_built_ins_are_all_loaded():
    registry = Registry(safe_mode=True)
    assert [(info.name, info.state, info.error) for info in registry.plugins] == [
        (name, "loaded", "") for name in shipped.MODULES
    ]
    assert {"ddpm", "ddim", "euler", "heun", "dpmpp_2m", "unipc"} <= registry.samplers.keys()
    assert "cfg" in registry.conditioners
    assert {"tinyworld", "gaussian", "mixture"} <= registry.models.keys()
    assert {"steps", "eta"} <= registry.sampler("ddim").params_model().model_fields.keys()


def test_listing_plugins_imports_nothing_heavy(tmp_path):
    program = dedent(
        """
        import json, sys
        import zoo.registry
        registry = zoo.registry.default_registry()
        assert registry.samplers, registry.plugins
        heavy = {"torch", "torchvision", "diffusers", "transformers", "gradio", "cv2", "controlnet_aux"}
        print(json.dumps(sorted(heavy & set(sys.modules))))
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(printed.stdout) == []
