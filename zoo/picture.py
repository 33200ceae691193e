"""A picture file of any kind as pixels: upright, opaque, 8-bit RGB; or as a model's data besides.

Files may come from strangers, so their size and number of pixels are bounded before they are decoded, and only formats
that hold pixels are read: Pillow would hand an EPS to Ghostscript, which runs it.
"""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

MAX_BYTES = 64_000_000
"""Largest file that is read."""

MAX_PIXELS = 8192**2
"""Largest picture that is read, unless the caller says less."""

MAX_SCANS = 500
"""Most scans of a JPEG that is read: each goes over all pixels, and may have been written in 33 bytes."""

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "QOI")
"""What is read, of what the installed Pillow can read."""


def read_picture(
    source: str | Path | bytes | Image.Image | np.ndarray,
    most: int = MAX_PIXELS,
    longest: int | None = None,
) -> np.ndarray:
    """A picture of any size and mode as (H, W, 3) uint8, RGB.

    Turned as its EXIF orientation says, laid on white where it is transparent, the first frame of an animation.

    Args:
        source: a file, its bytes, a Pillow image, or (H, W, 3) uint8 RGB, which is given back as it is.
        most: pixels that may be decoded, at most `MAX_PIXELS`.
        longest: the longer side that is enough. A JPEG file is then decoded at a half, a quarter or an eighth of its
            size if that leaves as much, and it is these pixels that `most` bounds.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a picture, is damaged, is larger than `MAX_BYTES`, `MAX_PIXELS` or `most`, or has pixels
            without a known range.
    """
    import numpy as np

    if not isinstance(source, np.ndarray):
        return np.array(_read(source, most, longest))
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {source.shape} {source.dtype}")
    return source


def load_picture(source: str | Path | bytes | Image.Image, height: int, width: int) -> torch.Tensor:
    """A picture of any size and mode as (3, height, width) float32 within [-1, 1].

    Read as `read_picture` does, cropped around its centre to the aspect, resized by area.

    Raises:
        OSError: the file cannot be opened.
        ValueError: as of `read_picture`.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(_read(source), (width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float() / 127.5 - 1


def _read(
    source: str | Path | bytes | Image.Image, most: int = MAX_PIXELS, longest: int | None = None
) -> Image.Image:
    """8-bit RGB, upright."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = str(source) if isinstance(source, (str, Path)) else "the picture"
    if isinstance(source, (str, Path)):
        source = Path(source)
        if not source.is_dir():
            _check_size(name, source.stat().st_size)
        source = source.read_bytes()
    try:
        with nullcontext(source) if isinstance(source, Image.Image) else _opened(source) as image:
            _check_pixels(image, MAX_PIXELS)
            if longest and image is not source and not image.info.get("progressive"):
                # A progressive JPEG is held whole in memory, whatever size is asked for.
                scale = longest / max(image.size)
                image.draft(None, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
            _check_pixels(image, most)
            return _opaque(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        kind = "an SVG, which has no pixels; save it as PNG" if _is_svg(source) else "no format that is known"
        raise ValueError(f"{name} cannot be read as a picture: it is {kind}") from None
    except Exception as error:  # damaged files raise whatever their decoder happens to
        raise ValueError(f"{name} cannot be read as a picture: {error}") from error


def _opened(data: bytes) -> Image.Image:
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    _check_size("the picture", len(data))
    Image.init()
    image = Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])
    scans = data.count(b"\xff\xda") if isinstance(image, JpegImageFile) else 0
    if scans > MAX_SCANS:
        raise ValueError(f"it is a JPEG of {scans} scans; at most {MAX_SCANS} are read")
    return image


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size:,} bytes; at most {MAX_BYTES:,} are read")


def _check_pixels(image: Image.Image, most: int) -> None:
    if image.width * image.height > most:
        raise ValueError(f"it has {image.width} × {image.height} pixels; at most {most:,} in all are read")


def _is_svg(data: object) -> bool:
    return isinstance(data, bytes) and b"<svg" in data[:4096].lower()


def _opaque(image: Image.Image) -> Image.Image:
    """8-bit RGB of a picture in any mode."""
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion may cut off at 255
        grey = np.asarray(image).astype(np.float32) / 257
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
