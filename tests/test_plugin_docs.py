"""The pages for plugin authors are true: their commands, their code, and what is written from docstrings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import zoo
from scripts import reference
from zoo.cli import _parser, main
from zoo.registry import Registry

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / "docs/plugins").glob("*.md"),
    ROOT / "docs/api-stability.md",
    *ROOT.glob("examples/*/README.md"),
]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_what_is_written_from_docstrings_is_up_to_date():
    docs = ROOT / "docs"
    advice = "run python scripts/reference.py"
    assert (docs / "plugins/reference.md").read_text(encoding="utf-8") == reference.reference(), advice
    for page, renew in {"plugins/testing.md": reference.testing, "python.md": reference.python}.items():
        text = (docs / page).read_text(encoding="utf-8")
        assert text == renew(text), advice


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_parsed_and_links_lead_somewhere(page):
    for text in blocks(page, "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:3] == ["python", "-m", "zoo"]:
                _parser(words[3:]).parse_args(words[3:])
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).resolve().is_file(), link


def test_the_tutorial_s_file_runs_and_is_heun(tmp_path):
    (source,) = blocks(ROOT / "docs/plugins/README.md", "python")
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    lines = ["mine/heun steps=6", "ddim steps=11"]
    comparison = zoo.Comparison(model="gaussian", prompt="dusk", cells=lines, metrics=["exact_error"])
    cells = zoo.compare(comparison, registry=Registry(tmp_path)).cells
    assert [cell.error for cell in cells] == ["", ""]
    assert cells[0].nfe == cells[1].nfe == {"denoiser": 11}
    assert cells[0].metrics["exact_error"].value < 0.05, "with few steps, too"


def test_the_tutorial_s_mistake_is_found(tmp_path, capsys):
    (source,) = blocks(ROOT / "docs/plugins/README.md", "python")
    right, wrong = tmp_path / "mine.py", tmp_path / "yours.py"
    right.write_text(source, encoding="utf-8")
    wrong.write_text(
        source.replace("(x0 - prediction.x0) / 2", "(x0 - prediction.x0) * 0.4"), encoding="utf-8"
    )
    assert main(["check", str(right)]) == 0
    assert capsys.readouterr().out.endswith("all is well\n")
    assert main(["check", str(wrong)]) == 1
    printed = capsys.readouterr().out
    assert "order 1.13" in printed, "what the tutorial says"
    assert "1 failed" in printed


def test_the_code_on_testing_runs():
    for source in blocks(ROOT / "docs/plugins/testing.md", "python"):
        exec(source, {"__name__": "docs"})


def test_every_public_name_of_the_reference_is_public():
    for group in reference.PROTOCOLS.values():
        assert {cls.__name__ for cls in group} <= set(zoo.__all__)
