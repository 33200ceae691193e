"""What the page's script may ask of the server, in JSON both ways; every answer to a mistake is {"error": …}."""

from __future__ import annotations

import base64
import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zoo.comparison import MAX_CELLS, MAX_TEXT, Comparison
from zoo.method import MAX_LENGTH
from zoo.pictures import admit
from zoo.planning import impossible, load_model, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT
from zoo.sheet import data_uri
from zoo.ui import exports
from zoo.ui.catalogue import card
from zoo.ui.disclosure import unexpected
from zoo.ui.people import People, address
from zoo.ui.presets import known
from zoo.ui.request import MAX_UPLOAD, Asked, Card, comparison_of, readable, receive, sentence
from zoo.ui.running import Runner
from zoo.ui.runs import Run, blocks_of, cards_of
from zoo.ui.sweep import expand
from zoo.ui.words import say, sent

log = logging.getLogger(__name__)

Call = Callable[..., Any]
"""Of what the script sends and, where it matters who does, of the request."""


class Gone(LookupError):
    """The run is not kept here."""


class _Named(BaseModel):
    """A question about a run."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=64)
    key: str = Field("", max_length=64)
    since: int = 0
    cell: int = Field(0, ge=0, lt=MAX_CELLS)
    kind: str = Field("", max_length=16)


class _Restored(BaseModel):
    """What a file holds of methods."""

    model_config = ConfigDict(extra="ignore")

    cells: list[Annotated[str, Field(max_length=MAX_LENGTH)]] = Field(max_length=MAX_CELLS)
    cards: Any = None


class _Example(BaseModel):
    """A picture to be drawn for a method to follow."""

    model: str = Field(max_length=MAX_TEXT)
    prompt: str = Field("", max_length=MAX_TEXT)
    control: str = Field("", max_length=MAX_TEXT)
    seed: int = Field(0, ge=0, lt=2**32)


class _Upload(BaseModel):
    """A picture that a method shall follow."""

    uri: str = Field(max_length=MAX_UPLOAD)


def calls(registry: Registry, runner: Runner, people: People | None = None) -> list[Call]:
    """The functions, by the names under which the script calls them; `people` bounds what each person has at work."""
    people = people or People()

    def read_card(data: Any) -> dict[str, Any]:
        """A method line, checked and taken apart."""
        asked = Card.model_validate(data)
        return card(asked.line, registry, asked.swap)

    def keep_picture(data: Any) -> dict[str, Any]:
        """The name that methods call an uploaded picture, and itself as they see it; nothing is kept here."""
        asked = _Upload.model_validate(data)
        try:
            content = base64.b64decode(asked.uri.rpartition(",")[2], validate=True)
        except ValueError:
            raise ValueError("What was sent is no data URI (data:image/png;base64,…).") from None
        name, png = receive(content)
        return {"name": name, "uri": data_uri(png)}

    def draw_example(data: Any) -> dict[str, Any]:
        """A picture for a ControlNet to follow, for those who have none at hand; `map` tells whether it is one."""
        from PIL import Image

        from zoo.data.maps import control_picture

        asked = _Example.model_validate(data)
        _waited_for(asked.model)
        model = load_model(asked.model, registry)
        size = min(model.picture_size) if len(model.shape) == 3 else 32  # else nothing can follow it anyway
        drawn = control_picture(asked.control, asked.prompt, asked.seed, size)
        name, png = admit(Image.fromarray(drawn.pixels))
        return {"name": name, "uri": data_uri(png), "map": drawn.is_map}

    def start_run(data: Any, request: gr.Request | None) -> dict[str, Any]:
        """Begin a comparison; the answer is all there is of it, with the key to cancel it."""
        comparison, blocks = _comparison(Asked.model_validate(data), registry)
        run = people.start(address(request), lambda: runner.start(comparison, blocks))
        return run.since(0) | {"key": run.key}

    def look_at(data: Any) -> dict[str, Any]:
        """What is new of a run."""
        asked = _Named.model_validate(data)
        run = _found(runner, asked)
        run.seen = time.monotonic()
        return run.since(asked.since)

    def stop_run(data: Any) -> dict[str, Any]:
        """Cancel a run; it ends within one tick of the engine."""
        run = _owned(runner, _Named.model_validate(data))
        run.stop.set()
        return {}

    def retry_cell(data: Any, request: gr.Request | None) -> dict[str, Any]:
        """Run one cell again."""
        asked = _Named.model_validate(data)
        run = _owned(runner, asked)

        def again() -> Run:
            runner.retry(run, asked.cell)
            return run

        people.start(address(request), again)
        return {}

    def continue_run(data: Any, request: gr.Request | None) -> dict[str, Any]:
        """Run the cells that were cancelled or interrupted."""
        run = _owned(runner, _Named.model_validate(data))

        def again() -> Run:
            runner.resume(run)
            return run

        people.start(address(request), again)
        return {}

    def cell_way(data: Any) -> dict[str, Any]:
        """How a cell got from noise to its picture."""
        asked = _Named.model_validate(data)
        way = runner.shelf.way(asked.id, asked.cell)
        if way is None:
            raise ValueError(say("run.no_way"))
        return way

    def export_run(data: Any) -> dict[str, Any]:
        """A run as a file: png, zip or report."""
        asked = _Named.model_validate(data)
        run = _found(runner, asked)
        name, kind, content = exports.file(run, asked.kind)
        return {"name": name, "type": kind, "base64": base64.b64encode(content).decode("ascii")}

    def restore_cards(data: Any) -> dict[str, Any]:
        """The cards of a comparison that comes from a file."""
        held = _Restored.model_validate(data)
        return {"cards": [found.model_dump() for found in cards_of(held.cells, held.cards, registry)]}

    def as_code(data: Any) -> dict[str, Any]:
        """What the form asks for, as Python and as a command."""
        comparison, _ = _comparison(Asked.model_validate(data), registry)
        return {"python": exports.python(comparison), "command": exports.command(comparison)}

    def model_facts(data: Any) -> dict[str, Any]:
        """What is known of a model once it can be built: examples, and which presets it can run."""
        asked = Asked.model_validate(data)
        runner.visited.set()
        _waited_for(asked.model)
        return facts(asked.model, registry)

    def _waited_for(model: str) -> None:
        if model not in registry.models:
            raise ValueError(f"There is no model {model!r}.")
        runner.ready(networks=not registry.is_built_in(model))  # ours are built without their networks

    return [
        _guarded(call)
        for call in (
            read_card,
            keep_picture,
            draw_example,
            start_run,
            look_at,
            stop_run,
            retry_cell,
            continue_run,
            cell_way,
            export_run,
            restore_cards,
            as_code,
            model_facts,
        )
    ]


def facts(name: str, registry: Registry) -> dict[str, Any]:
    """Examples of a model, and the names of the presets all of whose methods it can run; or why it cannot be had."""
    try:
        model = load_model(name, registry)
        examples = model.examples()
    except ValueError as error:
        return {"examples": [], "presets": [], "problem": sent(sentence(error))}
    except Exception:  # a plugin's model that cannot be built says why when it is compared
        return {"examples": [], "presets": [], "problem": ""}
    conditions = {PROMPT: examples[0] if examples else "", NEGATIVE: ""}
    runs = [
        preset.name
        for preset in known(registry)
        if all(
            not impossible(model, *resolve(spot.method, registry), conditions)
            for line in preset.lines
            for spot in expand(line, registry).spots
        )
    ]
    return {"examples": examples, "presets": runs, "problem": ""}


def _comparison(asked: Asked, registry: Registry) -> tuple[Comparison, list[dict[str, Any]]]:
    lines, blocks = blocks_of(asked, registry)
    return comparison_of(asked, lines, registry), blocks


def _found(runner: Runner, asked: _Named) -> Run:
    run = runner.find(asked.id)
    if run is None:
        raise Gone(say("run.gone", days=f"{runner.shelf.days:g}"))
    return run


def _owned(runner: Runner, asked: _Named) -> Run:
    run = _found(runner, asked)
    if asked.key != run.key:
        raise ValueError(say("run.not_yours"))
    return run


def _guarded(call: Call) -> Call:
    """The call with its errors as answers; a missing run is told apart."""
    about_who = "request" in inspect.signature(call).parameters

    @functools.wraps(call)
    def guarded(data: Any, request: gr.Request | None = None) -> Any:
        try:
            return call(data, request) if about_who else call(data)
        except ValidationError as error:
            return {"error": readable(error)}
        except ValueError as error:
            return {"error": sent(sentence(error))}
        except Gone as error:
            return {"error": sent(sentence(error)), "gone": True}
        except Exception as error:
            log.exception("the page asked for something that failed")
            return {"error": unexpected(error)}

    # Gradio reads the signature of what it calls to see where the request goes, and must see this one.
    guarded.__annotations__ = {"request": gr.Request | None}
    del guarded.__wrapped__
    return guarded
