"""`zoo check TARGET`: the conformance kit's report on a plugin."""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import inspect
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands.options import problem_line

if TYPE_CHECKING:
    from zoo.testing import Check, Outcome

PATIENCE = 30.0
"""Seconds after which a check that is still running is named; most take less than one."""

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

    from zoo.testing import checks_of, run

    outcomes: list[Outcome] = []
    checks = checks_of(plugin, _settings(plugin, arguments.method))
    report = run(checks)
    for check in checks:
        with _named_while_it_lasts(check):
            outcome = next(report)
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


@contextmanager
def _named_while_it_lasts(check: Check) -> Iterator[None]:
    """Say on stderr which check does not come back: a plugin that computes for ever cannot be stopped from within."""
    text = f"{check.id} has taken {PATIENCE:g} s so far; if the plugin computes for ever, Ctrl-C ends this"
    timer = threading.Timer(PATIENCE, lambda: print(text, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def load(target: str) -> object:
    """The plugin that a target names.

    Raises:
        ValueError: there is no such plugin, or it cannot be imported; says why.
    """
    from zoo.discovery import PluginError
    from zoo.hooks import told

    importer = _importer(target)
    try:
        return importer()
    except PluginError as error:
        raise ValueError(f"{target}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"{target} cannot be imported: {told(error)}") from error


def _importer(target: str) -> Callable[[], object]:
    """What imports the plugin that a target names.

    Raises:
        ValueError: it names none; says what it may have meant.
    """
    from zoo.discovery import built_ins, drop_in, entry_points
    from zoo.hooks import check_name

    # A stranger's plugin may have a built-in's name, and is then the one that is meant.
    known = {info.name: importer for info, importer in [*built_ins(), *entry_points()]}
    path = Path(target)
    if target.endswith(".py"):
        if not path.is_file():
            raise ValueError(f"there is no file {target}")

        def import_file() -> object:
            check_name(path.stem)
            return drop_in(path)[1]()

        return import_file
    if target in known:
        return known[target]
    if path.is_dir() and not (path / "__init__.py").is_file():
        raise ValueError(
            f"{target} is a folder: name one .py file of it; or if it is a package, install it first "
            f"(pip install -e {target}) and name its plugin, the key below [project.entry-points.sampler_zoo]"
        )
    if not _is_found(target):
        close = _meant(target, list(known))
        hint = f"did you mean {close!r}?" if close else f"installed are {', '.join(known)}"
        raise ValueError(f"there is no plugin and no module {target!r}; {hint}")
    return functools.partial(importlib.import_module, target)


def _is_found(module: str) -> bool:
    """Whether there is a module of this name; what its parents raise when they are imported is told later."""
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        return not f"{module}.".startswith(f"{error.name}.")
    except (Exception, SystemExit):
        return True


def _meant(target: str, known: list[str]) -> str:
    """The plugin that a person may have meant: by its project, by what it offers, or misspelt; "" if none."""
    from zoo.registry import Registry

    bare = target.lower().replace("-", "_").removeprefix("sampler_zoo_")
    if bare in known:
        return bare
    for info in Registry().plugins:
        if any(name in (target, bare) for names in info.registers.values() for name in names):
            return info.name
    return next(iter(get_close_matches(bare.partition("/")[0], known, n=1)), "")


def _settings(plugin: object, lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What `--method` adds to the defaults, read with the parameters' own types."""
    from pydantic import ValidationError

    from zoo.method import Part
    from zoo.testing.subjects import subjects_of

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


def _print_summary(outcomes: list[Outcome]) -> None:
    """How each contribution fared, what was not checked and why, and the total."""
    subjects: dict[str, list[Outcome]] = {}
    for o in outcomes:
        subjects.setdefault(f"{o.check.subject.spec.kind} {o.check.subject.label}", []).append(o)
    for name, own in subjects.items():
        counts = Counter(o.state for o in own)
        print(f"{name}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
        skipped: dict[str, list[str]] = {}
        for o in own:
            if o.state == "skipped":
                skipped.setdefault(o.message, []).append(o.check.name)
        for why, names in skipped.items():
            which = ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"
            print(f"  not checked: {which}: {why}")
    bad = sum(not outcome.fine for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{len(outcomes)} checks in {seconds:.1f} s: " + (f"{bad} failed" if bad else "all is well"))
