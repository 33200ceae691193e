"""What a plugin may contribute: five hooks, and the cheap specs that they return.

A spec says what a thing is called and where its implementation is, and importing one loads nothing heavy. So
a list of everything installed is instant, and torch, diffusers and the like wait for the first use.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pluggy
from pydantic import BaseModel, ConfigDict

from zoo.method import FULL_NAME

PROJECT = "sampler_zoo"
API_VERSION = 1

HEAVY = ("torch", "torchvision", "diffusers", "transformers", "gradio", "cv2", "controlnet_aux")
"""What importing a plugin must not import: it would slow down every start, used or not."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

_ADDRESS = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


class ImplementationError(ImportError):
    """The implementation that a spec names cannot be imported."""


class NoParams(BaseModel):
    """The parameters of something that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Spec:
    """What one contribution is called, and where its implementation is.

    Args:
        name: bare, such as "ddim"; the host shows those of third parties as plugin/name.
        implementation: the class, or "package.module:Class", imported at first use. Of a model: a function
            without arguments that builds it, or "package.module:function".
        title: what a person reads.
        summary: one or two sentences; lists show the first alone.
        paper: its arXiv number, such as "2010.02502".
        params: the parameters; by default the implementation's own `Params`.
        equation: of one step, in LaTeX as KaTeX reads it, without delimiters.
        cost: what it costs, in network evaluations.
        when: when to use it, and when not.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: the name, or the implementation's address, is not written as above.
    """

    kind: ClassVar[str] = "contribution"

    name: str
    implementation: Callable[..., Any] | str
    title: str
    summary: str = ""
    paper: str = ""
    params: type[BaseModel] | None = None
    equation: str = ""
    cost: str = ""
    when: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "title", "summary", "paper", "equation", "cost", "when"):
            value = getattr(self, field)
            if not isinstance(value, str):
                raise TypeError(f"{field} of {self._label} must be a string, got {value!r}")
        if not FULL_NAME.fullmatch(self.name):
            raise ValueError(f"{self._label}: a name is letters and digits, with _ . + - after the first")
        if isinstance(self.implementation, str):
            if not _ADDRESS.fullmatch(self.implementation):
                raise ValueError(
                    f"implementation of {self._label} must be written package.module:Class, "
                    f"got {self.implementation!r}"
                )
        elif not callable(self.implementation):
            raise TypeError(
                f"implementation of {self._label} must be a class or 'package.module:Class', "
                f"got {self.implementation!r}"
            )
        if self.params is not None and not _is_params(self.params):
            raise TypeError(f"params of {self._label} must be a pydantic model class, got {self.params!r}")

    def load(self) -> Any:
        """The implementation itself (of a model: the function that builds it), imported now if it must be.

        Raises:
            ImplementationError: it cannot be imported.
        """
        if not isinstance(self.implementation, str):
            return self.implementation
        module, _, path = self.implementation.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for attribute in path.split("."):
                found = getattr(found, attribute)
        except (Exception, SystemExit) as error:
            raise ImplementationError(
                f"{self._label} cannot be used: importing {self.implementation} failed with "
                f"{type(error).__name__}: {error}"
            ) from error
        return found

    def params_model(self) -> type[BaseModel]:
        """The parameters' model: `params`, else the implementation's `Params`, else one without fields.

        Raises:
            ImplementationError: only the implementation knows, and it cannot be imported.
        """
        if self.params is not None:
            return self.params
        params: type[BaseModel] = getattr(self.load(), "Params", NoParams)
        if not _is_params(params):
            raise ImplementationError(
                f"Params of {self._label} must be a pydantic model class, got {params!r}"
            )
        return params

    @property
    def _label(self) -> str:
        return f"{self.kind} {self.name!r}"


class SamplerSpec(Spec):
    """A sampler: its implementation is a `zoo.Sampler`."""

    kind = "sampler"


class ConditionerSpec(Spec):
    """A conditioner: its implementation is a `zoo.Conditioner`."""

    kind = "conditioner"


class ModelSpec(Spec):
    """A model: its implementation is a function without arguments that returns a `zoo.Model`."""

    kind = "model"


@dataclass(frozen=True)
class AnnotatorSpec(Spec):
    """An annotator, which turns a picture into a control map: its implementation is a `zoo.Annotator`.

    Args:
        needs: weights and packages that do not come with the zoo, and where they come from; "" is nothing.
    """

    kind = "annotator"

    needs: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.needs, str):
            raise TypeError(f"needs of {self._label} must be a string, got {self.needs!r}")


class MetricSpec(Spec):
    """A metric: its implementation is a `zoo.Metric`."""

    kind = "metric"


@hookspec
def register_samplers() -> list[SamplerSpec]:
    """Return a list of `SamplerSpec`, one for each sampler that the plugin offers."""
    return []


@hookspec
def register_conditioners() -> list[ConditionerSpec]:
    """Return a list of `ConditionerSpec`, one for each conditioner that the plugin offers."""
    return []


@hookspec
def register_models() -> list[ModelSpec]:
    """Return a list of `ModelSpec`, one for each model that the plugin offers."""
    return []


@hookspec
def register_annotators() -> list[AnnotatorSpec]:
    """Return a list of `AnnotatorSpec`, one for each annotator that the plugin offers."""
    return []


@hookspec
def register_metrics() -> list[MetricSpec]:
    """Return a list of `MetricSpec`, one for each metric that the plugin offers."""
    return []


HOOKS: dict[str, type[Spec]] = {
    "register_samplers": SamplerSpec,
    "register_conditioners": ConditionerSpec,
    "register_models": ModelSpec,
    "register_annotators": AnnotatorSpec,
    "register_metrics": MetricSpec,
}


def _is_params(params: object) -> bool:
    return isinstance(params, type) and issubclass(params, BaseModel)
