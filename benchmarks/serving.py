"""What it is worth to serve several people together: their comparisons on one loop against one after the other.

Eight people with a small comparison each on the bundled model (`PEOPLE`: mixed methods, few steps, one or two seeds):

    together     all join one loop at once, as on the page
    in turn      each has the device to himself, one after the other

The ceiling is what batching alone could give: the network without any sampler, in the passes of the people one after
the other, against the same rows in passes of as many as travelled together on average. In each round the pictures are
held against each other: in company everybody gets what he gets alone. Beside the time by the clock there is the time
that the processors spent on it, which other programs on the machine disturb less.

    python benchmarks/serving.py [--rounds 3] [--device auto] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from zoo.comparison import Comparison, ComparisonResult
from zoo.device import dtype_name, resolve_device
from zoo.loop import Loop
from zoo.planning import load_model
from zoo.prepared import prepare
from zoo.registry import default_registry

PEOPLE = (
    (("ddim steps=10",), 1),
    (("heun steps=6",), 1),
    (("ddpm steps=12",), 2),
    (("ddim steps=8 | cfg scale=3",), 1),
    (("dpmpp_2m steps=10", "ddim steps=10"), 1),
    (("ddim steps=12 eta=1",), 2),
    (("unipc steps=10 | cfg scale=2",), 1),
    (("euler steps=12",), 1),
)
"""The methods of each person, and how many seeds."""

CLOCKS = {"clock": time.perf_counter, "processors": time.process_time}

R = TypeVar("R")

PROMPTS = ("a red mushroom at night", "a blue house by day", "a cactus in the snow", "a fish")


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that each way runs, in turn")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    arguments = parser.parse_args()
    bench = Bench(resolve_device(arguments.device))
    rounds = [bench.round() for _ in range(arguments.rounds)]
    report: dict[str, Any] = {
        key: round(statistics.median(each[key] for each in rounds), 3) for key in rounds[0]
    }
    report["of_ceiling_rounds"] = {
        clock: [round(each[f"of_ceiling_by_{clock}"], 2) for each in rounds] for clock in CLOCKS
    }
    report["machine"] = {
        "device": torch.cuda.get_device_name() if bench.device.type == "cuda" else bench.device.type,
        "threads": torch.get_num_threads(),
        "dtype": dtype_name(bench.loop.engine.dtype_of(bench.model)),
        "torch": torch.__version__,
    }
    print(json.dumps(report) if arguments.json else _table(report))


class Bench:
    """Eight people at one device, and its network."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.loop = Loop(device)
        self.model = load_model("tinyworld", default_registry())
        self.network = self.model.network("denoiser", device, self.loop.engine.dtype_of(self.model))
        self.embedding = self.model.condition(PROMPTS[0], device)
        self.comparisons = [
            Comparison(model="tinyworld", prompt=PROMPTS[i % len(PROMPTS)], seeds=range(seeds), cells=lines)
            for i, (lines, seeds) in enumerate(PEOPLE)
        ]
        self._warm_up()

    def together(self) -> list[ComparisonResult]:
        """All at once."""
        engine = self.loop.engine
        members = [self.loop.join(prepare(each).run(engine, frames=24)) for each in self.comparisons]
        return [member.result() for member in members]

    def in_turn(self) -> list[ComparisonResult]:
        """One after the other."""
        engine = self.loop.engine
        return [self.loop.join(prepare(each).run(engine, frames=24)).result() for each in self.comparisons]

    def round(self) -> dict[str, float]:
        """Seconds of both ways and of the network alone in their passes, and what follows from them."""
        apart, in_turn, alone = self._passes(self.in_turn)
        merged, together, in_company = self._passes(self.together)
        check_same_pictures(alone, in_company)
        rows, mean = sum(merged), round(sum(merged) / len(merged))
        full = [mean] * (rows // mean) + [rows % mean] * (rows % mean > 0)
        network_apart, network_full = self._network(apart), self._network(full)
        found: dict[str, float] = {"passes_in_turn": len(apart), "passes_together": len(merged), "rows": rows}
        for clock in CLOCKS:
            speed_up, ceiling = in_turn[clock] / together[clock], network_apart[clock] / network_full[clock]
            found |= {
                f"speed_up_by_{clock}": speed_up,
                f"ceiling_by_{clock}": ceiling,
                f"of_ceiling_by_{clock}": speed_up / ceiling,
                f"seconds_in_turn_by_{clock}": in_turn[clock],
                f"seconds_together_by_{clock}": together[clock],
            }
        return found

    def _warm_up(self) -> None:
        comparison = self.comparisons[0].model_copy(
            update={"cells": Comparison(cells=["ddim steps=2"]).cells}
        )
        self.loop.join(prepare(comparison).run(self.loop.engine)).result()

    def _passes(self, way: Callable[[], R]) -> tuple[list[int], dict[str, float], R]:
        """The rows of each pass of the network, the seconds of the whole, and what came of it."""
        rows: list[int] = []
        forward = self.network.module.forward  # type: ignore[attr-defined]

        def noting(x: torch.Tensor, *given: Any, **named: Any) -> Any:
            rows.append(len(x))
            return forward(x, *given, **named)

        self.network.module.forward = noting  # type: ignore[attr-defined]
        try:
            started = {name: clock() for name, clock in CLOCKS.items()}
            results = way()
            return rows, {name: clock() - started[name] for name, clock in CLOCKS.items()}, results
        finally:
            self.network.module.forward = forward  # type: ignore[attr-defined]

    def _network(self, passes: list[int]) -> dict[str, float]:
        """Seconds of the network alone over these passes, in the loop's thread, where it is as fast as ever."""

        def work() -> Any:
            started = {name: clock() for name, clock in CLOCKS.items()}
            with torch.inference_mode():
                for rows in passes:
                    x = torch.zeros(rows, *self.model.shape, device=self.device)
                    t = torch.zeros(rows, device=self.device)
                    self.network(x, t, [self.embedding] * rows)
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
            yield {name: clock() - started[name] for name, clock in CLOCKS.items()}

        (seconds,) = self.loop.run(work())
        return seconds


def check_same_pictures(
    alone: list[ComparisonResult], in_company: list[ComparisonResult], tolerance: float = 2 / 255
) -> None:
    """Within one 8-bit grey level everybody gets what he gets alone, or the times mean nothing."""
    for one, other in zip(alone, in_company, strict=True):
        for a, b in zip(one.cells, other.cells, strict=True):
            if a.images is None or b.images is None:
                raise SystemExit(f"{a.method}: {a.error or b.error}")
            worst = (a.images - b.images).abs().max().item()
            if worst > tolerance:
                raise SystemExit(f"pictures of {a.method} differ by {worst:.2g} in company")


def _table(report: dict[str, Any]) -> str:
    machine = report["machine"]

    def row(title: str, value: Callable[[str], str]) -> str:
        return f"| {title} | {value('clock')} | {value('processors')} |"

    return "\n".join(
        [
            f"{machine['device']}, {machine['threads']} threads, {machine['dtype']}, torch {machine['torch']}",
            "",
            "| | clock | processors |",
            "|---|---|---|",
            row("times faster than one after the other", lambda c: f"{report[f'speed_up_by_{c}']:.2f}"),
            row("ceiling: the network alone", lambda c: f"{report[f'ceiling_by_{c}']:.2f}"),
            row("share of that ceiling", lambda c: f"{report[f'of_ceiling_by_{c}']:.0%}"),
            row("in each round", lambda c: ", ".join(f"{x:.0%}" for x in report["of_ceiling_rounds"][c])),
            row("seconds: together", lambda c: f"{report[f'seconds_together_by_{c}']:.2f}"),
            row("seconds: in turn", lambda c: f"{report[f'seconds_in_turn_by_{c}']:.2f}"),
            "",
            f"{report['rows']} rows; passes in turn {report['passes_in_turn']}, together {report['passes_together']}",
        ]
    )


if __name__ == "__main__":
    main()
