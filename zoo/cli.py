"""The command line: `python -m zoo compare | plugins | models | train`."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:
    from zoo.comparison import Comparison
    from zoo.registry import Registry

RECIPES = {
    "denoiser": "zoo.training.denoiser",
    "features": "zoo.training.features",
    "classifier": "zoo.training.classifier",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 not everything is done, 2 wrong input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that has no η shows \\u03b7
    arguments = _parser(argv).parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zoo: interrupted", file=sys.stderr)
        return 130
    return code


def _parser(argv: Sequence[str] | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo", description="Compare diffusion samplers from the same noise."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    compare = commands.add_parser("compare", help="run a comparison", description="Run a comparison.")
    compare.add_argument(
        "comparison", nargs="?", metavar="COMPARISON.json", help="a saved comparison to run again"
    )
    compare.add_argument(
        "--model", help="a name that `zoo models` lists, or folder:PATH (default: tinyworld)"
    )
    compare.add_argument("--prompt", help="what to draw; none means unconditional")
    compare.add_argument("--negative", help="what guidance leads away from")
    compare.add_argument("--seeds", help="one image each: 7, 0..3 or 1,5,8 (default: 0)")
    compare.add_argument(
        "--method", action="append", metavar="LINE", help="repeat it: 'ddim steps=10 | cfg scale=3'"
    )
    compare.add_argument(
        "--time-alone", action="store_true", help="time each cell by itself, after a warm-up"
    )
    compare.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    compare.add_argument("--dtype", default="auto", help="auto, fp32, bf16 or fp16 (default: auto)")
    compare.add_argument(
        "--max-nfe", type=_positive(int), help="most network evaluations per image of one cell"
    )
    compare.add_argument("--max-seconds", type=_positive(float), help="most seconds of one cell")
    compare.add_argument(
        "--out", metavar="DIR", help="write grid.png, cells/, comparison.json and results.json"
    )
    compare.add_argument("--json", action="store_true", help="print results.json and nothing else")
    _plugin_options(compare)
    compare.set_defaults(run=_compare)

    plugins = commands.add_parser("plugins", help="list plugins and what became of them")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    _plugin_options(plugins)
    plugins.set_defaults(run=_plugins)

    models = commands.add_parser("models", help="list models")
    models.add_argument("--json", action="store_true", help="as JSON")
    _plugin_options(models)
    models.set_defaults(run=_models)

    train = commands.add_parser("train", help="train a network")
    recipes = train.add_subparsers(dest="recipe", required=True)
    words = sys.argv[1:] if argv is None else list(argv)
    for name, module in RECIPES.items():
        recipe = recipes.add_parser(name, help=f"see zoo train {name} --help")
        recipe.set_defaults(run=_train)
        if words[:2] == ["train", name]:  # only the chosen recipe's module is imported: it needs torch
            recipe.description = _recipe(module).__doc__
            add_options(recipe, _recipe(module).model_fields)
    return parser


def _compare(arguments: argparse.Namespace) -> int:
    from zoo.comparison import stream
    from zoo.store import Store

    comparison = _comparison(arguments)
    registry = _registry(arguments)
    limits = _limits(arguments)
    store = Store(arguments.out, comparison) if arguments.out else None
    # With --json what plugins print while they run must not end up between the braces.
    quiet = redirect_stdout(sys.stderr) if arguments.json else nullcontext()
    with quiet, _cancel_on_interrupt() as interrupted:
        events = stream(
            comparison,
            device=arguments.device,
            dtype=arguments.dtype,
            limits=limits,
            registry=registry,
            cancelled=interrupted.is_set,
        )
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result = stop.value
                break
            if event.kind != "progress":
                if store is not None:
                    store.add(event.cell, event.result)
                if not arguments.json:
                    _print_cell(event.result, comparison.timing)
    for notice in result.notices:
        print(f"zoo: {notice}", file=sys.stderr)
    if store is not None:
        store.finish(result)
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2))
    elif store is not None:
        print(f"written to {store.folder}")
    else:
        print("nothing written: name a folder with --out DIR to keep the pictures")
    if interrupted.is_set():
        return 130
    return 0 if result.done else 1


@contextmanager
def _cancel_on_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C cancels what is not done yet, so that what is done can still be written; a second one kills."""
    interrupted = threading.Event()

    def cancel(number: int, frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, cancel) if in_main_thread else None
    try:
        yield interrupted
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


