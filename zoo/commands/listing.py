"""`zoo plugins` and `zoo models`: what there is."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zoo.commands.options import plugin_options, registry_of


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    plugins = commands.add_parser("plugins", help="list plugins and what became of them")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    plugin_options(plugins)
    plugins.set_defaults(run=_plugins)

    models = commands.add_parser("models", help="list models")
    models.add_argument("--json", action="store_true", help="as JSON")
    plugin_options(models)
    models.set_defaults(run=_models)


def _plugins(arguments: argparse.Namespace) -> int:
    plugins = registry_of(arguments).plugins
    if arguments.json:
        print(json.dumps([plugin.to_dict() for plugin in plugins], indent=2, ensure_ascii=False))
        return 0
    for plugin in plugins:
        names = ", ".join(name for names in plugin.registers.values() for name in names)
        print(f"{plugin.state:12} {plugin.name} {plugin.version}  {names}")
        if plugin.error:
            print(f"{'':12} {plugin.error}")
    return 0


def _models(arguments: argparse.Namespace) -> int:
    models = registry_of(arguments).models
    if arguments.json:
        listed = [{"name": n, "title": spec.title, "summary": spec.summary} for n, spec in models.items()]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
        return 0
    for name, spec in models.items():
        print(f"{name:12} {spec.title}: {spec.summary}")
    return 0
