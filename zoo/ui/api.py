"""The page's public API: `compare`, under the same rules as the page."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import gradio as gr
from pydantic import ValidationError

from zoo.comparison import CellResult, ComparisonResult, compare
from zoo.registry import Registry
from zoo.ui import disclosure
from zoo.ui.people import People, address
from zoo.ui.request import Called, comparison_from, limits_for, readable, sentence, uploaded
from zoo.ui.running import Runner

log = logging.getLogger(__name__)

CALLS = 16
"""Calls that are looked at together: each is told at once if it cannot be, and else waits for the device."""


def add(registry: Registry, runner: Runner, people: People) -> None:
    """Register the endpoint; to be called inside a Blocks context."""

    def compare_(
        model: str,
        prompt: str,
        negative: str,
        seeds: str,
        methods: list[str],
        alone: bool = False,
        metrics: list[str] | None = None,
        pictures: dict[str, str] | None = None,
        request: gr.Request | None = None,
    ) -> dict[str, Any]:
        """Compare sampling methods on one model and prompt, from the same noise.

        Args:
            model: a model's name, such as "tinyworld".
            prompt: what to draw; "" is unconditional.
            negative: what classifier-free guidance leads away from.
            seeds: one picture each: "7", "0..3" or "1,5,8".
            methods: one line each, such as "ddim steps=20 | cfg scale=3".
            alone: time each method alone, after a warm-up.
            metrics: what scores the cells once all are done, such as "prompt_accuracy".
            pictures: data URIs by the names that methods call them, as "… | controlnet annotator=canny image=NAME".

        Returns:
            What results.json holds, with `seeds`, `comparison` and the pictures of each cell as data URIs.
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
                result = answer(asked, registry, runner)
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

    gr.api(
        compare_,
        api_name="compare",
        concurrency_limit=CALLS,
    )


def answer(asked: Called, registry: Registry, runner: Runner) -> ComparisonResult:
    """Run what was asked, alone on the device.

    Raises:
        ValueError: it cannot be run; the message is for the person who asked.
    """
    lines, known = uploaded(asked.methods, asked.pictures, registry)
    comparison = comparison_from(
        asked.model,
        asked.prompt,
        asked.negative,
        asked.seeds,
        lines,
        registry,
        asked.alone,
        asked.metrics,
        known,
    )
    runner.ready()
    limits = limits_for(comparison, registry)
    with runner.turn:
        return compare(comparison, device=runner.device, limits=limits, registry=registry)


def as_data(result: ComparisonResult) -> dict[str, Any]:
    """A result as JSON, pictures included; tracebacks, which name the server's folders, stay on the server."""
    cells = tuple(map(disclosure.result, result.cells))
    data = replace(result, cells=cells, notices=tuple(map(disclosure.visible, result.notices))).to_dict()
    for cell, entry in zip(result.cells, data["cells"], strict=True):
        entry["images"] = _uris(cell)
        entry.pop("traceback", None)
    data["seeds"] = list(result.comparison.seeds)
    data["comparison"] = result.comparison.model_dump(mode="json")
    return data


def _uris(cell: CellResult) -> list[str]:
    from zoo.sheet import data_uri
    from zoo.store import png, to_pil

    return [] if cell.images is None else [data_uri(png(to_pil(image))) for image in cell.images]
