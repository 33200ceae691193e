"""`zoo plugins` and `zoo models`: what there is, and how to get more."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zoo.commands.options import plugin_options, registry_of

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
            print("\n".join(f"{'':12} {line}" for line in plugin.error.splitlines()))
    print(INSTALL)
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
