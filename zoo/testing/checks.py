"""What a check is, how checks are chosen and run, and the ones that every kind of plugin must pass.

A check is a function of a `Subject` that returns if all is well, raises `CheckFailed` if not, and `NotApplicable`
where the subject never claimed to do what it checks.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import time
import traceback
import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn

from pydantic import BaseModel

from zoo.annotator import Annotator
from zoo.conditioner import Conditioner
from zoo.hookspecs import HEAVY, HOOKS, AnnotatorSpec, ConditionerSpec, MetricSpec, SamplerSpec, Spec
from zoo.method import Part
from zoo.metric import Metric
from zoo.sampler import Sampler


class CheckFailed(AssertionError):
    """A check found something wrong; the message says what was expected, what came, and where to read on."""


class NotApplicable(unittest.SkipTest):
    """The subject does not claim what the check is about; pytest shows it as skipped."""


def fail(expected: str, came: str) -> NoReturn:
    """Raise `CheckFailed` with both halves of its message."""
    raise CheckFailed(f"  expected: {expected}\n  came:     {came}")


def require(fine: object, expected: str, came: str) -> None:
    """Raise `CheckFailed` unless all is well."""
    if not fine:
        fail(expected, came)


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


Function = Callable[[Subject], None]


@dataclass(frozen=True)
class Check:
    """A check and what it is to be run on; call it, as a test does.

    Raises:
        CheckFailed: something is wrong.
        NotApplicable: there is nothing to check.
    """

    function: Function
    subject: Subject

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def id(self) -> str:
        """`ddim eta=1.0: order_of_convergence`."""
        return f"{self.subject.label}: {self.name}"

    def __call__(self) -> None:
        try:
            self.function(self.subject)
        except NotApplicable:
            raise
        except CheckFailed as failure:
            raise CheckFailed(f"{self.id}\n{failure}\n{self._read_on}") from None
        except (Exception, SystemExit) as error:
            came = traceback.format_exception_only(type(error), error)[-1].strip()
            text = f"  expected: {summary(self.function)}\n  came:     {came}"
            raise CheckFailed(f"{self.id}\n{text}\n{self._read_on}") from error

    @property
    def _read_on(self) -> str:
        return f"  read on:  python -m zoo check --explain {self.name}; docs/plugins/testing.md#{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        state: "expected" is a failure that was announced, and "unexpected" an announced one that did not come.
        message: why, unless it passed.
    """

    check: Check
    state: Literal["passed", "failed", "skipped", "expected", "unexpected"]
    message: str
    seconds: float

    @property
    def fine(self) -> bool:
        return self.state in ("passed", "skipped", "expected")


def run(checks: Sequence[Check], expected_failures: Mapping[str, str] | None = None) -> Iterator[Outcome]:
    """Run checks one after the other, raising nothing.

    Args:
        checks: what `checks_of` gave.
        expected_failures: reason by `name_of_check`, `label: name_of_check`, or `name: name_of_check`.

    Raises:
        ValueError: an expected failure names no check.
    """
    reasons = expected(checks, expected_failures or {})
    for check in checks:
        started = time.perf_counter()
        reason = reasons.get(check.id, "")
        state: Any = "passed"
        message = ""
        try:
            check()
            if reason:
                state, message = (
                    "unexpected",
                    f"was expected to fail ({reason}), but passes: no longer expect it",
                )
        except NotApplicable as why:
            state, message = "skipped", str(why)
        except CheckFailed as failure:
            state, message = ("expected", reason) if reason else ("failed", str(failure))
        yield Outcome(check, state, message, time.perf_counter() - started)


def expected(checks: Sequence[Check], failures: Mapping[str, str]) -> dict[str, str]:
    """The reason for each check that is expected to fail, by its id.

    Raises:
        ValueError: an entry has no reason, or names no check.
    """
    found = {}
    for key, reason in failures.items():
        if not reason:
            raise ValueError(f"the expected failure {key!r} needs a reason")
        hit = [c.id for c in checks if key in (c.id, c.name, f"{c.subject.spec.name}: {c.name}")]
        if not hit:
            names = ", ".join(dict.fromkeys(check.name for check in checks))
            raise ValueError(f"the expected failure {key!r} names no check; there are {names}")
        found.update(dict.fromkeys(hit, reason))
    return found


