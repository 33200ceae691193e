"""The findings as a table for the terminal, and as docs/results.md with its plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from zoo.claims.claims import Finding, Interval, Margin
from zoo.claims.run import CurvePoint, Report
from zoo.claims.speed import BASELINE, FACTOR, TOGETHER, Faster, Setting

MARKS = {"holds": "holds", "does not hold": "**does not hold**", "undecided": "undecided"}
BEGIN, END = "<!-- zoo claims: begin -->", "<!-- zoo claims: end -->"


def text(report: Report) -> str:
    """For the terminal: the verdict of each claim with its margins, and what is faster than DDPM."""
    lines = []
    for finding in report.findings:
        n = f" ({finding.n} pictures each)" if finding.n else ""
        lines.append(f"{finding.verdict:14s} {finding.claim.kind:5s} {finding.claim.text}{n}")
        if finding.reason:
            lines.append(f"{'':20s} {finding.reason}")
        for margin, interval in zip(finding.claim.margins, finding.margins, strict=False):
            lines.append(f"{'':20s} {margin.text}: margin {_number(interval)}")
    if report.speed is not None:
        lines += ["", _baseline(report.speed)]
        for title, near, right in _faster(report.speed):
            lines.append(f"  {title:28s} by distance: {near:45s} by accuracy: {right}")
    if report.quick:
        lines += [
            "",
            "quick: the claims that 256 paired pictures a method can decide; the full run decides all",
        ]
    lines.append(
        f"4 seeds, Fréchet distance of tinyworld's features above that of real pictures, {report.device}"
    )
    return "\n".join(lines)


def write(report: Report, page: Path) -> None:
    """Put the table and the plots into a Markdown page, between its two marks.

    Raises:
        ValueError: the page has no such marks.
    """
    before = page.read_text(encoding="utf-8")
    if BEGIN not in before or END not in before:
        raise ValueError(f"{page} must hold the lines {BEGIN} and {END}: the findings go between them")
    head, _, rest = before.partition(BEGIN)
    tail = rest.partition(END)[2]
    images = page.parent / "images"
    _plot(report, images / "quality-nfe.svg", "network evaluations per picture", lambda p: p.nfe)
    if report.speed is not None:
        label = f"seconds per picture, {TOGETHER} at a time"
        _plot(report, images / "quality-time.svg", label, lambda p: p.seconds)
    page.write_text(f"{head}{BEGIN}\n\n{_markdown(report)}\n\n{END}{tail}", encoding="utf-8")


def _markdown(report: Report) -> str:
    lines = [
        f"Measured on {report.device}{', the quick claims only' if report.quick else ''}; n is the number of pictures "
        "(of samples, where the network is exact) of each method. A margin is positive where the claim is true.",
        "",
        "| claim | kind | verdict | n | margins |",
        "|---|---|---|---|---|",
    ]
    for finding in report.findings:
        margins = finding.reason or "; ".join(_margins(finding))
        lines.append(
            f"| {finding.claim.text} | {finding.claim.kind} | {MARKS[finding.verdict]} | {finding.n or ''} "
            f"| {_cell(margins)} |"
        )
    if report.speed is not None:
        lines += ["", _baseline(report.speed), "", "| method | by distance | by accuracy |", "|---|---|---|"]
        lines += [f"| {title} | {near} | {right} |" for title, near, right in _faster(report.speed)]
    lines += ["", "| method | n | NFE | seconds | distance | kind found |", "|---|---|---|---|---|---|"]
    for points in report.curves.values():
        for p in points:
            lines.append(
                f"| `{_cell(p.line)}` | {p.n} | {p.nfe} | {_seconds(p.seconds)} | {_number(p.distance)} "
                f"| {p.accuracy.value:.1%} |"
            )
    lines += ["", "![Distance against network evaluations](images/quality-nfe.svg)"]
    if report.speed is None:
        lines += ["", "No times: `python -m zoo claims --speed` takes them, side by side."]
    else:
        lines += ["", "![Distance against seconds](images/quality-time.svg)"]
    return "\n".join(lines)


def _baseline(speed: Faster) -> str:
    """What the table of speeds compares with, and what counts as good enough in it."""
    absent = (
        ""
        if speed.complete
        else f" {BASELINE} has not been measured yet; this is the longest DDPM that has been."
    )
    return (
        f"Pictures per second as a multiple of those of `{speed.baseline}` ({speed.seconds:.3g} s a picture), timed "
        f"side by side in one run, {TOGETHER} pictures at a time: the cheapest measured setting whose distance is at "
        f"most {FACTOR:g} times the baseline's, in brackets by how much it is less than that; and the cheapest whose "
        f"share of wrong kinds is at most {FACTOR:g} times the upper end of the 95 % interval of the baseline's "
        f"({speed.error:.2%}). Both on the {speed.n} pictures that there are of the baseline.{absent}"
    )


def _faster(speed: Faster) -> Iterator[tuple[str, str, str]]:
    """(method, by distance, by accuracy)"""
    for title in speed.by_distance:
        yield title, _setting(speed.by_distance[title]), _setting(speed.by_accuracy[title])


def _setting(setting: Setting | None) -> str:
    if setting is None:
        return "none measured is"
    margin = "" if setting.margin is None else f" [{_number(setting.margin)}]"
    return f"`{setting.line}`: {setting.times:{'.0f' if setting.times >= 100 else '.3g'}} ×{margin}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _cell(text: str) -> str:
    """Within a table's cell, where a bar would end it."""
    return text.replace("|", "\\|")


def _margins(finding: Finding) -> list[str]:
    pairs: Sequence[tuple[Margin, Interval]] = list(zip(finding.claim.margins, finding.margins, strict=False))
    return [f"{margin.text}: {_number(interval)}" for margin, interval in pairs]


def _number(interval: Interval) -> str:
    return f"{interval.value:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def _plot(report: Report, path: Path, label: str, cost: Callable[[CurvePoint], float | None]) -> None:
    try:
        import matplotlib
    except ImportError:
        raise ValueError("the plots need matplotlib: pip install matplotlib") from None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "zoo"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    for title, points in report.curves.items():
        known = ((cost(p), p.distance) for p in points)
        shown = sorted((x, y.value, y.low, y.high) for x, y in known if x is not None and y.value > 0)
        if not shown:
            continue
        below = [value - max(low, 1e-6) for _, value, low, _ in shown]
        above = [high - value for _, value, _, high in shown]
        axes.errorbar(
            [x for x, *_ in shown],
            [value for _, value, *_ in shown],
            [below, above],
            label=title,
            marker="o",
            ms=4,
            capsize=2,
        )
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="Fréchet distance above the floor")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
