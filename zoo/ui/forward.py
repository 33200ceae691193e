"""The forward process on the page: a picture turning into noise under several schedules, both ways."""

from __future__ import annotations

import base64
import html
import io
import logging
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from zoo.lessons.forward import SCHEDULES, noised
from zoo.ui import cards
from zoo.ui.disclosure import unexpected
from zoo.ui.language import label
from zoo.ui.latents import drawn_picture, upload, uploaded_picture
from zoo.ui.maths import MATHS
from zoo.ui.once import Once
from zoo.ui.request import sentence
from zoo.ui.running import Runner
from zoo.ui.words import element, marks, say

log = logging.getLogger(__name__)

SIZE = 64
"""Of the picture, in pixels each way."""

TIMES = (*range(0, 1000, 40), 999)
"""The timesteps that are drawn."""

WIDTH, HEIGHT = 640, 260
LOWEST, HIGHEST = -20.0, 12.0
"""Of the log-SNR that the curves show."""

SCRIPT = (Path(__file__).parent / "forward.js").read_text(encoding="utf-8")


def tab(runner: Runner, concurrency_id: str) -> None:
    """The tab; to be created inside a Tabs context."""
    with gr.Tab(label("forward.tab"), id="learn-forward") as opened:
        gr.Markdown(label("forward.intro"), latex_delimiters=MATHS, elem_classes="zoo-intro")
        with gr.Row(elem_classes="zoo-lab", elem_id="forward"):
            with gr.Column(elem_classes="zoo-lab-form", min_width=240):
                picture = upload(label("forward.picture"), "forward-picture")
            with gr.Column(elem_classes="zoo-lab-stage", min_width=300):
                problem = gr.HTML("", elem_classes="zoo-lab-problem")
                stage = gr.HTML(
                    {},
                    html_template=template(),
                    js_on_load=SCRIPT,
                    elem_id="forward-stage",
                    apply_default_css=False,
                )

    noising = Once(lambda path: payload(_pixels(path, runner)), (None,))  # nobody's own: the tiny world's

    def shown(path: str | None) -> tuple[Any, str]:
        try:
            return noising(path), ""
        except ValueError as error:
            return gr.skip(), cards.problem(sentence(error))
        except Exception as error:
            log.exception("a picture could not be noised")
            return gr.skip(), cards.problem(unexpected(error))

    def first(drawn: Any, path: str | None) -> tuple[Any, str]:
        return (gr.skip(), "") if drawn else shown(path)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    opened.select(first, [stage, picture], [stage, problem], **quiet)
    picture.change(shown, picture, [stage, problem], trigger_mode="always_last", **quiet)


def payload(x0: npt.NDArray[np.float64]) -> dict[str, Any]:
    """What the stage shows: for each schedule a strip of pictures noised either way, and what there is to say of them.

    Args:
        x0: (SIZE, SIZE, 3) within [-1, 1].
    """
    rows = []
    for name, schedule in SCHEDULES.items():
        found = noised(x0, schedule, TIMES)
        rows.append(
            {
                "name": name,
                "direct": _strip(found.direct),
                "stepped": _strip(found.stepped),
                "abar": [level.alpha**2 for level in found.levels],
                "snr": [level.log_snr for level in found.levels],
                "mean": found.mean,
                "std": found.std,
            }
        )
    return {"times": TIMES, "rows": rows, "lowest": LOWEST, "highest": HIGHEST}


def template() -> str:
    """The stage without its pictures, which the script puts in."""
    play = element(say("forward.play"), "button", 'type="button" class="zoo-play"')
    position = say("forward.slider")
    return (
        f'<div class="zoo-forward" hidden><div class="zoo-transport">{play}'
        f'<div class="zoo-scrub"><div class="zoo-ends"><span>t = 0</span><span class="zoo-level"></span>'
        f'<span>t = {TIMES[-1]}</span></div><input type="range" class="zoo-scrubber" min="0" '
        f'max="{len(TIMES) - 1}" step="1" value="0" aria-label="{position}" {marks(position, "aria-label")}>'
        "</div></div>"
        f'<div class="zoo-schedules"></div><figure class="zoo-curves">{curves()}'
        f"{element(say('forward.curves'), 'figcaption')}</figure></div>"
        + element(say("forward.empty"), "p", 'class="zoo-empty"')
    )


def curves() -> str:
    """log-SNR of every schedule against t, as SVG."""
    drawn = ""
    for index, (name, schedule) in enumerate(SCHEDULES.items()):
        last = schedule.timesteps - 1
        times = np.unique(np.linspace(0, last, 120).round().astype(int))
        points = " ".join(
            f"{_across(t / last):.1f},{_down(schedule.level(int(t)).log_snr):.1f}" for t in times
        )
        drawn += f'<polyline class="zoo-curve-{index}" points="{points}"/>'
        drawn += f'<text class="zoo-curve-{index}" x="{60 + 150 * index}" y="{HEIGHT - 46}">{html.escape(name)}</text>'
    grid = "".join(
        f'<line x1="40" x2="{WIDTH - 10}" y1="{_down(y):.1f}" y2="{_down(y):.1f}"/>'
        f'<text x="34" y="{_down(y) + 4:.1f}" text-anchor="end">{str(y).replace("-", "−")}</text>'
        for y in (-20, -10, 0, 10)
    )
    about = say("forward.curves_alt")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{about}" {marks(about, "aria-label")}>'
        f'<g class="zoo-axis">{grid}</g>'
        f'{drawn}<line class="zoo-mark" x1="40" x2="40" y1="8" y2="{HEIGHT - 26}"/>'
        f'<g class="zoo-axis"><text x="40" y="{HEIGHT - 8}">t = 0</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 8}" text-anchor="end">t = {TIMES[-1]}</text></g></svg>'
    )


def _across(share: float) -> float:
    return 40 + share * (WIDTH - 50)


def _down(log_snr: float) -> float:
    inside = min(max(log_snr, LOWEST), HIGHEST)
    return 8 + (HIGHEST - inside) / (HIGHEST - LOWEST) * (HEIGHT - 34)


def _pixels(path: str | None, runner: Runner) -> npt.NDArray[np.float64]:
    """A picture file, or one of the tiny world's; (SIZE, SIZE, 3) within [-1, 1]."""
    if path is None:
        image, _ = drawn_picture(0, SIZE)
        return np.asarray(image, dtype=np.float64) / 127.5 - 1
    runner.ready()
    return uploaded_picture(path, SIZE, SIZE).permute(1, 2, 0).double().numpy()


def _strip(pictures: npt.NDArray[np.float64]) -> str:
    """All pictures side by side in one file, as a data URI."""
    from PIL import Image

    bytes_ = ((np.concatenate(list(pictures), axis=1).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(bytes_).save(file, "WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
