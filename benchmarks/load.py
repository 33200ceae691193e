"""What the page bears: many people at once, who compare, cancel, upload, and leave in the middle.

They speak to the server as the page's script does (zoo/ui/calls.py over HTTP) and look as often as it looks. Three
phases, one after the other:

    alone       one person, one picture at a time: the time to the first preview, for comparison
    fairness    one person's grid of 200 cells, and beside it another's single picture
    load        `--clients` people for `--minutes`: comparisons of several methods, cancels, uploads (damaged ones too),
                connections that are cut while the server answers and runs at which nobody looks again

It is right when every request that was accepted ended in a result or in a sentence, and every other was refused with
one, when the grid was taken and the single picture beside it did not wait for its end, and when memory and temporary
files stayed flat after the first minute: the exit code says so. Memory and files on disk are told of a server that it
started itself, on `--cores` of the machine's cores; the visitors' own work shares them where there are no more.

    python benchmarks/load.py --start-server [--clients 50] [--minutes 5] [--cores 2] [--json]
    python benchmarks/load.py --port 7860 [--host 127.0.0.1]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.server import Gauge, Server, started
from benchmarks.visitors import SINGLE, Page, Request, Visitor

FLAT = 1.1
"""Memory and temporary files count as flat up to this multiple of what they were in the second minute."""


def main() -> int:
    """Run the phases and print what they found; 0 if every request ended in a result or a sentence."""
    arguments = _parser().parse_args()
    if not arguments.start_server:
        report = measure(arguments, arguments.port, None)
    else:
        with started(arguments.port, arguments.cores, arguments.server) as server:
            report = measure(arguments, server.port, server)
    report["faults"] = faults(report)
    print(json.dumps(report, indent=2) if arguments.json else table(report))
    return 1 if report["faults"] else 0


def measure(arguments: argparse.Namespace, port: int, server: Server | None) -> dict[str, Any]:
    """All phases against the server at this port."""

    def visitor(number: int) -> Visitor:
        return Visitor(Page(arguments.host, port), arguments.model, number, arguments.patience)

    previews = alone(visitor(-1), arguments.alone)
    fair = fairness(visitor(-2), visitor(-3), arguments.grid)
    visitors = [visitor(number) for number in range(arguments.clients)]
    rows: list[dict[str, float]] = []
    if server is None:
        load(visitors, arguments.minutes)
    else:
        with Gauge(server) as gauge:
            load(visitors, arguments.minutes)
        rows = gauge.minutes()
    requests = [request for each in visitors for request in each.requests]
    under_load = [r.preview for r in requests if r.preview is not None and r.kind != "leave"]
    return {
        "clients": arguments.clients,
        "minutes": arguments.minutes,
        "load": summary(requests),
        "first_preview": {"alone": percentiles(previews), "under_load": percentiles(under_load)},
        "fairness": fair,
        "server": rows,
    }


def alone(visitor: Visitor, times: int) -> list[float]:
    """Seconds to the first preview of a single picture on an idle server."""
    visitor.follow(visitor.begin("warm-up", [SINGLE]))
    visitor.requests.clear()
    for seed in range(times):
        visitor.follow(visitor.begin("alone", [SINGLE], str(seed)))
    return [request.preview for request in visitor.requests if request.preview is not None]


def fairness(one: Visitor, other: Visitor, cells: int) -> dict[str, Any]:
    """A single picture beside a grid: how long it takes, and how far the grid has come meanwhile."""
    said: list[str] = []
    grid = Request("grid", 0.0)
    while cells >= 10:
        line = f"ddim steps=11..{10 + cells // 10} eta=0..0.9..0.1"
        grid = one.begin("grid", [line])
        if grid.run:
            break
        said.append(f"{cells} cells: {grid.said}")
        cells //= 2
    if not grid.run:
        return {"grid": 0, "refused": said}
    one.follow(grid, until=lambda request: request.preview is not None)
    single = other.begin("beside", [SINGLE])
    other.follow(single)
    at_end = one.page.ask("look_at", grid.name | {"since": 0})
    ended = sum(cell["status"] not in ("queued", "running") for cell in at_end["cells"].values())
    one.page.ask("stop_run", grid.name)
    one.follow(grid)
    return {
        "grid": len(grid.cells),
        "refused": said,
        "first_preview": single.preview,
        "ended": single.ended,
        "grid_ended_meanwhile": ended,
        "interleaved": ended < len(grid.cells),
    }


def load(visitors: list[Visitor], minutes: float) -> None:
    """All of them at once; returns when all that was accepted has ended, or somebody's patience has."""
    until = time.monotonic() + 60 * minutes
    threads = [threading.Thread(target=visitor.stay, args=(until,)) for visitor in visitors]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    for visitor in visitors:
        for request in visitor.left:
            visitor.follow(request)


