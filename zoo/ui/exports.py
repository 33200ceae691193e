"""A comparison to take along: files of a run, a report, and code that makes it again."""

from __future__ import annotations

import html
import io
import json
import re
import shlex
import zipfile

from zoo.comparison import Comparison
from zoo.sheet import nfe_line
from zoo.ui.runs import Run, uris


def file(run: Run, kind: str) -> tuple[str, str, bytes]:
    """A run as a file: its name, its media type and its bytes.

    Args:
        run: an ended one has all its files, any other what there is so far.
        kind: png, zip or report.

    Raises:
        ValueError: there is no such kind.
    """
    name = file_name(run.comparison)
    if kind == "png":
        return f"{name}.png", "image/png", _png(run)
    if kind == "zip":
        return f"{name}.zip", "application/zip", _zip(run)
    if kind == "report":
        return f"{name}.html", "text/html", report(run).encode("utf-8")
    raise ValueError(f"a comparison can be had as png, zip or report, not as {kind!r}")


def file_name(comparison: Comparison) -> str:
    """A name from the prompt, in characters that every file system takes."""
    words = re.sub(r"[^a-z0-9]+", "-", comparison.prompt.lower()).strip("-")
    return f"{words[:48].rstrip('-') or 'comparison'}-{comparison.model.replace('/', '-')}"


ZIPPED = "# comparison.json, and the pictures that it needs beside it, come in the zip\n"


def python(comparison: Comparison) -> str:
    """A program that makes the comparison again; one with pictures from the files of its zip."""
    saving = 'result.save("out")  # grid.png, cells/, comparison.json and results.json\n'
    if comparison.pictures:
        return f'import zoo\n\n{ZIPPED}result = zoo.compare(zoo.Comparison.load("comparison.json"))\n{saving}'
    arguments = [f"model={comparison.model!r}"]
    if comparison.prompt:
        arguments.append(f"prompt={comparison.prompt!r}")
    if comparison.negative:
        arguments.append(f"negative={comparison.negative!r}")
    arguments.append(f"seeds={list(comparison.seeds)!r}")
    lines = "".join(f"\n            {str(method)!r}," for method in comparison.cells)
    arguments.append(f"cells=[{lines}\n        ]")
    if comparison.timing != "shared":
        arguments.append(f"timing={comparison.timing!r}")
    if comparison.metrics:
        arguments.append(f"metrics={[str(metric) for metric in comparison.metrics]!r}")
    body = "".join(f"        {argument},\n" for argument in arguments)
    return "import zoo\n\nresult = zoo.compare(\n    zoo.Comparison(\n" + body + f"    )\n)\n{saving}"


def command(comparison: Comparison) -> str:
    """A command line that makes the comparison again; one with pictures from the files of its zip."""
    if comparison.pictures:
        return f"{ZIPPED}python -m zoo compare comparison.json --out out"
    words = ["python -m zoo compare", f"--model {shlex.quote(comparison.model)}"]
    for option, text in (("--prompt", comparison.prompt), ("--negative", comparison.negative)):
        if text:
            joint = "=" if text.startswith("-") else " "  # else it would be taken for an option
            words.append(f"{option}{joint}{shlex.quote(text)}")
    words.append(f"--seeds {seeds_text(comparison.seeds)}")
    words += [f"--method {shlex.quote(str(method))}" for method in comparison.cells]
    if comparison.timing != "shared":
        words.append("--time-alone")
    if comparison.metrics:
        words.append(f"--metrics {shlex.quote(','.join(map(str, comparison.metrics)))}")
    return " \\\n    ".join([*words, "--out out"])


def seeds_text(seeds: tuple[int, ...]) -> str:
    """Seeds as people write them: 0..3,7."""
    pieces: list[list[int]] = []
    for seed in seeds:
        if pieces and seed == pieces[-1][1] + 1:
            pieces[-1][1] = seed
        else:
            pieces.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}..{b}" for a, b in pieces)


def report(run: Run) -> str:
    """The run as one HTML file that needs nothing else: pictures, costs, metrics, and how to make it again."""
    comparison = run.comparison
    rows = "".join(_row(run, index) for index in range(len(run.results)))
    facts = [
        ("model", comparison.model),
        ("negative prompt", comparison.negative or "–"),
        ("seeds", seeds_text(comparison.seeds)),
        ("start noise", run.noise or "–"),
        (
            "time",
            "alone, after a warm-up" if comparison.timing == "alone" else "share of the fused batch's time",
        ),
        ("run with", json.dumps(comparison.record, ensure_ascii=False) if comparison.record else "–"),
    ]
    listed = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts)
    notices = "".join(f"<p>{html.escape(notice)}</p>" for notice in run.result.notices)
    title = html.escape(comparison.prompt or "no prompt")
    return _REPORT.format(
        title=title,
        notices=notices,
        facts=listed,
        rows=rows,
        command=html.escape(command(comparison)),
        python=html.escape(python(comparison)),
    )


def _row(run: Run, index: int) -> str:
    result, title = run.results[index], html.escape(run.title(index))
    about = f"{nfe_line(result.nfe)} · {result.seconds:.2f} s" if result.nfe else result.status
    about += "".join(
        f"<br>{html.escape(name)} {html.escape(str(score))}" for name, score in result.metrics.items()
    )
    if result.images is None:
        pictures = f"<p>{html.escape(result.status)}: {html.escape(result.error)}</p>"
    else:
        pictures = "".join(
            f'<img src="{uri}" alt="{title}, seed {seed}">'
            for seed, uri in zip(run.comparison.seeds, uris(result.images), strict=True)
        )
    return (
        f"<section><h2>{title}</h2><code>{html.escape(result.method)}</code><p>{about}</p>"
        f"<div>{pictures}</div></section>"
    )


def _kept(run: Run) -> Comparison:
    """The comparison as files keep it: the cards that stand for its cells, as somebody wrote them, in its record."""
    if not run.blocks:
        return run.comparison
    cards = [{"line": block["line"], "swap": block["swap"]} for block in run.blocks]
    return run.comparison.model_copy(update={"record": {**(run.comparison.record or {}), "cards": cards}})


def _png(run: Run) -> bytes:
    from zoo.sheet import draw_sheet
    from zoo.store import png

    return png(draw_sheet(run.result), _kept(run))


def _zip(run: Run) -> bytes:
    """What the command line writes, and the report; from memory, since the disk may have been full."""
    from zoo.pictures import FOLDER
    from zoo.store import pictures_of, results_json

    comparison = _kept(run)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, result in enumerate(run.results):
            for name, data in pictures_of(comparison, index, result):
                archive.writestr(name, data)
        for name, data in comparison.pictures.items():
            archive.writestr(f"{FOLDER}/{name}.png", data)
        archive.writestr("comparison.json", comparison.model_dump_json(indent=2))
        archive.writestr("results.json", results_json(run.result))
        archive.writestr("grid.png", _png(run))
        archive.writestr("report.html", report(run))
    return buffer.getvalue()


_REPORT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} – sampler zoo</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
body {{ margin: 2rem auto; max-width: 76rem; padding: 0 1rem; line-height: 1.45; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.5rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1rem; margin: 0; }}
section div {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); gap: .4rem; }}
img {{ width: 100%; image-rendering: pixelated; display: block; border-radius: 4px; }}
code, pre, section p {{ font-size: .85rem; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }}
pre {{ white-space: pre-wrap; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .85rem; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
{notices}
<main>{rows}</main>
<h2>What it is</h2>
<dl>{facts}</dl>
<h2>Again</h2>
<pre>{command}</pre>
<pre>{python}</pre>
</html>
"""
