"""Plugins to be found: source code, and what pip leaves behind of a package."""

from pathlib import Path
from textwrap import dedent

from zoo.registry import PluginInfo, Registry

ROOT = Path(__file__).parents[2]

HEADER = """
from zoo.hookspecs import ConditionerSpec, ModelSpec, SamplerSpec, hookimpl
ZOO_API = 1
"""
GOOD = (
    HEADER
    + """
class Euler: ...

@hookimpl
def register_samplers():
    return [SamplerSpec("euler", Euler, title="Euler")]
"""
)


def write(folder: Path, name: str, source: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(dedent(source), encoding="utf-8")
    return path


def install(site: Path, project: str, entry_points: str, requires: str = "", **modules: str) -> None:
    """What pip leaves behind of a package: its modules, and a .dist-info folder."""
    info = site / f"{project.replace('-', '_')}-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 2.5\n{requires}\n")
    (info / "entry_points.txt").write_text(dedent(entry_points))
    for name, source in modules.items():
        write(site, name, source)


def plugin(registry: Registry, name: str) -> PluginInfo:
    (found,) = [info for info in registry.plugins if info.name == name]
    return found


def drop_in(folder: Path, source: str) -> tuple[Registry, PluginInfo]:
    """The registry with this one drop-in, and a well-behaved one that must survive it."""
    write(folder, "specimen", source)
    write(folder, "zz_bystander", GOOD)
    registry = Registry(folder)
    assert plugin(registry, "zz_bystander").state == "loaded"
    assert "zz_bystander/euler" in registry.samplers
    return registry, plugin(registry, "specimen")
