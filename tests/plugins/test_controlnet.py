"""ControlNet: what diffusers computes, in any company, counted apart, and nothing at all before it is trained."""

from __future__ import annotations

import io
import json
import shutil
import time

import cv2
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from PIL import Image

from tests.helpers import CPU, finish, make_engine
from tests.small_model import SIZE, save_small_model
from zoo import Comparison, compare, interpolate
from zoo.cell import Cell
from zoo.cli import main
from zoo.limits import Limits
from zoo.metrics.solution import FineSolution
from zoo.models import tinyworld
from zoo.models.control import build_controlnet
from zoo.models.tinyworld import TextToPixels
from zoo.noise import unit_noise
from zoo.pictures import admit, beside
from zoo.planning import plan
from zoo.registry import default_registry

PROMPT = "a red cat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def model(folder):
    return TextToPixels(folder, name=f"folder:{folder}", title="small")


@pytest.fixture(scope="module")
def pictures():
    """Two pictures of the model's size, by their names, and their names."""
    generator = np.random.default_rng(0)
    admitted = [
        admit(Image.fromarray(generator.integers(0, 255, (SIZE, SIZE, 3), np.uint8))) for _ in range(2)
    ]
    return dict(admitted), [name for name, _ in admitted]


def cells(folder, pictures, *lines, prompt=PROMPT, negative="", seeds=(0, 1), limits=None):
    """Planned cells, all of them possible; `{0}` and `{1}` in a line are the pictures."""
    known, names = pictures
    comparison = Comparison(
        model=f"folder:{folder}",
        prompt=prompt,
        negative=negative,
        seeds=seeds,
        cells=[line.format(*names) for line in lines],
        pictures=known,
    )
    planned = plan(comparison, default_registry(), limits or Limits())
    assert all(isinstance(cell, Cell) for cell in planned), planned
    return planned


def samples(folder, pictures, *lines, **options):
    """What the methods make, run together."""
    done = finish(*cells(folder, pictures, *lines, **options))
    assert [cell.status for cell in done] == ["done"] * len(done), [cell.traceback for cell in done]
    return [cell.samples for cell in done]


CONTROL = "controlnet annotator=canny image={0} map=true"


# What it computes


def test_an_untrained_network_changes_not_a_bit(folder, pictures):
    lines = ("ddim steps=3", "ddim steps=3 | cfg scale=3", "ddpm steps=3")
    free = samples(folder, pictures, *lines)
    controlled = samples(
        folder, pictures, *(f"{line} | controlnet annotator=fresh image={{0}} map=true" for line in lines)
    )
    for one, other in zip(free, controlled, strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_an_untrained_network_changes_not_a_bit_of_the_bundled_model():
    model = tinyworld.build()
    network = model.network("denoiser", CPU, torch.float32)
    control = build_controlnet(network.module).eval()
    x, t = torch.from_numpy(unit_noise(0, 0, (2, *model.shape))).float(), torch.tensor([900.0, 30.0])
    text = [model.condition(prompt, CPU) for prompt in (PROMPT, "")]
    maps = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0))
    down, mid = control(x, t, torch.stack(text), maps, return_dict=False)
    assert torch.equal(network(x, t, text, [*down, mid]), network(x, t, text))


@torch.no_grad()
def by_diffusers(folder, model, pictures, role, guidance, scale, active, reads_prompt, steps=4, seed=5):
    """Four guided steps of diffusers' own networks and scheduler; `active` says in which steps control is on."""
    unet = UNet2DConditionModel.from_pretrained(folder / "denoiser").eval()
    control = ControlNetModel.from_pretrained(folder / role).eval()
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    known, (name, _) = pictures
    pixels = np.asarray(Image.open(io.BytesIO(known[name])))
    maps = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    text = torch.stack([model.condition("", CPU), model.condition(PROMPT, CPU)])
    read = text if reads_prompt else torch.stack([model.condition("", CPU)] * 2)
    x = torch.from_numpy(unit_noise(seed, 0, (3, SIZE, SIZE)))[None].float()
    for i, t in enumerate(scheduler.timesteps):
        both = torch.cat([x, x])
        down, mid = control(
            both,
            t,
            read,
            torch.cat([maps, maps]),
            conditioning_scale=scale if active(i) else 0.0,
            return_dict=False,
        )
        answer = unet(
            both,
            t,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        ).sample
        without, towards = answer.chunk(2)
        guided = without + guidance * (towards - without)
        x = scheduler.step(guided, int(t), x, use_clipped_model_output=True).prev_sample
    return x


