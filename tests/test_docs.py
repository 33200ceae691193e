"""What the docs show works."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_plain_diffusers_loads_and_samples_the_bundled_model(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    source = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "diffusers" in block
    )
    names: dict = {}
    exec(source.replace("set_timesteps(20)", "set_timesteps(2)"), names)
    assert names["x"].shape == (1, 3, 32, 32)
    assert names["x"].abs().max() <= 1
