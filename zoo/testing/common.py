"""What is checked of every kind of contribution."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

from zoo.hookspecs import HEAVY
from zoo.method import Part
from zoo.testing.checks import Function, NotApplicable, fail, require
from zoo.testing.subjects import Subject


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
    """The implementation that the spec names can be imported."""
    subject.spec.load()


def _params_model(subject: Subject) -> type[BaseModel]:
    return subject.spec.params_model()


COMMON: tuple[Function, ...] = (
    import_is_light,
    implementation_loads,
    parameters_are_complete,
    parameters_survive_json,
)
"""Of every kind but models, which have no parameters."""
