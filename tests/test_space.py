"""What a Space reads before the code is there. scripts/space.py builds one."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from zoo.catalogue import Entry

ROOT = Path(__file__).resolve().parent.parent
FRONT = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
REQUIREMENTS = [
    line.partition("#")[0].strip()
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_front_matter_is_what_the_hub_reads():
    assert (FRONT["sdk"], FRONT["app_file"]) == ("gradio", "app.py")
    assert {FRONT["colorFrom"], FRONT["colorTo"]} <= COLOURS
    assert len(FRONT["short_description"]) <= 60
    assert FRONT["suggested_hardware"] == "cpu-basic"
    assert isinstance(FRONT["python_version"], str), "3.10 without quotes is the number 3.1"
    supported = re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert SpecifierSet(supported).contains(FRONT["python_version"])


def test_the_space_gets_the_gradio_that_is_pinned():
    assert f"gradio=={FRONT['sdk_version']}" in REQUIREMENTS


def test_requirements_can_be_installed_before_the_code_is_there():
    """No path, no option, no URL, and not what a Space brings itself."""
    found = [Requirement(line) for line in REQUIREMENTS if line]
    assert all(requirement.url is None for requirement in found)
    assert "spaces" not in {requirement.name for requirement in found}


def test_packages_txt_holds_names_and_nothing_else():
    for line in (ROOT / "packages.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", line), "apt would take every word for a package"


def test_no_file_is_too_large_for_the_hub_or_for_pypi():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < 10e6, max(sizes, key=sizes.get)
    assert sum(size for name, size in sizes.items() if name.startswith("zoo/weights/")) < 90e6


def test_the_models_are_the_owner_s_to_choose():
    assert not (ROOT / "models.toml").exists(), (
        "the page would offer what nobody here has accepted the licence of"
    )
    assert {"source", "revision", "licence"} <= set(Entry.model_fields)


def test_every_version_of_python_must_be_there(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("space", ROOT / "scripts" / "space.py")
    space = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(space)
    tried = []
    monkeypatch.setattr(space, "python", lambda version: None if version == "3.12" else sys.executable)
    monkeypatch.setattr(space, "try_space", lambda path, version, folder: tried.append(version))
    monkeypatch.setattr(space.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["space.py"])
    assert space.main() == 1
    assert "Python 3.12 is not on this machine" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["space.py", "--python", "3.11"])
    assert space.main() == 0
    assert tried == ["3.11"]
