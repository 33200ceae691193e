"""Deprecations: what is to go warns for one minor version, and then is gone (docs/api-stability.md)."""

from __future__ import annotations

import warnings

import zoo


class ZooDeprecationWarning(DeprecationWarning):
    """Something of the zoo's public API is going to be removed; the message says when, and what to write instead."""


def deprecated(what: str, instead: str, since: str, stacklevel: int = 3) -> None:
    """Warn that `what` is deprecated since version `since`, such as "0.2"; to be called where it is still served.

    Raises:
        AssertionError: it has warned for one minor version and must be removed now, which the tests of that version
            find out.
    """
    major, minor = (int(part) for part in since.split("."))
    removal = f"{major}.{minor + 2}"
    now = tuple(int(part) for part in zoo.__version__.split(".")[:2])
    assert now < (major, minor + 2), f"{what} is deprecated since {since}: remove it in {zoo.__version__}"
    warnings.warn(
        f"{what} is deprecated since zoo {since} and will be gone in {removal}: {instead}",
        ZooDeprecationWarning,
        stacklevel=stacklevel,
    )
