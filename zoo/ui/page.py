"""The page: what to compare on one side, the cells on the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from zoo.comparison import Comparison
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui import api, cards, learn, moves, plugins_tab
from zoo.ui.editor import QUIET, MethodList
from zoo.ui.request import comparison_from
from zoo.ui.running import Runner

ACCELERATOR = "accelerator"
"""Events of this concurrency id share the device, and so run one after the other."""

TO_CELLS = """() => {
  const grid = document.getElementById('zoo-results');
  if (grid && grid.getBoundingClientRect().top > window.innerHeight * 0.6) {
    grid.scrollIntoView({behavior: 'smooth', block: 'start'});
  }
}"""
"""On a narrow screen the cells are below the form: go there once something runs."""


def build(registry: Registry, runner: Runner) -> gr.Blocks:
    """The whole page, not yet launched."""
    with gr.Blocks(
        title="Sampler zoo", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True
    ) as blocks:
        gr.HTML(
            "<h1>Sampler zoo</h1><p>Diffusion samplers side by side, from the same noise.</p>",
            elem_id="zoo-head",
        )
        with gr.Tab("Compare", id="compare"):
            _compare_tab(registry, runner, blocks)
        moves.tab(registry, runner, ACCELERATOR)
        learn.tab(registry, runner, ACCELERATOR)
        with gr.Tab("Plugins", id="plugins"):
            gr.HTML(lambda: plugins_tab.table(registry))  # at each visit: what fails in use is noted
        api.add(registry, runner, ACCELERATOR)

        def gone(request: gr.Request) -> None:
            runner.forget(str(request.session_hash))

        blocks.unload(gone)
    return blocks.queue(max_size=32, default_concurrency_limit=4)


def _compare_tab(registry: Registry, runner: Runner, blocks: gr.Blocks) -> None:
    models = [(spec.title, name) for name, spec in registry.models.items()]
    with gr.Row(elem_id="zoo-columns"):
        with gr.Column(elem_id="zoo-form", min_width=320):
            model = gr.Dropdown(
                models,
                value=models[0][1] if models else None,
                label="Model",
                filterable=False,
                elem_id="model",
            )
            about = gr.HTML(_about(registry, models[0][1] if models else ""), elem_id="about-model")
            prompt = gr.Textbox(label="Prompt", max_length=1000, lines=1, max_lines=3, elem_id="prompt")
            examples = gr.Dataset(
                components=[gr.Textbox(visible=False)],
                samples=[["…"]],
                show_label=False,
                layout="gallery",
                elem_id="examples",
                type="values",
            )
            with gr.Row():
                seeds = gr.Textbox(
                    "0",
                    label="Seeds",
                    info="one picture each: 7, 0..3 or 1,5,8",
                    max_lines=1,
                    elem_id="seeds",
                )
            with gr.Accordion("Negative prompt, timing, metrics", open=False, elem_id="more"):
                negative = gr.Textbox(
                    label="Negative prompt",
                    info="what classifier-free guidance leads away from",
                    max_length=1000,
                    elem_id="negative",
                )
                alone = gr.Checkbox(
                    label="Time each alone",
                    info="one cell after the other, each after a warm-up: slower, and the seconds can be compared",
                    elem_id="alone",
                )
                metrics = gr.Dropdown(
                    [(spec.title, name) for name, spec in registry.metrics.items()],
                    value=[],
                    multiselect=True,
                    label="Metrics",
                    info="what scores the cells, once all are done",
                    elem_id="metrics",
                )
            gr.HTML(cards.heading("Methods"))
            chosen = MethodList(registry)
            with gr.Row(elem_id="zoo-actions"):
                compare = gr.Button("Compare", variant="primary", elem_id="compare", min_width=80)
                cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", min_width=80)
        with gr.Column(elem_id="zoo-results", min_width=320):
            problem = gr.HTML("", elem_id="problem")
            notices = gr.HTML("", elem_id="notices")
            summary = gr.HTML(cards.summary("Press Compare: every method starts from the same noise."))
            # One component, not one a cell: the browser's work at every redraw grows with the number of outputs.
            grid = gr.HTML("", elem_id="zoo-grid")
            archive = gr.DownloadButton(
                "Download everything (zip)", interactive=False, size="sm", elem_id="download"
            )

    asked = gr.State(None)

    def prepare(
        request: gr.Request,
        model: str,
        prompt: str,
        negative: str,
        seeds: str,
        alone: bool,
        metrics: list[str],
        pictures: dict[str, bytes],
        *rows: Any,
    ) -> dict[Any, Any]:
        try:
            lines = MethodList.chosen(*rows)
            comparison = comparison_from(
                model, prompt, negative, seeds, lines, registry, alone, metrics, pictures
            )
        except ValueError as error:
            return {problem: cards.problem(str(error)), asked: None}
        if not runner.begin(str(request.session_hash)):
            return {problem: cards.problem("A comparison is running: cancel it first."), asked: None}
        return {
            asked: comparison,
            problem: "",
            notices: "",
            summary: cards.summary("Queued …"),
            compare: gr.Button(interactive=False),
            cancel: gr.Button(interactive=True),
            archive: gr.DownloadButton(interactive=False),
            grid: cards.grid(runner.queued(comparison)),
        }

    def run(request: gr.Request, asked: Comparison | None) -> Iterator[dict[Any, Any]]:
        if asked is None:
            yield {summary: gr.skip()}  # a generator that yields nothing would clear all its outputs
            return
        for change in runner.run(asked, str(request.session_hash)):
            update: dict[Any, Any] = {summary: cards.summary(change.status, change.noise)}
            if change.cards is not None:
                update[grid] = cards.grid(change.cards)
            if change.notices:
                update[notices] = cards.notices(change.notices)
            if change.problem:
                update[problem] = cards.problem(change.problem)
            if change.archive is not None:
                update[archive] = gr.DownloadButton(value=str(change.archive), interactive=True)
            yield update

    def finish(request: gr.Request, asked: Comparison | None) -> tuple[Any, Any]:
        """Also when the comparison never began, as with a queue that is full."""
        if asked is None:
            return gr.skip(), gr.skip()
        runner.forget(str(request.session_hash))
        return gr.Button(interactive=True), gr.Button(interactive=False)

    outputs = [asked, problem, notices, summary, compare, cancel, archive, grid]
    asks = [compare.click, prompt.submit, negative.submit, seeds.submit]
    gr.on(
        asks,
        prepare,
        [model, prompt, negative, seeds, alone, metrics, chosen.pictures, *chosen.inputs],
        outputs,
        trigger_mode="once",
        **QUIET,
    ).then(
        run,
        asked,
        outputs[1:],
        concurrency_limit=1,
        concurrency_id=ACCELERATOR,
        show_progress="hidden",
        api_visibility="private",
    ).then(finish, asked, [compare, cancel], **QUIET)
    gr.on(asks, None, js=TO_CELLS, **QUIET)

    def stop(request: gr.Request) -> tuple[Any, str]:
        runner.stop(str(request.session_hash))
        return gr.Button(interactive=False), cards.summary("Cancelling …")

    cancel.click(stop, None, [cancel, summary], **QUIET)

    offered, replaced = gr.State([]), gr.State([])

    def offer(name: str, before: list[str]) -> tuple[Any, ...]:
        """The model's examples, beside those that they take the place of; or why it cannot be had."""
        found, reason = _examples(name, registry, runner)
        unavailable = cards.problem(f"{registry.models[name].title}: {reason}") if reason else gr.skip()
        return gr.Dataset(samples=[[example] for example in found] or [[""]]), found, before, unavailable

    def suggest(text: str, found: list[str], before: list[str]) -> Any:
        """The first example in place of nothing, or of another model's; never in place of what somebody wrote."""
        return found[0] if found and (not text or text in before) else gr.skip()

    model.change(lambda name: _about(registry, name), model, about, **QUIET)
    # In two events, for finding the first examples takes seconds: the second sees what was typed meanwhile.
    gr.on(
        [model.change, blocks.load], offer, [model, offered], [examples, offered, replaced, about], **QUIET
    ).then(suggest, [prompt, offered, replaced], prompt, **QUIET)
    examples.click(lambda values: values[0], examples, prompt, **QUIET)


def _examples(name: str, registry: Registry, runner: Runner) -> tuple[list[str], str]:
    """What the model suggests, or why it cannot be had."""
    runner.ready()
    try:
        return list(load_model(name, registry).examples()), ""
    except ValueError as error:
        return [], str(error)
    except Exception:  # a plugin's model that cannot be built says why when it is compared
        return [], ""


def _about(registry: Registry, name: str) -> str:
    return cards.small(registry.models[name].summary) if name in registry.models else ""
