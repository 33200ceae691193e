"""A method in one line: `ddim steps=20 eta=0 | cfg scale=3`.

A sampler, then conditioners from left to right, the leftmost nearest to the network. Values are quoted as in a
shell. This module knows the grammar; whether the names and values exist is for the registry to say.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

MAX_LENGTH = 2000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What a contribution or a plugin may be called: no space, "=" or "|", and the slash is kept for plugin/name."""

FULL_NAME = re.compile(rf"({NAME.pattern}/)?{NAME.pattern}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Part:
    """A name with its parameters as written: `ddim steps=20`."""

    name: str
    params: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={shlex.quote(value)}" for key, value in self.params)])

    @classmethod
    def of(cls, name: str, **params: Any) -> Part:
        """A part from Python values."""
        return cls(name, tuple((key, _written(value)) for key, value in params.items()))

    @classmethod
    def parse(cls, line: str) -> Part:
        """Read one name with its parameters; `str(part)` and this are inverse to each other.

        Raises:
            ValueError: the line is not of the form `name key=value …`.
        """
        method = Method.parse(line)
        if method.conditioners:
            raise ValueError(f"{line!r} holds a bar; expected one `name key=value …`")
        return method.sampler


@dataclass(frozen=True)
class Method:
    """A sampler with its conditioners; `str(method)` and `Method.parse` are inverse to each other."""

    sampler: Part
    conditioners: tuple[Part, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of the sampler and the conditioners."""
        return [part.name for part in (self.sampler, *self.conditioners)]

    def __str__(self) -> str:
        return " | ".join(str(part) for part in (self.sampler, *self.conditioners))

    @classmethod
    def parse(cls, line: str) -> Method:
        """Read a method.

        Raises:
            ValueError: the line is not of the form `sampler key=value … | conditioner key=value …`.
        """
        if len(line) > MAX_LENGTH:
            raise ValueError(f"a method has at most {MAX_LENGTH} characters, this one has {len(line)}")
        parts = [_parse_part(tokens, line) for tokens in _split(line)]
        return cls(parts[0], tuple(parts[1:]))


def _split(line: str) -> list[list[str]]:
    """Shell words, grouped between the unquoted bars."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    groups: list[list[str]] = [[]]
    try:
        # A quoted bar comes out of the lexer inside a longer word; a bare one as a word of bars alone.
        for token in lexer:
            if token and set(token) == {"|"}:
                groups.extend([] for _ in token)
            else:
                groups[-1].append(token)
    except ValueError as error:
        raise ValueError(
            f"in the method {line!r}: {str(error).lower()}; quote values as in a shell"
        ) from None
    return groups


def _parse_part(tokens: list[str], line: str) -> Part:
    expected = "expected `sampler key=value … | conditioner key=value …`"
    if not tokens:
        raise ValueError(f"in the method {line!r}: a name is missing; {expected}")
    name, *settings = tokens
    if not FULL_NAME.fullmatch(name):
        raise ValueError(f"in the method {line!r}: {name!r} is not a name; {expected}")
    params: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ValueError(f"in the method {line!r}: {setting!r} is not key=value; {expected}")
        if key in params:
            raise ValueError(f"in the method {line!r}: {name} has {key} twice")
        params[key] = value
    return Part(name, tuple(params.items()))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
