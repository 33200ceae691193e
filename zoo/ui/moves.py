"""The tab "See how it moves": the paths of every method over an exact density, drawn by the browser."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo.method import Method, Part
from zoo.registry import Registry
from zoo.ui import cards, latents, methods
from zoo.ui.disclosure import unexpected, visible
from zoo.ui.language import label
from zoo.ui.offers import offers
from zoo.ui.once import Once
from zoo.ui.people import People, address
from zoo.ui.request import comparison_from, limits_for, sentence
from zoo.ui.running import AT_ONCE, Runner
from zoo.ui.words import element, marks, say, sent

if TYPE_CHECKING:
    from zoo.models.exact import GaussianMixture
    from zoo.trajectory import Path as Way
    from zoo.trajectory import Trajectory

log = logging.getLogger(__name__)

MODEL = "mixture"
LINES = (
    "ddpm steps=50",
    "ddim steps=50",
    "ddim steps=50 eta=1",
    "ddim steps=5",
    "heun steps=5",
    "consistency steps=1",
    "ddim steps=20 | cfg scale=3",
)
"""What the tab begins with."""

FIRST = ("\n".join(LINES), "", "north", "0..23")
"""Methods, prompts and seeds of that, as they stand in the form."""

MODES = ("east", "northeast", "north", "northwest", "west", "southwest", "south", "southeast")
"""The model's own names of its classes, which it would take torch to ask it for."""

SPAN = 2.9
"""The panels show the square of ± this: nearly all noise, and all data."""

LONGEST = 4000
"""Most characters of all methods; the browser minds it, and so does the server."""

MAX_POINTS = 64
MAX_STATES, MAX_SOLUTION = 160, 60
"""Of a path with more states, so many are drawn, evenly chosen: the eye sees no difference."""

SCRIPTED: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of events that the browser answers by itself."""

BUSY = "() => document.querySelector('#moves-stage').setAttribute('aria-busy', 'true')"
IDLE = "() => document.querySelector('#moves-stage').removeAttribute('aria-busy')"
"""What is drawn is faint while something else is asked for."""

HERE = Path(__file__).parent
SCRIPT = (HERE / "moves.js").read_text(encoding="utf-8")
CSS = (HERE / "moves.css").read_text(encoding="utf-8")


def tab(registry: Registry, runner: Runner, people: People, concurrency_id: str) -> None:
    """The tab's content; to be created inside a Blocks context. `people` bounds what each person has at work."""
    with gr.Tab(label("moves.tab"), id="moves") as opened, gr.Tabs():
        with gr.Tab(label("moves.plane"), id="moves-plane"):
            _plane(registry, runner, people, concurrency_id, opened)
        latents.between_tab(registry, runner, people, concurrency_id)
        latents.back_tab(registry, runner, people, concurrency_id)


