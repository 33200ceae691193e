"""Small pieces of HTML. Whatever a person or a plugin wrote is escaped here."""

from __future__ import annotations

import html


def problem(message: str) -> str:
    """What was wrong with the input; nothing for an empty message."""
    return f'<p class="zoo-problem" role="alert">{html.escape(message)}</p>' if message else ""


def small(text: str) -> str:
    """A line of explanation."""
    return f'<p class="zoo-small">{html.escape(text)}</p>'
