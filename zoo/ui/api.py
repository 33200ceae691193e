"""The page's public API: `compare`, under the same rules as the page."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from zoo.comparison import CellResult, ComparisonResult
from zoo.registry import Registry
from zoo.ui.request import comparison_from, sentence, uploaded
from zoo.ui.running import AT_ONCE, Runner

log = logging.getLogger(__name__)


def add(registry: Registry, runner: Runner, concurrency_id: str) -> None:
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
            lines, known = uploaded(methods, pictures or {}, registry)
            comparison = comparison_from(
                model, prompt, negative, seeds, lines, registry, alone, metrics or (), known
            )
            runner.ready()
            result = runner.join(comparison).result()
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        except Exception as error:  # such as a plugin's own
            log.exception("a comparison ended with an error")
            raise gr.Error(
                f"The comparison stopped: {type(error).__name__}: {error}", print_exception=False
            ) from None
        return as_data(result)

    gr.api(
        compare_,
        api_name="compare",
        concurrency_limit=AT_ONCE,
        concurrency_id=concurrency_id,
    )


def as_data(result: ComparisonResult) -> dict[str, Any]:
    """A result as JSON, pictures included; tracebacks, which name the server's folders, stay on the server."""
    data = result.to_dict()
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
