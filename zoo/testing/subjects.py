"""What is checked: every contribution of a plugin, with its defaults and with further settings."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from zoo.annotator import Annotator
from zoo.conditioner import Conditioner
from zoo.discovery import PluginError
from zoo.hooks import contributions
from zoo.hookspecs import HOOKS, AnnotatorSpec, ConditionerSpec, MetricSpec, SamplerSpec, Spec
from zoo.method import Part
from zoo.metric import Metric
from zoo.sampler import Sampler


@dataclass(frozen=True)
class Subject:
    """One contribution of a plugin with one setting of its parameters.

    Attributes:
        spec: what a hook returned.
        params: the parameters that differ from their defaults.
        module: the plugin's own module, or the path of its file; "" where that is unknown.
    """

    spec: Spec
    params: Mapping[str, Any]
    module: str = ""

    @property
    def label(self) -> str:
        """As in the line of a method: `ddim eta=1.0`."""
        return str(Part.of(self.spec.name, **self.params))

    def make(self, **params: Any) -> Any:
        """An instance, with these parameters besides; of a model what its function builds."""
        if self.spec.kind == "model":
            return self.spec.load()()
        return self.spec.load()(self.spec.params_model()(**{**self.params, **params}))


def subjects_of(
    target: Any, settings: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> list[Subject]:
    """What there is to check in a target, each contribution with its defaults and with each further setting.

    Args:
        target: a plugin (its module), a spec, the class of a sampler, conditioner or metric, or a list of these.
        settings: parameters to check besides the defaults, by the contribution's name.

    Raises:
        TypeError: the target is none of these.
        ValueError: a hook is wrong, or contributes nothing; or a setting is for a name that it does not have.
    """
    specs = list(_specs(target))
    if not specs:
        raise ValueError(f"{_called(target)} contributes nothing: its hooks return empty lists")
    settings = settings or {}
    unknown = sorted(set(settings) - {spec.name for spec, _ in specs})
    if unknown:
        raise ValueError(f"settings for {unknown}, but there are {', '.join(spec.name for spec, _ in specs)}")
    return [
        Subject(spec, dict(params), module)
        for spec, module in specs
        for params in ({}, *settings.get(spec.name, ()))
    ]


def _specs(target: Any) -> Iterator[tuple[Spec, str]]:
    kinds: dict[type, type[Spec]] = {
        Sampler: SamplerSpec,
        Conditioner: ConditionerSpec,
        Metric: MetricSpec,
        Annotator: AnnotatorSpec,
    }
    if isinstance(target, Spec):
        yield target, "" if isinstance(target.implementation, str) else _module_of(target.implementation)
    elif isinstance(target, type):
        kind = next((spec for base, spec in kinds.items() if issubclass(target, base)), None)
        if kind is None:
            raise TypeError(f"{target.__name__} is no Sampler, Conditioner, Metric or Annotator")
        yield kind(target.__name__, target, title=target.__name__), ""
    elif isinstance(target, list | tuple):
        for part in target:
            yield from _specs(part)
    elif isinstance(target, ModuleType) or any(hasattr(target, hook) for hook in HOOKS):
        module = _module_of(target)
        try:
            for spec in contributions(target, families=module.startswith("zoo.builtins.")):
                yield spec, module
        except PluginError as error:
            raise ValueError(f"{_called(target)}: {error}") from error
    else:
        raise TypeError(f"expected a plugin's module, a spec or a class, got {type(target).__name__}")


def _called(target: Any) -> str:
    """What a person calls the target."""
    name = getattr(target, "__name__", repr(target))
    return str(name).removeprefix("zoo_dropin_")


def _module_of(thing: Any) -> str:
    """The importable name of a thing's module, else its file."""
    module = inspect.getmodule(thing)
    if module is None:
        return ""
    try:
        findable = importlib.util.find_spec(module.__name__) is not None
    except (ValueError, ImportError):
        findable = False
    if findable and not module.__name__.startswith("zoo_dropin_"):
        return module.__name__
    return str(getattr(module, "__file__", "") or "")
