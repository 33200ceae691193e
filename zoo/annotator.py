"""Annotators: turn a picture into a control map, such as its edges, at the picture's own size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.sampler import Parameters

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from PIL import Image

    from zoo.registry import Registry


class Annotator:
    """Turns a picture into a control map.

    Subclass it with a nested `Params(Annotator.Params)` whose fields all have defaults, and write `annotate`.

    Args:
        params: by default the defaults.
        device: where networks run, such as "cpu" or "cuda:0".
    """

    class Params(Parameters):
        """Parameters of the annotator."""

    def __init__(self, params: Params | None = None, device: str = "cpu") -> None:
        self.params = params if params is not None else self.Params()
        self.device = device

    def check(self) -> None:
        """Refuse at once if something it needs is not here, before anything is fetched. By default it needs nothing.

        Raises:
            Unavailable: the message says what is missing, where it comes from and how to get it.
        """

    def annotate(self, image: np.ndarray) -> np.ndarray:
        """The control map of a picture.

        Args:
            image: (H, W, 3) uint8, RGB, of any size.

        Returns:
            The map, (H, W, 3) uint8, RGB.
        """
        raise TypeError(f"{type(self).__name__} must define annotate(image)")


def annotate(
    picture: str | Path | bytes | Image.Image | np.ndarray,
    annotator: str = "canny",
    *,
    device: str = "cpu",
    registry: Registry | None = None,
) -> np.ndarray:
    """The control map of any picture, (H, W, 3) uint8, at the size at which the picture is seen.

    Args:
        picture: a file, its bytes, a Pillow image, or (H, W, 3) uint8 RGB.
        annotator: its name with parameters, such as "canny low=50 high=150".
        device: where networks run.
        registry: by default the built-ins, and what is installed.

    Raises:
        ValueError: no such annotator or parameter, something it needs is missing, or the picture cannot be read.
    """
    from zoo.picture import read_picture
    from zoo.planning import make_annotator
    from zoo.registry import default_registry

    made = make_annotator(annotator, registry or default_registry(), device)
    made.check()
    return made.annotate(read_picture(picture))
