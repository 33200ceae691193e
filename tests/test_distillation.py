"""Progressive distillation: the training target, exact students, the recipe and the sampler."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.helpers import CPU, leaning_mixture, make_cell, sample
from zoo.cli import main
from zoo.models import gaussian
from zoo.models.exact import ExactStudent
from zoo.models.tinyworld import TextToPixels
from zoo.noise import start_noise
from zoo.planning import impossible
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level
from zoo.training.denoiser import DenoiserRecipe
from zoo.training.denoiser import train as train_denoiser
from zoo.training.distill import DistillRecipe, Halving, train
from zoo.training.teacher import Teacher

COSINE = DiscreteSchedule.cosine()
TINY = {"steps": [3, 2], "start": 2, "size": 16, "batch_size": 3, "warmup": 1, "precision": "fp32"}


def literal_target(predict, z: torch.Tensor, i: int, n: int) -> torch.Tensor:
    """Algorithm 2 of arXiv:2202.00512 for one z, word for word, with the timesteps written out."""
    alphas, sigmas, times = [], [], []
    for j in (2 * i, 2 * i + 1, 2 * i + 2):  # t, t', t''
        t = round(1000 * (2 * n - j) / (2 * n)) - 1
        a = float(COSINE.alphas_cumprod[t]) if j < 2 * n else 1.0
        alphas.append(math.sqrt(a))
        sigmas.append(math.sqrt(1 - a))
        times.append(t)
    x = predict(z, times[0])
    halfway = alphas[1] * x + sigmas[1] / sigmas[0] * (z - alphas[0] * x)
    x = predict(halfway, times[1])
    end = alphas[2] * x + sigmas[2] / sigmas[1] * (halfway - alphas[1] * x)
    ratio = sigmas[2] / sigmas[0]
    return (end - ratio * z) / (alphas[2] - ratio * alphas[0])


def predict_something(z, t):
    """A made-up teacher that depends on z and t."""
    return torch.tanh(1.3 * z + t / 400) - 0.2 * z


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
@pytest.mark.parametrize("n", [1, 2, 8, 250])
def test_the_target_is_that_of_the_paper_at_every_step(n, dtype, tolerance):
    """From the noisiest level, where ᾱ is 2e-9, to the last step; 250 steps are so short that float32 could cancel."""
    halving = Halving(COSINE, n, dtype=dtype)
    i = torch.arange(n)
    noise, x0 = torch.randn(2, n, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = halving.noisy(x0.to(dtype), noise.to(dtype), 2 * i)

    def teacher(z, k):
        return predict_something(z, halving.t[k].view(-1, 1, 1, 1))

    found = halving.target(teacher, z, i)
    for row in range(n):
        expected = literal_target(predict_something, z[row].double(), row, n)
        torch.testing.assert_close(found[row].double(), expected, rtol=tolerance, atol=tolerance)


def test_the_last_target_is_the_teachers_own_prediction():
    halving = Halving(COSINE, 4, dtype=torch.float64)
    told = []

    def teacher(z, k):
        told.append(predict_something(z, halving.t[k].view(-1, 1, 1, 1)))
        return told[-1]

    z = torch.randn(1, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(halving.target(teacher, z, torch.tensor([3])), told[1], rtol=0, atol=1e-15)


def test_the_loss_is_weighted_by_the_truncated_signal_to_noise_ratio():
    n = 4
    halving = Halving(COSINE, n, dtype=torch.float64)
    target, x0 = torch.randn(2, n, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    total = 0.0
    for i, t in enumerate((999, 749, 499, 249)):
        a = COSINE.alphas_cumprod[t]
        total += max(a / (1 - a), 1) * float((target[i] - x0[i]).square().sum())
    assert float(halving.loss(x0, target, torch.arange(n))) == pytest.approx(total / target.numel())


@pytest.mark.parametrize("n", [1, 2, 4])
def test_of_an_exact_student_the_target_is_the_exact_student_of_half_the_steps(n):
    model = gaussian.build(size=4)
    halving = Halving(model.schedule, n, dtype=torch.float64)
    twice, once = ExactStudent(model, 2 * n), ExactStudent(model, n)
    i = torch.arange(n)
    noise = torch.randn(n, *model.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    z = halving.noisy(model.draw(n, 4, condition=1), noise, 2 * i)
    found = halving.target(lambda z, k: twice(z, halving.t[k], [1] * n), z, i)
    torch.testing.assert_close(found, once(z, halving.t[2 * i], [1] * n), rtol=0, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_exact_students_end_where_the_probability_flow_does(steps):
    model = gaussian.build()
    seeds, dusk = (0, 7), model.words.index("dusk")
    x = torch.from_numpy(start_noise(seeds, model.shape))
    levels = model.schedule.levels(steps)
    exact = model.solve(x, levels[0], levels[-1], dusk)
    found = sample(model, f"progressive_distillation steps={steps}", seeds, prompt="dusk")
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-6)
    ddim = sample(model, f"ddim steps={steps}", seeds, prompt="dusk")
    assert (ddim - exact).abs().max() > 0.1  # where the denoiser itself is far off


@pytest.mark.parametrize(
    "schedule",
    [KarrasSchedule(), KarrasSchedule(clean=Level(1.0, 0.002, None))],
    ids=["to no noise", "to sigma_min"],
)
def test_exact_students_know_variance_exploding_levels_too(schedule):
    model = leaning_mixture(schedule)
    levels = model.schedule.levels(4)
    x = torch.from_numpy(start_noise((0, 1), model.shape)) * levels[0].sigma
    found = sample(model, "progressive_distillation steps=4", (0, 1), prompt="moon")
    torch.testing.assert_close(found, model.solve(x, levels[0], levels[-1], 1), rtol=0, atol=1e-6)


def test_an_exact_student_needs_a_class_and_its_own_levels():
    model = gaussian.build(size=4)
    result = zoo.compare(zoo.Comparison(model="gaussian", prompt="", cells=["progressive_distillation"]))
    assert result.cells[0].status == "failed"
    assert "no class is named; name one of dawn, noon, dusk, night" in result.cells[0].error
    student = model.network("distilled/4", CPU, torch.float32)
    with pytest.raises(ValueError, match=r"knows the levels t = 999, 749, 499, 249, not 500"):
        student(torch.zeros(1, *model.shape).double(), torch.tensor([500.0]), [0])


@pytest.mark.parametrize("steps", [3, 16])
def test_a_number_of_steps_without_a_student_is_impossible(steps):
    model = gaussian.build(size=4)
    cell = make_cell(model, f"progressive_distillation steps={steps}")
    reason = (
        f"needs the network distilled/{steps}; gaussian has denoiser, classifier, distilled/1, distilled/2"
    )
    assert impossible(model, cell.sampler, [], {}).startswith(reason)
    assert impossible(model, make_cell(model, "progressive_distillation").sampler, [], {}) == ""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A model folder with a network of a few weights, hardly trained."""
    out = tmp_path_factory.mktemp("teacher")
    options = {"channels": [16, 16], "attention_below": 9, "text_width": 16, "size": 16, "batch_size": 2}
    folder = train_denoiser(DenoiserRecipe(out=out, steps=1, precision="fp32", **options))
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def distilled(teacher, tmp_path_factory) -> Path:
    folder = train(DistillRecipe(teacher=teacher, out=tmp_path_factory.mktemp("whole"), **TINY))
    assert folder is not None
    return folder


