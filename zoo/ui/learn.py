"""The tab "Learn": one card per method, the forward process on a picture, and the DDPM paper's algorithms in code."""

from __future__ import annotations

import html
import re
from pathlib import Path

import gradio as gr
from gradio.i18n import I18nData

from zoo.lessons.algorithms import ALGORITHMS, SYMBOLS, Algorithm, Step
from zoo.lessons.methods import Lesson, lessons
from zoo.lessons.source import Excerpt
from zoo.registry import Registry
from zoo.ui import forward
from zoo.ui.language import label
from zoo.ui.maths import MATHS
from zoo.ui.running import Runner
from zoo.ui.words import ENGLISH, say, translated

CSS = (Path(__file__).parent / "learn.css").read_text(encoding="utf-8")


def tab(registry: Registry, runner: Runner, concurrency_id: str) -> None:
    """The tab's content; to be created inside a Blocks context."""
    with gr.Tab(label("learn.tab"), id="learn"), gr.Tabs():
        with gr.Tab(label("learn.methods"), id="learn-methods"):
            gr.Markdown(label("learn.methods_intro"), latex_delimiters=MATHS, elem_classes="zoo-intro")
            with gr.Column(elem_classes="zoo-lessons"):
                for lesson in lessons(registry):
                    gr.Markdown(I18nData(_key(lesson)), latex_delimiters=MATHS, elem_classes="zoo-lesson")
        forward.tab(runner, concurrency_id)
        with gr.Tab(label("learn.algorithms"), id="learn-algorithms"):
            gr.Markdown(label("learn.algorithms_intro"), latex_delimiters=MATHS, elem_classes="zoo-intro")
            for algorithm in ALGORITHMS:
                gr.Markdown(
                    I18nData(f"table.{algorithm.name}"),
                    latex_delimiters=MATHS,
                    elem_classes="zoo-algorithm",
                )
            gr.Markdown(I18nData("table.symbols"), latex_delimiters=MATHS, elem_classes="zoo-symbols")


def tables(registry: Registry, language: str) -> dict[str, str]:
    """The lessons, algorithms and symbols as Markdown in a language, under the keys by which the tab names them."""
    made = {_key(lesson): card(lesson, language) for lesson in lessons(registry)}
    made |= {f"table.{algorithm.name}": algorithm_table(algorithm, language) for algorithm in ALGORITHMS}
    return made | {"table.symbols": symbol_table(language)}


def _key(lesson: Lesson) -> str:
    return f"lesson.{lesson.kind}.{lesson.names[0]}"


def card(lesson: Lesson, language: str = ENGLISH) -> str:
    """One method's lesson as Markdown; whatever a plugin wrote is escaped."""

    def words(key: str, **values: object) -> str:
        return say(key, language, **values)

    def own(text: str) -> str:
        return html.escape(translated(text, language))

    name, title = lesson.names[0], translated(lesson.title, language)
    if len(lesson.names) > 1:
        family = name.partition("/")[0]
        name, title = f"{family}/…", words(f"learn.family_{lesson.kind}", name=family, n=len(lesson.names))
    parts = [
        f'<div class="zoo-lesson-head"><h3>{html.escape(title)}</h3><code>{html.escape(name)}</code> '
        f"<small>{words(f'learn.{lesson.kind}')}</small></div>",
        f"<p>{own(lesson.summary)}</p>",
    ]
    if lesson.equation:
        parts.append(f'<div class="zoo-equation">$${html.escape(lesson.equation)}$$</div>')
    facts = [(words("learn.cost"), lesson.cost), (words("learn.when"), lesson.when)]
    rows = "".join(f"<dt>{name}</dt><dd>{own(text)}</dd>" for name, text in facts if text)
    if lesson.paper:
        number = html.escape(lesson.paper, quote=True)
        rows += (
            f'<dt>{words("learn.paper")}</dt><dd><a href="https://arxiv.org/abs/{number}" target="_blank" '
            f'rel="noopener">arXiv:{number}</a></dd>'
        )
    parts.append(f"<dl>{rows}</dl>")
    markdown = "".join(parts)
    if len(lesson.names) > 1:
        listed = " ".join(f"<code>{html.escape(name)}</code>" for name in lesson.names)
        summary = words("learn.all_names", n=len(lesson.names))
        markdown += f'<details><summary>{summary}</summary><p class="zoo-names">{listed}</p></details>'
    return markdown + _source(lesson, language)


def _source(lesson: Lesson, language: str) -> str:
    if lesson.source is None:
        return f"<p><small>{say('learn.no_source', language)}</small></p>"
    where = say("learn.where", language, file=lesson.source.file, line=lesson.source.first)
    # A blank line on either side of the fence makes Markdown of it again within the HTML.
    return (
        f"<details><summary>{say('learn.source', language)} <small>{html.escape(where)}</small></summary>\n\n"
        f"```python\n{lesson.source.text}\n```\n\n</details>"
    )


def algorithm_table(algorithm: Algorithm, language: str = ENGLISH) -> str:
    """An algorithm's lines on one side, the lines of source that do them on the other."""
    rows = "".join(_step(number, step, language) for number, step in enumerate(algorithm.steps, 1))
    paper = f"https://arxiv.org/abs/{algorithm.paper}"
    return (
        f"<h3>{say(f'lessons.{algorithm.name}', language)} "
        f'<small><a href="{paper}" target="_blank" rel="noopener">arXiv:{algorithm.paper}</a></small></h3>'
        f'<ol class="zoo-steps">{rows}</ol>'
    )


def _step(number: int, step: Step, language: str) -> str:
    note = ""
    if step.note:
        note = f'<p class="zoo-note">{html.escape(say(f"lessons.note_{step.note}", language))}</p>'
    lines = "".join(_lines(excerpt, language) for excerpt in step.source())
    return (
        f'<li><div class="zoo-says zoo-depth-{step.depth}"><b>{number}</b> '
        f"<span>{html.escape(step.says)}</span></div>"
        f'<div class="zoo-does">{lines}{note}</div></li>'
    )


def _lines(excerpt: Excerpt, language: str) -> str:
    where = html.escape(say("learn.where", language, file=excerpt.file, line=excerpt.first))
    # No blank line may end the block of HTML before it is closed; excerpts are statements, and have none.
    return f"<pre><code>{html.escape(excerpt.text)}</code><small>{where}</small></pre>"


def symbol_table(language: str = ENGLISH) -> str:
    """Every symbol, what it is called in the code, and a line where it is."""
    rows = "".join(
        f"<tr><td>${html.escape(symbol.latex)}$</td><td><code>{html.escape(symbol.name)}</code></td>"
        f"<td>{_with_code(say(f'lessons.means_{symbol.meaning}', language))}</td>"
        f"<td>{_lines(symbol.source(), language)}</td></tr>"
        for symbol in SYMBOLS
    )
    columns = ("symbol", "in_code", "meaning", "line")
    heads = "".join(f"<th>{say(f'learn.{name}', language)}</th>" for name in columns)
    return (
        f"<h3>{say('learn.symbols', language)}</h3><div class='zoo-scroll'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _with_code(text: str) -> str:
    """A text as HTML, with what it names of the code between ` signs as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))