@pytest.mark.parametrize(
    ("annotator", "scale", "interval"),
    [("canny", 0.7, (0, 1)), ("reading", 1.3, (0, 1)), ("canny", 1.0, (0.5, 1)), ("canny", 1.0, (0.2, 0.6))],
)
def test_a_picture_is_that_of_diffusers_own_networks(folder, model, pictures, annotator, scale, interval):
    start, end = interval
    control = f"controlnet annotator={annotator} image={{0}} map=true scale={scale} start={start} end={end}"
    lines = ["ddim steps=2", f"ddim steps=4 | {control} | cfg scale=3", f"ddim steps=3 | {CONTROL}"]
    _, ours, _ = samples(folder, pictures, *lines, seeds=(5,))  # in company
    theirs = by_diffusers(
        folder,
        model,
        pictures,
        f"control/{annotator}",
        3.0,
        scale,
        # The interval as in diffusers' pipelines.
        lambda i: not (i / 4 < start or (i + 1) / 4 > end),
        reads_prompt=annotator == "reading",
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    (free,) = samples(folder, pictures, "ddim steps=4 | cfg scale=3", seeds=(5,))
    assert (ours - free).abs().max() > 0.01


def test_batch_partners_do_not_matter(folder, pictures):
    lines = [
        "ddim steps=3",
        f"ddim steps=3 | {CONTROL} | cfg scale=2",
        "ddpm steps=4 | controlnet annotator=reading image={1} map=true scale=0.5 | cfg scale=3",
        f"heun steps=2 | {CONTROL} end=0.5",
        f"ddim steps=2 | {CONTROL} | controlnet annotator=pose image={{1}} map=true",
    ]
    together = samples(folder, pictures, *lines)
    for line, one in zip(lines, together, strict=True):
        (alone,) = samples(folder, pictures, line)
        torch.testing.assert_close(one, alone, rtol=0, atol=1e-4)


def test_micro_batches_give_the_same_pictures(folder, pictures):
    lines = [f"ddim steps=2 | {CONTROL} | cfg scale=2", "ddim steps=2"]
    whole = samples(folder, pictures, *lines)
    parts = finish(*cells(folder, pictures, *lines), engine=make_engine(max_rows=1))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other.samples, rtol=0, atol=1e-4)


