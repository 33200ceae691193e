"""The command line: `python -m zoo compare | invert | interpolate | plugins | models | claims | train`."""

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
    from zoo.comparison import CellResult, Comparison
    from zoo.registry import Registry

NOTHING_WRITTEN = "nothing written: name a folder with --out DIR to keep the pictures"

RECIPES = {
    "denoiser": "zoo.training.denoiser",
    "distill": "zoo.training.distill",
    "classifier": "zoo.training.classifier",
    "features": "zoo.training.features",
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
    compare.add_argument(
        "--metrics",
        metavar="NAMES",
        help="score the cells once all are done: all, or names such as prompt_accuracy,frechet",
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

    _latent_commands(commands)

    plugins = commands.add_parser("plugins", help="list plugins and what became of them")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    _plugin_options(plugins)
    plugins.set_defaults(run=_plugins)

    models = commands.add_parser("models", help="list models")
    models.add_argument("--json", action="store_true", help="as JSON")
    _plugin_options(models)
    models.set_defaults(run=_models)

    claims = commands.add_parser(
        "claims",
        help="check what papers say of samplers",
        description="Measure what papers found about samplers on a model of tinyworld, and say what holds.",
    )
    claims.add_argument(
        "--quick",
        action="store_true",
        help="the strongest claims on 256 pictures a point: minutes, not hours",
    )
    claims.add_argument("--model", default="tinyworld", help="a model of tinyworld (default: tinyworld)")
    claims.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    claims.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("runs/claims"),
        help="where measurements are kept, so that an interrupted run goes on (default: runs/claims)",
    )
    claims.add_argument(
        "--write",
        type=Path,
        metavar="PAGE.md",
        help="put table and plots into a page such as docs/results.md",
    )
    claims.add_argument("--json", action="store_true", help="print the findings as JSON and nothing else")
    _plugin_options(claims)
    claims.set_defaults(run=_claims)

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


def _latent_commands(commands: Any) -> None:
    invert = commands.add_parser("invert", help="find the noise that DDIM turns into a picture")
    invert.add_argument("image", metavar="IMAGE", help="a picture of any size and format")
    _generation_options(invert, dtype="fp32")
    which = invert.add_mutually_exclusive_group()
    which.add_argument("--steps", type=int, default=50, help="DDIM steps each way (default: 50)")
    which.add_argument("--method", metavar="LINE", help="'ddim steps=50 | cfg scale=2' in place of --steps")
    invert.add_argument(
        "--iterations", type=int, default=1, help="queries a step upwards; 1 is plain inversion (default: 1)"
    )
    invert.add_argument(
        "--out", metavar="DIR", help="write picture.png, reconstruction.png, latents.npy and inversion.json"
    )
    invert.set_defaults(run=_invert)

    between = commands.add_parser("interpolate", help="make the pictures between those of two seeds")
    between.add_argument("--seeds", type=_seed_pair, required=True, metavar="A,B", help="two seeds: 3,8")
    between.add_argument("--frames", type=int, default=9, help="with both ends (default: 9)")
    _generation_options(between, dtype="auto")
    between.add_argument(
        "--method", metavar="LINE", default="ddim steps=20", help="deterministic (default: 'ddim steps=20')"
    )
    between.add_argument("--out", metavar="DIR", help="write strip.png, frames/ and interpolation.json")
    between.set_defaults(run=_interpolate)


def _generation_options(parser: argparse.ArgumentParser, dtype: str) -> None:
    parser.add_argument("--model", default="tinyworld", help="as for compare (default: tinyworld)")
    parser.add_argument("--prompt", default="", help="what the picture shows; none means unconditional")
    parser.add_argument("--negative", default="", help="what guidance leads away from")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--dtype", default=dtype, help=f"auto, fp32, bf16 or fp16 (default: {dtype})")
    parser.add_argument("--json", action="store_true", help="print the results as JSON and nothing else")
    _plugin_options(parser)


def _seed_pair(text: str) -> tuple[int, int]:
    first, comma, second = text.partition(",")
    try:
        if comma:
            return int(first), int(second)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"two seeds are written 3,8, got {text!r}")


