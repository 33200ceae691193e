"""`zoo compare`: run a comparison, print what each cell cost and scored, write its folder."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands.options import plugin_options, positive, problem_line, registry_of

if TYPE_CHECKING:
    from zoo.comparison import CellResult, Comparison
    from zoo.registry import Registry

NOTHING_WRITTEN = "nothing written: name a folder with --out DIR to keep the pictures"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    compare = commands.add_parser("compare", help="run a comparison", description="Run a comparison.")
    compare.add_argument(
        "comparison", nargs="?", metavar="COMPARISON.json", help="a saved comparison to run again"
    )
    compare.add_argument(
        "--model",
        help="a name that `zoo models` lists, hub:OWNER/NAME[@REVISION] or folder:PATH (default: tinyworld)",
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
        "--max-nfe", type=positive(int), help="most network evaluations per image of one cell"
    )
    compare.add_argument("--max-seconds", type=positive(float), help="most seconds of one cell")
    compare.add_argument(
        "--out", metavar="DIR", help="write grid.png, cells/, comparison.json and results.json"
    )
    compare.add_argument("--json", action="store_true", help="print results.json and nothing else")
    plugin_options(compare)
    compare.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from zoo.comparison import stream
    from zoo.store import Store
    from zoo.watchdog import Watch

    registry = registry_of(arguments)
    comparison = _comparison(arguments, registry)
    limits = _limits(arguments)
    store = Store(arguments.out, comparison) if arguments.out else None
    # With --json what plugins print while they run must not end up between the braces.
    quiet = redirect_stdout(sys.stderr) if arguments.json else nullcontext()
    watch = Watch()
    with quiet, _cancel_on_interrupt() as interrupted, watch.telling(_warn):
        events = stream(
            comparison,
            device=arguments.device,
            dtype=arguments.dtype,
            limits=limits,
            registry=registry,
            cancelled=interrupted.is_set,
            watch=watch,
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


def _warn(stuck: str) -> None:
    print(f"zoo: {stuck}; Ctrl-C twice ends this", file=sys.stderr, flush=True)


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
    from zoo.method import Method
    from zoo.pictures import admit, adopt, beside

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
        lines = fields.get("cells")
        fields["pictures"] = beside(arguments.comparison, lines if isinstance(lines, list) else [])
    for name in ("model", "prompt", "negative", "seeds"):
        if getattr(arguments, name) is not None:
            fields[name] = getattr(arguments, name)
    if arguments.method:
        # Only here may a picture be a path: a comparison that somebody else wrote must not read this machine's files.
        methods = [Method.parse(line) for line in arguments.method]
        fields["cells"], fields["pictures"] = adopt(methods, fields.get("pictures", {}), registry, admit)
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
        raise ValueError("; ".join(problem_line(problem) for problem in error.errors())) from None


def _limits(arguments: argparse.Namespace) -> Any:
    from zoo.limits import Limits

    default = Limits()
    return Limits(nfe=arguments.max_nfe or default.nfe, seconds=arguments.max_seconds)
