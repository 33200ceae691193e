"""The samplers that a model can run, each as a line to begin with, for those who do not know their names."""

from __future__ import annotations

from zoo.hookspecs import Spec
from zoo.method import Method
from zoo.planning import impossible, load_model, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT
from zoo.ui import methods


def offers(model: str, registry: Registry) -> list[tuple[str, str]]:
    """Title and line of every sampler that the model can run without a prompt; imports them all, and torch.

    Raises:
        ValueError: the model cannot be had.
    """
    loaded, conditions = load_model(model, registry), {PROMPT: "", NEGATIVE: ""}
    found = []
    for spec in registry.samplers.values():
        line = _line(spec)
        try:
            reason = impossible(loaded, *resolve(Method.parse(line), registry), conditions)
        except ValueError:  # it cannot be made; the tab "Plugins" says why
            continue
        if not reason:
            found.append((spec.title, line))
    return found


def _line(spec: Spec) -> str:
    """A sampler with the number of its steps, so that it can be changed; all else is as the plugin has it."""
    steps = methods.fields(spec).get("steps")
    if steps is None or steps.is_required():
        return spec.name
    return f"{spec.name} steps={methods.written(steps.get_default(call_default_factory=True))}"
