"""`zoo plugins`, `zoo models`, `zoo methods` and `zoo metrics`: what there is, and how to get more."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.commands.options import plugin_options, registry_of

if TYPE_CHECKING:
    from zoo.hookspecs import Spec
    from zoo.ui.explain import Explained

INSTALL = """
Install a package of plugins with `pip install NAME` into the environment that the zoo runs in, or put a .py file into
a folder and name that with --plugins-dir DIR or ZOO_PLUGINS_DIR. `python -m zoo check NAME` tells whether a plugin is
right, and `python -m zoo new NAME` writes one to start from. ZOO_PLUGINS=NAME,… imports only these beside the
built-ins, ZOO_DISABLE=NAME,… leaves some out, --safe-mode imports the built-ins only. A plugin is code that runs with
your rights: install what you trust."""


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    plugins = commands.add_parser(
        "plugins", help="list plugins, what became of them, and how to install more"
    )
    plugins.add_argument("--json", action="store_true", help="as JSON")
    plugin_options(plugins)
    plugins.set_defaults(run=_plugins)

    models = commands.add_parser("models", help="list models")
    models.set_defaults(run=_models)

    methods = commands.add_parser(
        "methods",
        help="list samplers and conditioners, or explain a method",
        description="List samplers and conditioners; or say what a method does, with its parameters.",
    )
    methods.add_argument(
        "method", nargs="?", metavar="LINE", help='what to explain: a name, or "ddim steps=20 | cfg scale=3"'
    )
    methods.set_defaults(run=_methods)

    metrics = commands.add_parser("metrics", help="list metrics")
    metrics.set_defaults(run=_metrics)

    for command in (models, methods, metrics):
        command.add_argument("--json", action="store_true", help="as JSON")
        plugin_options(command)


def _plugins(arguments: argparse.Namespace) -> int:
    plugins = registry_of(arguments).plugins
    if arguments.json:
        print(json.dumps([plugin.to_dict() for plugin in plugins], indent=2, ensure_ascii=False))
        return 0
    for plugin in plugins:
        names = ", ".join(name for names in plugin.registers.values() for name in names)
        print(f"{plugin.state:12} {plugin.name} {plugin.version}  {names}")
        if plugin.error:
            print("\n".join(f"{'':12} {line}" for line in plugin.error.splitlines()))
    print(INSTALL)
    return 0


def _models(arguments: argparse.Namespace) -> int:
    _list(arguments.json, {"models": registry_of(arguments).models})
    return 0


def _methods(arguments: argparse.Namespace) -> int:
    registry = registry_of(arguments)
    if arguments.method is None:
        _list(arguments.json, {"samplers": registry.samplers, "conditioners": registry.conditioners})
        return 0

    from zoo.ui.explain import explanation

    found = explanation(arguments.method, registry)
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(_explained(part) for part in found["parts"]))
    return 0


def _metrics(arguments: argparse.Namespace) -> int:
    _list(arguments.json, {"metrics": registry_of(arguments).metrics})
    return 0


def _list(as_json: bool, tables: Mapping[str, Mapping[str, Spec]]) -> None:
    """Names with titles and summaries, as text their first sentence alone; several kinds under their headings."""
    if as_json:
        listed = {
            kind: [{"name": n, "title": spec.title, "summary": spec.summary} for n, spec in table.items()]
            for kind, table in tables.items()
        }
        only = next(iter(listed.values())) if len(listed) == 1 else listed
        print(json.dumps(only, indent=2, ensure_ascii=False))
        return
    width = max(12, *(len(name) for table in tables.values() for name in table))
    for number, (kind, table) in enumerate(tables.items()):
        if len(tables) > 1:
            print(f"{'' if number == 0 else chr(10)}{kind}")
        for name, spec in table.items():
            first = re.split(r"(?<=[.!?])\s+(?=[A-Z])", spec.summary)[0]
            print(f"{name:{width}} {spec.title}{': ' if first else ''}{first}")


def _explained(part: Explained) -> str:
    """A sampler or conditioner as text: what it does, costs and is for, and its parameters."""
    lines = [f"{part['name']}: {part['title']}", part["summary"], part["problem"]]
    lines += [f"{label:9} {text}" for label in ("equation", "cost", "when", "paper") if (text := part[label])]
    if part["source"]:
        lines.append(f"{'source':9} {part['source']['file']}:{part['source']['line']}")
    rows = [
        (f"{p['name']}={p['default']}", _allowed(p), p["title"] + (f": {p['help']}" if p["help"] else ""))
        for p in part["parameters"]
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines += [f"  {name:{widths[0]}}  {allowed:{widths[1]}}  {title}" for name, allowed, title in rows]
    return "\n".join(line for line in lines if line)


def _allowed(parameter: Mapping[str, Any]) -> str:
    if "choices" in parameter:
        return ", ".join(parameter["choices"])
    low, high = parameter.get("min"), parameter.get("max")
    if low is None or high is None:
        return "" if low is None and high is None else f"≥ {low:g}" if high is None else f"≤ {high:g}"
    return f"{low:g} to {high:g}"
