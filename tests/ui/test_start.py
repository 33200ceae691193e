"""What a visitor need not wait for."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.ui.browser import ROOT

FACTS = """
import json, sys
sys.modules.update(diffusers=None, transformers=None, torchvision=None)  # importing them fails
from zoo.registry import Registry
from zoo.ui.calls import facts
registry = Registry(safe_mode=True)
assert all(registry.is_built_in(name) for name in registry.models)
print(json.dumps({name: facts(name, registry) for name in registry.models}))
"""


def test_examples_and_presets_of_the_built_in_models_need_no_library_of_networks():
    done = subprocess.run([sys.executable, "-c", FACTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) >= {"tinyworld", "gaussian", "mixture"}
    for facts in told.values():
        assert facts["examples"] and facts["presets"] and not facts["problem"]