def _plane(registry: Registry, runner: Runner, people: People, concurrency_id: str, opened: gr.Tab) -> None:
    gr.HTML(cards.small("moves.intro"))
    with gr.Row(elem_classes="zoo-lab", elem_id="moves"):
        with gr.Column(elem_classes="zoo-lab-form", min_width=280):
            lines = gr.Textbox(
                FIRST[0],
                label=label("moves.methods"),
                info=label("moves.methods_info"),
                lines=7,
                max_lines=12,
                max_length=LONGEST,
                elem_classes="zoo-code",
                elem_id="moves-methods",
            )
            add = gr.Dropdown(
                [],
                label=label("moves.add"),
                info=label("moves.add_info"),
                elem_id="moves-add",
            )
            scale = gr.Slider(
                0,
                10,
                value=3,
                step=0.1,
                label=label("moves.scale"),
                info=label("moves.scale_info"),
                buttons=[],
                elem_id="moves-scale",
            )
            plain = gr.Dropdown(
                [(label("moves.whole"), ""), *MODES],
                value=FIRST[1],
                label=label("moves.plain"),
                filterable=False,
                elem_id="moves-plain",
            )
            guided = gr.Dropdown(
                MODES,
                value=FIRST[2],
                label=label("moves.guided"),
                info=label("moves.guided_info"),
                filterable=False,
                elem_id="moves-guided",
            )
            seeds = gr.Textbox(
                FIRST[3],
                label=label("moves.seeds"),
                info=label("moves.seeds_info"),
                max_lines=1,
                elem_id="moves-seeds",
            )
            run = gr.Button(label("moves.run"), variant="primary", elem_id="moves-run")
        with gr.Column(elem_classes="zoo-lab-stage", min_width=300):
            problem = gr.HTML("", elem_classes="zoo-lab-problem")
            stage = gr.HTML(
                {}, html_template=_stage(), js_on_load=SCRIPT, elem_id="moves-stage", apply_default_css=False
            )
            gr.Markdown(label("moves.look"), elem_classes="zoo-look")

    drawing = first_kept(registry, runner)

    def moved(request: gr.Request | None, lines: str, plain: str, guided: str, seeds: str) -> tuple[Any, str]:
        try:
            with people.working(address(request)):
                return drawing(lines, plain or "", guided or "", seeds), ""
        except ValueError as error:
            return gr.skip(), cards.problem(sentence(error))
        except Exception as error:  # a plugin's own code ran
            log.exception("the paths could not be drawn")
            return gr.skip(), cards.problem(unexpected(error))

    inputs = [lines, plain, guided, seeds]
    running: dict[str, Any] = {
        "concurrency_limit": AT_ONCE,
        "concurrency_id": concurrency_id,
        "show_progress": "hidden",
        "trigger_mode": "always_last",
        "api_visibility": "private",
    }
    asks = [run.click, seeds.submit, plain.input, guided.input]
    gr.on(asks, moved, inputs, [stage, problem], **running).then(None, js=IDLE, **SCRIPTED)

    def first(request: gr.Request | None, drawn: Any, *asked: str) -> tuple[Any, str]:
        return (gr.skip(), "") if drawn else moved(request, *asked)

    def offered() -> Any:
        return gr.update(choices=_offers(registry, runner))

    opened.select(first, [stage, *inputs], [stage, problem], **running).then(offered, None, add, **running)

    def added(request: gr.Request | None, chosen: str | None, lines: str, *others: str) -> tuple[Any, ...]:
        if not chosen:
            return None, gr.skip(), gr.skip(), gr.skip()
        written = "\n".join([*lines.rstrip().splitlines(), chosen])
        return None, written, *moved(request, written, *others)

    add.input(added, [add, *inputs], [add, lines, stage, problem], **running).then(None, js=IDLE, **SCRIPTED)

    def rescaled(request: gr.Request | None, lines: str, scale: float, *others: str) -> tuple[Any, ...]:
        try:
            written = "\n".join(with_scale(line, scale, registry) for line in _lines(lines))
        except ValueError as error:
            return gr.skip(), gr.skip(), cards.problem(sentence(error))
        return written, *moved(request, written, *others)

    scale.input(rescaled, [lines, scale, plain, guided, seeds], [lines, stage, problem], **running).then(
        None, js=IDLE, **SCRIPTED
    )
    gr.on([*asks, scale.input, add.input], None, js=BUSY, **SCRIPTED)


def first_kept(registry: Registry, runner: Runner) -> Once[dict[str, Any]]:
    """`payload` of the form's text; what the tab begins with is computed once, if all of it could be."""

    def drawing(lines: str, plain: str, guided: str, seeds: str) -> dict[str, Any]:
        return payload(_lines(lines), plain, guided, seeds, registry, runner)

    return Once(drawing, FIRST, lambda found: all(panel["status"] == "done" for panel in found["panels"]))


@functools.lru_cache(maxsize=1)
def _offers(registry: Registry, runner: Runner) -> list[tuple[str, str]]:
    runner.ready()
    return offers(MODEL, registry)


