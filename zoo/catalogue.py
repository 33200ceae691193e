"""`models.toml`: the models from elsewhere that a page offers, chosen by whoever runs it; its visitors type no names.

    [[model]]
    id = "cats"
    title = "DDPM cats"
    source = "hub:google/ddpm-cat-256"
    licence = "Apache-2.0"

An entry that is written wrongly is offered as unavailable, with the reason, and harms no other.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from zoo.discovery import Candidate, PluginError, PluginInfo
from zoo.hookspecs import ModelSpec, hookimpl
from zoo.method import NAME

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from zoo.model import Model


class Entry(BaseModel):
    """One model of the file.

    Attributes:
        id: its name, as in `--model`.
        title: what a person reads.
        source: hub:OWNER/NAME or folder:PATH, a relative path being one beside the file.
        revision: commit, tag or branch of the hub's repository; a commit never changes.
        prompt: the first that the page suggests; what the model is good at, if "".
        licence: of the weights.
        dtype: of the networks, where the device has it; "" is what suits the device.
        controls: ControlNets of a Stable Diffusion model: name → hub:OWNER/NAME[@REVISION] or folder:PATH.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str = Field(min_length=1, max_length=80)
    source: str
    revision: str = ""
    prompt: str = Field("", max_length=1000)
    licence: str = Field(min_length=1, max_length=80)
    dtype: Literal["", "fp32", "bf16", "fp16"] = ""
    controls: dict[str, str] = Field(default_factory=dict)

    @field_validator("id")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"{value!r} must be letters and digits, with _ . + - after the first")
        return value

    @field_validator("source")
    @classmethod
    def _is_a_source(cls, value: str) -> str:
        if not re.fullmatch(r"hub:[\w.-]+/[\w.-]+|folder:.+", value):
            raise ValueError(f"{value!r} must be hub:OWNER/NAME (its revision has a field) or folder:PATH")
        return value

    @model_validator(mode="after")
    def _has_revisions(self) -> Entry:
        if self.revision and not self.source.startswith("hub:"):
            raise ValueError("a folder has no revision")
        return self


class Catalogue:
    """A models.toml, as a plugin that registers its models.

    Args:
        path: the file.

    Raises:
        PluginError: it cannot be read as TOML, or holds something else than [[model]] tables.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise PluginError(f"{path} is not a file; ZOO_MODELS or --models names it")
        text = path.read_text(encoding="utf-8")
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PluginError(f"{path.name} is not TOML: {error}") from None
        entries = tables.pop("model", [])
        if tables or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise PluginError(
                f"{path.name} holds {', '.join(tables) or 'a model'}; expected [[model]] tables only"
            )
        self.specs = [self._spec(i, given, text) for i, given in enumerate(entries)]

    @hookimpl
    def register_models(self) -> list[ModelSpec]:
        """A spec for each entry."""
        return self.specs

    def _spec(self, number: int, given: dict[str, Any], text: str) -> ModelSpec:
        try:
            entry = Entry(**given)
        except ValidationError as error:
            reason = "; ".join(f"{self._where(p, number, text)}: {_message(p)}" for p in error.errors())
            name = str(given.get("id", ""))
            name = name if NAME.fullmatch(name) else f"{self.path.stem}-{number + 1}"
            refuse: Callable[[], NoReturn] = functools.partial(_refuse, reason)
            title = given.get("title") if isinstance(given.get("title"), str) else name
            return ModelSpec(name, refuse, title=f"{title} (unavailable)", summary=f"Unavailable: {reason}")
        source = entry.source + (f"@{entry.revision}" if entry.revision else "")
        return ModelSpec(
            entry.id,
            functools.partial(build, entry, self.path.parent),
            title=entry.title,
            summary=f"{source}, licence {entry.licence}.",
        )

    def _where(self, problem: Any, number: int, text: str) -> str:
        field = str(problem["loc"][0]) if problem["loc"] else ""
        line = f"{self.path.name}, line {line_of(text, number, field)}"
        return f"{line}, {field}" if field else line


def build(entry: Entry, beside: Path) -> Model:
    """The model of an entry.

    Raises:
        ValueError: it cannot be had; the message says why.
    """
    from zoo.models.elsewhere import open_model
    from zoo.models.elsewhere.latent import StableDiffusion
    from zoo.models.elsewhere.source import open_source

    def placed(source: str) -> str:
        kind, _, place = source.partition(":")
        return f"folder:{beside / Path(place).expanduser()}" if kind == "folder" else source

    revision = f"@{entry.revision}" if entry.revision else ""
    try:
        model = open_model(placed(entry.source) + revision)
        for name, source in entry.controls.items():
            if not isinstance(model, StableDiffusion):
                raise ValueError(f"{entry.title}: only Stable Diffusion has ControlNets here")
            model.add_control(name, open_source(placed(source)))
    except OSError as error:
        raise ValueError(f"{entry.title} is unavailable: {error}") from error
    model.title, model.dtype, model.prompt = entry.title, entry.dtype, entry.prompt
    return model


def line_of(text: str, number: int, field: str) -> int:
    """The line of a field of the entry of this number, from 0; of its [[model]] if it has no such field."""
    entry, line = -1, 1
    for i, written in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*model\s*\]\]", written):
            entry += 1
            line = i if entry <= number else line
        elif entry == number and field and re.match(rf"\s*[\"']?{re.escape(field)}[\"']?\s*=", written):
            return i
    return line


def candidates(path: Path) -> list[Candidate]:
    """The file as the registry admits plugins: read when it is ready for what may come of it."""
    info = PluginInfo(path.name, "models file", str(path))
    return [(info, functools.partial(Catalogue, path))]


def _message(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return f"there is no such field; there are {', '.join(Entry.model_fields)}"
    if problem["type"] == "missing":
        return "is missing"
    message: str = problem["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)
