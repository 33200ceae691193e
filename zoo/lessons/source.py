"""Lines of this repository's own source, found where they are, so that what is shown is what runs."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Excerpt:
    """Some lines of a file.

    Attributes:
        file: as it is called in the repository, such as "plugins/ddim.py".
        first: number of the first line.
        text: the lines, without the indentation that all of them share.
    """

    file: str
    first: int
    text: str


def line(address: str, beginning: str) -> Excerpt:
    """The one line of a function or method that begins like this; its module is read, not imported.

    Args:
        address: "package.module:function" or "package.module:Class.method".
        beginning: of the line, without its indentation.

    Raises:
        LookupError: there is no such function, or no line of it begins so, or more than one.
    """
    module, _, path = address.partition(":")
    lines = _lines(module)
    first, last = _extent(module, path)
    found = [n for n in range(first, last + 1) if lines[n - 1].lstrip().startswith(beginning)]
    if len(found) != 1:
        raise LookupError(
            f"{'no line' if not found else f'lines {found}'} of {address} ({first} to {last}) begins with "
            f"{beginning!r}; exactly one must"
        )
    number = found[0]
    end = _statement_end(module, number)
    return Excerpt(_file(module), number, _dedented(lines[number - 1 : end]))


def implementation(cls: type, method: str) -> Excerpt:
    """The class that says what a sampler or conditioner does: the one, it or a parent, that defines `method`.

    Raises:
        OSError: its source cannot be read.
    """
    owner = next(parent for parent in cls.__mro__ if method in vars(parent))
    lines, first = inspect.getsourcelines(owner)
    return Excerpt(_file(owner.__module__), first, _dedented([text.rstrip("\n") for text in lines]))


def same_code(cls: type, method: str) -> Callable[..., Any] | None:
    """What tells apart classes that run different code: the function that they call `method`."""
    return getattr(cls, method, None)


def _file(module: str) -> str:
    path = module.replace(".", "/").replace("zoo/builtins/", "plugins/")
    return f"{path}.py"


@functools.cache
def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"there is no module {module}")
    return Path(spec.origin).read_text(encoding="utf-8")


def _lines(module: str) -> list[str]:
    return _source(module).splitlines()


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


def _extent(module: str, path: str) -> tuple[int, int]:
    """First and last line of a definition."""
    scope: Any = _tree(module)
    for name in path.split("."):
        definitions = [
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name and node is not scope
        ]
        if not definitions:
            raise LookupError(f"{module} defines no {path}")
        scope = definitions[0]
    return scope.lineno, scope.end_lineno


def _statement_end(module: str, number: int) -> int:
    """The last line of the statement that begins at this one; of a compound statement, its head alone."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.stmt) and node.lineno == number:
            body = getattr(node, "body", None)
            return number if body else node.end_lineno or number
    return number


def _dedented(lines: list[str]) -> str:
    indents = [len(text) - len(text.lstrip()) for text in lines if text.strip()]
    return "\n".join(text[min(indents, default=0) :] for text in lines)
