"""What a deterministic sampler gives, on the page: the pictures between two noises, and a picture's own noise."""

from __future__ import annotations

import json
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

    from zoo.interpolation import Interpolation
    from zoo.inversion import Inversion

log = logging.getLogger(__name__)

MODEL = "tinyworld"
PROMPT = "a red mushroom at night"
SEEDS, FRAMES, BETWEEN = (3, 8), 9, "ddim steps=20 | cfg scale=2"
"""What interpolation begins with."""

BACK_STEPS = 50
"""What inversion begins with."""

EXAMPLES = Path(__file__).parent / "static" / "latents.json"
"""What both give for what they begin with, so that nobody waits for it; scripts/welcome.py writes it."""

CLEAREST = 3.0
"""Noise is shown with ± this as black and white."""

SCRIPT = (Path(__file__).parent / "flipbook.js").read_text(encoding="utf-8")


def between_tab(registry: Registry, runner: Runner, people: People, concurrency_id: str) -> None:
    """Interpolation; to be created inside a Tabs context."""
    with gr.Tab(label("between.tab"), id="moves-between") as opened:
        gr.HTML(cards.small("between.intro"))
        with gr.Row(elem_classes="zoo-lab", elem_id="between"):
            with gr.Column(elem_classes="zoo-lab-form", min_width=280):
                prompt = gr.Textbox(
                    PROMPT, label=label("between.prompt"), max_length=1000, elem_id="between-prompt"
                )
                with gr.Row():
                    first, last = (
                        gr.Number(seed, label=label(name), precision=0, minimum=0, min_width=90)
                        for seed, name in zip(SEEDS, ("between.first", "between.last"), strict=True)
                    )
                frames = gr.Slider(3, 17, value=FRAMES, step=1, label=label("between.frames"), buttons=[])
                method = gr.Textbox(
                    BETWEEN,
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
        return leaves(interpolation_record(found), prompt, (int(first), int(last)))

    def first_look(shown: Any) -> Any:
        return gr.skip() if shown else leaves(examples()["between"], PROMPT, SEEDS)

    opened.select(first_look, book, book, queue=False, show_progress="hidden", api_visibility="private")
    run.click(
        _answered(interpolated, runner, people),
        [prompt, first, last, frames, method],
        [book, problem],
        **_queued(concurrency_id),
    )


def back_tab(registry: Registry, runner: Runner, people: People, concurrency_id: str) -> None:
    """Inversion; to be created inside a Tabs context."""
    hint = cards.small("back.empty")
    with gr.Tab(label("back.tab"), id="moves-back") as opened:
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
                    5,
                    100,
                    value=BACK_STEPS,
                    step=1,
                    label=label("back.steps"),
                    buttons=[],
                    elem_id="back-steps",
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
                shown = gr.HTML(hint, elem_id="back-shown")
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

            image, caption = drawn_picture(0, model.shape[-1])
            data, prompt = load_picture(Image.fromarray(image), *model.shape[1:]), prompt or caption
        else:
            data = uploaded_picture(picture, *model.shape[1:])
        found = invert(
            data,
            model=MODEL,
            prompt=prompt,
            method=method,
            iterations=int(iterations),
            limits=limits,
            on=runner.loop,
            registry=registry,
        )
        return figures(inversion_record(found))

    def first_look(shown: str) -> Any:
        return figures(examples()["back"]) + hint if shown == hint else gr.skip()

    opened.select(first_look, shown, shown, queue=False, show_progress="hidden", api_visibility="private")
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


def examples() -> dict[str, Any]:
    """The interpolation and the inversion that are there before anybody asks: {between, back, weights}."""
    found: dict[str, Any] = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return found


def interpolation_record(found: Interpolation) -> dict[str, Any]:
    """What the page shows of an interpolation, as it is kept in EXAMPLES."""
    return {
        "frames": [_uri(image) for image in found.images],
        "nfe": sum(found.nfe.values()),
        "pixels": found.images.shape[-1],
    }


def leaves(record: dict[str, Any], prompt: str, seeds: tuple[int, int]) -> dict[str, Any]:
    """An interpolation for flipbook.js, in words of the visitor's language."""
    n = len(record["frames"])
    said = {"n": n, "first": seeds[0], "last": seeds[1], "prompt": prompt}
    return {
        "frames": [
            {"src": src, "alt": sent(say("between.alt", k=k, **said))}
            for k, src in enumerate(record["frames"], 1)
        ],
        "caption": sent(say("between.done", n=n, nfe=record["nfe"])),
        "pixels": record["pixels"],
    }


def inversion_record(found: Inversion) -> dict[str, Any]:
    """What the page shows of an inversion, as it is kept in EXAMPLES."""
    noise = found.latents.double()
    return {
        "picture": _uri(found.picture),
        "noise": _uri((found.latents / CLEAREST).clamp(-1, 1)),
        "back": _uri(found.reconstruction.clamp(-1, 1)),
        "pixels": found.picture.shape[-1],
        "mean": float(noise.mean()),
        "std": float(noise.std()),
        "up": sum(found.nfe["inversion"].values()),
        "down": sum(found.nfe["reconstruction"].values()),
        "rmse": found.rmse,
        "psnr": found.psnr,
    }


def figures(record: dict[str, Any]) -> str:
    """A picture, its noise, and what the noise gives back."""
    facts = say(
        "back.noise_facts",
        mean=f"{record['mean']:.3f}".replace("-", "−"),
        std=f"{record['std']:.3f}",
    )
    pictures = [
        (say("back.figure_picture"), record["picture"], ""),
        (say("back.figure_noise"), record["noise"], facts),
        (say("back.figure_back"), record["back"], ""),
    ]
    drawn = "".join(
        f'<figure><img src="{src}" alt="{name}" {marks(name, "alt")} '
        f'style="--px:{record["pixels"]}px"><figcaption>{element(name)}'
        f"{element(more, 'small') if more else ''}</figcaption></figure>"
        for name, src, more in pictures
    )
    line = say(
        "back.done",
        up=record["up"],
        down=record["down"],
        rmse=f"{record['rmse']:.4f}",
        psnr=f"{record['psnr']:.1f}",
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
