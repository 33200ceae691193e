"""The tab that shows every plugin and what became of it."""

from __future__ import annotations

import html

from zoo.discovery import PluginInfo
from zoo.registry import Registry
from zoo.ui import disclosure
from zoo.ui.words import element, say


def table(registry: Registry) -> str:
    """The plugins as HTML, those with problems included."""
    rows = "".join(_row(info) for info in registry.plugins)
    columns = ("plugin", "state", "version", "source", "registers")
    heads = "".join(element(say(f"plugins.{name}"), "th") for name in columns)
    return (
        f'<div class="zoo-plugins"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(info: PluginInfo) -> str:
    registers = "<br>".join(
        f"{html.escape(kind)}: {', '.join(f'<code>{html.escape(name)}</code>' for name in names)}"
        for kind, names in info.registers.items()
    )
    location = html.escape(disclosure.visible(info.location))
    cells = (
        f"<td><b>{html.escape(info.name)}</b></td>"
        f'<td><span class="zoo-plugin-state" data-state="{info.state}">{info.state}</span></td>'
        f"<td>{html.escape(info.version)}</td>"
        f"<td>{info.source}<br><small>{location}</small></td><td>{registers or '–'}</td>"
    )
    row = f"<tr>{cells}</tr>"
    if info.error:
        details = ""
        if traceback := disclosure.traceback(info.traceback):
            summary = element(say("plugins.traceback"), "summary")
            details = f"<details>{summary}<pre>{html.escape(traceback)}</pre></details>"
        error = html.escape(disclosure.visible(info.error))
        row += f'<tr class="zoo-plugin-error"><td colspan="5">{error}{details}</td></tr>'
    return row