def _print_cell(cell: Any, timing: str) -> None:
    from zoo.sheet import cost_line

    rest = f": {cell.error}" if cell.error else f"  {cost_line(cell, timing)}"
    print(f"{cell.status:9} {cell.method}{rest}", flush=True)


def _comparison(arguments: argparse.Namespace) -> Comparison:
    """The saved comparison, if one is given, with what the options change."""
    from pydantic import ValidationError

    from zoo.comparison import Comparison

    fields: dict[str, Any] = {}
    if arguments.comparison:
        text = Path(arguments.comparison).read_text(encoding="utf-8")
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{arguments.comparison} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError(
                f"{arguments.comparison} does not hold a comparison, but a {type(fields).__name__}"
            )
    for name in ("model", "prompt", "negative", "seeds"):
        if getattr(arguments, name) is not None:
            fields[name] = getattr(arguments, name)
    if arguments.method:
        fields["cells"] = arguments.method
    if arguments.time_alone:
        fields["timing"] = "alone"
    if not fields.get("cells"):
        raise ValueError("name at least one --method, such as --method 'ddim steps=20', or a COMPARISON.json")
    try:
        return Comparison(**fields)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(problem) for problem in error.errors())) from None


def _problem(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def _limits(arguments: argparse.Namespace) -> Any:
    from zoo.cell import Limits

    default = Limits()
    return Limits(nfe=arguments.max_nfe or default.nfe, seconds=arguments.max_seconds)


def _plugins(arguments: argparse.Namespace) -> int:
    plugins = _registry(arguments).plugins
    if arguments.json:
        print(json.dumps([plugin.to_dict() for plugin in plugins], indent=2, ensure_ascii=False))
        return 0
    for plugin in plugins:
        names = ", ".join(name for names in plugin.registers.values() for name in names)
        print(f"{plugin.state:12} {plugin.name} {plugin.version}  {names}")
        if plugin.error:
            print(f"{'':12} {plugin.error}")
    return 0


def _models(arguments: argparse.Namespace) -> int:
    models = _registry(arguments).models
    if arguments.json:
        listed = [{"name": n, "title": spec.title, "summary": spec.summary} for n, spec in models.items()]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
        return 0
    for name, spec in models.items():
        print(f"{name:12} {spec.title}: {spec.summary}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    import importlib

    from pydantic import ValidationError

    module = RECIPES[arguments.recipe]
    options = {k: v for k, v in vars(arguments).items() if k not in ("command", "recipe", "run")}
    try:
        recipe = _recipe(module)(**options)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(problem) for problem in error.errors())) from None
    folder = importlib.import_module(module).train(recipe)
    if os.environ.get("RANK", "0") != "0":
        return 0  # one process of several speaks for all
    print(f"written to {folder}" if folder else f"stopped; repeat the command to go on from {recipe.out}")
    return 0


def _recipe(module: str) -> Any:
    """The recipe class of a training module, the one that it defines itself."""
    import importlib

    from zoo.training.recipe import Recipe

    found = vars(importlib.import_module(module)).values()
    return next(c for c in found if isinstance(c, type) and issubclass(c, Recipe) and c.__module__ == module)


def add_options(parser: argparse.ArgumentParser, fields: Any) -> None:
    """One `--option` for each field of a recipe."""
    for name, field in fields.items():
        option = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%") + f" (default: {field.default})"
        kind = field.annotation
        if kind is bool:
            parser.add_argument(option, action="store_true", help=text)
        elif get_origin(kind) is list:
            parser.add_argument(option, nargs="+", type=get_args(kind)[0], default=field.default, help=text)
        else:
            parser.add_argument(option, default=field.default, help=text)


def _plugin_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugins-dir", metavar="DIR", help="load the .py files in this folder as plugins too"
    )
    parser.add_argument("--safe-mode", action="store_true", help="built-ins only")


def _registry(arguments: argparse.Namespace) -> Registry:
    from zoo.registry import Registry

    return Registry(arguments.plugins_dir, safe_mode=arguments.safe_mode)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


if __name__ == "__main__":
    sys.exit(main())
