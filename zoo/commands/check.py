"""`zoo check TARGET`: the conformance kit's report on a plugin."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
from collections import Counter
from pathlib import Path
from typing import Any

from zoo.commands.options import problem_line

EXAMPLES = """\
targets:
  restart                  an installed plugin, by the name that `zoo plugins` lists
  my_package.plugin        a module
  my_plugins/mine.py       a file
settings beside the defaults:
  zoo check my_plugins/mine.py --method "euler steps=7" --method "euler churn=1"
"""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    check = commands.add_parser(
        "check",
        help="check a plugin: is it right, and does it keep the rules?",
        description="Run the conformance kit on a plugin. The exit code is 0 only if nothing failed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("target", nargs="?", help="an installed plugin, a module, or a .py file")
    check.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="LINE",
        help="check this setting of a sampler, conditioner or metric too: 'name key=value …'; repeat it",
    )
    check.add_argument("--explain", metavar="CHECK", help="say what a check is about, and run nothing")
    check.add_argument("--verbose", action="store_true", help="list the checks that passed, too")
    check.add_argument("--json", action="store_true", help="print the outcomes as JSON and nothing else")
    check.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    if arguments.explain:
        return _explain(arguments.explain)
    if not arguments.target:
        raise ValueError("name what to check: an installed plugin, a module, or a .py file")
    plugin = load(arguments.target)

    from zoo.testing import Outcome, checks_of, run

    outcomes: list[Outcome] = []
    for outcome in run(checks_of(plugin, _settings(plugin, arguments.method))):
        outcomes.append(outcome)
        shown = not outcome.fine or arguments.verbose
        if shown and not arguments.json:
            text = outcome.message.removeprefix(f"{outcome.check.id}\n") or "fine"
            print(
                f"{outcome.state:8} {outcome.check.id}" + (f"\n{text}" if not outcome.fine else ""),
                flush=True,
            )
    if arguments.json:
        listed = [
            {
                "subject": o.check.subject.label,
                "check": o.check.name,
                "state": o.state,
                "message": o.message,
                "seconds": round(o.seconds, 3),
            }
            for o in outcomes
        ]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    else:
        _print_summary(outcomes)
    return 0 if all(outcome.fine for outcome in outcomes) else 1


def load(target: str) -> object:
    """The plugin that a target names.

    Raises:
        ValueError: there is no such plugin, or it cannot be imported; says why.
    """
    from zoo.discovery import built_ins, drop_in, entry_points

    if target.endswith(".py"):
        path = Path(target)
        if not path.is_file():
            raise ValueError(f"there is no file {target}")
        found, importer = drop_in(path)
    else:
        known = {info.name: (info, importer) for info, importer in [*entry_points(), *built_ins()]}
        if target in known:
            found, importer = known[target]
        else:
            try:
                return importlib.import_module(target)
            except ModuleNotFoundError as error:
                if error.name != target.partition(".")[0] and error.name != target:
                    raise ValueError(f"{target} cannot be imported: {error}") from error
                raise ValueError(
                    f"there is no plugin and no module {target!r}; installed are {', '.join(known)}"
                ) from None
    try:
        return importer()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{found.name} cannot be imported: {type(error).__name__}: {error}") from error


def _settings(plugin: object, lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What `--method` adds to the defaults, read with the parameters' own types."""
    from pydantic import ValidationError

    from zoo.method import Part
    from zoo.testing.checks import subjects_of

    specs = {subject.spec.name: subject.spec for subject in subjects_of(plugin)}
    settings: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        part = Part.parse(line)
        if part.name not in specs:
            raise ValueError(f"{line!r}: there is no {part.name!r}; there are {', '.join(specs)}")
        try:
            params = specs[part.name].params_model()(**dict(part.params))
        except ValidationError as error:
            raise ValueError(f"{line!r}: {'; '.join(map(problem_line, error.errors()))}") from None
        settings.setdefault(part.name, []).append(params.model_dump(include=params.model_fields_set))
    return settings


def _explain(name: str) -> int:
    from zoo.testing import CHECKS

    found = [(kind, f) for kind, checks in CHECKS.items() for f in checks if f.__name__ == name]
    if not found:
        names = dict.fromkeys(f.__name__ for checks in CHECKS.values() for f in checks)
        raise ValueError(f"there is no check {name!r}; there are {', '.join(names)}")
    for function in dict.fromkeys(f for _, f in found):
        kinds = ", ".join(kind for kind, f in found if f is function)
        print(f"{name} ({kinds})\n\n{inspect.getdoc(function)}\n")
    return 0


def _print_summary(outcomes: Any) -> None:
    """How each contribution fared, what was not checked and why, and the total."""
    subjects = dict.fromkeys(o.check.subject.label for o in outcomes)
    for label in subjects:
        counts = Counter(o.state for o in outcomes if o.check.subject.label == label)
        kind = next(o.check.subject.spec.kind for o in outcomes if o.check.subject.label == label)
        print(f"{kind} {label}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
        for o in outcomes:
            if o.check.subject.label == label and o.state == "skipped":
                print(f"  not checked: {o.check.name}: {o.message}")
    bad = sum(not outcome.fine for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{len(outcomes)} checks in {seconds:.1f} s: " + (f"{bad} failed" if bad else "all is well"))
