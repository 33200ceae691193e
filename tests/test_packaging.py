"""The wheel: what is in it, and that the built-ins are found wherever the zoo is run from."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import zoo
from zoo.builtins import BUILTINS, MODULES

ROOT = Path(__file__).parents[1]

LIST_BUILT_INS = """
import importlib, json, zoo.builtins
from zoo.registry import Registry
plugins = Registry(safe_mode=True).plugins
print(json.dumps({
    "plugins": {plugin.name: plugin.state for plugin in plugins},
    "errors": [plugin.traceback or plugin.error for plugin in plugins],
    "files": [importlib.import_module(f"zoo.builtins.{name}").__file__ for name in zoo.builtins.BUILTINS],
}))
"""


def run(*arguments: object, cwd: Path, **environment: str) -> str:
    """Standard output of this Python with these arguments, with the checkout off its path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ZOO_", "PYTHONPATH"))}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_of_built_ins(*path: Path, cwd: Path) -> set[Path]:
    """The files that the built-ins are loaded from with this `sys.path`; all of them must load."""
    found = json.loads(run("-c", LIST_BUILT_INS, cwd=cwd, PYTHONPATH=os.pathsep.join(map(str, path))))
    assert found["plugins"] == dict.fromkeys(MODULES, "loaded"), found["errors"]
    return {Path(file) for file in found["files"]}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_zoo_and_nothing_else_at_the_top(wheel):
    top = {name.split("/")[0] for name in names_in(wheel)}
    assert top == {"zoo", f"sampler_zoo-{zoo.__version__}.dist-info"}


def test_the_wheel_has_just_the_listed_built_ins(wheel):
    inside = {name for name in names_in(wheel) if name.startswith("zoo/builtins/")}
    assert inside == {f"zoo/builtins/{name}.py" for name in ("__init__", *BUILTINS)}


def test_the_wheel_has_every_module_and_every_weight(wheel):
    tracked = subprocess.run(["git", "ls-files", "zoo"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert set(tracked.stdout.splitlines()) <= names_in(wheel)


def test_the_wheel_depends_on_what_a_space_installs(metadata):
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    expected = {str(Requirement(line)) for line in lines if line}
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert {str(line) for line in required if "extra ==" not in str(line.marker)} == expected
    assert metadata.get_all("Provides-Extra") == ["mcp"]
    assert "pluggy>=1.7" in expected


def test_the_wheel_has_the_version_of_the_code(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("sampler-zoo", zoo.__version__)


def test_an_installed_wheel_finds_its_built_ins(installed, tmp_path):
    expected = {installed / f"zoo/builtins/{name}.py" for name in BUILTINS}
    assert files_of_built_ins(installed, cwd=tmp_path) == expected


def test_an_installed_wheel_ignores_a_package_called_plugins(installed, tmp_path):
    shutil.copytree(installed, tmp_path / "site")
    (tmp_path / "site/plugins").mkdir()
    (tmp_path / "site/plugins/stranger.py").write_text("")
    program = "import importlib.util; print(importlib.util.find_spec('zoo.builtins.stranger'))"
    assert run("-c", program, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site")).strip() == "None"


def test_a_bare_checkout_finds_its_built_ins(tmp_path):
    assert files_of_built_ins(ROOT, cwd=tmp_path) == {ROOT / f"plugins/{name}.py" for name in BUILTINS}


def test_a_checkout_and_a_wheel_side_by_side_keep_to_their_own(installed, tmp_path):
    assert {file.parent for file in files_of_built_ins(ROOT, installed, cwd=tmp_path)} == {ROOT / "plugins"}
    assert {file.parent for file in files_of_built_ins(installed, ROOT, cwd=ROOT / "tests")} == {
        installed / "zoo/builtins"
    }


def test_an_editable_install_reads_the_checkout(tmp_path):
    program = f"import hatchling.build; print(hatchling.build.build_editable({str(tmp_path)!r}))"
    name = run("-c", program, cwd=ROOT).splitlines()[-1]
    names = names_in(tmp_path / name)
    assert not any(name.startswith(("zoo/", "plugins/")) for name in names)
    assert any(name.endswith(".pth") for name in names)


def test_the_command_is_installed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "sampler-zoo = zoo.cli:main" in archive.read(name).decode()