def student(model: Path, steps: int) -> dict[str, torch.Tensor]:
    return load_file(model / "distilled" / str(steps) / "diffusion_pytorch_model.safetensors")


def test_an_interrupted_distillation_ends_with_the_weights_of_an_uninterrupted_one(
    teacher, distilled, tmp_path
):
    """Stopped within the first halving, then within the second."""
    for stop_at in (2, 4):
        assert train(DistillRecipe(teacher=teacher, out=tmp_path, stop_at=stop_at, **TINY)) is None
    resumed = train(DistillRecipe(teacher=teacher, out=tmp_path, **TINY))
    assert resumed is not None
    for steps in (2, 1):
        torch.testing.assert_close(student(resumed, steps), student(distilled, steps), rtol=0, atol=0)
    one, two = student(distilled, 1), student(distilled, 2)
    assert any((one[name] != two[name]).any() for name in one)


def test_another_teacher_or_number_of_updates_does_not_resume(distilled, tmp_path):
    shutil.copytree(distilled.parent, tmp_path / "run")
    recipe = {"teacher": distilled, "out": tmp_path / "run", **TINY}
    with pytest.raises(ValueError, match=r"steps=3, but now steps=4"):
        train(DistillRecipe(**{**recipe, "steps": [4, 2]}))
    other = shutil.copytree(distilled, tmp_path / "other")
    shutil.copy(next(distilled.glob("distilled/1/*.safetensors")), other / "denoiser")
    with pytest.raises(ValueError, match=r"made with teacher_weights="):
        train(DistillRecipe(**{**recipe, "teacher": other}))


