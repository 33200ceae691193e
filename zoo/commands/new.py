"""`zoo new NAME`: a complete plugin package, to start from."""

from __future__ import annotations

import argparse
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.builtins import MODULES

TEMPLATES = Path(__file__).parents[1] / "templates"


@dataclass(frozen=True)
class Kind:
    """What differs between the packages of each kind of contribution."""

    summary: str
    usage: str
    implementation: str = "«Class»"


KINDS = {
    "sampler": Kind(
        "The midpoint method: second order, two evaluations a step.",
        'Use it as `--method "«plugin»/«name» steps=10"`.',
    ),
    "conditioner": Kind(
        "Away from the empty prompt's answer, towards the prompt's.",
        'Use it as `--method "ddim steps=20 | «plugin»/«name» scale=2"`.',
    ),
    "model": Kind(
        "Stripes whose every prediction is closed form.", "Use it as `--model «plugin»/«name»`.", "build"
    ),
    "annotator": Kind(
        "Where neighbouring pixels differ.",
        "Use it as `python -m zoo annotate IMAGE --annotator «plugin»/«name» --out map.png`.",
    ),
    "metric": Kind("How bright the pictures are.", "Use it as `--metrics «plugin»/«name»`."),
}

FILES = {
    "pyproject.toml": "common/pyproject.toml",
    "README.md": "common/README.md",
    ".gitignore": "common/gitignore",
    ".github/workflows/ci.yml": "common/ci.yml",
    "src/«package»/__init__.py": "common/__init__.py",
    "src/«package»/plugin.py": "common/plugin.py",
    "src/«package»/«name».py": "«kind»/method.py",
    "tests/test_conformance.py": "common/test_conformance.py",
    "tests/test_«name».py": "«kind»/test_method.py",
}
"""What is written, and the template that it is made of."""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    new = commands.add_parser(
        "new",
        help="write a plugin package to start from",
        description="Write a complete plugin package: a small working method, its tests, README and CI workflow.",
    )
    new.add_argument("name", help="what the method is called, such as my-solver")
    new.add_argument("--kind", choices=KINDS, default="sampler", help="(default: %(default)s)")
    new.add_argument("--out", default=".", metavar="DIR", help="folder to write it into (default: this one)")
    new.set_defaults(run=_new)


def _new(arguments: argparse.Namespace) -> int:
    folder = write(arguments.name, arguments.kind, Path(arguments.out))
    print(f'written to {folder}; next:\n  cd {folder}\n  pip install -e ".[test]"\n  python -m pytest')
    return 0


def write(name: str, kind: str, out: Path) -> Path:
    """Write the package into a new folder within `out`, and return that.

    Raises:
        ValueError: the name cannot be a package's, or is a built-in's, or its folder is there already.
    """
    words = words_of(name)
    if words["plugin"] in MODULES:
        raise ValueError(f"the zoo has a plugin {words['plugin']!r} itself; choose another name")
    folder = out / words["project"]
    if folder.exists():
        raise ValueError(f"{folder} is there already; choose another name, or another folder with --out")
    words |= {"kind": kind, "Kind": kind.capitalize(), "range": _range()}
    words |= {"summary": KINDS[kind].summary}
    words["implementation"] = _filled(KINDS[kind].implementation, words)
    words["usage"] = _filled(KINDS[kind].usage, words)
    for target, template in FILES.items():
        path = folder / _filled(target, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (TEMPLATES / f"{_filled(template, words)}.txt").read_text(encoding="utf-8")
        path.write_text(_filled(text, words), encoding="utf-8")
    return folder


def words_of(name: str) -> dict[str, str]:
    """A method's name in every form that a package needs.

    Raises:
        ValueError: it is not made of words that can be in a Python name.
    """
    bare = re.sub(r"[-_. ]+", "_", name.strip()).lower()
    bare = bare.removeprefix("sampler_zoo_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", bare) or keyword.iskeyword(bare) or bare == "plugin":
        raise ValueError(
            f"{name!r} cannot be a package's name: write a word or several, with - between, such as my-solver"
        )
    parts = bare.split("_")
    return {
        "name": bare,
        "plugin": bare,
        "package": f"sampler_zoo_{bare}",
        "project": "-".join(["sampler-zoo", *parts]),
        "Class": "".join(part.capitalize() for part in parts),
        "Title": " ".join(parts).capitalize(),
    }


def _range() -> str:
    """The versions of the zoo that a plugin written now works with, as docs/api-stability.md promises."""
    from zoo import __version__

    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f">={major}.{minor},<{major + 1}"


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"«(\w+)»", lambda match: words[match[1]], text)
