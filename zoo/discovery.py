"""Where plugins come from: the built-ins, installed packages, and the .py files of a folder.

Finding is cheap and runs no plugin's code. Each candidate is a `PluginInfo` and a function that imports it,
which the registry calls when it is ready for what may come of it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import zoo
from zoo import builtins as shipped
from zoo.hookspecs import API_VERSION, PROJECT

Source = Literal["built-in", "entry point", "drop-in", "models file"]
State = Literal["loaded", "disabled", "incompatible", "failed", "collision"]


DISTRIBUTION = "sampler-zoo"
"""What plugins' packages name in their dependencies."""


PINNED_BY_NOBODY = ("torch", "torchvision", "diffusers", "transformers", "gradio", "numpy", "pydantic")
"""Libraries that all share, so that a plugin that wants one exact version takes it from the others."""


class PluginError(Exception):
    """A plugin breaks a rule of the host; the message says which, and what to do."""


class CrashedPlugin(PluginError):
    """A plugin took a process down when it was last imported, and is left out this once."""


class IncompatiblePlugin(PluginError):
    """A plugin was not written for this version of the plugin interface."""


@dataclass
class PluginInfo:
    """What became of one plugin.

    `failed` means that something in it went wrong, and `error` says what; whatever `registers` lists
    nevertheless can be used. `collision` means that all it offers had been registered by others before.
    """

    name: str
    source: Source
    location: str
    version: str = ""
    state: State = "loaded"
    registers: dict[str, list[str]] = field(default_factory=dict)
    import_seconds: float = 0.0
    error: str = ""
    traceback: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain, JSON-ready data."""
        return asdict(self)

    def report(self, error: BaseException) -> None:
        """Note that something went wrong, beside whatever did before."""
        if isinstance(error, PluginError):
            self.add_error(str(error))
        else:
            # Not str(error), which is the plugin's code again and may raise.
            self.add_error(traceback.format_exception_only(type(error), error)[-1].strip())
            self.traceback += "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.state = "incompatible" if isinstance(error, IncompatiblePlugin) else "failed"

    def add_error(self, text: str) -> None:
        """Say something about the plugin that leaves its state as it is."""
        self.error = f"{self.error}\n{text}" if self.error else text


Candidate = tuple[PluginInfo, Callable[[], object]]


def built_ins() -> Iterator[Candidate]:
    """The plugins that are shipped."""
    for name, module in shipped.MODULES.items():
        info = PluginInfo(name, "built-in", module, zoo.__version__)
        yield info, functools.partial(importlib.import_module, module)


def entry_points() -> list[Candidate]:
    """The plugins of installed packages, sorted by name so that every machine sees the same order.

    Distributions are read one by one, since a single damaged file makes `importlib.metadata.entry_points()`
    fail for all.
    """
    found: dict[tuple[str, str], Candidate] = {}
    for distribution in importlib.metadata.distributions():
        project, version = "?", ""
        try:
            if PROJECT not in (distribution.read_text("entry_points.txt") or ""):
                continue
            project, version = distribution.metadata["Name"] or "?", distribution.version
            for entry in distribution.entry_points:
                if entry.group == PROJECT:
                    info = PluginInfo(entry.name, "entry point", f"{project}: {entry.value}", version)
                    load = functools.partial(_load, info, entry, distribution.requires or [])
                    # The same project again, further down sys.path, is hidden by the first.
                    found.setdefault((entry.name, project), (info, load))
        except Exception as error:
            info = PluginInfo(project, "entry point", f"the metadata of {project}", version)
            found.setdefault(("", project), (info, functools.partial(_fail, error)))
    return [found[key] for key in sorted(found)]


def drop_ins(folder: Path) -> Iterator[Candidate]:
    """The .py files of a folder, but for those whose names begin with _ or a dot."""
    if not folder.is_dir():
        error = PluginError(f"{folder} is not a folder; ZOO_PLUGINS_DIR or --plugins-dir names it")
        yield PluginInfo("plugins-dir", "drop-in", str(folder)), functools.partial(_fail, error)
        return
    for path in sorted(folder.glob("[!_.]*.py")):
        yield drop_in(path)


def drop_in(path: Path) -> Candidate:
    """One .py file as a plugin."""
    return PluginInfo(path.stem, "drop-in", str(path)), functools.partial(_execute, path)


def _load(info: PluginInfo, entry: importlib.metadata.EntryPoint, requires: list[str]) -> object:
    """Import an entry point, unless its package says that it is for other versions of the zoo."""
    for line in requires:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name in PINNED_BY_NOBODY and any(s.operator in ("==", "===") for s in requirement.specifier):
            info.add_error(
                f"its package pins {requirement}: installing it may have replaced what the zoo and other plugins "
                "run on; a lower bound does"
            )
        if name == DISTRIBUTION and not requirement.specifier.contains(zoo.__version__, prereleases=True):
            raise IncompatiblePlugin(
                f"it needs {DISTRIBUTION} {requirement.specifier}, and this is {zoo.__version__}: look for another "
                f"version of it (pip install --upgrade), or install a {DISTRIBUTION} in that range"
            )
    return entry.load()


def _execute(path: Path) -> ModuleType:
    """Import a drop-in, compiled from what its file holds now and never from a cached .pyc."""
    tree = ast.parse(path.read_bytes(), str(path))
    _check_api(tree)
    name = "zoo_dropin_" + path.stem.replace(".", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "every .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    # Before it runs: dataclasses, pickle and pydantic look a class's module up there.
    sys.modules[name] = module
    try:
        # S102: a plugin is code that its owner chose to run, here as by any import.
        exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_api(tree: ast.Module) -> None:
    """Read ZOO_API off the source, so that a drop-in for another interface is not run at all."""
    declared = None
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets: list[ast.expr] = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == "ZOO_API" for target in targets):
            declared = statement.value
    line = f"`ZOO_API = {API_VERSION}`"
    if declared is None:
        raise IncompatiblePlugin(f"it does not say which plugin interface it is for: add the line {line}")
    if not isinstance(declared, ast.Constant) or type(declared.value) is not int:
        raise IncompatiblePlugin(
            f"ZOO_API must be a plain integer, as in {line}, not {ast.unparse(declared)}"
        )
    if declared.value != API_VERSION:
        raise IncompatiblePlugin(
            f"it is for plugin interface {declared.value}, and this zoo has {API_VERSION}: "
            f"adapt it and write {line}, or use a zoo that has {declared.value}"
        )


def _fail(error: Exception) -> NoReturn:
    raise error
