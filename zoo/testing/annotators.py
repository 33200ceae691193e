"""What is checked of an annotator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoo.annotator import Annotator
from zoo.hub import Unavailable
from zoo.testing import worlds
from zoo.testing.checks import Function, NotApplicable, require
from zoo.testing.common import COMMON
from zoo.testing.subjects import Subject

SIZES = ((1, 1), (32, 32), (33, 47))


def is_an_annotator(subject: Subject) -> None:
    """The implementation is a `zoo.Annotator` that takes its `Params` and a device."""
    annotator = _made(subject)
    require(isinstance(annotator, Annotator), "a subclass of zoo.Annotator", type(annotator).__name__)


def a_map_has_the_picture_s_size(subject: Subject) -> None:
    """The map is (H, W, 3) uint8 at the picture's own size, whatever that is, for noise and for a plain picture."""
    annotator = _made(subject)
    for size in SIZES:
        for picture in (_noise(size), np.full((*size, 3), 200, np.uint8)):
            found = annotator.annotate(picture)
            require(isinstance(found, np.ndarray), "a NumPy array", type(found).__name__)
            came = f"{found.shape}, {found.dtype}"
            expected = f"{picture.shape}, uint8"
            require(came == expected, expected, came)


def same_picture_same_map(subject: Subject) -> None:
    """A picture has the same map again, also after another one, and by another instance."""
    annotator, picture = _made(subject), _noise((32, 32))
    first = annotator.annotate(picture)
    annotator.annotate(_noise((32, 32), seed=1))
    again, fresh = annotator.annotate(picture), _made(subject).annotate(picture)
    require(np.array_equal(first, again), "the same map again", "another one")
    require(np.array_equal(first, fresh), "the same map by another instance", "another one")


def the_picture_is_untouched(subject: Subject) -> None:
    """The picture is not changed in place, nor is its map a view of it, and no global generator is used or seeded."""
    annotator, picture = _made(subject), _noise((32, 32))
    copy = picture.copy()
    with worlds.kept_rng(0):
        before = worlds.rng_state()
        found = annotator.annotate(picture)
        same = before == worlds.rng_state()
    require(np.array_equal(picture, copy), "the picture as it was", "it was changed in place")
    require(not np.shares_memory(found, picture), "a map of its own", "a view of the picture")
    require(same, "the global generators as they were", "one of them has moved on")


CHECKS: tuple[Function, ...] = (
    *COMMON,
    is_an_annotator,
    a_map_has_the_picture_s_size,
    same_picture_same_map,
    the_picture_is_untouched,
)


def _made(subject: Subject) -> Annotator:
    """The annotator; skips the check where what it needs is not on this machine: nothing is fetched."""
    annotator: Annotator = subject.make()
    try:
        annotator.check()
    except Unavailable as why:
        raise NotApplicable(str(why)) from None
    except AttributeError:  # no Annotator, which a check of its own says
        pass
    return annotator


def _noise(size: tuple[int, int], seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
