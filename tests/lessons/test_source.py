"""What is shown as source is source: read from the files, and still there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from zoo.builtins.heun import Heun

from zoo.lessons.algorithms import ALGORITHMS, SYMBOLS
from zoo.lessons.source import implementation, line

ROOT = Path(__file__).parents[2]
SHOWN = [
    *((f"{a.name}, {step.says}", step) for a in ALGORITHMS for step in a.steps if step.code),
    *((symbol.name, symbol) for symbol in SYMBOLS),
]


@pytest.mark.parametrize("shown", [entry for _, entry in SHOWN], ids=[name for name, _ in SHOWN])
def test_every_line_that_is_shown_is_in_its_file_at_that_line(shown):
    found = shown.source()
    for excerpt in found if isinstance(found, list) else [found]:
        lines = (ROOT / excerpt.file).read_text(encoding="utf-8").splitlines()[excerpt.first - 1 :]
        for text, there in zip(excerpt.text.splitlines(), lines, strict=False):
            assert text and there.strip() == text.strip()


def test_the_paper_s_lines_are_all_there():
    assert [len(algorithm.steps) for algorithm in ALGORITHMS] == [7, 6, 2]


NOTATION = re.compile(
    r"\\(?:frac|sqrt|dots|cdots|sim|Big|[lr]Vert|mathrm\{\w+\}|[{},])"  # what joins symbols, or is a word
    r"|(?P<symbol>(?:\\(?:bar|hat|tilde|mathcal)\s*)?(?:\\[a-zA-Z]+|[a-zA-Z])(?:_\\theta)?)"
)


def symbols(latex: str) -> set[str]:
    """Those of a formula, indices included: `\\bar\\alpha_t` is of `\\bar\\alpha` and `t`."""
    return {found["symbol"].replace(" ", "") for found in NOTATION.finditer(latex) if found["symbol"]}


def test_every_symbol_of_the_algorithms_has_a_row_of_its_own():
    defined: set[str] = set()
    for symbol in SYMBOLS:
        # Neither its arguments nor its indices: those have rows of their own.
        name = re.sub(r"\(x_.*?\)|_\w|_\{.*?\}", "", symbol.latex.partition("=")[0])
        defined |= symbols(name)
    shown = [re.findall(r"\$(.*?)\$", step.says) for algorithm in ALGORITHMS for step in algorithm.steps]
    used = set().union(*(symbols(formula) for formulas in shown for formula in formulas))
    assert used >= {r"\alpha", r"\varepsilon", r"\varepsilon_\theta", r"\hatx", *"xqtsTz"}, (
        "else none would be missed"
    )
    assert used - defined == set()


@pytest.mark.parametrize(
    ("address", "beginning", "message"),
    [
        ("zoo.builtins.ddim:DDIM.sample", "y =", "no line of"),
        ("zoo.builtins.ddim:DDIM.sample", "", "exactly one must"),
        ("zoo.builtins.ddim:DDIM.nothing", "x =", "defines no DDIM.nothing"),
    ],
)
def test_a_line_that_is_not_there_or_not_the_only_one_is_refused(address, beginning, message):
    with pytest.raises(LookupError, match=message):
        line(address, beginning)


def test_a_statement_over_several_lines_is_shown_whole():
    found = line("zoo.training.denoiser:train", "fitted = fit(")
    assert found.text.startswith("fitted = fit(") and found.text.endswith(")")


def test_the_class_shown_is_the_one_that_samples():
    found = implementation(Heun, "sample")
    assert found.file == "plugins/heun.py"
    assert found.text.startswith("class Heun(KarrasSampler):")
    assert found.text in (ROOT / found.file).read_text(encoding="utf-8")
