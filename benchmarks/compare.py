"""What running cells together is worth: this engine against one cell at a time and against diffusers' plain loop.

The same 12 cells (DDIM 10/20/50 × η 0/1 × guidance 1/3) on the bundled model, with the same network, dtype, memory
format and threads, at 1 and at 4 images per cell:

    engine       all cells in one comparison
    one by one   a comparison per cell
    diffusers    `DDIMScheduler` and the U-Net in the loop that diffusers' documentation shows, cell by cell

The ceiling is what batching alone could give: the network without any sampler, in the plain loop's own batches,
against the same rows in full batches. On a GPU the most memory that each way took is told as well.

    python benchmarks/compare.py [--rounds 3] [--device auto] [--dtype auto] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from zoo.cell import Cell
from zoo.device import dtype_name, resolve_device, resolve_dtype
from zoo.driving import drive
from zoo.engine import Engine
from zoo.method import Method
from zoo.noise import KeyedNoise, start_noise
from zoo.planning import load_model, resolve
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT

GRID = list(itertools.product((10, 20, 50), (0.0, 1.0), (1.0, 3.0)))
TEXT = "a red mushroom at night"
COUNTS = {"one_image": 1, "four_images": 4}


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that each of the three runs, in turn")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    bench = Bench(device, resolve_dtype(arguments.dtype, device))
    Bench(device, torch.float32).check_same_pictures()
    report: dict[str, Any] = {"ceiling": {}, "network_share": {}}
    for name, images in COUNTS.items():
        seconds, share = bench.rounds(images, arguments.rounds)
        ratio = _ratios(seconds)
        report[name] = {
            "vs_diffusers": round(ratio("diffusers"), 2),
            "vs_one_by_one": round(ratio("one by one"), 2),
            "of_ceiling": 0.0,
            "images_per_second": round(images * len(GRID) / statistics.median(seconds["engine"]), 2),
            "seconds": {key: round(statistics.median(values), 2) for key, values in seconds.items()},
        }
        report["ceiling"][name] = round(ratio("network, plain loop's batches", "network, full batches"), 2)
        if bench.peak:
            report[name]["megabytes"] = {way: round(bench.peak[way, images]) for way in seconds}
        report[name]["of_ceiling"] = round(report[name]["vs_diffusers"] / report["ceiling"][name], 2)
        report["network_share"][name] = round(share, 3)
    # One figure, as a reader wants it: the smaller of the two.
    report["network_share_by_count"] = report.pop("network_share")
    report["network_share"] = min(report["network_share_by_count"].values())
    report["machine"] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "dtype": dtype_name(bench.engine.dtype),
        "torch": torch.__version__,
    }
    print(json.dumps(report) if arguments.json else _table(report))


class Bench:
    """The 12 cells, three ways, on one device."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.model = load_model("tinyworld", default_registry())
        self.engine = Engine(device, dtype)
        self.device = device
        self.network = self.model.network("denoiser", device, dtype)
        self.peak: dict[tuple[str, int], float] = {}
        """Most megabytes that a way took on the GPU, the weights included, by its name and the images."""
        self.embedding = {text: self.model.condition(text, device) for text in (TEXT, "")}

    def rounds(self, images: int, count: int) -> tuple[dict[str, list[float]], float]:
        """Seconds of each way, `count` times in turn, and the share of the engine's time inside the network."""
        ways: dict[str, Callable[[int], Any]] = {
            "engine": self.fused,
            "one by one": self.one_by_one,
            "diffusers": self.diffusers,
            "network, plain loop's batches": self.network_in_plain_batches,
            "network, full batches": self.network_in_full_batches,
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        inside = total = 0.0
        for way in ways.values():
            self._rehearse(way, images)
        for _ in range(count):
            for name, way in ways.items():
                before = self.engine.network_seconds
                if self.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                started = time.perf_counter()
                way(images)
                self._wait()
                seconds[name].append(time.perf_counter() - started)
                if self.device.type == "cuda":
                    self.peak[name, images] = torch.cuda.max_memory_allocated() / 2**20
                if name == "engine":
                    inside += self.engine.network_seconds - before
                    total += seconds[name][-1]
        return seconds, inside / total

    def fused(self, images: int) -> list[torch.Tensor]:
        return self._run(self._cells(images))

    def one_by_one(self, images: int) -> list[torch.Tensor]:
        return [samples for cell in self._cells(images) for samples in self._run([cell])]

    @torch.inference_mode()
    def diffusers(self, images: int) -> list[torch.Tensor]:
        """The loop of diffusers' documentation, with our keyed noise in place of its generator."""
        from diffusers import DDIMScheduler

        results = []
        unet = self.network.module  # type: ignore[attr-defined]
        for steps, eta, guidance in GRID:
            scheduler = DDIMScheduler(
                beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing"
            )
            scheduler.set_timesteps(steps)
            x = torch.from_numpy(start_noise(range(images), self.model.shape)).float().to(self.device)
            noise = KeyedNoise(range(images), self.model.shape, like=x)
            guided = guidance != 1
            texts = ["", TEXT] if guided else [TEXT]
            text = torch.cat([self.embedding[t].expand(images, -1, -1) for t in texts]).to(self.engine.dtype)
            for t in scheduler.timesteps:
                rows = torch.cat([x, x]) if guided else x
                rows = rows.to(self.engine.dtype, memory_format=torch.channels_last)
                output = unet(rows, t, encoder_hidden_states=text).sample.to(x.dtype)
                if guided:
                    empty, prompted = output.chunk(2)
                    output = empty + guidance * (prompted - empty)
                last = int(t) == int(scheduler.timesteps[-1])
                fresh = noise() if eta > 0 and not last else torch.zeros_like(x)
                x = scheduler.step(
                    output, t, x, eta=eta, variance_noise=fresh, use_clipped_model_output=True
                ).prev_sample
            results.append(x)
        return results

    def network_in_plain_batches(self, images: int) -> None:
        for steps, _, guidance in GRID:
            for _ in range(steps):
                self._call(images if guidance == 1 else 2 * images)

    def network_in_full_batches(self, images: int) -> None:
        rows = sum(steps * images * (1 if guidance == 1 else 2) for steps, _, guidance in GRID)
        while rows > 0:
            self._call(min(rows, self.engine.max_rows))
            rows -= self.engine.max_rows

    def check_same_pictures(self, images: int = 1, tolerance: float = 2 / 255) -> None:
        """In fp32 the ways must agree within one 8-bit grey level, or their times mean nothing."""
        mine, theirs = self.fused(images), self.diffusers(images)
        for cell, a, b in zip(GRID, mine, theirs, strict=True):
            worst = (a - b).abs().max().item()
            if worst > tolerance:
                raise SystemExit(f"pictures of {cell} differ by {worst:.2g} from diffusers'")

    def _cells(self, images: int) -> list[Cell]:
        cells = []
        for steps, eta, guidance in GRID:
            line = f"ddim steps={steps} eta={eta} | cfg scale={guidance}"
            sampler, conditioners = resolve(Method.parse(line), default_registry())
            conditions = {PROMPT: TEXT, NEGATIVE: ""}
            cells.append(Cell(self.model, sampler, conditioners, conditions, range(images)))
        return cells

    def _run(self, cells: list[Cell]) -> list[torch.Tensor]:
        for _ in drive(self.engine, cells):
            pass
        failed = [cell.traceback for cell in cells if cell.samples is None]
        if failed:
            raise SystemExit(failed[0])
        return [cell.samples for cell in cells if cell.samples is not None]

    @torch.inference_mode()
    def _call(self, rows: int) -> None:
        x = torch.zeros(rows, *self.model.shape, device=self.device)
        t = torch.zeros(rows, device=self.device)
        self.network(x, t, [self.embedding[TEXT]] * rows)

    def _rehearse(self, way: Callable[[int], Any], images: int) -> None:
        """One short run of each, so that no way pays for the first use of a shape."""
        global GRID
        full, GRID = GRID, [(2, eta, guidance) for _, eta, guidance in GRID]
        try:
            way(images)
        finally:
            GRID = full

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _ratios(seconds: dict[str, list[float]]) -> Callable[..., float]:
    """Median over the rounds of how many times longer a way took than the engine (or than `base`)."""

    def ratio(name: str, base: str = "engine") -> float:
        return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))

    return ratio


