"""The page's own script and style sheet: plain files in `static/`, joined in this order, without a build step."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).with_name("static")

SCRIPTS = (
    "dom.js",
    "server.js",
    "form.js",
    "cards.js",
    "controls.js",
    "uploads.js",
    "cells.js",
    "grid.js",
    "run.js",
    "pictures.js",
    "scrub.js",
    "slider.js",
    "charts.js",
    "share.js",
    "main.js",
)
"""They share one scope: each says at its top what it is for, and `main.js` sets it going."""

STYLES = ("base.css", "form.css", "cells.css", "tools.css")

TEMPLATE = '<div id="zoo" class="zoo"></div>'


def script() -> str:
    """All scripts as the body of one function of gradio's `element`, `props` and `server`."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)


def style() -> str:
    """All style sheets."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)
