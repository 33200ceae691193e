"""Where the time of a comparison on the page goes: the network, and everything above it, in CPU seconds.

Runs what the page begins with (four methods, two seeds) through the page's own runner, previews, ways and files
and no browser, after one that warms it up. Each part is charged what it takes itself, without the parts that it
calls. CPU time of one thread, so that neighbours on the machine hardly matter.

    python benchmarks/attribution.py [--metrics prompt_accuracy] [--rounds 3] [--json]
    python benchmarks/attribution.py --network [--compile] [--threads 2]

`--network` holds the network's own variants against each other: memory format, precision, compiled or not.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

import zoo.store
import zoo.ui.runs
from zoo.cell import Cell
from zoo.engine import Engine
from zoo.frames import Frames
from zoo.model import Model
from zoo.models.unet import UNet
from zoo.noise import KeyedNoise
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.store import Store
from zoo.ui.methods import DEFAULT_LINES
from zoo.ui.request import comparison_from
from zoo.ui.running import Runner
from zoo.ui.runs import Run
from zoo.ui.shelf import Shelf

PROMPT, SEEDS = "a red mushroom at night", "0..1"
NETWORK, REST = "network", "the rest: planning, threads, events"
PARTS: tuple[tuple[str, Any, str], ...] = (
    (NETWORK, UNet, "__call__"),
    ("gathering batches, guiding, clipping", Engine, "tick"),
    ("samplers' own mathematics", Cell, "reply"),
    ("loading and starting", Engine, "start"),
    ("noise", KeyedNoise, "__call__"),
    ("pictures from tensors (previews, ways)", Model, "pictures"),
    ("ways, the pictures on the way", Frames, "add"),
    ("the browser's PNG", zoo.ui.runs, "uris"),
    ("files", Store, "add"),
    ("files", Store, "finish"),
    ("files", Shelf, "begin"),
    ("files", Shelf, "write"),
    ("files", Shelf, "keep_way"),
    ("what the page is told", Run, "note"),
)


class Clock:
    """Charges every part the CPU time of its thread, less that of the parts inside."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside = threading.local()

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Charge this part for calls of a function of a class or module."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self._inside, "seconds", 0.0)
            self._inside.seconds, started = 0.0, time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.thread_time() - started
                self.seconds[part] += taken - self._inside.seconds
                self._inside.seconds = outer + taken

        setattr(owner, name, watched)


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--metrics", nargs="*", default=[], help="score the cells as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", action="store_true", help="variants of the network alone")
    parser.add_argument("--compile", action="store_true", help="and torch.compile among them; takes minutes")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of --network; more than one are timed by the clock, on an idle machine",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads if arguments.network else 1)
    report = network_variants(arguments.rounds, arguments.compile) if arguments.network else parts(arguments)
    print(json.dumps(report) if arguments.json else _table(report, arguments.threads * arguments.network))


def parts(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds by part, medians over the rounds."""
    registry = Registry(safe_mode=True)
    clock = Clock()
    for part, owner, name in PARTS:
        clock.watch(part, owner, name)
    for metric in arguments.metrics:
        clock.watch("scoring", registry.metric(metric).load(), "score")
    rounds: list[Counter[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(registry, "cpu", Shelf(Path(folder)))
        comparison = comparison_from(
            "tinyworld", PROMPT, "", SEEDS, DEFAULT_LINES, registry, metrics=arguments.metrics
        )
        for _ in range(arguments.rounds + 1):
            clock.seconds.clear()
            started = time.process_time()
            run = runner.start(comparison, [])
            while run.state != "ended":
                run.seen = time.monotonic()
                time.sleep(0.1)
            if run.problem:
                raise SystemExit(run.problem)
            total = time.process_time() - started
            rounds.append(Counter(clock.seconds, **{REST: total - clock.seconds.total()}))
    names = dict.fromkeys([part for part, *_ in PARTS] + ["scoring"] * bool(arguments.metrics) + [REST])
    return {name: statistics.median(seconds[name] for seconds in rounds[1:]) for name in names}


@torch.inference_mode()
def network_variants(rounds: int, compiled: bool, rows: int = 8) -> dict[str, float]:
    """Milliseconds a row of the denoiser, the least of the rounds, variants in turn; CPU time if on one thread."""
    from diffusers import UNet2DConditionModel

    from zoo.models.tinyworld import WEIGHTS

    model = load_model("tinyworld", Registry(safe_mode=True))
    text = model.condition(PROMPT, torch.device("cpu")).expand(rows, -1, -1).contiguous()
    x, t = torch.randn(rows, *model.shape), torch.full((rows,), 500.0)

    def built(dtype: torch.dtype = torch.float32, **options: Any) -> Any:
        unet = UNet2DConditionModel.from_pretrained(
            WEIGHTS / "tinyworld/denoiser", torch_dtype=dtype, use_safetensors=True
        )
        return unet.to(**options).eval().requires_grad_(False) if options else unet.eval()

    def call(unet: Any, dtype: torch.dtype, form: torch.memory_format) -> Callable[[], Any]:
        rows_, text_ = x.to(dtype, memory_format=form), text.to(dtype)
        return lambda: unet(rows_, t, encoder_hidden_states=text_, return_dict=False)[0]

    last, plain = torch.channels_last, torch.contiguous_format
    fused = built(memory_format=last)
    fused.fuse_qkv_projections()
    variants = {
        "contiguous, fp32": call(built(), torch.float32, plain),
        "channels_last, fp32 (as it runs)": call(built(memory_format=last), torch.float32, last),
        "channels_last, fp32, fused QKV": call(fused, torch.float32, last),
        "channels_last, bf16": call(built(torch.bfloat16, memory_format=last), torch.bfloat16, last),
    }
    if compiled:
        variants["channels_last, fp32, torch.compile"] = call(
            torch.compile(built(memory_format=last)), torch.float32, last
        )
    for variant in variants.values():
        variant()
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    least = dict.fromkeys(variants, float("inf"))
    for _ in range(rounds):
        for name, variant in variants.items():
            started = clock()
            variant()
            least[name] = min(least[name], (clock() - started) / rows * 1000)
    return least


def _table(report: dict[str, float], threads: int) -> str:
    """What was found; `threads` of the network's variants, 0 for the parts of a comparison."""
    if threads:
        rows = [f"| {name} | {milliseconds:.1f} |" for name, milliseconds in report.items()]
        return "\n".join([f"| the denoiser, 8 rows, threads: {threads} | ms a row |", "|---|---|", *rows])
    total = sum(report.values())
    lines = [f"| {name} | {seconds:.2f} | {seconds / total:.1%} |" for name, seconds in report.items()]
    above = total - report[NETWORK]
    ends = [f"| **all** | {total:.2f} | |", f"| **above the network** | {above:.2f} | {above / total:.1%} |"]
    return "\n".join(["| part | CPU seconds | share |", "|---|---|---|", *lines, *ends])


if __name__ == "__main__":
    main()
