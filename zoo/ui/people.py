"""How much one person may have at work at once, so that nobody takes the page from the others."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from zoo.hub import hosted
from zoo.ui.words import say

SWITCH = "ZOO_PER_PERSON"
"""The environment variable that says how many comparisons one person may have waiting or running; 0 is no limit."""

HOSTED = 2
"""So many where strangers share the page; on one's own machine there is no limit but the queue's."""


class Work(Protocol):
    """Whatever ends: a run of the page, or a call."""

    state: Any
    """`"ended"` when it has."""


W = TypeVar("W", bound=Work)


class TooMuch(ValueError):
    """This person has enough at work already."""


@dataclass
class Call:
    """A call of the API or of one of the tabs beside Compare, at work until it is answered."""

    state: str = "running"


class People:
    """Who has what at work.

    Args:
        most: works of one person at once; by default what ZOO_PER_PERSON says, else `HOSTED` on a hosted page.

    Raises:
        ValueError: ZOO_PER_PERSON is no such number.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = _from_environment() if most is None else most
        self._works: dict[str, list[Work]] = {}
        self._lock = threading.Lock()

    def start(self, who: str, begin: Callable[[], W]) -> W:
        """What `begin` returns, which then counts as this person's until it has ended.

        Raises:
            TooMuch: the person has as many at work as one may have.
        """
        with self._lock:  # held while it begins, so that two at once are not both the last that fits
            self._forget()
            mine = self._works.get(who, [])
            if 0 < self.most <= len(mine):
                raise TooMuch(say("ask.enough", n=self.most))
            work = begin()
            self._works[who] = [*(one for one in mine if one is not work), work]
            return work

    @contextmanager
    def working(self, who: str) -> Iterator[None]:
        """Count the block as one work of this person.

        Raises:
            TooMuch: as of `start`.
        """
        call = self.start(who, Call)
        try:
            yield
        finally:
            call.state = "ended"

    def _forget(self) -> None:
        at_work = (
            (who, [one for one in works if one.state != "ended"]) for who, works in self._works.items()
        )
        self._works = {who: works for who, works in at_work if works}


def address(request: Any) -> str:
    """Whose request this is: the address that it came from, which nobody can choose, unlike a session's name.

    Behind a proxy on this machine it is what the proxy says (uvicorn sees to that; FORWARDED_ALLOW_IPS names other
    proxies). On a Space it is the last public address that its proxies noted: those before it may be made up.

    Args:
        request: gradio's or starlette's; None for a call from within this process.
    """
    client = getattr(request, "client", None)
    if client is None:
        return ""
    if os.environ.get("SPACE_ID"):
        noted = str(request.headers.get("x-forwarded-for", "")).split(",")
        for one in reversed([part.strip() for part in noted]):
            if _is_public(one):
                return one
    return str(client.host)


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _from_environment() -> int:
    given = os.environ.get(SWITCH, "")
    if not given:
        return HOSTED if hosted() else 0
    if not given.isdecimal():
        raise ValueError(
            f"{SWITCH} is how many comparisons one person may have at once, such as 2, got {given!r}"
        )
    return int(given)