def test_the_model_holds_teacher_and_students_and_can_be_compared_on(teacher, distilled, tmp_path):
    cells = ["ddim steps=2", *(f"progressive_distillation steps={n}" for n in (2, 1, 4))]
    result = zoo.compare(zoo.Comparison(model=f"folder:{distilled}", prompt="a red car", cells=cells))
    assert [cell.status for cell in result.cells] == ["done", "done", "done", "na"]
    assert [cell.nfe for cell in result.cells[:3]] == [
        {"denoiser": 2},
        {"distilled/2": 2},
        {"distilled/1": 1},
    ]
    assert "has denoiser, distilled/1, distilled/2" in result.cells[3].error
    card = json.loads((distilled / "distilled/2/distillation.json").read_text())
    assert (card["steps"], card["timesteps"]) == (2, [999, 499])
    assert (card["prediction"], card["guidance"]) == ("v", 1.0)
    assert card["teacher"] == TextToPixels(teacher, "t", "t").fingerprint()
    assert {tensor.dtype for tensor in student(distilled, 2).values()} == {torch.float16}
    configs = [(distilled / part / "config.json").read_text() for part in ("denoiser", "distilled/2")]
    assert configs[0] == configs[1]
    assert (distilled.parent / "samples/2-steps.png").is_file()

    alone = shutil.copytree(distilled, tmp_path / "model")
    both = TextToPixels(alone, "m", "m").fingerprint()
    shutil.rmtree(alone / "distilled/1")
    assert TextToPixels(alone, "m", "m").roles == ("denoiser", "distilled/2")
    assert TextToPixels(alone, "m", "m").fingerprint() != both
    (alone / "distilled/2").rename(alone / "distilled/1")
    with pytest.raises(OSError, match="was trained for 2 steps"):
        TextToPixels(alone, "m", "m")
    (alone / "distilled/1/distillation.json").unlink()
    with pytest.raises(OSError, match=r"distillation\.json is missing"):
        TextToPixels(alone, "m", "m")


def test_the_card_tells_the_command_and_every_loss(distilled):
    card = (distilled / "distilled/1/README.md").read_text()
    words = shlex.split(next(line for line in card.splitlines() if "zoo train" in line))
    assert words[words.index("--steps") :][:3] == ["--steps", "3", "2"]
    assert words[words.index("--start") + 1] == "2"
    assert "updates, 4 → 2 steps | 0." in card and "updates, 2 → 1 steps | 0." in card


def test_a_student_of_one_step_is_taught_where_guided_ddim_ends(distilled):
    """In two steps, by the engine with `cfg`: the guided teacher, from the same noise."""
    model = TextToPixels(distilled, "m", "m")
    tokenizer, text_encoder = model.text_parts()
    network = model.network("denoiser", CPU, torch.float32).module
    teacher, halving = Teacher(network, "v", tokenizer, text_encoder), Halving(model.schedule, 1)
    prompts, seeds = "a red fish at night", (0, 1)
    z = torch.from_numpy(start_noise(seeds, model.shape)).float()
    text, empty = teacher.embed([prompts] * 2)
    found = halving.target(teacher.predictor(halving, text, empty, 3.0), z, torch.tensor([0, 0]))
    expected = sample(model, "ddim steps=2 | cfg scale=3 threshold=none", seeds, prompt=prompts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_students_may_predict_x0_and_be_guided(teacher, tmp_path):
    options = {**TINY, "start": 1, "steps": [1], "prediction": "x0", "guidance": 2.0}
    folder = train(DistillRecipe(teacher=teacher, out=tmp_path, **options))
    assert folder is not None
    model = TextToPixels(folder, "m", "m")
    assert (model.prediction_kind("denoiser"), model.prediction_kind("distilled/1")) == ("v", "x0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "12"], "start=12: students take 1, 2, 4, 8 … steps, a power of two"),
        (["--start", "2", "--end", "4"], "halve from start=2 down to end=4"),
        (["--start", "4", "--steps", "10", "20"], "one for each student of [4, 2, 1] steps"),
        (["--size", "64"], "makes pictures of 32 pixels, not 64: add --size 32"),
        (["--teacher", "nowhere"], "nowhere is not a model folder"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message, tmp_path, capsys):
    assert main(["train", "distill", "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("zoo: ") and message in error
    assert not error.startswith("zoo: :")
