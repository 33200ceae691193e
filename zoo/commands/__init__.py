"""The commands of `python -m zoo`, one module a subject; each adds its parsers and runs them."""
