"""How much faster than DDPM each method is where it is about as good."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from zoo.claims.claims import Interval
from zoo.claims.points import Points, asked_for
from zoo.metrics.intervals import wilson
from zoo.store import write_whole

BASELINE = "ddpm steps=1000"
FACTOR = 1.2

TOGETHER = 16
"""Pictures that are drawn together when a method is timed."""

ROUNDS, LEAST = 2, 3.0
"""How often each method has its turn, and how many seconds at least a turn takes; the quickest draw counts."""


@dataclass(frozen=True)
class Setting:
    """The cheapest setting of a method that is good enough.

    Attributes:
        line: the method with its settings.
        times: its pictures per second, as a multiple of the baseline's.
        margin: the largest distance that is good enough less its own, both on the same pictures; None where accuracy
            decides.
    """

    line: str
    times: float
    margin: Interval | None = None


@dataclass(frozen=True)
class Faster:
    """The speed of each method beside DDPM's longest measured run.

    Attributes:
        baseline: that run, of DDPM with the small variance.
        n: its pictures; every other setting is compared on the same ones.
        seconds: it takes, a picture.
        error: the largest share of wrong kinds that is good enough: 1.2 times the upper end of the baseline's 95 %
            interval, since the share itself rests on a handful of pictures.
        by_distance: title of a method → its cheapest setting whose distance is at most 1.2 times the baseline's; None
            if none of the measured ones is.
        by_accuracy: likewise, by the share of wrong kinds.
    """

    baseline: str
    n: int
    seconds: float
    error: float
    by_distance: Mapping[str, Setting | None]
    by_accuracy: Mapping[str, Setting | None]

    @property
    def complete(self) -> bool:
        """Whether the baseline is DDPM in 1000 steps."""
        return self.baseline == BASELINE


def time_all(points: Points, lines: Iterable[str], bar: bool) -> None:
    """Time methods side by side, in `ROUNDS` turns, and keep that beside the points.

    It says something only on a machine that does nothing else meanwhile.

    Raises:
        RuntimeError: a method failed.
    """
    found: dict[str, list[float]] = {}
    asked = asked_for(0, 0)[:TOGETHER]
    with tqdm([*lines] * ROUNDS, disable=not bar) as progress:
        for line in progress:
            progress.set_description(line)
            taken = found.setdefault(points.name(line), [])
            until = time.perf_counter() + LEAST
            while True:
                began = time.perf_counter()
                points.draw(line, 0, 0, asked)
                ended = time.perf_counter()
                taken.append((ended - began) / TOGETHER)
                if ended >= until:
                    break
    kept = {"where": where(points), "seconds": {name: min(values) for name, values in found.items()}}
    write_whole(points.folder / "seconds.json", json.dumps(kept, indent=1).encode())


def seconds(points: Points) -> Callable[[str], float | None]:
    """What a line took a picture when all were last timed on this device; None if it has not been."""
    path = points.folder / "seconds.json"
    kept = json.loads(path.read_bytes()) if path.is_file() else {}
    found = kept.get("seconds", {}) if kept.get("where") == where(points) else {}
    return lambda line: found.get(points.name(line))


def where(points: Points) -> str:
    """What draws: the name of a card, or how many threads of a processor."""
    device = points.engine.device
    if device.type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def fastest(
    curves: Mapping[str, Sequence[str]],
    baseline: str,
    n: int,
    seconds: Mapping[str, float],
    near: Callable[[str], Interval],
    wrong: Callable[[str], float],
) -> Faster:
    """The cheapest good enough setting of each curve.

    Args:
        curves: title → the settings of a method that have been measured and timed.
        baseline: one of them.
        n: its pictures.
        seconds: setting → seconds a picture.
        near: 1.2 times the baseline's distance less that of a setting, on the same pictures.
        wrong: the share of a setting's pictures that show another kind than was asked for.
    """
    error = FACTOR * wilson(round(wrong(baseline) * n), n)[1]

    def cheapest(lines: Sequence[str], good: Callable[[str], bool]) -> str | None:
        return min(filter(good, lines), key=seconds.__getitem__, default=None)

    def setting(line: str | None, margin: Callable[[str], Interval | None]) -> Setting | None:
        return None if line is None else Setting(line, seconds[baseline] / seconds[line], margin(line))

    return Faster(
        baseline,
        n,
        seconds[baseline],
        error,
        {
            title: setting(cheapest(lines, lambda line: near(line).value >= 0), near)
            for title, lines in curves.items()
        },
        {
            title: setting(cheapest(lines, lambda line: wrong(line) <= error), lambda line: None)
            for title, lines in curves.items()
        },
    )
