"""Formulas on the page: KaTeX, which gradio brings along and serves itself."""

MATHS: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]
"""What it takes for a formula."""
