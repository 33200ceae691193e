"""Packages by strangers, as strangers install them: wheels of the zoo, of examples/, and of what `zoo new` writes.

They go into a clean environment that borrows nothing but the installed libraries, torch and the like. Each package's
own tests run there, and a comparison with all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from zoo.commands.new import KINDS, write

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command, away from the checkout and its settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ZOO_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> list[Path]:
    """A package of each kind."""
    folder = tmp_path_factory.mktemp("generated")
    return [write(f"my-{kind}", kind, folder) for kind in KINDS]


@pytest.fixture(scope="module")
def python(tmp_path_factory, generated) -> Path:
    """The Python of an environment with the wheels of the zoo and of all packages in it."""
    folder = tmp_path_factory.mktemp("environment")
    wheels = folder / "wheels"
    for project in (ROOT, *EXAMPLES, *generated):
        run(
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            wheels,
            project,
            cwd=folder,
        )
    venv.create(folder / "clean", with_pip=False)
    places = {"base": str(folder / "clean"), "platbase": str(folder / "clean")}
    scripts, site = (Path(sysconfig.get_path(p, "venv", places)) for p in ("scripts", "purelib"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    found = scripts / ("python.exe" if os.name == "nt" else "python")
    names = [path.name for path in (*EXAMPLES, *generated)]
    # --no-deps for the zoo only: its libraries are the borrowed ones. The packages' own ranges are checked.
    zoo_wheel = next(wheels.glob("sampler_zoo-*.whl"))
    pip = (found, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels)
    run(*pip, "--no-deps", "--force-reinstall", "--target", site, zoo_wheel, cwd=folder)
    run(*pip, "--no-build-isolation", *names, cwd=folder)
    return found


def test_the_clean_environment_has_the_wheels_and_not_the_checkout(python, tmp_path):
    where = run(python, "-c", "import zoo; print(zoo.__file__)", cwd=tmp_path).strip()
    assert ROOT not in Path(where).parents
    assert python.parents[1] in Path(where).parents


def test_every_package_is_loaded(python, tmp_path):
    listed = json.loads(run(python, "-m", "zoo", "plugins", "--json", cwd=tmp_path))
    states = {info["name"]: info["state"] for info in listed if info["source"] == "entry point"}
    ours = {"restart", "interval_guidance", *(f"my_{kind}" for kind in KINDS)}
    assert {name: states.get(name) for name in ours} == dict.fromkeys(ours, "loaded"), listed


def test_the_packages_own_tests_pass(python, generated, tmp_path):
    """In one process, or each would import torch anew."""
    projects = [*EXAMPLES, *generated]
    folders = [path / "tests" for path in projects]
    whole = ("-v", "--rootdir", tmp_path.anchor)  # names of tests come with their folders
    options = (*whole, "-p", "no:cacheprovider", "-o", "pythonpath=")  # what is installed, not src/
    told = run(python, "-m", "pytest", *options, "--import-mode=importlib", *folders, cwd=tmp_path)
    passed = [line for line in told.splitlines() if "PASSED" in line]
    for path in projects:
        assert any(f"/{path.name}/tests/" in line for line in passed), f"{path}:\n{told}"


def test_a_comparison_with_all_of_them(python, tmp_path):
    methods = [
        "restart/restart steps=5 restarts=1",
        "heun steps=9 | interval_guidance/interval scale=2",
        "my_sampler/my_sampler steps=5 | my_conditioner/my_conditioner scale=2",
        "ddim steps=5",
    ]
    lines = [word for method in methods for word in ("--method", method)]
    options = ("--prompt", "level", "--metrics", "my_metric/my_metric", "--seeds", "0..1", "--json")
    printed = run(
        python, "-m", "zoo", "compare", "--model", "my_model/my_model", *options, *lines, cwd=tmp_path
    )
    cells = json.loads(printed)["cells"]
    assert [cell["status"] for cell in cells] == ["done"] * 4, cells
    assert all("value" in cell["metrics"]["my_metric/my_metric"] for cell in cells)


def test_zoo_check_finds_an_installed_package(python, tmp_path):
    printed = run(python, "-m", "zoo", "check", "restart", "--method", "restart restarts=0", cwd=tmp_path)
    assert "all is well" in printed
    assert "sampler restart restarts=0: " in printed
