"""The tab that shows every plugin and what became of it, and how to install or write one."""

from __future__ import annotations

import html

from zoo.discovery import PluginInfo
from zoo.registry import Registry
from zoo.ui import disclosure
from zoo.ui.words import element, marks, say

COLUMNS = ("plugin", "version", "source", "registers", "state", "import")

EXAMPLE = '''\
# my_plugins/mine.py
from zoo import Field, Query, Sampler, SamplerSpec, hookimpl

ZOO_API = 1  # the plugin interface that this file is written for


class Euler(Sampler):
    """x_s = alpha_s·x_0 + sigma_s·eps"""

    class Params(Sampler.Params):
        steps: int = Field(20, ge=1, le=1000, title="Steps")

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():  # from level t to the next, cleaner level s
            answer = yield Query(x, t)
            x = s.alpha * answer.x0 + s.sigma * answer.eps
        return x


@hookimpl
def register_samplers():
    return [SamplerSpec("euler", Euler, title="Euler, mine")]
'''
"""A whole plugin."""

COMMANDS = {
    "install_package": "pip install NAME",
    "install_folder": "python app.py --plugins-dir my_plugins",
    "install_without": "ZOO_DISABLE=NAME python app.py",
    "write_try": "python app.py --plugins-dir my_plugins",
    "write_check": "python -m zoo check my_plugins/mine.py",
    "write_package": "python -m zoo new my-solver --kind sampler",
}
"""By the words that say what each is for."""


def table(registry: Registry) -> str:
    """The plugins as HTML, those with problems included."""
    heads = "".join(element(say(f"plugins.{name}"), "th") for name in COLUMNS)
    rows = "".join(_row(info) for info in registry.plugins)
    # What scrolls on a phone must be reached by the keys, and so have a name.
    name = say("site.plugins")
    scrolls = (
        f'class="zoo-plugins" role="region" tabindex="0" aria-label="{name}" {marks(name, "aria-label")}'
    )
    return f"<div {scrolls}><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"


def guide() -> str:
    """How to install a plugin, and how to write one, as HTML."""
    install, write, intro, trust = (
        element(say(f"plugins.{name}"), tag)
        for name, tag in (("install", "h3"), ("write", "h3"), ("write_intro", "p"), ("trust", "strong"))
    )
    return (
        f'<div class="zoo-plugin-guide"><section>{install}{_steps("install_")}<p>{trust}</p></section>'
        f"<section>{write}{intro}<pre><code>{html.escape(EXAMPLE)}</code></pre>{_steps('write_')}</section></div>"
    )


def _steps(prefix: str) -> str:
    steps = "".join(
        f"{element(say(f'plugins.{name}'), 'dt')}<dd><code>{html.escape(command)}</code></dd>"
        for name, command in COMMANDS.items()
        if name.startswith(prefix)
    )
    return f"<dl>{steps}</dl>"


def _row(info: PluginInfo) -> str:
    registers = "<br>".join(
        f"{html.escape(kind)}: {', '.join(f'<code>{html.escape(name)}</code>' for name in names)}"
        for kind, names in info.registers.items()
    )
    location = html.escape(disclosure.visible(info.location))
    meaning = say(f"plugins.state_{info.state}")
    title = f'title="{html.escape(meaning, quote=True)}" {marks(meaning, "title")}'
    cells = (
        f"<td><b>{html.escape(info.name)}</b></td>"
        f"<td>{html.escape(info.version) or '–'}</td>"
        f"<td>{info.source}<br><small>{location}</small></td><td>{registers or '–'}</td>"
        f'<td><span class="zoo-plugin-state" data-state="{info.state}" {title}>{info.state}</span></td>'
        f'<td class="zoo-plugin-time">{_time(info)}</td>'
    )
    row = f"<tr>{cells}</tr>"
    if info.error:
        details = ""
        if traceback := disclosure.traceback(info.traceback):
            summary = element(say("plugins.traceback"), "summary")
            details = f"<details>{summary}<pre>{html.escape(traceback)}</pre></details>"
        error = html.escape(disclosure.visible(info.error))
        row += f'<tr class="zoo-plugin-error"><td colspan="{len(COLUMNS)}">{error}{details}</td></tr>'
    return row


def _time(info: PluginInfo) -> str:
    """How long its import took; a dash for one that was not imported."""
    return f"{1000 * info.import_seconds:.1f} ms" if info.import_seconds else "–"