def payload(
    lines: Sequence[str], plain: str, guided: str, seeds: str, registry: Registry, runner: Runner
) -> dict[str, Any]:
    """What the stage draws, as JSON: the mixture, and the paths of every method.

    Args:
        lines: one method each.
        plain, guided: the prompts of methods that ask the denoiser alone, and of those that are guided or ask another
            network: the exact students know one mode each.
        seeds: one point each.

    Raises:
        ValueError: it cannot be run; the message is for the person who asked.
    """
    from zoo.planning import load_model
    from zoo.trajectory import trace

    lines = [line.strip() for line in lines if line.strip()]
    runner.ready()
    comparison = comparison_from(MODEL, "", "", seeds, lines, registry)
    if len(comparison.seeds) > MAX_POINTS:
        raise ValueError(say("ask.points", most=MAX_POINTS, n=len(comparison.seeds)))
    limits = limits_for(comparison, registry)
    found: dict[int, tuple[Trajectory, str]] = {}
    particular = [_is_particular(method, registry) for method in comparison.cells]
    for prompt, wanted in ((plain, False), (guided, True)):
        mine = [i for i, is_particular in enumerate(particular) if is_particular is wanted]
        if not mine:
            continue
        cells = tuple(comparison.cells[i] for i in mine)
        part = comparison.model_copy(update={"cells": cells, "prompt": prompt})
        traced = trace(part, on=runner.loop, limits=limits, registry=registry)
        found.update({i: (trajectory, prompt) for i, trajectory in zip(mine, traced, strict=True)})
    model: Any = load_model(MODEL, registry)
    return {
        "mixture": _mixture(model),
        "span": SPAN,
        "times": [round(_position(model.schedule.level(t)), 4) for t in range(model.schedule.timesteps)],
        "seeds": list(comparison.seeds),
        "panels": [_panel(*found[i], model, runner) for i in range(len(comparison.cells))],
    }


def _lines(text: str) -> list[str]:
    if len(text) > LONGEST:
        raise ValueError(say("ask.long", most=LONGEST, n=len(text)))
    return text.splitlines()


def _is_particular(method: Method, registry: Registry) -> bool:
    """Whether it is guided, or asks another network than the denoiser."""
    from zoo.planning import resolve

    sampler, conditioners = resolve(method, registry)
    return bool(conditioners) or any(role != "denoiser" for role in sampler.requires())


def with_scale(line: str, scale: float, registry: Registry) -> str:
    """The line with the scale of all its conditioners that have one set to this; as it is if it cannot be read."""
    try:
        method = Method.parse(line)
        conditioners = tuple(
            _with(part, scale) if "scale" in methods.fields(registry.conditioner(part.name)) else part
            for part in method.conditioners
        )
    except (ValueError, LookupError):
        return line
    return str(replace(method, conditioners=conditioners)) if conditioners else line


def _with(part: Part, scale: float) -> Part:
    params = {**dict(part.params), "scale": methods.written(round(float(scale), 6))}
    return replace(part, params=tuple(params.items()))


def _panel(trajectory: Trajectory, prompt: str, model: GaussianMixture, runner: Runner) -> dict[str, Any]:
    phrases = methods.phrases(trajectory.method, runner.registry)
    panel: dict[str, Any] = {
        "title": methods.title(trajectory.method, phrases),
        "phrases": phrases,
        "method": trajectory.method,
        "status": trajectory.status,
        "error": visible(trajectory.error),
    }
    if trajectory.path is None or trajectory.x0 is None:
        return panel
    states = trajectory.path.states
    chosen = _chosen(len(states))
    return panel | {
        "path": _way(trajectory.path, chosen),
        "x0": [_rounded(trajectory.x0[i]) for i in chosen[:-1]],
        "solution": None
        if trajectory.solution is None
        else _way(trajectory.solution, _chosen(len(trajectory.solution.states), MAX_SOLUTION)),
        "asked": [round(_position(level), 4) for level in trajectory.path.levels[:-1]],
        "terms": _terms(trajectory.terms, prompt, model),
        "cost": f"{sum(trajectory.nfe.values())} NFE",
        "facts": [tuple(map(sent, fact)) for fact in _facts(trajectory)],
    }


