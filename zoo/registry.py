"""Finds plugins, keeps the broken ones apart, and looks things up by name.

Plugins come from three places, in this order: the built-ins, the entry-point group `sampler_zoo` of installed
packages, and the .py files of one folder. Each is imported, and each of its hooks called, on its own, so that
whatever goes wrong in one of them is reported and stops nothing else. That guards against mistakes, not
against malice: a plugin is code that runs with all of the user's rights.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from zoo.discovery import (
    CrashedPlugin,
    IncompatiblePlugin,
    PluginError,
    PluginInfo,
    built_ins,
    drop_ins,
    entry_points,
)
from zoo.hooks import check_hooks, check_name, checked, plugin_manager
from zoo.hookspecs import (
    HEAVY,
    HOOKS,
    AnnotatorSpec,
    ConditionerSpec,
    MetricSpec,
    ModelSpec,
    SamplerSpec,
    Spec,
)
from zoo.hub import hosted
from zoo.sentinel import crashed, importing

__all__ = ["IncompatiblePlugin", "PluginError", "PluginInfo", "Registry", "UnknownName", "default_registry"]


S = TypeVar("S", bound=Spec)

NOTES = 5
"""Of each plugin, what went wrong while it was in use is told so many times, the latest."""


class UnknownName(LookupError):
    """Nothing of this kind is registered under the name; the message says what is."""


class Registry:
    """All that the plugins found at this moment contribute: name → spec, in the order of registration.

    Built-ins have bare names, or family/name; everything else is called plugin/name. The first to register a name
    keeps it.

    Args:
        plugins_dir: folder of drop-in plugins; by default the one that ZOO_PLUGINS_DIR names, if any.
        safe_mode: load no plugins but the built-ins.
        models: a models.toml; by default the one that ZOO_MODELS names, if any. Its models have bare names.

    Environment variables decide before anything is imported: ZOO_PLUGINS lists the names of the only plugins to
    import besides the built-ins, and ZOO_DISABLE those of plugins not to import, separated by commas. With ZOO_STRICT=1
    the first problem of any plugin is raised, which is for their authors.
    """

    def __init__(
        self,
        plugins_dir: str | Path | None = None,
        *,
        safe_mode: bool = False,
        models: str | Path | None = None,
    ) -> None:
        self.plugins: list[PluginInfo] = []
        self.samplers: dict[str, SamplerSpec] = {}
        self.conditioners: dict[str, ConditionerSpec] = {}
        self.models: dict[str, ModelSpec] = {}
        self.annotators: dict[str, AnnotatorSpec] = {}
        self.metrics: dict[str, MetricSpec] = {}
        self._strict = os.environ.get("ZOO_STRICT", "") not in ("", "0")
        self._disabled, self._allowed = _names("ZOO_DISABLE"), _names("ZOO_PLUGINS")
        self._crashed = set() if safe_mode else crashed()
        self._manager = plugin_manager()
        self._notes: dict[int, tuple[str, deque[str]]] = {}

        for candidate in built_ins():
            self._admit(*candidate)
        file = models or os.environ.get("ZOO_MODELS")
        if file:
            from zoo.catalogue import candidates

            for candidate in candidates(Path(file).expanduser()):
                self._admit(*candidate)
        if safe_mode:
            return
        for candidate in entry_points():
            self._admit(*candidate)
        folder = plugins_dir or os.environ.get("ZOO_PLUGINS_DIR")
        if folder:
            for candidate in drop_ins(Path(folder).expanduser()):
                self._admit(*candidate)
        for variable, names in (("ZOO_DISABLE", self._disabled), ("ZOO_PLUGINS", self._allowed)):
            for name in sorted(names - {info.name for info in self.plugins}):
                warnings.warn(f"{variable} names {name!r}, but no plugin is called that", stacklevel=2)

    def sampler(self, name: str) -> SamplerSpec:
        """The sampler of this full name; raises `UnknownName`."""
        return self._find("sampler", self.samplers, name)

    def conditioner(self, name: str) -> ConditionerSpec:
        """The conditioner of this full name; raises `UnknownName`."""
        return self._find("conditioner", self.conditioners, name)

    def model(self, name: str) -> ModelSpec:
        """The model of this full name; raises `UnknownName`."""
        return self._find("model", self.models, name)

    def annotator(self, name: str) -> AnnotatorSpec:
        """The annotator of this full name; raises `UnknownName`."""
        return self._find("annotator", self.annotators, name)

    def metric(self, name: str) -> MetricSpec:
        """The metric of this full name; raises `UnknownName`."""
        return self._find("metric", self.metrics, name)

    def is_built_in(self, model: str) -> bool:
        """Whether a model comes with the zoo."""
        return any(
            info.source == "built-in" and model in info.registers.get("models", ()) for info in self.plugins
        )

    def note(self, names: Sequence[str], used: str, trouble: str) -> None:
        """Note with the plugins of strangers that these names belong to what went wrong while they were in use.

        Their state stays what it was: the fault may be another's, such as the model's. The latest `NOTES` are kept.

        Args:
            names: of the samplers, conditioners or metrics that were used.
            used: the same with their parameters, which a hosted page leaves out: they are its visitors'.
            trouble: the error.
        """
        line = f"in use: {' | '.join(names) if hosted() else used}: {trouble}"
        for info in self.plugins:
            own = {name for table in info.registers.values() for name in table}
            if info.source != "built-in" and own & set(names):
                before, notes = self._notes.setdefault(id(info), (info.error, deque(maxlen=NOTES)))
                if line not in notes:
                    notes.append(line)
                    info.error = "\n".join(filter(None, (before, *notes)))

    def _find(self, kind: str, table: Mapping[str, S], name: str) -> S:
        if name in table:
            return table[name]
        message = f"there is no {kind} {name!r}."
        namesakes = [full for full in table if full.endswith(f"/{name}")]
        if close := namesakes or get_close_matches(name, table, n=1):
            message += f" Did you mean {close[0]!r}?"
        for info in self.plugins:
            if name.startswith(f"{info.name}/") and info.state != "loaded":
                message += f" Plugin {info.name} is {info.state}: {info.error or 'ZOO_DISABLE names it'}."
        raise UnknownName(f"{message} There are: {', '.join(table) or 'none'}.")

    def _admit(self, info: PluginInfo, load: Callable[[], object]) -> None:
        """Import one plugin and take what its hooks return."""
        self.plugins.append(info)
        if info.name in self._disabled:
            info.state = "disabled"
            return
        if info.source in ("built-in", "models file"):
            self._take(info, load)
        elif self._allowed and info.name not in self._allowed:
            info.state, info.error = "disabled", "ZOO_PLUGINS does not name it"
        else:
            with importing(info.name, info.location):
                self._take(info, load)

    def _take(self, info: PluginInfo, load: Callable[[], object]) -> None:
        plugin: object = None
        with self._guarded(info):
            if (info.name, info.location) in self._crashed:
                raise CrashedPlugin(
                    "the process died when it was last imported (it crashed, or was killed), so it is left out this "
                    f"once and tried again at the next start; ZOO_DISABLE={info.name} leaves it out for good"
                )
            plugin = self._import(info, load)
        if info.state != "loaded":
            return
        with self._guarded(info):
            check_hooks(plugin, self._manager)
        taken: list[str] = []
        for hook, kind in HOOKS.items():
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                if implementation.plugin is plugin:
                    with self._guarded(info):
                        specs = checked(implementation.function(), hook, kind, info.source == "built-in")
                        taken += self._register(info, hook.removeprefix("register_"), specs)
        if taken:
            self._report_collision(info, taken)

    @contextmanager
    def _guarded(self, info: PluginInfo) -> Iterator[None]:
        """Turn whatever a plugin raises into a report.

        BaseException, since a plugin that calls sys.exit() must not end the host either. What it prints goes
        to stderr, so that it can't get into output that a program reads.
        """
        try:
            with redirect_stdout(sys.stderr):
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not self._strict:
                info.report(error)
            elif isinstance(error, PluginError):
                raise type(error)(f"plugin {info.name}: {error}") from None
            else:
                raise

    def _import(self, info: PluginInfo, load: Callable[[], object]) -> object:
        start = time.perf_counter()
        before = set(sys.modules)
        try:
            plugin = load()
        finally:
            info.import_seconds = time.perf_counter() - start
        heavy = [name for name in HEAVY if name in sys.modules and name not in before]
        if heavy:
            info.add_error(
                f"importing it imports {', '.join(heavy)}, which makes every start slow: import that inside the "
                "function that needs it"
            )
        check_name(info.name)
        info.version = info.version or str(getattr(plugin, "__version__", ""))
        if self._manager.is_registered(plugin):
            raise PluginError(f"it is the same object as the plugin {self._manager.get_name(plugin)}")
        self._manager.register(plugin, name=f"{info.name} ({info.source} {info.location})")
        return plugin

    def _register(self, info: PluginInfo, table_name: str, specs: list[Spec]) -> list[str]:
        """Enter specs under their full names; returns a line for each name that is taken."""
        table: dict[str, Spec] = getattr(self, table_name)
        taken = []
        for spec in specs:
            bare = info.source in ("built-in", "models file")
            name = spec.name if bare else f"{info.name}/{spec.name}"
            if name in table:
                owner = next(other for other in self.plugins if name in other.registers.get(table_name, ()))
                taken.append(f"{spec.kind} {name!r}, by {owner.source} {owner.location}")
            else:
                table[name] = replace(spec, name=name)
                info.registers.setdefault(table_name, []).append(name)
        return taken

    def _report_collision(self, info: PluginInfo, taken: list[str]) -> None:
        message = f"registered before, so this one is left out: {'; '.join(taken)}"
        if self._strict:
            raise PluginError(f"plugin {info.name}: {message}")
        info.add_error(message)
        if info.state == "loaded" and not info.registers:
            info.state = "collision"


@functools.cache
def default_registry() -> Registry:
    """The registry of this process, made at first use from the environment."""
    return Registry()


def _names(variable: str) -> set[str]:
    """The names that an environment variable lists."""
    return {name.strip() for name in os.environ.get(variable, "").split(",")} - {""}