def _invert(arguments: argparse.Namespace) -> int:
    from zoo.latent import invert

    line = arguments.method or f"ddim steps={arguments.steps}"
    return _report(
        arguments,
        lambda: invert(arguments.image, method=line, iterations=arguments.iterations, **_given(arguments)),
        lambda result: (
            f"inversion       {sum(result.nfe['inversion'].values())} NFE\n"
            f"reconstruction  {sum(result.nfe['reconstruction'].values())} NFE · "
            f"RMSE {result.rmse:.4f} of pixels within [-1, 1] · PSNR {result.psnr:.1f} dB"
        ),
    )


def _interpolate(arguments: argparse.Namespace) -> int:
    from zoo.latent import interpolate

    return _report(
        arguments,
        lambda: interpolate(
            arguments.seeds, frames=arguments.frames, method=arguments.method, **_given(arguments)
        ),
        lambda result: (
            f"{len(result.images)} frames from seed {result.seeds[0]} to seed {result.seeds[1]}  "
            f"{sum(result.nfe.values())} NFE each"
        ),
    )


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "prompt", "negative", "device", "dtype")
    return {"registry": _registry(arguments), **{name: getattr(arguments, name) for name in names}}


def _report(arguments: argparse.Namespace, run: Callable[[], Any], lines: Callable[[Any], str]) -> int:
    """Run, write and print an inversion or an interpolation."""
    try:
        with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
            result = run()
    except RuntimeError as error:
        print(f"zoo: failed: {error}", file=sys.stderr)
        return 1
    for notice in result.notices:
        print(f"zoo: {notice}", file=sys.stderr)
    folder = result.save(arguments.out) if arguments.out else None
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2))
        return 0
    print(lines(result))
    print(f"written to {folder}" if folder else "nothing written: name a folder with --out DIR")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from zoo.comparison import stream
    from zoo.store import Store

    registry = _registry(arguments)
    comparison = _comparison(arguments, registry)
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
            if event.kind not in ("progress", "scored"):
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
    else:
        _print_scores(result.cells, len(comparison.seeds))
        print(f"written to {store.folder}" if store is not None else NOTHING_WRITTEN)
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


def _print_scores(cells: Sequence[CellResult], pictures: int) -> None:
    """A table of the scores, then once each what is missing and why."""
    from zoo.metric import NoScore
    from zoo.sheet import scored

    table = scored(cells)
    if table:
        columns = [[f"scores of {pictures}", *(cell.method for cell in cells)]]
        columns += [[name, *(str(score or "–") for score in scores)] for name, scores in table.items()]
        widths = [max(map(len, column)) for column in columns]
        for row in zip(*columns, strict=True):
            line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            print(line.rstrip())
    missing: dict[str, list[str]] = {}
    for cell in cells:
        for name, score in cell.metrics.items():
            if isinstance(score, NoScore):
                missing.setdefault(f"{name}: {score}", []).append(cell.method)
    for line, methods in missing.items():
        everywhere = len(methods) == sum(bool(cell.metrics) for cell in cells)
        print(line if everywhere else f"{line} [{'; '.join(methods)}]")


def _comparison(arguments: argparse.Namespace, registry: Registry) -> Comparison:
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
    if arguments.metrics:
        everything = arguments.metrics == "all"
        fields["metrics"] = list(registry.metrics) if everything else arguments.metrics.split(",")
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
    return f"{where}: {problem['msg']}".removeprefix(": ").replace("Value error, ", "", 1)


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


def _claims(arguments: argparse.Namespace) -> int:
    """0 unless a claim of every paper does not hold here."""
    from zoo.claims import report
    from zoo.claims.run import run

    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        found = run(
            arguments.model,
            _registry(arguments),
            arguments.out,
            arguments.quick,
            arguments.device,
            bar=not arguments.json,
        )
        if arguments.write is not None:
            report.write(found, arguments.write)
    if arguments.json:
        print(json.dumps([finding.to_dict() for finding in found.findings], indent=2))
    else:
        print(report.text(found))
    failed = [f for f in found.findings if f.claim.kind == "must" and f.verdict == "does not hold"]
    return 1 if failed else 0


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
