"""What visitors read of an error: on one's own machine all of it, on a page for strangers no folder and no secret.

Everything that the page and its API say passes through here, and `zoo.hub.hosted` alone decides which of the two it is.
On a page for strangers the whole error is in the server's log instead.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.hub import hosted
from zoo.metric import NoScore
from zoo.ui.words import Said, say

if TYPE_CHECKING:
    from zoo.comparison import CellResult

log = logging.getLogger(__name__)

_SECRET_NAME = re.compile(r"TOKEN(?!IZER)|SECRET|PASSW|LOGIN|CREDENTIAL|(?:^|_)KEY", re.IGNORECASE)
_SECRETS = re.compile(
    r"""\b(?:hf|ghp|sk|xox[a-z])[-_][A-Za-z0-9_-]{16,}  # tokens of well-known services
      | (?<=://)[^/\s@]+(?=@)                           # name:password in an address
    """,
    re.VERBOSE,
)
_SHORTEST = 6
"""Shorter values of secret variables are left: they would be found inside ordinary words."""

_PATHS = re.compile(
    r"""(?P<quote>['"`])(?:file:/+|~?/|[A-Za-z]:[\\/]|\\\\)(?P<quoted>[^'"`\n]+)(?P=quote)
      | (?<![\w./~:<])(?:file:/+|~?/(?!/)|[A-Za-z]:[\\/]|\\\\)(?P<bare>[^\s'"`<>|;,()\[\]{}]+)
      | (?<=[^/]:)/(?!/)(?P<after>[^\s'"`<>|;,()\[\]{}]+)
    """,
    re.VERBOSE,
)


def visible(text: str) -> str:
    """A text as visitors may read it; what the page itself says stays translatable."""
    if not hosted():
        return text
    if isinstance(text, Said):
        shown = {
            name: visible(value) if isinstance(value, str) else value for name, value in text.values.items()
        }
        return say(text.key, **shown)
    return without_paths(without_secrets(text))


def unexpected(error: BaseException) -> str:
    """An error that nobody foresaw, such as a plugin's, as visitors may read it."""
    return visible(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def traceback(text: str) -> str:
    """A traceback: for the server's own people."""
    return "" if hosted() else text


def result(found: CellResult) -> CellResult:
    """What became of a cell as visitors may read it; what is left out of it is logged."""
    if not hosted():
        return found
    if found.traceback:
        log.warning("%s failed:\n%s", found.method, found.traceback)
    metrics = {
        name: replace(score, reason=visible(score.reason)) if isinstance(score, NoScore) else score
        for name, score in found.metrics.items()
    }
    return replace(found, error=visible(found.error), traceback="", metrics=metrics)


def without_secrets(text: str) -> str:
    """The text without what secret variables of the environment hold, and without what looks like a token."""
    for value in _secrets():
        text = text.replace(value, "…")
    return _SECRETS.sub("…", text)


def without_paths(text: str) -> str:
    """The text with only the last part of every absolute path."""
    for root in _roots():  # these may hold spaces, which end a path that is not quoted
        text = text.replace(root, "/…")
    return _PATHS.sub(_last_part, text)


def _last_part(match: re.Match[str]) -> str:
    path, quote = match["quoted"] or match["bare"] or match["after"], match["quote"] or ""
    last = re.split(r"[/\\]", path.rstrip("/"))[-1]
    return f"{quote}…/{last}{quote}"


def _secrets() -> Iterator[str]:
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name):
            words = {value, *re.split(r"[\s:]+", value)}  # of a login the password alone, too
            yield from sorted((word for word in words if len(word) >= _SHORTEST), key=len, reverse=True)


def _roots() -> list[str]:
    roots = {Path(__file__).parents[2], Path(sys.prefix)}
    for folder in (Path.home, Path.cwd, tempfile.gettempdir):
        with suppress(OSError, RuntimeError):  # there is none, as where nobody knows the user's number
            roots.add(Path(folder()))
    return sorted((str(root) for root in roots if len(root.parts) > 1), key=len, reverse=True)
