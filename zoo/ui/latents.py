"""What a deterministic sampler gives, on the page: the pictures between two noises, and a picture's own noise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.i18n import I18nData

from zoo.registry import Registry
from zoo.ui import cards
from zoo.ui.disclosure import unexpected
from zoo.ui.gate import as_sent
from zoo.ui.language import label
from zoo.ui.people import People, address
from zoo.ui.request import check_method, comparison_from, limits_for, receive, sentence
from zoo.ui.running import AT_ONCE, Runner
from zoo.ui.words import element, marks, say, sent

if TYPE_CHECKING:
    import torch

    from zoo.inversion import Inversion

log = logging.getLogger(__name__)

MODEL = "tinyworld"
PROMPT = "a red mushroom at night"
CLEAREST = 3.0
"""Noise is shown with ± this as black and white."""

SCRIPT = (Path(__file__).parent / "flipbook.js").read_text(encoding="utf-8")


def between_tab(registry: Registry, runner: Runner, people: People, concurrency_id: str) -> None:
    """Interpolation; to be created inside a Tabs context."""
    with gr.Tab(label("between.tab"), id="moves-between"):
        gr.HTML(cards.small("between.intro"))
        with gr.Row(elem_classes="zoo-lab", elem_id="between"):
            with gr.Column(elem_classes="zoo-lab-form", min_width=280):
                prompt = gr.Textbox(
                    PROMPT, label=label("between.prompt"), max_length=1000, elem_id="between-prompt"
                )
                with gr.Row():
                    first = gr.Number(3, label=label("between.first"), precision=0, minimum=0, min_width=90)
                    last = gr.Number(8, label=label("between.last"), precision=0, minimum=0, min_width=90)
                frames = gr.Slider(3, 17, value=9, step=1, label=label("between.frames"), buttons=[])
                method = gr.Textbox(
                    "ddim steps=20 | cfg scale=2",
                    label=label("between.method"),
                    info=label("between.method_info"),
                    max_lines=1,
                    max_length=500,
                    elem_classes="zoo-code",
                    elem_id="between-method",
                )
                run = gr.Button(label("between.run"), variant="primary", elem_id="between-run")
            with gr.Column(elem_classes="zoo-lab-stage", min_width=300):
                problem = gr.HTML("", elem_classes="zoo-lab-problem")
                book = gr.HTML(
                    {},
                    html_template=_book(),
                    js_on_load=SCRIPT,
                    elem_id="between-book",
                    apply_default_css=False,
                )

    def interpolated(
        prompt: str, first: float | None, last: float | None, frames: float, method: str
    ) -> dict[str, Any]:
        from zoo.interpolation import interpolate

        if first is None or last is None:
            raise ValueError(say("ask.two_seeds"))
        count = int(frames)
        check_method(method, registry)
        limits = limits_for(
            comparison_from(MODEL, prompt, "", f"0..{count - 1}", [method], registry), registry
        )
        found = interpolate(
            [int(first), int(last)],
            frames=count,
            model=MODEL,
            prompt=prompt,
            method=method,
            limits=limits,
            on=runner.loop,
            registry=registry,
        )
        said = {"n": count, "first": int(first), "last": int(last), "prompt": prompt}
        return {
            "frames": [
                {"src": _uri(image), "alt": sent(say("between.alt", k=k, **said))}
                for k, image in enumerate(found.images, 1)
            ],
            "caption": sent(say("between.done", n=count, nfe=sum(found.nfe.values()))),
            "pixels": found.images.shape[-1],
        }

    run.click(
        _answered(interpolated, runner, people),
        [prompt, first, last, frames, method],
        [book, problem],
        **_queued(concurrency_id),
    )


def back_tab(registry: Registry, runner: Runner, people: People, concurrency_id: str) -> None:
    """Inversion; to be created inside a Tabs context."""
    with gr.Tab(label("back.tab"), id="moves-back"):
        gr.HTML(cards.small("back.intro"))
        with gr.Row(elem_classes="zoo-lab", elem_id="back"):
            with gr.Column(elem_classes="zoo-lab-form", min_width=280):
                picture = upload(label("back.picture"), "back-picture")
                draw = gr.Button(label("back.drawn"), size="sm", elem_id="back-draw")
                prompt = gr.Textbox(
                    label=label("back.prompt"),
                    info=label("back.prompt_info"),
                    max_length=1000,
                    elem_id="back-prompt",
                )
                steps = gr.Slider(
                    5, 100, value=50, step=1, label=label("back.steps"), buttons=[], elem_id="back-steps"
                )
                iterations = gr.Slider(
                    1,
                    5,
                    value=1,
                    step=1,
                    label=label("back.iterations"),
                    info=label("back.iterations_info"),
                    buttons=[],
                )
                run = gr.Button(label("back.run"), variant="primary", elem_id="back-run")
            with gr.Column(elem_classes="zoo-lab-stage", min_width=300):
                problem = gr.HTML("", elem_classes="zoo-lab-problem")
                shown = gr.HTML(cards.small("back.empty"), elem_id="back-shown")
    drawn = gr.State(0)

    def another(seed: int) -> tuple[Any, str, int]:
        image, caption = drawn_picture(seed, 32)
        return image, caption, seed + 1

    draw.click(another, drawn, [picture, prompt, drawn], show_progress="hidden", api_visibility="private")

    def inverted(picture: str | None, prompt: str, steps: float, iterations: float) -> str:
        from zoo.inversion import invert
        from zoo.planning import load_model

        method = f"ddim steps={int(steps)}"
        limits = limits_for(comparison_from(MODEL, prompt, "", "0", [method], registry), registry)
        model = load_model(MODEL, registry)
        if picture is None:
            from PIL import Image

            from zoo.picture import load_picture

            image, caption = drawn_picture(0, 32)
            data, prompt = load_picture(Image.fromarray(image), *model.shape[1:]), prompt or caption
        else:
            data = uploaded_picture(picture, *model.shape[1:])
        return figures(
            invert(
                data,
                model=MODEL,
                prompt=prompt,
                method=method,
                iterations=int(iterations),
                limits=limits,
                on=runner.loop,
                registry=registry,
            )
        )

    run.click(
        _answered(inverted, runner, people),
        [picture, prompt, steps, iterations],
        [shown, problem],
        **_queued(concurrency_id),
    )


def upload(title: I18nData, elem_id: str) -> gr.Image:
    """A place for a picture, which arrives as a file just as it was sent: `load_picture` knows how to read it."""
    picture = gr.Image(
        label=title,
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload", "clipboard"],
        height=170,
        buttons=[],
        elem_id=elem_id,
        elem_classes="zoo-upload",
    )
    picture.preprocess = as_sent
    return picture


def uploaded_picture(path: str, height: int, width: int) -> torch.Tensor:
    """An uploaded picture, (3, height, width) within [-1, 1].

    Raises:
        ValueError: it is no picture, or too large a one; the message names no folder of the server's.
    """
    from zoo.picture import load_picture

    return load_picture(receive(Path(path).read_bytes())[1], height, width)


def drawn_picture(seed: int, size: int) -> tuple[Any, str]:
    """A picture of tinyworld's, (size, size, 3) uint8, and its caption."""
    from zoo.data.tinyworld import TinyWorld

    sample = TinyWorld(seed=20, size=size)[seed]
    return sample.image, sample.caption


