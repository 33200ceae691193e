"""The list of methods: each a tick, a line of text, and controls that write the line.

The line is the method; everything else is derived from it. The places in the list are made once and shown as
needed, so that their events stay the same; only the controls, which depend on the plugins that a line names, are
rendered anew when it names others.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from zoo.pictures import admit, is_picture
from zoo.registry import Registry
from zoo.ui import cards, methods
from zoo.ui.controls import control
from zoo.ui.request import MAX_METHODS, check_method, sentence

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of events that answer at once and are no business of API users."""

REDRAWING: dict[str, Any] = {
    "concurrency_limit": None,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""Of events that change what is rendered: the browser hears of changed states through the queue only."""


MAX_UPLOADS = 2 * MAX_METHODS
"""Uploaded pictures that are remembered for a visitor; the oldest are forgotten."""


@dataclass
class Place:
    """One place in the list."""

    column: gr.Column
    tick: gr.Checkbox
    line: gr.Textbox
    adjust: gr.Button
    copy: gr.Button
    remove: gr.Button
    problem: gr.HTML
    opened: gr.State
    seen: gr.State
    """The line that the controls show."""
    drawn: gr.State
    """Counts up when the controls must be made anew."""


class MethodList:
    """The list with its "Add method" button; to be created inside a Blocks context."""

    def __init__(self, registry: Registry, lines: Sequence[str] = methods.DEFAULT_LINES) -> None:
        self.registry = registry
        self.pictures = gr.State({})
        """What was uploaded, as `Comparison.pictures` has it."""
        self.count = gr.State(len(lines))
        padded = [*lines, *[""] * (MAX_METHODS - len(lines))]
        self.places = [self._place(i, line, i < len(lines)) for i, line in enumerate(padded)]
        self.add = gr.Button("Add method", size="sm", elem_id="add-method")
        for i, place in enumerate(self.places):
            self._listen(i, place)
        self.add.click(self._added, self._state, self._shown, **REDRAWING)

    @property
    def inputs(self) -> list[Any]:
        """What `chosen` reads."""
        return [self.count, *(p.tick for p in self.places), *(p.line for p in self.places)]

    @staticmethod
    def chosen(count: int, *values: Any) -> list[str]:
        """The lines that are ticked, in order."""
        ticks, lines = values[:MAX_METHODS], values[MAX_METHODS:]
        return [
            line
            for i, (tick, line) in enumerate(zip(ticks, lines, strict=True))
            if i < count and tick and line
        ]

    def _place(self, index: int, line: str, visible: bool) -> Place:
        number = index + 1
        with gr.Column(visible=visible, elem_classes="zoo-method", elem_id=f"method-{number}") as column:
            with gr.Row(elem_classes="zoo-line"):
                tick = gr.Checkbox(
                    True,
                    label=f"Include method {number}",
                    container=False,
                    elem_classes="zoo-tick",
                    min_width=24,
                )
                text = gr.Textbox(
                    line,
                    label=f"Method {number}",
                    show_label=False,
                    container=False,
                    max_lines=1,
                    max_length=2000,
                    placeholder="ddim steps=20 | cfg scale=3",
                    elem_classes="zoo-text",
                    min_width=120,
                )
                adjust = gr.Button("Adjust", size="sm", elem_classes="zoo-icon zoo-adjust", min_width=28)
                copy = gr.Button("Duplicate", size="sm", elem_classes="zoo-icon zoo-copy", min_width=28)
                remove = gr.Button("Remove", size="sm", elem_classes="zoo-icon zoo-remove", min_width=28)
            problem = gr.HTML("", elem_classes="zoo-line-problem")
            place = Place(
                column,
                tick,
                text,
                adjust,
                copy,
                remove,
                problem,
                gr.State(False),
                gr.State(line),
                gr.State(0),
            )
            self._controls(place)
        return place

    def _listen(self, index: int, place: Place) -> None:
        for happened in (place.line.submit, place.line.blur):
            happened(
                self._typed,
                [place.line, place.seen, place.drawn],
                [place.line, place.seen, place.drawn, place.problem],
                **REDRAWING,
            )
        place.adjust.click(
            lambda opened, line, drawn: (not opened, line, drawn + 1),
            [place.opened, place.line, place.drawn],
            [place.opened, place.seen, place.drawn],
            **REDRAWING,
        )
        place.copy.click(lambda *s: self._changed(index, index + 1, s), self._state, self._shown, **REDRAWING)
        place.remove.click(lambda *s: self._changed(index, None, s), self._state, self._shown, **REDRAWING)

    def _typed(self, line: str, seen: str, drawn: int) -> tuple[Any, ...]:
        """Check a line that was typed, and let the controls follow it."""
        if line.strip() == seen and line.strip():
            return gr.skip(), seen, drawn, ""
        try:
            usual = check_method(line, self.registry)
        except ValueError as error:
            return gr.skip(), seen, drawn, cards.problem(str(error))
        return usual, usual, drawn + 1, ""

    def _controls(self, place: Place) -> None:
        @gr.render(  # type: ignore[untyped-decorator]
            inputs=[place.opened, place.line],
            triggers=[place.drawn.change],
            queue=False,
            show_progress="hidden",
        )
        def draw(opened: bool, line: str) -> None:
            if opened:
                self._draw_controls(place, line)

    def _draw_controls(self, place: Place, line: str) -> None:
        """The controls of one method; choosing another sampler or conditioner makes them anew."""
        registry = self.registry
        try:
            sampler, conditioners, values = methods.split(line, registry)
        except Exception as error:  # plugins' code ran; whatever is wrong, their controls cannot be made
            gr.HTML(cards.problem(f"No controls for this line: {error}"))
            return
        if len(set(conditioners)) < len(conditioners):
            gr.HTML(cards.problem("No controls for a line that names a conditioner twice: edit the text."))
            return
        made: dict[tuple[str, str], Any] = {}
        uploads: dict[tuple[str, str], Any] = {}
        with gr.Column(elem_classes="zoo-controls"):
            choice = gr.Dropdown(
                _titles(registry.samplers), value=sampler, label="Sampler", filterable=True, interactive=True
            )
            self._parameters(registry.sampler(sampler), values, made, uploads)
            added = gr.Dropdown(
                _titles(registry.conditioners),
                value=conditioners,
                multiselect=True,
                label="Conditioners",
                info="applied from left to right, the first nearest to the network",
                interactive=True,
            )
            for name in conditioners:
                gr.HTML(cards.heading(registry.conditioner(name).title))
                self._parameters(registry.conditioner(name), values, made, uploads)

        def rewritten(line: str, *given: Any) -> tuple[Any, ...]:
            line = methods.join(line, sampler, conditioners, dict(zip(made, given, strict=True)), registry)
            try:
                line = check_method(line, registry)
            except ValueError as error:
                return gr.skip(), gr.skip(), cards.problem(str(error))
            return line, line, ""

        def uploaded(
            key: tuple[str, str], line: str, data: bytes, pictures: dict[str, bytes]
        ) -> tuple[Any, ...]:
            try:
                name, png = admit(data)
            except ValueError as error:
                return gr.skip(), gr.skip(), cards.problem(sentence(error)), gr.skip()
            line = methods.join(line, sampler, conditioners, {key: name}, registry)
            return line, line, "", dict([*pictures.items(), (name, png)][-MAX_UPLOADS:])

        def another(line: str, drawn: int, sampler: str, conditioners: list[str]) -> tuple[Any, ...]:
            current = methods.split(line, registry)
            start = line if sampler == current[0] else methods.fresh(sampler, registry) + _rest(line)
            line = methods.join(start, sampler, conditioners, {}, registry)
            return line, line, drawn + 1, ""

        for component in made.values():
            component.input(
                rewritten,
                [place.line, *made.values()],
                [place.line, place.seen, place.problem],
                trigger_mode="always_last",
                **QUIET,
            )
        for key, component in uploads.items():
            component.upload(
                functools.partial(uploaded, key),
                [place.line, component, self.pictures],
                [place.line, place.seen, place.problem, self.pictures],
                **QUIET,
            )
        for component in (choice, added):
            component.input(
                another,
                [place.line, place.drawn, choice, added],
                [place.line, place.seen, place.drawn, place.problem],
                **REDRAWING,
            )

    def _parameters(
        self,
        spec: Any,
        values: methods.Values,
        made: dict[tuple[str, str], Any],
        uploads: dict[tuple[str, str], Any],
    ) -> None:
        for name, field in methods.fields(spec).items():
            place = uploads if is_picture(field) else made
            place[spec.name, name] = control(name, field, values[spec.name, name])

    @property
    def _state(self) -> list[Any]:
        return [
            self.count,
            *(p.tick for p in self.places),
            *(p.line for p in self.places),
            *(p.opened for p in self.places),
            *(p.drawn for p in self.places),
        ]

    @property
    def _shown(self) -> list[Any]:
        return [
            *self._state,
            *(p.seen for p in self.places),
            *(p.column for p in self.places),
            *(p.problem for p in self.places),
            self.add,
        ]

    def _added(self, *state: Any) -> list[Any]:
        return self._changed(None, state[0], state)

    def _changed(self, source: int | None, target: int | None, state: Sequence[Any]) -> list[Any]:
        """The list after `source` was copied to `target`, or removed if there is no target."""
        count = state[0]
        columns = [list(state[1 + k * MAX_METHODS : 1 + (k + 1) * MAX_METHODS]) for k in range(4)]
        rows = list(zip(*columns[:3], strict=True))[:count]
        if target is None:
            assert source is not None
            del rows[source]
        elif count < MAX_METHODS:
            new = methods.fresh(next(iter(self.registry.samplers)), self.registry)
            rows.insert(target, rows[source] if source is not None else (True, new, True))
        count = len(rows)
        rows += [(True, "", False)] * (MAX_METHODS - count)
        ticks, lines, opened = (list(column) for column in zip(*rows, strict=True))
        drawn = [
            n + int((o, line) != (was_o, was_line))
            for n, o, line, was_o, was_line in zip(
                columns[3], opened, lines, columns[2], columns[1], strict=True
            )
        ]
        visible = [gr.Column(visible=i < count) for i in range(MAX_METHODS)]
        more = gr.Button(interactive=count < MAX_METHODS)
        return [count, *ticks, *lines, *opened, *drawn, *lines, *visible, *[""] * MAX_METHODS, more]


def _titles(specs: Any) -> list[tuple[str, str]]:
    return [(f"{spec.title} ({name})", name) for name, spec in specs.items()]


def _rest(line: str) -> str:
    """The conditioners of a line, bar included."""
    from zoo.method import Method

    return "".join(f" | {part}" for part in Method.parse(line).conditioners)
