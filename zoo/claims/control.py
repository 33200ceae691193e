"""Whether pictures obey a control map: their edges against the map's, with a ControlNet and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import load_file

from zoo.cell import Cell
from zoo.claims.claims import Estimate, Measure
from zoo.claims.points import Impossible, Points, keep
from zoo.data.tinyworld import COLOURS, SCENES, Sample, TinyWorld, caption
from zoo.driving import drive
from zoo.engine import Engine
from zoo.method import Method
from zoo.model import Model
from zoo.pictures import admit
from zoo.planning import control_maps, make_annotator, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT

WORLD = 30_001
"""The seed of the pictures that the maps are of, which no network has seen."""

EDGES = "edges missed"
"""The measure's name."""

PICTURES, GROUPS = 64, 16

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class ControlPoints:
    """Draws pictures under maps of other pictures, or beside them, and scores their edges.

    Each prompt names the kind of the map's picture, in another colour and another scene. A method's line leaves the
    picture of its ControlNet out: every drawing has its own.

    Args:
        points: the model, where methods are looked up, what draws, and where measurements are kept.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        world = TinyWorld(WORLD, points.model.shape[-1])
        self.samples = [world[i] for i in range(PICTURES)]

    def by_name(self) -> Mapping[str, Measure]:
        """For `judge`."""
        return {EDGES: self.edges}

    def edges(self, line: str) -> Estimate:
        """1 − F1 of Canny's edges of each picture and of its map, met within a pixel; the mean over all.

        Raises:
            Impossible: the method cannot run on the model.
        """
        path = self.points.folder / f"edges-{self.points.name(line)}.safetensors"
        if not path.is_file():
            keep(path, {"f1": self._measured(line)}, {})
        missed = 1 - load_file(path)["f1"]
        return Estimate.mean(missed.view(GROUPS, -1).mean(1).tolist())

    def _measured(self, line: str) -> torch.Tensor:
        model, registry = self.points.model, self.points.registry
        if "control/canny" not in model.roles:
            raise Impossible(f"{model.name} has no network control/canny")
        find = edge_finder(model, "canny", registry)
        maps = [find(sample.image) for sample in self.samples]
        prompts = [other_caption(sample, i) for i, sample in enumerate(self.samples)]
        template = f"{line} map=true image={{}}" if "controlnet" in line else line
        drawn = torch.cat(list(draw(model, template, prompts, maps, registry, self.points.engine)))
        edges = [
            f1_within_a_pixel(marked(find(p)), marked(m)) for p, m in zip(as_bytes(drawn), maps, strict=True)
        ]
        return torch.tensor(edges)


def draw(
    model: Model,
    template: str,
    prompts: Sequence[str],
    maps: Sequence[Pixels],
    registry: Registry,
    engine: Engine,
) -> Iterator[torch.Tensor]:
    """One picture a prompt and map; number i starts from seed i.

    Args:
        model: whose ControlNets are used.
        template: a method's line, {} where the name of the map goes, if anywhere.
        prompts: one a picture.
        maps: one a picture, (H, W, 3).
        registry: where names are looked up.
        engine: what draws.

    Yields:
        (n, 3, H, W) within [-1, 1], as many as travel in one batch.

    Raises:
        RuntimeError: the method failed.
    """
    cells = []
    for i, (prompt, pixels) in enumerate(zip(prompts, maps, strict=True)):
        name, png = admit(Image.fromarray(pixels))
        sampler, conditioners = resolve(Method.parse(template.format(name)), registry)
        ready = control_maps(model, conditioners, {name: png}, registry)
        cells.append(Cell(model, sampler, conditioners, {PROMPT: prompt, NEGATIVE: ""}, [i], maps=ready))
    for first in range(0, len(cells), engine.max_rows):
        batch = cells[first : first + engine.max_rows]
        for _ in drive(engine, batch):
            pass
        failed = [cell.traceback or cell.error for cell in batch if cell.samples is None]
        if failed:
            raise RuntimeError(f"{template} failed:\n{failed[0]}")
        yield torch.cat([model.pictures(cell.samples) for cell in batch if cell.samples is not None])


def edge_finder(model: Model, control: str, registry: Registry) -> Callable[[Pixels], Pixels]:
    """The annotator that a ControlNet was trained with: from a picture (H, W, 3) to its map."""
    annotator = make_annotator(model.control(f"control/{control}").annotator, registry)
    return lambda image: annotator.annotate(np.ascontiguousarray(image))


def other_caption(sample: Sample, number: int) -> str:
    """The same kind in another colour and another scene, of which the map says nothing."""
    rng = np.random.default_rng([WORLD, number])
    scene = str(rng.choice([scene for scene in SCENES if scene != sample.attributes.scene]))
    colour = str(rng.choice([colour for colour in COLOURS if colour != sample.attributes.colour]))
    return caption(replace(sample.attributes, scene=scene, colour=colour))


def marked(pixels: Pixels) -> Mask:
    """The pixels that a map of edges marks, (H, W)."""
    mask: Mask = pixels[..., 0] > 127
    return mask


def f1_within_a_pixel(found: Mask, wanted: Mask) -> float:
    """F1 of two masks (H, W), a pixel counting as met where the other is marked at most one pixel away."""
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    precision = (found & _grown(wanted)).sum() / found.sum()
    recall = (wanted & _grown(found)).sum() / wanted.sum()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def as_bytes(pictures: torch.Tensor) -> Pixels:
    """(n, 3, H, W) within [-1, 1] as (n, H, W, 3) uint8."""
    pixels: Pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return pixels


def _grown(mask: Mask) -> Mask:
    grown: Mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return grown