def figures(found: Inversion) -> str:
    """A picture, its noise, and what the noise gives back."""
    noise = found.latents.double()
    facts = say(
        "back.noise_facts",
        mean=f"{float(noise.mean()):.3f}".replace("-", "−"),
        std=f"{float(noise.std()):.3f}",
    )
    pictures = [
        (say("back.figure_picture"), found.picture, ""),
        (say("back.figure_noise"), found.latents / CLEAREST, facts),
        (say("back.figure_back"), found.reconstruction, ""),
    ]
    drawn = "".join(
        f'<figure><img src="{_uri(image.clamp(-1, 1))}" alt="{name}" {marks(name, "alt")} '
        f'style="--px:{image.shape[-1]}px"><figcaption>{element(name)}'
        f"{element(more, 'small') if more else ''}</figcaption></figure>"
        for name, image, more in pictures
    )
    line = say(
        "back.done",
        up=sum(found.nfe["inversion"].values()),
        down=sum(found.nfe["reconstruction"].values()),
        rmse=f"{found.rmse:.4f}",
        psnr=f"{found.psnr:.1f}",
    )
    return f'<div class="zoo-figures">{drawn}</div>' + element(line, "p", 'class="zoo-said" role="status"')


def _answered(work: Callable[..., Any], runner: Runner, people: People) -> Callable[..., tuple[Any, str]]:
    """What `work` returns and no problem; or what is there stays, and the problem is told."""

    def answer(request: gr.Request | None, *given: Any) -> tuple[Any, str]:
        try:
            with people.working(address(request)):
                runner.ready()
                return work(*given), ""
        except ValueError as error:
            return gr.skip(), cards.problem(sentence(error))
        except Exception as error:  # a plugin's own code may have run
            log.exception("a request of the page ended with an error")
            return gr.skip(), cards.problem(unexpected(error))

    return answer


def _queued(concurrency_id: str) -> dict[str, Any]:
    return {
        "concurrency_limit": AT_ONCE,
        "concurrency_id": concurrency_id,
        "show_progress": "minimal",
        "api_visibility": "private",
    }


def _uri(image: torch.Tensor) -> str:
    from zoo.sheet import data_uri
    from zoo.store import png, to_pil

    return data_uri(png(to_pil(image.float())))


def _book() -> str:
    """The flipbook without its frames, which the script puts in."""
    position = say("between.slider")
    return (
        '<div class="zoo-book" hidden><img class="zoo-book-page" alt="">'
        f'<input type="range" class="zoo-scrubber" min="0" value="0" step="1" '
        f'aria-label="{position}" {marks(position, "aria-label")}>'
        '<div class="zoo-book-strip"></div><p class="zoo-said" role="status"></p></div>'
        + element(say("between.empty"), "p", 'class="zoo-empty"')
    )