def _facts(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    """Name, value and explanation of what can be said of the samples."""
    from zoo.metric import Score

    facts: list[tuple[str, str, str]] = []
    error, energy = trajectory.error_to_solution, trajectory.energy
    kind = "error_exact" if trajectory.exact else "error_fine"
    if error is None:
        facts.append((say(f"moves.{kind}"), say("moves.no_error"), say("moves.no_error_title")))
    else:
        facts.append((say(f"moves.{kind}"), _number(error.value), say(f"moves.{kind}_title")))
    if isinstance(energy, Score):
        real = "?" if energy.real is None else _number(energy.real)
        facts.append(
            (
                say("moves.energy"),
                _number(energy.value),
                say("moves.energy_title", n=energy.n, real=real),
            )
        )
    elif energy is not None:
        facts.append((say("moves.energy"), say("moves.energy_absent"), energy.reason))
    return facts


def _number(value: float) -> str:
    """Three digits that people can read; below 1e-6, rounding is all there is."""
    return "< 1e-6" if abs(value) < 1e-6 else f"{value:.3g}"


def _terms(terms: Mapping[str, float], prompt: str, model: GaussianMixture) -> list[dict[str, Any]]:
    """What the network is asked, as weights of one class's density or (None) of the whole mixture's."""
    import torch

    texts = {"prompt": prompt}
    return [
        {"weight": weight, "only": model.condition(texts.get(name, ""), torch.device("cpu"))}
        for name, weight in terms.items()
        if weight != 0
    ]


def _mixture(model: GaussianMixture) -> dict[str, Any]:
    return {
        "means": model.means.tolist(),
        "variances": model.variances.tolist(),
        "basis": None if model.basis is None else model.basis.tolist(),
        "logWeights": model.log_weights.tolist(),
    }


def _way(way: Way, chosen: Sequence[int]) -> dict[str, Any]:
    """A path on the axis that all share, in the scaling where variance is preserved."""
    return {
        "at": [round(_position(way.levels[i]), 5) for i in chosen],
        "states": [
            _rounded(way.states[i] / math.hypot(way.levels[i].alpha, way.levels[i].sigma)) for i in chosen
        ],
    }


def _position(level: Any) -> float:
    """1 for noise, 0 for data, evenly in the angle whose tangent is sigma/alpha."""
    return math.atan2(level.sigma, level.alpha) * 2 / math.pi


def _chosen(count: int, most: int = MAX_STATES) -> Sequence[int]:
    if count <= most:
        return range(count)
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _rounded(points: Any) -> list[list[float]]:
    return [[round(value, 3) for value in point] for point in points.flatten(1).tolist()]


def _stage() -> str:
    """The stage without its panels, which the script makes."""

    def words(name: str, tag: str = "span", attributes: str = "") -> str:
        return element(say(f"moves.{name}"), tag, attributes)

    boxes = "".join(
        f'<label><input type="checkbox" name="{name}"{" checked" if on else ""}>'
        f'<span class="zoo-key zoo-key-{name}"></span>{words(f"key_{name}")}</label>'
        for name, on in (("solution", True), ("score", True), ("x0", False))
    )
    play = words("play", "button", 'type="button" class="zoo-play"')
    ends = f'{words("noise")}<span class="zoo-level"></span>{words("data")}'
    position = say("moves.scrubber")
    scrubber = (
        '<input type="range" class="zoo-scrubber" min="0" max="1" step="0.002" '
        f'aria-label="{position}" {marks(position, "aria-label")}>'
    )
    rows = f'{words("rows", "summary")}<div class="zoo-rows"></div>'
    path = f'<span><span class="zoo-key zoo-key-path"></span> {words("key_path")}</span>'
    follow = f'<label>{words("follow")} <select class="zoo-follow"></select></label>'
    return (
        '<div class="zoo-stage" hidden><div class="zoo-transport">'
        f'{play}<div class="zoo-scrub"><div class="zoo-ends">{ends}</div>{scrubber}</div>'
        f'<details class="zoo-rows-box">{rows}</details></div>'
        f'<div class="zoo-options"><span class="zoo-shown zoo-options">{path}{boxes}</span>{follow}</div>'
        '<div class="zoo-panels"></div></div>' + words("empty", "p", 'class="zoo-empty"')
    )