def test_scales_add(folder, pictures):
    half = f"{CONTROL} scale=0.5"
    pose = "controlnet annotator=pose image={1} map=true"
    whole, twice, none, free, both, one = samples(
        folder,
        pictures,
        f"ddim steps=3 | {CONTROL}",
        f"ddim steps=3 | {half} | {half}",
        f"ddim steps=3 | {CONTROL} scale=0",
        "ddim steps=3",
        f"ddim steps=3 | {CONTROL} | {pose}",
        f"ddim steps=3 | {pose}",
    )
    torch.testing.assert_close(twice, whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(none, free, rtol=0, atol=1e-4)
    for other in (whole, one, free):
        assert (both - other).abs().max() > 0.01


# What it goes with, and what it costs


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"ddim steps=4 | {CONTROL}", {"denoiser": 4, "control/canny": 4}),
        (f"ddim steps=4 | {CONTROL} | cfg scale=3", {"denoiser": 8, "control/canny": 4}),
        (f"ddim steps=4 | cfg scale=3 | {CONTROL}", {"denoiser": 8, "control/canny": 4}),
        (
            "ddim steps=4 | controlnet annotator=reading image={0} map=true | cfg scale=3",
            {"denoiser": 8, "control/reading": 8},
        ),
        (f"ddim steps=4 | {CONTROL} scale=0", {"denoiser": 4}),
        (f"ddim steps=4 | {CONTROL} start=0.5", {"denoiser": 4, "control/canny": 2}),
        (f"ddim steps=4 | {CONTROL} end=0.3", {"denoiser": 4, "control/canny": 1}),
        (f"ddim steps=4 | {CONTROL} scale=0.5 | {CONTROL} scale=0.2", {"denoiser": 4, "control/canny": 4}),
        (
            f"ddim steps=4 | {CONTROL} | controlnet annotator=pose image={{1}} map=true end=0.5",
            {"denoiser": 4, "control/canny": 4, "control/pose": 2},
        ),
        (
            f"ddim steps=4 | {CONTROL} | classifier_guidance target=cat",
            {"denoiser": 4, "control/canny": 4, "classifier": 4},
        ),
        (f"progressive_distillation steps=2 | {CONTROL}", {"distilled/2": 2, "control/canny": 2}),
    ],
)
def test_evaluations_are_counted_by_network(folder, pictures, line, expected):
    (cell,) = cells(folder, pictures, line, seeds=(0,))
    networks = {role: cell.model.network(role, CPU, torch.float32) for role in expected}
    calls = dict.fromkeys(expected, 0)

    def counting(role):
        def count(module, arguments):
            calls[role] += len(arguments[0])

        return count

    hooks = [network.module.register_forward_pre_hook(counting(role)) for role, network in networks.items()]
    finish(cell)
    for hook in hooks:
        hook.remove()
    assert cell.status == "done", cell.traceback
    assert cell.nfe == expected
    assert calls == expected


def test_one_pass_serves_two_equal_prompts(folder, pictures):
    line = "ddim steps=2 | controlnet annotator=reading image={0} map=true | cfg scale=3"
    (cell,) = finish(*cells(folder, pictures, line, prompt=PROMPT, negative=PROMPT))
    assert cell.nfe == {"denoiser": 4, "control/reading": 2}


def test_the_limit_of_a_cell_counts_control_passes(folder, pictures):
    (cell,) = finish(*cells(folder, pictures, f"ddim steps=4 | {CONTROL}", limits=Limits(nfe=5)))
    assert cell.status == "failed" and "used up its 5 network evaluations" in cell.error


def test_it_works_with_every_sampler(folder, pictures):
    lines = []
    for name, spec in default_registry().samplers.items():
        if "/" not in name:
            line = f"{name} steps=2" if "steps" in spec.params_model().model_fields else name
            lines += [line, f"{line} | {CONTROL}"]
    comparison = Comparison(
        model=f"folder:{folder}", prompt=PROMPT, cells=[line.format(*pictures[1]) for line in lines]
    )
    comparison = comparison.model_copy(update={"pictures": pictures[0]})
    result = compare(comparison, device="cpu", dtype="fp32")
    for free, controlled in zip(result.cells[::2], result.cells[1::2], strict=True):
        if free.status == "na":  # such as a network that this model lacks
            assert controlled.status == "na"
            continue
        assert controlled.status == "done", controlled.error
        assert controlled.nfe["control/canny"] > 0
        assert (controlled.images - free.images).abs().max() > 0.01


def test_guidance_by_a_classifier_and_control_both_count(folder, pictures):
    towards = "classifier_guidance scale=50 target=cat"
    both, control, classifier = samples(
        folder,
        pictures,
        f"ddim steps=3 | {towards} | {CONTROL}",
        f"ddim steps=3 | {CONTROL}",
        f"ddim steps=3 | {towards}",
    )
    assert (both - control).abs().max() > 1e-3 and (both - classifier).abs().max() > 1e-3


