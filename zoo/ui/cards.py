"""Small pieces of HTML. Whatever a person or a plugin wrote is escaped here."""

from __future__ import annotations

from zoo.ui.words import element, say


def problem(message: str) -> str:
    """What was wrong with the input; nothing for an empty message."""
    return element(message, "p", 'class="zoo-problem" role="alert"') if message else ""


def small(key: str) -> str:
    """A line of explanation, said under this key."""
    return element(say(key), "p", 'class="zoo-small"')
