"""The tab "Learn": one card per method, the forward process on a picture, and the DDPM paper's algorithms in code."""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr

from zoo.lessons.algorithms import ALGORITHMS, SYMBOLS, Algorithm, Step
from zoo.lessons.methods import Lesson, lessons
from zoo.lessons.source import Excerpt
from zoo.registry import Registry
from zoo.ui import forward
from zoo.ui.maths import MATHS
from zoo.ui.running import Runner
from zoo.ui.words import LEARN

CSS = (Path(__file__).parent / "learn.css").read_text(encoding="utf-8")


def tab(registry: Registry, runner: Runner, concurrency_id: str) -> None:
    """The tab's content; to be created inside a Blocks context."""
    with gr.Tab(LEARN["tab"], id="learn"), gr.Tabs():
        with gr.Tab(LEARN["methods"], id="learn-methods"):
            gr.Markdown(LEARN["methods_intro"], latex_delimiters=MATHS, elem_classes="zoo-intro")
            with gr.Column(elem_classes="zoo-lessons"):
                for lesson in lessons(registry):
                    gr.Markdown(card(lesson), latex_delimiters=MATHS, elem_classes="zoo-lesson")
        forward.tab(runner, concurrency_id)
        with gr.Tab(LEARN["algorithms"], id="learn-algorithms"):
            gr.Markdown(LEARN["algorithms_intro"], latex_delimiters=MATHS, elem_classes="zoo-intro")
            for algorithm in ALGORITHMS:
                gr.Markdown(algorithm_table(algorithm), latex_delimiters=MATHS, elem_classes="zoo-algorithm")
            gr.Markdown(symbol_table(), latex_delimiters=MATHS, elem_classes="zoo-symbols")


def card(lesson: Lesson) -> str:
    """One method's lesson as Markdown; whatever a plugin wrote is escaped."""
    name = lesson.names[0] if len(lesson.names) == 1 else f"{lesson.names[0].partition('/')[0]}/…"
    parts = [
        f'<div class="zoo-lesson-head"><h3>{html.escape(lesson.title)}</h3><code>{html.escape(name)}</code> '
        f"<small>{LEARN[lesson.kind]}</small></div>",
        f"<p>{html.escape(lesson.summary)}</p>",
    ]
    if lesson.equation:
        parts.append(f'<div class="zoo-equation">$${html.escape(lesson.equation)}$$</div>')
    facts = [(LEARN["cost"], lesson.cost), (LEARN["when"], lesson.when)]
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts if text)
    if lesson.paper:
        number = html.escape(lesson.paper, quote=True)
        rows += (
            f'<dt>{LEARN["paper"]}</dt><dd><a href="https://arxiv.org/abs/{number}" target="_blank" '
            f'rel="noopener">arXiv:{number}</a></dd>'
        )
    parts.append(f"<dl>{rows}</dl>")
    markdown = "".join(parts)
    if len(lesson.names) > 1:
        listed = " ".join(f"<code>{html.escape(name)}</code>" for name in lesson.names)
        summary = LEARN["all_names"].format(n=len(lesson.names))
        markdown += f'<details><summary>{summary}</summary><p class="zoo-names">{listed}</p></details>'
    return markdown + _source(lesson)


def _source(lesson: Lesson) -> str:
    if lesson.source is None:
        return f"<p><small>{LEARN['no_source']}</small></p>"
    where = LEARN["where"].format(file=lesson.source.file, line=lesson.source.first)
    # A blank line on either side of the fence makes Markdown of it again within the HTML.
    return (
        f"<details><summary>{LEARN['source']} <small>{html.escape(where)}</small></summary>\n\n"
        f"```python\n{lesson.source.text}\n```\n\n</details>"
    )


def algorithm_table(algorithm: Algorithm) -> str:
    """An algorithm's lines on one side, the lines of source that do them on the other."""
    rows = "".join(_step(number, step) for number, step in enumerate(algorithm.steps, 1))
    paper = f"https://arxiv.org/abs/{algorithm.paper}"
    return (
        f"<h3>{html.escape(algorithm.title)} "
        f'<small><a href="{paper}" target="_blank" rel="noopener">arXiv:{algorithm.paper}</a></small></h3>'
        f'<ol class="zoo-steps">{rows}</ol>'
    )


def _step(number: int, step: Step) -> str:
    note = f'<p class="zoo-note">{html.escape(step.note)}</p>' if step.note else ""
    return (
        f'<li><div class="zoo-says zoo-depth-{step.depth}"><b>{number}</b> '
        f"<span>{html.escape(step.says)}</span></div>"
        f'<div class="zoo-does">{"".join(map(_lines, step.source()))}{note}</div></li>'
    )


def _lines(excerpt: Excerpt) -> str:
    where = html.escape(LEARN["where"].format(file=excerpt.file, line=excerpt.first))
    # No blank line may end the block of HTML before it is closed; excerpts are statements, and have none.
    return f"<pre><code>{html.escape(excerpt.text)}</code><small>{where}</small></pre>"


def symbol_table() -> str:
    """Every symbol, what it is called in the code, and a line where it is."""
    rows = "".join(
        f"<tr><td>${html.escape(symbol.latex)}$</td><td><code>{html.escape(symbol.name)}</code></td>"
        f"<td>{html.escape(symbol.meaning)}</td><td>{_lines(symbol.source())}</td></tr>"
        for symbol in SYMBOLS
    )
    heads = "".join(f"<th>{LEARN[name]}</th>" for name in ("symbol", "in_code", "meaning", "line"))
    return (
        f"<h3>{LEARN['symbols']}</h3><div class='zoo-scroll'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