def test_the_time_of_a_control_pass_is_charged_to_the_controlled(folder, pictures, monkeypatch):
    controlled, free = cells(folder, pictures, f"ddim steps=1 | {CONTROL}", "ddim steps=1")
    network = controlled.model.network("control/canny", CPU, torch.float32)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def take_a_second(*_):
        now[0] += 1.0

    hook = network.module.register_forward_pre_hook(take_a_second)
    finish(controlled, free)
    hook.remove()
    assert (controlled.seconds, free.seconds) == (1.0, 0.0)


def test_a_controlled_cell_is_timed_alone_and_held_against_a_controlled_solution(
    folder, pictures, monkeypatch
):
    asked = []

    class Few(FineSolution):
        def __init__(self):
            super().__init__(self.Params(steps=3))

        def sample(self, x, levels, noise):
            queries = super().sample(x, levels, noise)
            query = next(queries)
            while True:
                prediction = yield query
                asked.append(prediction)
                try:
                    query = queries.send(prediction)
                except StopIteration as stop:
                    return stop.value

    monkeypatch.setattr("zoo.metrics.solution.FineSolution", Few)
    known, names = pictures
    comparison = Comparison(
        model=f"folder:{folder}",
        prompt=PROMPT,
        cells=[line.format(*names) for line in (f"ddim steps=2 | {CONTROL}", "ddim steps=2")],
        metrics=["solution_error"],
        timing="alone",
        pictures=known,
    )
    controlled, free = compare(comparison, device="cpu", dtype="fp32").cells
    assert controlled.nfe == {"denoiser": 2, "control/canny": 2}
    first, other = (cell.metrics["solution_error"] for cell in (controlled, free))
    assert first.value > 0 and other.value > 0
    half = len(asked) // 2
    assert (asked[0].x0 - asked[half].x0).abs().max() > 1e-3, "one solution is controlled, the other is not"


def test_inversion_and_interpolation_follow_no_picture(folder, pictures):
    line = f"ddim steps=2 | {CONTROL}".format(*pictures[1])
    with pytest.raises(ValueError, match="follows a picture, which only a comparison can"):
        interpolate((0, 1), frames=2, model=f"folder:{folder}", method=line, device="cpu")


# What the network gets


def test_a_picture_is_cropped_and_resized_by_area_and_annotated(folder, pictures):
    generator = np.random.default_rng(1)
    wide = generator.integers(0, 255, (2 * SIZE, 5 * SIZE, 3), np.uint8)
    middle = wide[:, 3 * SIZE // 2 : 7 * SIZE // 2].astype(float)
    by_area = middle.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3)).round().astype(np.uint8)
    name, png = admit(Image.fromarray(wide))
    as_it_is, annotated = cells(
        folder,
        ({name: png}, [name]),
        f"ddim steps=1 | {CONTROL}",
        "ddim steps=1 | controlnet annotator=canny image={0}",
    )
    (taken,), (edges,) = as_it_is.maps.values(), annotated.maps.values()
    np.testing.assert_allclose(taken.permute(1, 2, 0) * 255, by_area, rtol=0, atol=1)
    seen = (taken.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    expected = cv2.Canny(np.ascontiguousarray(seen), 100, 200)
    assert expected.any()
    np.testing.assert_array_equal((edges.numpy() * 255).round(), np.stack([expected] * 3))


def test_a_name_is_that_of_the_pixels(tmp_path):
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 255, (5, 7, 3), np.uint8))
    picture.save(tmp_path / "a.png", compress_level=0)
    picture.save(tmp_path / "b.png", compress_level=9)
    picture.save(tmp_path / "c.webp", lossless=True)
    names = {admit(tmp_path / file)[0] for file in ("a.png", "b.png", "c.webp")}
    assert len(names) == 1
    assert admit(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))[0] not in names
    _, png = admit(Image.new("RGB", (4096, 100)))
    assert Image.open(io.BytesIO(png)).size == (1024, 25)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("controlnet annotator=canny", "control/canny needs a picture"),
        ("controlnet annotator=canny image=0123456789abcdef", "no picture '0123456789abcdef'"),
        ("controlnet annotator=canny image=/etc/hostname", "no picture '/etc/hostname'"),
        ("controlnet annotator=pose image={0}", "with map=true"),
        ("controlnet annotator=depth image={0}", "needs the network control/depth"),
        ("controlnet annotator=canny image={0} start=0.5 end=0.5", "start=0.5 must be below end=0.5"),
    ],
)
def test_what_cannot_be_is_na_with_the_reason(folder, pictures, line, reason):
    known, names = pictures
    comparison = Comparison(
        model=f"folder:{folder}", cells=[f"ddim steps=2 | {line.format(*names)}"], pictures=known
    )
    (cell,) = compare(comparison, device="cpu").cells
    assert cell.status == "na" and reason in cell.error


