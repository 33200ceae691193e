"""The findings as a table for the terminal, and as docs/results.md with its plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zoo.claims.claims import Finding, Interval, Margin
from zoo.claims.run import CurvePoint, Report

MARKS = {"holds": "holds", "does not hold": "**does not hold**", "undecided": "undecided"}
BEGIN, END = "<!-- zoo claims: begin -->", "<!-- zoo claims: end -->"


def text(report: Report) -> str:
    """For the terminal: the verdict of each claim with its margins."""
    lines = []
    for finding in report.findings:
        lines.append(f"{finding.verdict:14s} {finding.claim.kind:5s} {finding.claim.text}")
        if finding.reason:
            lines.append(f"{'':20s} {finding.reason}")
        for margin, interval in zip(finding.claim.margins, finding.margins, strict=False):
            lines.append(f"{'':20s} {margin.text}: margin {_number(interval)}")
    lines.append(f"{report.pictures} pictures a point in 4 seeds, {report.distance}, {report.device}")
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
    _plot(report, images / "quality-time.svg", "seconds per picture in a full batch", lambda p: p.seconds)
    page.write_text(f"{head}{BEGIN}\n\n{_markdown(report)}\n\n{END}{tail}", encoding="utf-8")


def _markdown(report: Report) -> str:
    lines = [
        f"{report.pictures} pictures a point, 4 seeds, on {report.device}. Distances are {report.distance}s in the "
        "bundled feature network to 4,096 real pictures, less that of as many real pictures of the same prompts "
        f"({_number(report.floor)}). A margin is positive where the claim is true; its 95 % interval is over the "
        "seeds.",
        "",
        "| claim | kind | verdict | margins |",
        "|---|---|---|---|",
    ]
    for finding in report.findings:
        margins = finding.reason or "; ".join(_margins(finding))
        lines.append(
            f"| {finding.claim.text} | {finding.claim.kind} | {MARKS[finding.verdict]} | {margins} |"
        )
    lines += ["", "| method | NFE | seconds | distance | kind found |", "|---|---|---|---|---|"]
    for points in report.curves.values():
        for p in points:
            lines.append(
                f"| `{p.line}` | {p.nfe} | {p.seconds:.3f} | {_number(p.distance)} | {p.accuracy.value:.1%} |"
            )
    lines += [
        "",
        "![Distance against network evaluations](images/quality-nfe.svg)",
        "",
        "![Distance against seconds](images/quality-time.svg)",
    ]
    return "\n".join(lines)


def _margins(finding: Finding) -> list[str]:
    pairs: Sequence[tuple[Margin, Interval]] = list(zip(finding.claim.margins, finding.margins, strict=False))
    return [f"{margin.text}: {_number(interval)}" for margin, interval in pairs]


def _number(interval: Interval) -> str:
    return f"{interval.value:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def _plot(report: Report, path: Path, label: str, cost: Callable[[CurvePoint], float]) -> None:
    try:
        import matplotlib
    except ImportError:
        raise ValueError("the plots need matplotlib: pip install matplotlib") from None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "zoo"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    for title, points in report.curves.items():
        shown = sorted((p for p in points if p.distance.value > 0), key=cost)
        values = [p.distance.value for p in shown]
        below = [p.distance.value - max(p.distance.low, 1e-6) for p in shown]
        above = [p.distance.high - p.distance.value for p in shown]
        axes.errorbar(
            [cost(p) for p in shown], values, [below, above], label=title, marker="o", ms=4, capsize=2
        )
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel=f"{report.distance} above the floor")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
