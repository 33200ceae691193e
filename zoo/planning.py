"""From names to what runs: methods to samplers and conditioners, model names to models, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from zoo.annotator import Annotator
from zoo.built import Built
from zoo.conditioner import Conditioner
from zoo.hooks import told
from zoo.hookspecs import Spec
from zoo.method import Method, Part
from zoo.metric import Metric, NoScore
from zoo.model import Model
from zoo.pictures import control_map
from zoo.prediction import check_determines_x0
from zoo.registry import Registry, UnknownName
from zoo.sampler import NEGATIVE, PROMPT, Sampler, Source
from zoo.schedule import Levels, Schedule

if TYPE_CHECKING:
    import torch

    from zoo.cell import Cell
    from zoo.comparison import Comparison
    from zoo.limits import Limits


class BrokenMethod(ValueError):
    """A plugin's own code raised while a method was made; its error is the cause."""


class _Broken(Sampler):
    """In the place of a method that cannot be made: its cell fails with the reason, and the others are done."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def levels(self, schedule: Schedule) -> Levels:
        raise self._error


def plan(comparison: Comparison, registry: Registry, limits: Limits) -> list[Cell | str]:
    """One cell per method, or the reason why the method is impossible on the model, before anything runs.

    Raises:
        ValueError: a name or a parameter that does not exist, or a prompt that the model cannot draw.
    """
    from zoo.cell import Cell

    methods = resolve_all(comparison, registry)
    model = load_model(comparison.model, registry)
    conditions = _conditions(comparison)
    planned: list[Cell | str] = []
    for method, (sampler, conditioners, reason) in zip(comparison.cells, methods, strict=True):
        maps: dict[Source, torch.Tensor] = {}
        try:
            if not reason:
                maps = control_maps(model, conditioners, comparison.pictures, registry)
        except ValueError as error:
            reason = str(error)
        except (Exception, SystemExit) as error:  # an annotator's own code ran
            reason = f"{type(error).__name__}: {error}"
        cell = Cell(
            model, sampler, conditioners, conditions, comparison.seeds, limits, maps=maps, label=str(method)
        )
        planned.append(reason or cell)
    return planned


def resolve_all(comparison: Comparison, registry: Registry) -> list[tuple[Sampler, list[Conditioner], str]]:
    """The sampler and the conditioners of every method, and why it is impossible on the model; "" if it is not.

    Raises:
        ValueError: a name or a parameter that does not exist, or a prompt that the model cannot draw.
    """
    methods = [_resolved(method, registry) for method in comparison.cells]
    model, conditions = load_model(comparison.model, registry), _conditions(comparison)
    check_prompts(model, conditions)
    return [(*method, impossible(model, *method, conditions)) for method in methods]


def _conditions(comparison: Comparison) -> dict[str, str]:
    return {PROMPT: comparison.prompt, NEGATIVE: comparison.negative}


def control_maps(
    model: Model, conditioners: Sequence[Conditioner], pictures: Mapping[str, bytes], registry: Registry
) -> dict[Source, torch.Tensor]:
    """What the control networks of a method get, by its source.

    Raises:
        ValueError: a picture is missing or damaged, or cannot be annotated.
    """
    controls = {control.source: control for c in conditioners for control in c.controls()}
    return {source: control_map(model, control, pictures, registry) for source, control in controls.items()}


def resolve(method: Method, registry: Registry) -> tuple[Sampler, list[Conditioner]]:
    """The sampler and the conditioners that a method names.

    Raises:
        ValueError: an unknown name, or parameters that are unknown or out of bounds.
        BrokenMethod: a plugin's own code raised.
    """
    try:
        sampler = registry.sampler(method.sampler.name)
        conditioners = [registry.conditioner(part.name) for part in method.conditioners]
    except UnknownName as error:
        raise ValueError(f"in the method {str(method)!r}: {error}") from None
    built = [_build(spec, part) for spec, part in zip(conditioners, method.conditioners, strict=True)]
    return _build(sampler, method.sampler), built


def _resolved(method: Method, registry: Registry) -> tuple[Sampler, list[Conditioner]]:
    """As `resolve`, but a method that cannot be made is one whose cell will fail."""
    try:
        return resolve(method, registry)
    except BrokenMethod as error:
        return _Broken(error.__cause__ or error), []


def resolve_metrics(comparison: Comparison, registry: Registry) -> dict[Part, Metric | NoScore]:
    """The metrics that a comparison names, each once; one that cannot be made is left as its failure.

    Raises:
        ValueError: an unknown name, or parameters that are unknown or out of bounds.
    """
    found: dict[Part, Metric | NoScore] = {}
    for part in comparison.metrics:
        try:
            spec = registry.metric(part.name)
            found[part] = spec.load()(spec.params_model()(**dict(part.params)))
        except UnknownName as error:
            raise ValueError(str(error)) from None
        except ValidationError as error:
            raise ValueError(f"in the metric {str(part)!r}: {_readable(error, spec)}") from None
        except (Exception, SystemExit) as error:  # a plugin's own code ran
            found[part] = NoScore(f"{type(error).__name__}: {error}", failed=True)
    return found


def make_annotator(line: str, registry: Registry, device: str = "cpu") -> Annotator:
    """The annotator that a line names, such as `canny low=50 high=150`.

    Raises:
        ValueError: an unknown name, parameters that are unknown or out of bounds, or it cannot be imported.
    """
    part = Part.parse(line)
    try:
        spec = registry.annotator(part.name)
        annotator: Annotator = spec.load()(spec.params_model()(**dict(part.params)), device=device)
    except ValidationError as error:
        raise ValueError(f"in the annotator {line!r}: {_readable(error, spec)}") from None
    except (UnknownName, ImportError) as error:
        raise ValueError(str(error)) from None
    return annotator


def impossible(
    model: Model, sampler: Sampler, conditioners: Sequence[Conditioner], conditions: Mapping[str, str]
) -> str:
    """Why a method cannot run on a model under these conditions; "" if it can."""
    from zoo.cell import required_roles

    try:
        roles = required_roles(sampler, conditioners)
        start = sampler.levels(model.schedule)[0]
        missing = [role for role in roles if role not in model.roles]
        if missing:
            return f"needs the network {', '.join(missing)}; {model.name} has {', '.join(model.roles)}"
        for kind in filter(None, map(model.prediction_kind, roles)):
            check_determines_x0(kind, start)
        if any(map(model.is_consistency, sampler.requires())) and any(c.needs_mean() for c in conditioners):
            return "a consistency network predicts no mean of x0 that guidance could move; use it without"
        sampler.check(model, conditions)
        for conditioner in conditioners:
            conditioner.check(model, conditions)
    except ValueError as error:
        return str(error)
    except (Exception, SystemExit):  # a mistake of the plugin's: its cell will fail alone, with the traceback
        return ""
    return ""


def evaluations(sampler: Sampler, conditioners: Sequence[Conditioner], schedule: Schedule) -> int:
    """Network evaluations of one image, all roles, as far as they are known before it runs.

    How often a conditioner asks is known only when it runs; each is taken to ask once more.
    """
    return sampler.evaluations(sampler.levels(schedule)) * (1 + len(conditioners))


def check_prompts(model: Model, conditions: Mapping[str, str]) -> None:
    """Refuse what the model cannot draw; a negative prompt only where there is one.

    Raises:
        ValueError: what it can draw instead.
    """
    for name, text in conditions.items():
        if text or name != NEGATIVE:
            model.check_prompt(text)


def load_model(name: str, registry: Registry) -> Model:
    """A registered model, folder:PATH or hub:OWNER/NAME[@REVISION]; built once.

    Raises:
        ValueError: no such model, or it cannot be loaded; a hub that cannot be reached is asked again after a minute.
    """
    if name.startswith("folder:"):
        path = Path(name.removeprefix("folder:"))
        files = [file for pattern in _MODEL_FILES for file in path.glob(pattern)]
        state = tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files))
        return _folder_model(path, state)
    if name.startswith("hub:"):
        return _hub_model(name)
    try:
        spec = registry.model(name)
    except UnknownName as error:
        raise ValueError(str(error)) from None
    return _registered_model(spec)


_MODEL_FILES = tuple(f"{below}*.{kind}" for below in ("", "*/", "*/*/") for kind in ("json", "safetensors"))


def _build_registered(spec: Spec) -> Model:
    model: Model = spec.load()()
    return model


def _build_folder(path: Path, state: tuple[tuple[str, int], ...]) -> Model:
    """`state` is its files and when they were last written, so that a folder trained on is loaded again."""
    from zoo.models.elsewhere import open_model

    try:
        return open_model(f"folder:{path}")
    except (OSError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is not a model that can be read: {error}") from None


def _build_hub(name: str) -> Model:
    from zoo.models.elsewhere import open_model

    try:
        return open_model(name)
    except (OSError, LookupError, TypeError) as error:
        raise ValueError(str(error)) from error


_registered_model = Built(_build_registered)
_folder_model = Built(_build_folder, most=8)
_hub_model = Built(_build_hub, most=8)


def _build(spec: Spec, part: Part) -> Any:
    """An instance of what the spec names, with the parameters as written."""
    try:
        return spec.load()(spec.params_model()(**dict(part.params)))
    except ValidationError as error:
        raise ValueError(f"in the method {str(part)!r}: {_readable(error, spec)}") from None
    except (Exception, SystemExit) as error:  # a plugin's own code ran
        why = str(error) if isinstance(error, ImportError) else told(error)
        raise BrokenMethod(f"in the method {str(part)!r}: {why}") from error


def _readable(error: ValidationError, spec: Spec) -> str:
    """One line per field: what was given, what is allowed."""
    fields = spec.params_model().model_fields
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            has = f"it has {', '.join(fields)}" if fields else "it has none"
            lines.append(f"{spec.name} has no parameter {name!r}; {has}")
        else:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            lines.append(f"{name}={problem['input']}: {message}")
    return "; ".join(lines)
