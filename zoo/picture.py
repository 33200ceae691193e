"""A picture file as a model's data: upright, opaque, cropped to the model's aspect, resized by area."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from PIL import Image


def load_picture(source: str | Path | Image.Image, height: int, width: int) -> torch.Tensor:
    """A picture of any size and mode as (3, height, width) float32 within [-1, 1].

    Turned as its EXIF orientation says, laid on white where it is transparent, cropped around its centre.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a picture, is damaged, or has pixels without a known range.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    try:
        with nullcontext(source) if isinstance(source, Image.Image) else Image.open(source) as image:
            rgb = _opaque(ImageOps.exif_transpose(image))
    except Exception as error:  # damaged files raise whatever their decoder happens to
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{source} cannot be read as a picture: {error}") from error
    fitted = ImageOps.fit(rgb, (width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float() / 127.5 - 1


def _opaque(image: Image.Image) -> Image.Image:
    """8-bit RGB of a picture in any mode."""
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion may cut off at 255
        grey = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
