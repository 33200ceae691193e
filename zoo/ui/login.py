"""Who may use a page that others can reach: anybody, or those whose name and password the environment holds."""

from __future__ import annotations

import os

VARIABLE = "ZOO_LOGIN"


def from_environment() -> list[tuple[str, str]]:
    """Names and passwords from ZOO_LOGIN, `name:password`, several of them with spaces between; none if it is not set.

    Raises:
        ValueError: it is not written so; the message holds none of it.
    """
    pairs = [entry.partition(":") for entry in os.environ.get(VARIABLE, "").split()]
    if not all(name and password for name, _, password in pairs):
        raise ValueError(f"{VARIABLE} is written name:password, several of them with spaces between")
    return [(name, password) for name, _, password in pairs]


def is_own(host: str) -> bool:
    """Whether only this machine reaches the page at this address."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def notice(host: str, protected: bool) -> str:
    """What it means to listen on an address, for the console; "" on one's own machine."""
    if is_own(host):
        return ""
    who = (
        f"Whoever reaches {host} is asked for a name and a password of {VARIABLE}; without https in front of it they "
        "travel readably."
        if protected
        else f"Whoever reaches {host} can use this page: {VARIABLE}=name:password asks for a password, and "
        "--host 127.0.0.1 keeps it to this machine."
    )
    return (
        f"{who} Errors are shown without folders and tracebacks, which are printed here (docs/security.md)."
    )
