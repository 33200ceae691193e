"""Procedural training data."""

from zoo.data.tinyworld import Attributes, Maps, Sample, TinyWorld, caption, draw_attributes, render

__all__ = ["Attributes", "Maps", "Sample", "TinyWorld", "caption", "draw_attributes", "render"]
