"""Whether pictures obey their control maps, with a ControlNet and without, under prompts of their own and of others.

Maps of `--pictures` rendered pictures that no network has seen. From the same noise DDIM draws a picture under the
caption of the map's own picture and under one that names the same kind in another colour and scene, without control
and with it. What is measured:

    canny, scribble   F1 of the map's marked pixels and those of the picture, each met within 1 pixel by the other
    segmentation      intersection over union with the map's segments, the mean over those that either has
    pose              distance of the joints from the map's, in pixels; those within the picture

Segments and joints are read by small networks that this script trains on rendered pictures (once; they are kept in
`--readers`); what they read off the real pictures that the maps are of is the first row, the best to be had. For the
other captions it counts how often the classifier of clean pictures finds the colour and the scene asked for.
Intervals are 95 %.

    python benchmarks/control.py [--model tinyworld] [--pictures 200] [--steps 20] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from zoo.claims.control import WORLD, as_bytes, draw, edge_finder, f1_within_a_pixel, marked, other_caption
from zoo.data.maps import SEGMENT_COLOURS, TRUTHS, segmentation_map
from zoo.data.tinyworld import Sample, TinyWorld, caption
from zoo.device import resolve_device, resolve_dtype
from zoo.engine import Engine
from zoo.metrics.features import load_features
from zoo.metrics.intervals import mean_interval, wilson
from zoo.model import Model
from zoo.pixels import from_bytes
from zoo.planning import load_model
from zoo.registry import default_registry

READERS_SEED = 30_002
"""The world of the pictures that the readers learn from."""

JOINTS = tuple(TinyWorld(0, maps=True, kind="person")[0].maps.keypoints)  # type: ignore[union-attr]
CLASSES = np.array(list(SEGMENT_COLOURS.values()))


def main() -> None:
    """Draw with and without every ControlNet that the model has, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tinyworld", help="a model's name, or folder:PATH")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--scale", type=float, default=1.0, help="of the control")
    parser.add_argument("--readers", type=Path, default=Path("runs/control-readers"))
    parser.add_argument("--reader-steps", type=int, default=600)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    arguments = parser.parse_args()
    model = load_model(arguments.model, default_registry())
    names = [role.removeprefix("control/") for role in model.roles if role.startswith("control/")]
    if not names:
        raise SystemExit(f"{model.name} has no ControlNet; zoo train controlnet makes one")
    report = {name: measure(model, name, arguments) for name in names}
    print(json.dumps(report) if arguments.json else _table(report, arguments.pictures))