def _table(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [
        f"{machine['device']}, {machine['threads']} threads, {machine['dtype']}, torch {machine['torch']}",
        "",
        "| | 1 image per cell | 4 images per cell |",
        "|---|---|---|",
    ]

    def row(title: str, value: Callable[[str], Any]) -> None:
        lines.append(f"| {title} | {value('one_image')} | {value('four_images')} |")

    row("times faster than diffusers' plain loop", lambda n: report[n]["vs_diffusers"])
    row("times faster than one cell at a time", lambda n: report[n]["vs_one_by_one"])
    row("ceiling: network alone, plain loop's batches / full batches", lambda n: report["ceiling"][n])
    row("share of that ceiling", lambda n: f"{report[n]['of_ceiling']:.0%}")
    row(
        "share of the engine's time inside the network",
        lambda n: f"{report['network_share_by_count'][n]:.1%}",
    )
    row("images per second", lambda n: report[n]["images_per_second"])
    for way in report["one_image"]["seconds"]:
        row(f"seconds: {way}", lambda n, way=way: report[n]["seconds"][way])
    for way in report["one_image"].get("megabytes", {}):
        row(f"most MB on the GPU: {way}", lambda n, way=way: report[n]["megabytes"][way])
    return "\n".join(lines)


if __name__ == "__main__":
    main()
