"""The pictures that methods refer to: named by their content, kept beside the comparison, made into control maps.

In a method's line a picture is 16 hexadecimal digits, the SHA-256 of its pixels, so that the same line means the same
picture everywhere. The pictures themselves travel with the comparison as PNG: in `Comparison.pictures`, and on disk in
`pictures/NAME.png` beside comparison.json. Nothing here opens a file that a line names, unless `adopt` is told how.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from zoo.hookspecs import Spec
from zoo.method import Method, Part
from zoo.picture import MAX_PIXELS, read_picture

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from zoo.model import Model
    from zoo.registry import Registry
    from zoo.sampler import Control

PictureName = Annotated[str, Field(max_length=1000, json_schema_extra={"format": "picture"})]
"""The type of a parameter that names a picture; the page makes an upload of it, the command line takes a path."""

FOLDER = "pictures"
"""Where a comparison's pictures are, beside its comparison.json."""

LONGEST = 1024
"""A larger picture is reduced to this longer side before it is kept."""

_NAME = re.compile(r"[0-9a-f]{16}")


def admit(source: str | Path | bytes | Image.Image, most: int = MAX_PIXELS) -> tuple[str, bytes]:
    """The name of a picture and itself as PNG: upright, opaque, 8-bit RGB, without metadata, `LONGEST` at most.

    Args:
        source: as of `zoo.picture.read_picture`.
        most: pixels that may be decoded.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no picture that can be read.
    """
    from PIL import Image, ImageOps

    picture = Image.fromarray(read_picture(source, most, LONGEST))
    if max(picture.size) > LONGEST:
        picture = ImageOps.contain(picture, (LONGEST, LONGEST), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return _name(picture), buffer.getvalue()


def adopt(
    methods: Sequence[Method],
    pictures: Mapping[str, bytes],
    registry: Registry,
    take: Callable[[str], tuple[str, bytes]],
) -> tuple[list[Method], dict[str, bytes]]:
    """The same methods, every picture in them under the name of its content, and all pictures by name.

    Args:
        pictures: those that are there already.
        take: `admit`, of what any other value of a picture's parameter stands for, such as a path.

    Raises:
        OSError: a file cannot be opened.
        ValueError: something is no picture.
    """
    known = dict(pictures)

    def named(part: Part, table: Mapping[str, Spec]) -> Part:
        spec = table.get(part.name)
        if spec is None:
            return part  # resolving the method will say so
        params = dict(part.params)
        for field in picture_fields(spec):
            value = params.get(field, "")
            if value and value not in known:
                name, known[name] = take(value)
                params[field] = name
        return replace(part, params=tuple(params.items()))

    adopted = [
        Method(
            named(method.sampler, registry.samplers),
            tuple(named(part, registry.conditioners) for part in method.conditioners),
        )
        for method in methods
    ]
    return adopted, known


def picture_fields(spec: Spec) -> list[str]:
    """The parameters that are pictures; none if the implementation cannot be imported."""
    try:
        fields = spec.params_model().model_fields
    except ImportError:
        return []
    return [name for name, field in fields.items() if is_picture(field)]


def is_picture(field: Any) -> bool:
    """Whether a parameter names a picture."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("format") == "picture"


def beside(comparison: str | Path, lines: Sequence[str]) -> dict[str, bytes]:
    """The pictures in the folder of a comparison.json, those that its lines name.

    Raises:
        OSError: one cannot be read.
    """
    names = {word for line in lines for word in _NAME.findall(str(line))}
    folder = Path(comparison).parent / FOLDER
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png")) if path.stem in names}


def control_map(
    model: Model, control: Control, pictures: Mapping[str, bytes], registry: Registry
) -> torch.Tensor:
    """What a control network gets: the picture at the model's size, annotated unless it is a map, (3, H, W) in [0, 1].

    The picture is cropped around its centre to the model's aspect and resized by area first, so that an annotator
    sees what the network was trained on, and lines stay a pixel wide.

    Raises:
        ValueError: there is no such picture, it is damaged, or nothing makes maps of it.
    """
    import torch
    from PIL import Image, ImageOps

    from zoo.planning import make_annotator

    facts = model.control(control.role)
    if not control.picture:
        raise ValueError(
            f"{control.role} needs a picture: image=PATH on the command line, an upload on the page"
        )
    if control.picture not in pictures:
        raise ValueError(
            f"the comparison has no picture {control.picture!r}: give a path on the command line, upload it on the "
            f"page, or put it into {FOLDER}/ beside comparison.json"
        )
    if not control.is_map and not facts.annotator:
        raise ValueError(
            f"nothing makes a map for {control.role} from a picture: give one that is a map already, with map=true"
        )
    picture = Image.fromarray(read_picture(pictures[control.picture]))
    if _name(picture) != control.picture:
        raise ValueError(
            f"the picture {control.picture} is not what its name says: it was changed or damaged"
        )
    height, width = model.picture_size
    pixels = read_picture(ImageOps.fit(picture, (width, height), Image.Resampling.BOX))
    if not control.is_map:
        annotator = make_annotator(facts.annotator, registry)
        annotator.check()
        pixels = annotator.annotate(pixels)
    if pixels.shape != (height, width, 3):
        raise ValueError(f"{facts.annotator} made a map of shape {pixels.shape}, expected {height, width, 3}")
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def _name(picture: Image.Image) -> str:
    """Of its pixels, not of its file: however it is compressed, it is the same picture."""
    size = f"{picture.width}x{picture.height}:".encode()
    return hashlib.sha256(size + picture.tobytes()).hexdigest()[:16]
