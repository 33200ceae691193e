"""What crosses between processes: events of a comparison with arrays in place of tensors, so that plain pickle will do.

A tensor would be sent as a handle of its process's shared memory, and the way of a cell refers to its model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    from zoo.comparison import Event
    from zoo.frames import Frame

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PackedFrame:
    """A `zoo.frames.Frame` with arrays."""

    log_snr: float
    nfe: int
    seconds: float
    x_t: Array
    x0: Array


@dataclass(frozen=True)
class Parcel:
    """An event on its way.

    Attributes:
        event: without anything that holds tensors.
        pictures: its `preview`, and the `images` and `samples` of its result.
        maps: those of its result.
        way: the frames of its result, once the cell has ended; None if there are none.
    """

    event: Event
    pictures: Mapping[str, Array] = field(default_factory=dict)
    maps: Mapping[str, Array] = field(default_factory=dict)
    way: tuple[PackedFrame, ...] | None = None


def pack(event: Event) -> Parcel:
    """The event as a parcel."""
    result = event.result
    tensors = {"preview": event.preview, "images": result.images, "samples": result.samples}
    ended = event.kind != "progress"  # until then its way grows with every step, and nobody asks for it
    bare = replace(result, images=None, samples=None, frames=None, maps={})
    return Parcel(
        replace(event, preview=None, result=bare),
        {name: _array(tensor) for name, tensor in tensors.items() if tensor is not None},
        {name: _array(tensor) for name, tensor in result.maps.items()},
        tuple(map(_packed, result.frames.kept)) if ended and result.frames is not None else None,
    )


def unpack(parcel: Parcel) -> Event:
    """The event that a parcel holds."""
    import torch

    from zoo.frames import Frame, Frames

    def tensor(name: str) -> torch.Tensor | None:
        array = parcel.pictures.get(name)
        return None if array is None else torch.from_numpy(array)

    way = None
    if parcel.way is not None:
        way = Frames.of(
            Frame(f.log_snr, f.nfe, f.seconds, torch.from_numpy(f.x_t), torch.from_numpy(f.x0))
            for f in parcel.way
        )
    result = replace(
        parcel.event.result,
        images=tensor("images"),
        samples=tensor("samples"),
        frames=way,
        maps={name: torch.from_numpy(array) for name, array in parcel.maps.items()},
    )
    return replace(parcel.event, preview=tensor("preview"), result=result)


def _packed(frame: Frame) -> PackedFrame:
    return PackedFrame(frame.log_snr, frame.nfe, frame.seconds, _array(frame.x_t), _array(frame.x0))


def _array(tensor: torch.Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