def percentiles(values: list[float]) -> dict[str, float | None]:
    """The 50th and the 95th, and of how many."""
    if not values:
        return {"n": 0, "p50": None, "p95": None}
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"n": len(values), "p50": round(statistics.median(values), 2), "p95": round(p95, 2)}


def summary(requests: list[Request]) -> dict[str, Any]:
    """How many of each kind ended how, and the sentences of those that were refused, failed or broken."""
    outcomes: dict[str, Counter[str]] = {}
    for request in requests:
        outcomes.setdefault(request.kind, Counter())[request.outcome] += 1
    said = Counter(
        f"{request.outcome}: {re.sub(r'[0-9]+', '…', request.said)[:160]}"
        for request in requests
        if request.outcome in ("refused", "failed", "broken")
    )
    return {
        "requests": len(requests),
        "accepted": sum(request.outcome != "refused" for request in requests),
        "outcomes": {kind: dict(counts) for kind, counts in outcomes.items()},
        "said": dict(said.most_common(8)),
        "broken": sum(request.outcome == "broken" for request in requests),
        "silent": sum(request.outcome == "refused" and not request.said for request in requests),
    }


def faults(report: dict[str, Any]) -> list[str]:
    """What is not as it must be, in words."""
    total, fair, rows = report["load"], report["fairness"], report["server"]
    found = [
        f"{total[key]} requests {what}"
        for key, what in (
            ("broken", "were accepted and came to no end"),
            ("silent", "were refused without a word"),
        )
        if total[key]
    ]
    found += [f"the grid was refused, {said}" for said in fair["refused"]]
    if fair["grid"] and not fair["interleaved"]:
        found.append("the single picture waited for the whole grid")
    if len(rows) > 2:
        for key, what in (("rss_mb", "memory"), ("temporary_mb", "temporary files")):
            first, last = rows[1][key], rows[-1][key]
            if last > FLAT * first + 5:
                found.append(f"{what} grew from {first} to {last} MB after the first minute")
    return found


def table(report: dict[str, Any]) -> str:
    """The report as people read it."""
    total, fair = report["load"], report["fairness"]
    kinds = ("refused", "done", "failed", "cancelled", "broken")
    lines = [
        f"{report['clients']} people for {report['minutes']:g} minutes: {total['requests']} requests, "
        f"{total['accepted']} accepted, {total['broken']} without an end or a message",
        "",
        "| | " + " | ".join(kinds) + " |",
        "|---" * (1 + len(kinds)) + "|",
    ]
    for kind, counts in sorted(total["outcomes"].items()):
        lines.append(f"| {kind} | " + " | ".join(str(counts.get(name, 0)) for name in kinds) + " |")
    lines += ["", *(f"{count} × {said}" for said, count in total["said"].items()), ""]
    lines += ["| seconds to the first preview | n | p50 | p95 |", "|---|---|---|---|"]
    for name in ("alone", "under_load"):
        found = report["first_preview"][name]
        lines.append(f"| {name.replace('_', ' ')} | {found['n']} | {found['p50']} | {found['p95']} |")
    lines.append("")
    if fair["grid"]:
        lines.append(
            f"a single picture beside a grid of {fair['grid']} cells: first preview after "
            f"{_seconds(fair['first_preview'])}, ended after {_seconds(fair['ended'])}, "
            f"when {fair['grid_ended_meanwhile']} cells of the grid had"
        )
    if report["server"]:
        lines += ["", "| minute | memory, MB | temporary files, MB | kept runs | MB |", "|---" * 5 + "|"]
        for row in report["server"]:
            values = (row["rss_mb"], row["temporary_mb"], f"{row['runs']:.0f}", row["runs_mb"])
            lines.append(f"| {row['minute'] + 1:.0f} | " + " | ".join(map(str, values)) + " |")
    lines += ["", *(f"WRONG: {fault}" for fault in report["faults"])]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=50, help="people at once (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of load (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of the server; with --start-server any, if 0")
    parser.add_argument("--start-server", action="store_true", help="start one, and watch what it takes")
    parser.add_argument("--cores", type=int, default=2, help="that the started server may use")
    parser.add_argument("--server", nargs=argparse.REMAINDER, default=["--device", "cpu"], help="its options")
    parser.add_argument("--model", default="tinyworld")
    parser.add_argument(
        "--grid", type=int, default=200, help="cells of the one big grid (default: %(default)s)"
    )
    parser.add_argument("--alone", type=int, default=10, help="pictures of the first phase")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds within which a run must end")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    return parser


if __name__ == "__main__":
    sys.exit(main())
