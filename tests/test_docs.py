"""What the docs show works."""

import re
import shlex
from pathlib import Path

from zoo.cli import _parser
from zoo.method import Method
from zoo.planning import resolve
from zoo.registry import Registry

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


def test_what_is_shown_of_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    compares, streams = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compares, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(" done {'denoiser': " in line for line in lines)
    assert {"grid.png", "results.json", "comparison.json"} <= {
        file.name for file in (tmp_path / "out").iterdir()
    }
    exec(streams, {})
    assert "done ddim steps=20 20 of 20" in capsys.readouterr().out


def test_the_list_of_models_that_is_shown_is_right(tmp_path):
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "models.toml").write_text(source, encoding="utf-8")
    registry = Registry(safe_mode=True, models=tmp_path / "models.toml")
    assert registry.model("cifar").title == "DDPM, CIFAR-10"


def test_every_checkpoint_to_try_has_a_command_that_can_be_parsed():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    commands = re.findall(r"\| `(--model hub:.*)` \|$", text, re.MULTILINE)
    assert len(commands) >= 7
    registry = Registry(safe_mode=True)
    for command in commands:
        words = ["compare", *shlex.split(command.replace("\\|", "|"))]
        for line in _parser(words).parse_args(words).method:
            resolve(Method.parse(line), registry)