def test_a_changed_picture_is_found_out(folder, pictures):
    known, (one, other) = pictures
    comparison = Comparison(
        model=f"folder:{folder}",
        cells=[f"ddim steps=1 | controlnet annotator=canny image={one}"],
        pictures={one: known[other]},
    )
    (cell,) = compare(comparison, device="cpu").cells
    assert cell.status == "na" and "is not what its name says" in cell.error


# On disk


def test_a_saved_comparison_runs_elsewhere(folder, tmp_path, capsys):
    picture = tmp_path / "my picture.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (30, 20, 3), np.uint8)).save(picture)
    first, elsewhere, again = (tmp_path / name for name in ("first", "elsewhere", "again"))
    line = f"ddim steps=2 | controlnet annotator=canny image='{picture}' | cfg scale=2"
    command = [
        "compare",
        "--model",
        f"folder:{folder}",
        "--prompt",
        PROMPT,
        "--method",
        line,
        "--device",
        "cpu",
    ]
    assert main([*command, "--out", str(first)]) == 0
    assert "6 NFE" in capsys.readouterr().out
    saved = json.loads((first / "comparison.json").read_text())
    assert str(picture) not in json.dumps(saved) and "pictures" not in saved
    (kept,) = (first / "pictures").iterdir()
    assert f"image={kept.stem}" in saved["cells"][0]
    picture.unlink()
    shutil.move(first, elsewhere)
    assert main(["compare", str(elsewhere / "comparison.json"), "--device", "cpu", "--out", str(again)]) == 0
    for file in ("cells/00/0.png", "cells/00/map-canny.png"):
        np.testing.assert_array_equal(*(np.asarray(Image.open(f / file)) for f in (elsewhere, again)))
    assert Comparison.load(again / "comparison.json").pictures.keys() == {kept.stem}
    assert beside(again / "comparison.json", ["ddim steps=2"]) == {}


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"not a picture", "cannot be read as a picture")]
)
def test_a_file_that_is_no_picture_is_wrong_input(folder, tmp_path, capsys, content, message):
    picture = tmp_path / "p.png"
    if content is not None:
        picture.write_bytes(content)
    line = f"ddim steps=1 | controlnet image='{picture}'"
    assert main(["compare", "--model", f"folder:{folder}", "--method", line]) == 2
    assert message in capsys.readouterr().err.lower()


def test_a_saved_comparison_opens_no_path(folder, tmp_path, capsys):
    """What somebody else wrote must not read this machine's files."""
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    saved = tmp_path / "comparison.json"
    line = f"ddim steps=1 | controlnet image='{picture}' map=true"
    saved.write_text(json.dumps({"model": f"folder:{folder}", "cells": [line]}))
    assert main(["compare", str(saved), "--device", "cpu"]) == 1
    assert "has no picture" in capsys.readouterr().out
