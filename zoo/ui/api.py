"""The page's public API, under the same rules as the page; with --mcp the same functions are an assistant's tools."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict, cast, get_type_hints

import gradio as gr
from pydantic import ValidationError

from zoo.comparison import CellResult, Comparison, ComparisonResult
from zoo.registry import Registry
from zoo.ui import disclosure, explain
from zoo.ui.people import People, address
from zoo.ui.presence import watch
from zoo.ui.request import Called, comparison_of, readable, sentence
from zoo.ui.running import CALLS, Runner

log = logging.getLogger(__name__)

MODEL: str = Comparison.model_fields["model"].default


class Answer(TypedDict):
    """What results.json holds, what was compared, and all its pictures in one, as a data URI."""

    timing: str
    notices: list[str]
    cells: list[dict[str, Any]]
    seeds: list[int]
    comparison: dict[str, Any]
    sheet: str


def add(registry: Registry, runner: Runner, people: People, blocks: gr.Blocks) -> None:
    """Register the endpoints; to be called inside the context of `blocks`."""

    # Gradio reads names, types and docstrings: each argument's description must be one line.
    def compare(
        methods: list[str],
        model: str = MODEL,
        prompt: str = "",
        negative: str = "",
        seeds: str = "0",
        alone: bool = False,
        metrics: list[str] | None = None,
        pictures: dict[str, str] | None = None,
        request: gr.Request | None = None,
    ) -> Answer:
        """Compare diffusion sampling methods on one model and prompt, all from the same start noise.

        Every cell of the answer is a method, with its pictures (one a seed), its network evaluations (NFE) and its
        seconds; one that fails, or that the model cannot run (N/A), says why and stops no other.

        Args:
            methods: one line each, a sampler, then conditioners: "ddim steps=20", "ddpm steps=50 | cfg scale=3".
            model: a model's name, as list_methods tells them.
            prompt: what to draw; "" is unconditional.
            negative: what classifier-free guidance leads away from.
            seeds: one picture each: "7", "0..3" or "1,5,8".
            alone: time each method alone, after a warm-up; else seconds are shares of the fused batches.
            metrics: what scores the cells once all are done, such as "prompt_accuracy", as list_methods tells them.
            pictures: data URIs by the names that methods call them, as "… | controlnet annotator=canny image=NAME".

        Returns:
            What results.json holds, with `seeds`, `comparison` and the `sheet` of all pictures, as a PNG.
            Over HTTP the sheet is a data URI, and so are the `images` of each cell.
        """
        try:
            asked = Called(
                model=model,
                prompt=prompt,
                negative=negative,
                seeds=seeds,
                methods=methods,  # type: ignore[arg-type]
                alone=alone,
                metrics=metrics or (),  # type: ignore[arg-type]
                pictures=pictures or {},
            )
            with people.working(address(request)):
                result = answer(asked, registry, runner, watch(request, blocks))
        except ValidationError as error:
            raise gr.Error(readable(error), print_exception=False) from None
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        except Exception as error:  # such as a plugin's own
            log.exception("a comparison ended with an error")
            raise gr.Error(
                f"The comparison stopped: {disclosure.unexpected(error)}", print_exception=False
            ) from None
        return as_data(result)

    def list_methods() -> explain.Offered:
        """List what can be compared: samplers, conditioners, models and metrics, each with name, title and summary.

        A method is one line: a sampler with its parameters, then conditioners, "ddim steps=20 | cfg scale=3".

        Returns:
            Lists called `samplers`, `conditioners`, `models` and `metrics`.
        """
        return explain.offered(registry)

    def explain_method(method: str) -> explain.Explanation:
        """Explain a sampling method, part by part: its equation, paper, cost, use, parameters and source code.

        Args:
            method: a method's line, "ddim steps=20 | cfg scale=3", or the name of a sampler or conditioner.

        Returns:
            `line`, `title` and `parts`; a part's `equation` is LaTeX, and its `parameters` have defaults and bounds.
        """
        try:
            return explain.explanation(str(method), registry)
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from None

    for function in (compare, list_methods, explain_method):
        function.__annotations__ = get_type_hints(function)  # gradio reads what is returned as it stands here
    gr.api(compare, api_name="compare", concurrency_limit=CALLS)
    gr.api(list_methods, api_name="list_methods")
    gr.api(explain_method, api_name="explain_method")


def answer(
    asked: Called, registry: Registry, runner: Runner, gone: Callable[[], bool] = lambda: False
) -> ComparisonResult:
    """Run what was asked, beside what others ask, unless whoever asked is `gone`.

    Raises:
        ValueError: it cannot be run; the message is for the person who asked.
    """
    comparison = comparison_of(asked, asked.methods, registry)
    runner.ready()
    return runner.answer(comparison, gone)


def as_data(result: ComparisonResult) -> Answer:
    """A result as JSON, pictures included; tracebacks, which name the server's folders, stay on the server."""
    cells = tuple(map(disclosure.result, result.cells))
    data = replace(result, cells=cells, notices=tuple(map(disclosure.visible, result.notices))).to_dict()
    for cell, entry in zip(result.cells, data["cells"], strict=True):
        entry["images"] = _uris(cell)
        entry.pop("traceback", None)
    data["seeds"] = list(result.comparison.seeds)
    data["comparison"] = result.comparison.model_dump(mode="json")
    data["sheet"] = _sheet(result)
    return cast(Answer, data)


def _sheet(result: ComparisonResult) -> str:
    from zoo.sheet import data_uri, draw_sheet
    from zoo.store import png

    return data_uri(png(draw_sheet(result), result.comparison))


def _uris(cell: CellResult) -> list[str]:
    from zoo.sheet import data_uri
    from zoo.store import png, to_pil

    return [] if cell.images is None else [data_uri(png(to_pil(image))) for image in cell.images]