def subjects_of(
    target: Any, settings: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> list[Subject]:
    """What there is to check in a target, each contribution with its defaults and with each further setting.

    Args:
        target: a plugin (its module), a spec, the class of a sampler, conditioner or metric, or a list of these.
        settings: parameters to check besides the defaults, by the contribution's name.

    Raises:
        TypeError: the target is none of these.
        ValueError: it contributes nothing, or a setting is for a name that it does not have.
    """
    specs = list(_specs(target))
    if not specs:
        raise ValueError(f"{target!r} contributes nothing: it has none of the hooks {', '.join(HOOKS)}")
    settings = settings or {}
    unknown = sorted(set(settings) - {spec.name for spec, _ in specs})
    if unknown:
        raise ValueError(f"settings for {unknown}, but there are {', '.join(spec.name for spec, _ in specs)}")
    return [
        Subject(spec, dict(params), module)
        for spec, module in specs
        for params in ({}, *settings.get(spec.name, ()))
    ]


def summary(function: Function) -> str:
    """The first paragraph of a check's docstring, in one line."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


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
        for hook in HOOKS:
            if hasattr(target, hook):
                yield from ((spec, module) for spec in getattr(target, hook)())
    else:
        raise TypeError(f"expected a plugin's module, a spec or a class, got {type(target).__name__}")


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


def import_is_light(subject: Subject) -> None:
    """Importing the plugin imports neither torch nor diffusers nor gradio nor anything else that is heavy.

    Every start of the page and of the command line imports every plugin, used or not. Import what is heavy inside
    the function that needs it, or give the implementation as "package.module:Class", which is imported at first
    use. Most samplers need only the methods of the tensors that they get.
    """
    if not subject.module:
        raise NotApplicable("checked where the plugin's module is given")
    heavy = _heavy_imports(subject.module)
    require(not heavy, f"no import of {', '.join(HEAVY)}", f"importing {subject.module} imports {heavy}")


@functools.cache
def _heavy_imports(module: str) -> str:
    """What a fresh Python has imported of `HEAVY` after importing the module."""
    code = (
        "import importlib, json, runpy, sys\n"
        "name, heavy = sys.argv[1], json.loads(sys.argv[2])\n"
        "runpy.run_path(name) if name.endswith('.py') else importlib.import_module(name)\n"
        "print('\\n' + ', '.join(h for h in heavy if h in sys.modules))"
    )
    path = os.pathsep.join(str(Path(folder or ".").absolute()) for folder in sys.path)
    # S603: the plugin that its author asked to have checked is what runs, in a process of its own.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, module, json.dumps(HEAVY)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        fail(f"{module} can be imported", done.stderr.strip().splitlines()[-1])
    return done.stdout.splitlines()[-1]


def parameters_are_complete(subject: Subject) -> None:
    """Every parameter has a valid default, a title, and, if it is a number, a bound; nothing else is taken.

    The page builds its controls from the parameters and the command line its messages. Derive `Params` from the
    base class's, which refuses unknown names and numbers that are not finite, and write
    `Field(50, ge=1, le=1000, title="Steps")`.
    """
    model = _params_model(subject)
    missing = [name for name, field in model.model_fields.items() if field.is_required()]
    require(not missing, "a default for every parameter", f"none for {', '.join(missing)}")
    require(
        model.model_config.get("extra") == "forbid" and model.model_config.get("frozen"),
        "parameters that forbid what they do not know and cannot be changed (derive Params from the base's)",
        f"model_config = {dict(model.model_config)}",
    )
    untitled = [name for name, field in model.model_fields.items() if not field.title]
    require(not untitled, "a title for every parameter, for its control on the page", f"none: {untitled}")
    properties = model.model_json_schema().get("properties", {})
    bounds = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum"}
    loose = [
        name
        for name, schema in properties.items()
        if schema.get("type") in ("integer", "number") and not bounds & set(schema)
    ]
    require(not loose, "ge, gt, le or lt for every number", f"none for {', '.join(loose)}")
    model.model_validate(model().model_dump())  # pydantic does not check defaults by itself


def parameters_survive_json(subject: Subject) -> None:
    """Parameters are the same after JSON, and after a method's line, as they were before.

    A comparison is kept as JSON and a method as a line such as `ddim eta=0.5`: what cannot be read back from there
    cannot be repeated.
    """
    model = _params_model(subject)
    params = model(**subject.params)
    again = model.model_validate_json(params.model_dump_json())
    require(again == params, f"{params!r} after JSON", repr(again))
    line = str(Part.of(subject.spec.name, **params.model_dump(mode="json")))
    read = model(**dict(Part.parse(line).params))
    require(read == params, f"{params!r} from the line {line!r}", repr(read))


def implementation_loads(subject: Subject) -> None:
    """The implementation that the spec names can be imported, and made with its parameters."""
    subject.make()


def _params_model(subject: Subject) -> type[BaseModel]:
    return subject.spec.params_model()


COMMON: tuple[Function, ...] = (
    import_is_light,
    parameters_are_complete,
    parameters_survive_json,
    implementation_loads,
)
"""Of every kind but models, which have no parameters."""


def ids(functions: Iterable[Function]) -> list[str]:
    """The names of checks."""
    return [function.__name__ for function in functions]
