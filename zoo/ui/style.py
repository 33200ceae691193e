"""How the page looks: gradio's own theme on local fonts, and the style sheets in `static/`.

Colours come from the theme's variables, which follow the visitor's light or dark mode.
"""

from __future__ import annotations

import gradio as gr

from zoo.ui import front, learn, moves

SANS = ["ui-sans-serif", "system-ui", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Fonts that every machine has, so that the page asks no other host for any; greys that can be read (AA)."""
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        spacing_size="sm",
        font=SANS,
        font_mono=MONO,
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_800",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


CSS = front.style() + moves.CSS + learn.CSS
