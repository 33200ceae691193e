"""The page: a thin frame of gradio's around what the browser draws itself."""

from __future__ import annotations

import json

import gradio as gr

from zoo.registry import Registry
from zoo.ui import api, front, language, learn, moves, plugins_tab
from zoo.ui.calls import calls
from zoo.ui.catalogue import catalogue
from zoo.ui.gate import Page
from zoo.ui.people import People
from zoo.ui.running import Runner
from zoo.ui.words import element, say

ACCELERATOR = "accelerator"
"""Events of this concurrency id run on the loop that owns the device, a few at a time."""


def build(registry: Registry, runner: Runner) -> gr.Blocks:
    """The whole page, not yet launched.

    Raises:
        ValueError: a setting in the environment cannot be read.
    """
    people = People()
    with Page(
        title=say("site.title"), analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True
    ) as blocks:
        gr.HTML(
            element(say("site.title"), "h1") + element(say("site.tagline"), "p") + language.switch(),
            elem_id="zoo-head",
        )
        with gr.Tab(language.label("site.compare"), id="compare"):
            # One component that never changes: its script draws everything, and asks the server by itself.
            gr.HTML(
                html_template=front.TEMPLATE,
                js_on_load=front.script(),
                apply_default_css=False,
                elem_id="zoo-compare",
                server_functions=calls(registry, runner, people),
                catalogue=json.dumps(catalogue(registry)),
            )
        moves.tab(registry, runner, people, ACCELERATOR)
        learn.tab(registry, runner, ACCELERATOR)
        with gr.Tab(language.label("site.plugins"), id="plugins"):
            plugins = gr.HTML(plugins_tab.table(registry))
            gr.HTML(plugins_tab.guide())
        api.add(registry, runner, people, blocks)
        # At each visit, since what fails in use is noted.
        blocks.load(
            lambda: plugins_tab.table(registry),
            None,
            plugins,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks.queue(max_size=32, default_concurrency_limit=4)