def measure(model: Model, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Agreement with the maps of one ControlNet, by what was drawn: [value, low, high] each."""
    fixed = TRUTHS[name][1] if name in TRUTHS else {}
    world = TinyWorld(WORLD, model.shape[-1], maps=True, **fixed)
    samples = [world[i] for i in range(arguments.pictures)]
    prompts = {
        "own": [caption(sample.attributes) for sample in samples],
        "other": [other_caption(sample, i) for i, sample in enumerate(samples)],
    }
    registry = default_registry()
    device = resolve_device(arguments.device)
    engine = Engine(device, resolve_dtype("auto", device))
    if name in TRUTHS:
        maps = [TRUTHS[name][0](sample) for sample in samples]
    else:
        annotate = edge_finder(model, name, registry)
        maps = [annotate(sample.image) for sample in samples]
    control = f"controlnet annotator={name} image={{}} map=true scale={arguments.scale:g}"
    agreement = _agreement(model, name, samples, arguments)
    pixels = np.stack([sample.image for sample in samples])
    real = from_bytes(pixels)
    report: dict[str, Any] = {"real pictures": {"agreement": _interval(agreement(real))}}
    for whose, texts in prompts.items():
        for how in ("without", "with"):
            line = f"ddim steps={arguments.steps}" + (f" | {control}" if how == "with" else "")
            batches = draw(model, line, texts, maps, registry, engine)
            drawn = torch.cat(list(tqdm(batches, desc=line, unit=" batches", disable=arguments.json)))
            row = report[f"{how} control, {whose} caption"] = {"agreement": _interval(agreement(drawn))}
            row["colour and scene"] = _obeyed(drawn, texts)
    return report


class Reader(nn.Module):
    """Planes of 32 × 32 off a picture: three resolutions down and up, with the pictures' own between."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in ((3, 32), (32, 64), (64, 96)))
        self.up = nn.ModuleList(_block(a, b) for a, b in ((96 + 64, 64), (64 + 32, 32)))
        self.out = nn.Conv2d(32, planes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) within [-1, 1] to (n, planes, H, W)."""
        kept = []
        for i, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if i else x)
            kept.append(x)
        for block, beside in zip(self.up, (kept[1], kept[0]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2), beside], 1))
        out: torch.Tensor = self.out(x)
        return out


def reader(name: str, arguments: argparse.Namespace) -> Reader:
    """The reader of segments or of joints, trained if it is not there yet; with noise, as generated pictures have."""
    torch.manual_seed(0)
    network = Reader(len(CLASSES) if name == "segmentation" else len(JOINTS))
    path = arguments.readers / f"{name}-{arguments.reader_steps}.safetensors"
    if path.is_file():
        network.load_state_dict(load_file(path))
        return network.eval()
    world = TinyWorld(READERS_SEED, maps=True, **TRUTHS[name][1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, arguments.reader_steps)
    for step in tqdm(range(arguments.reader_steps), desc=f"reader of {name}", disable=arguments.json):
        samples = [world[64 * step + i] for i in range(64)]
        x = from_bytes(np.stack([s.image for s in samples]))
        said = network(x + 0.05 * torch.randn_like(x))
        if name == "segmentation":
            loss = F.cross_entropy(said, torch.stack([_classes(segmentation_map(s)) for s in samples]))
        else:
            truth, inside = _joints(samples)
            loss = ((_expected(said) - truth).abs().sum(-1) * inside).sum() / inside.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return network.eval()


def mean_iou(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Intersection over union of two label maps (H, W), the mean over the labels that either has."""
    labels = torch.cat([found, wanted]).unique().tolist()
    shares = [
        ((found == label) & (wanted == label)).sum() / ((found == label) | (wanted == label)).sum()
        for label in labels
    ]
    return float(torch.stack(shares).mean())


def _agreement(model: Model, name: str, samples: list[Sample], arguments: argparse.Namespace) -> Any:
    """A function from pictures (n, 3, H, W) to how well each agrees with its map."""
    if name not in TRUTHS:
        annotate = edge_finder(model, name, default_registry())
        wanted = [marked(annotate(sample.image)) for sample in samples]
        return lambda drawn: torch.tensor(
            [f1_within_a_pixel(marked(annotate(i)), w) for i, w in zip(as_bytes(drawn), wanted, strict=True)]
        )
    read = reader(name, arguments)
    if name == "segmentation":
        segments = [_classes(segmentation_map(sample)) for sample in samples]
        return lambda drawn: torch.tensor(
            [mean_iou(f, w) for f, w in zip(_read(read, drawn).argmax(1), segments, strict=True)]
        )
    truth, inside = _joints(samples)

    def distances(drawn: torch.Tensor) -> torch.Tensor:
        apart = (_expected(_read(read, drawn)) - truth).norm(dim=-1)
        return (apart * inside).sum(1) / inside.sum(1).clamp(min=1)

    return distances


def _obeyed(drawn: torch.Tensor, texts: list[str]) -> list[float]:
    """Share of pictures in which the classifier finds the colour and the scene of the caption."""
    from zoo.data.tinyworld import named

    found = [answer for batch in drawn.split(100) for answer in load_features().classify(batch)]
    hits = sum(
        all(answer[head] == named(text)[head] for head in ("colour", "scene"))
        for answer, text in zip(found, texts, strict=True)
    )
    return [round(v, 4) for v in (hits / len(texts), *wilson(hits, len(texts)))]


def _classes(colours: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((colours[:, :, None] == CLASSES).all(-1).argmax(-1))


def _joints(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Joints in pixels (n, joints, 2), and which lie in the picture, (n, joints) of 0 and 1."""
    places = [[s.maps.keypoints[joint] for joint in JOINTS] for s in samples if s.maps is not None]
    truth, size = torch.tensor(places), len(samples[0].image)
    return truth, ((truth >= 0) & (truth < size)).all(-1).float()


def _expected(planes: torch.Tensor) -> torch.Tensor:
    """The mean place under the softmax of each plane, (n, planes, 2) as (x, y) in pixels."""
    n, k, height, width = planes.shape
    share = planes.flatten(2).softmax(-1).view(n, k, height, width)
    x = (share.sum(2) * (torch.arange(width) + 0.5)).sum(-1)
    y = (share.sum(3) * (torch.arange(height) + 0.5)).sum(-1)
    return torch.stack([x, y], -1)


@torch.no_grad()
def _read(network: Reader, drawn: torch.Tensor) -> torch.Tensor:
    return torch.cat([network(batch) for batch in drawn.split(100)])


def _block(before: int, after: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
    return nn.Sequential(*layers)


def _interval(values: torch.Tensor) -> list[float | None]:
    return [None if v is None else round(v, 4) for v in mean_interval(values.double())]


def _table(report: dict[str, Any], n: int) -> str:
    units = {"segmentation": "mean IoU", "pose": "pixels between joints, less is better"}
    lines = [f"{n} maps each, 95 % intervals"]
    for name, rows in report.items():
        heading = f"| {name} | {units.get(name, 'F1 within 1 pixel')} | colour and scene as asked |"
        lines += ["", heading, "|---|---|---|"]
        for row, figures in rows.items():
            value, low, high = figures["agreement"]
            obeyed = figures.get("colour and scene")
            said = "" if obeyed is None else f"{obeyed[0]:.1%} ({obeyed[1]:.1%} to {obeyed[2]:.1%})"
            lines.append(f"| {row} | {value:.3f} ({low:.3f} to {high:.3f}) | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
