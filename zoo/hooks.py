"""What a plugin offers: its hooks, what they return, and what is wrong with either.

The registry and the conformance kit ask here, so that the kit passes nothing that the registry then refuses.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import pluggy

from zoo import hookspecs
from zoo.discovery import PluginError
from zoo.hookspecs import HOOKS, PROJECT, Spec
from zoo.method import NAME


def plugin_manager() -> pluggy.PluginManager:
    """One that knows the zoo's hooks, and no plugin yet."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def contributions(plugin: object, families: bool = False) -> Iterator[Spec]:
    """All that the hooks of one plugin return, with bare names.

    Args:
        plugin: its module, or any object with hooks.
        families: whether names may be written family/name, as those of built-ins may.

    Raises:
        PluginError: a hook is misspelt, raises, or returns what it should not, or a name twice; or there is none.
    """
    manager = plugin_manager()
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise PluginError(str(error)) from error
    check_hooks(plugin, manager)
    for hook, kind in HOOKS.items():
        names = set()
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            try:
                returned = implementation.function()
            except (Exception, SystemExit) as error:
                raise PluginError(f"{hook} raised {told(error)}") from error
            for spec in checked(returned, hook, kind, families):
                if spec.name in names:
                    raise PluginError(f"{hook} returns {spec.name!r} twice: the second would be left out")
                names.add(spec.name)
                yield spec


def check_hooks(plugin: object, manager: pluggy.PluginManager) -> None:
    """Find the functions that were meant as hooks, and are not.

    Raises:
        PluginError: there are some, or there is no hook at all.
    """
    problems = []
    implemented = 0
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is not None:
            hook = options["specname"] or name
            if hook in HOOKS:
                implemented += 1
            elif not options["optionalhook"]:
                problems.append(_unknown_hook(hook))
        elif name.startswith("register_") and _is_own_function(plugin, name):
            problems.append(f"{name} lacks @hookimpl" if name in HOOKS else _unknown_hook(name))
    if not implemented and not problems:
        problems.append(f"it offers nothing: no function is marked @hookimpl and called {', '.join(HOOKS)}")
    if problems:
        raise PluginError("\n".join(problems))


def check_name(name: str) -> None:
    """Refuse what cannot stand before the slash in the line of a method.

    Raises:
        PluginError: the name cannot be a plugin's.
    """
    if not NAME.fullmatch(name):
        raise PluginError(
            f"{name!r} cannot be a plugin's name: that is letters and digits, with _ . + - after the first"
        )


def checked(returned: object, hook: str, kind: type[Spec], families: bool) -> list[Spec]:
    """What a hook returned, if it is what the hook should return.

    Raises:
        PluginError: it is something else.
    """
    expected = f"{hook} must return a list of {kind.__name__}"
    if not isinstance(returned, list | tuple):
        raise PluginError(f"{expected}, but returned {_described(returned)}")
    for spec in returned:
        if not isinstance(spec, kind):
            raise PluginError(f"{expected}, but one entry is {_described(spec)}")
        if "/" in spec.name and not families:
            raise PluginError(
                f"{spec.kind} {spec.name!r}: give the name without a slash, the host adds the plugin's"
            )
    return list(returned)


def told(error: BaseException) -> str:
    """An error in one line, with the place where it was raised."""
    line = traceback.format_exception_only(type(error), error)[-1].strip()
    if isinstance(error, SyntaxError):  # raised where it is read, not where it is
        return f"{line} ({Path(error.filename or '').name}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{line} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else line


def _unknown_hook(name: str) -> str:
    close = get_close_matches(name, HOOKS, n=1)
    suggestion = f"did you mean {close[0]}?" if close else f"there are {', '.join(HOOKS)}"
    return f"unknown hook {name}; {suggestion}"


def _is_own_function(plugin: object, name: str) -> bool:
    """Not one that the plugin imported, such as a library's `register_something`."""
    function = inspect.getattr_static(plugin, name)
    return inspect.isfunction(function) and function.__module__ == getattr(plugin, "__name__", None)


def _described(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
