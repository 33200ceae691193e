"""`zoo train consistency`: pairs, solvers, growth, convergence to the exact function, and runs that resume."""

from __future__ import annotations

import itertools
import json
import math
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

import zoo
from tests.helpers import leaning_mixture
from zoo.cli import main
from zoo.consistency import Boundary
from zoo.models.saved import load_saved
from zoo.models.tinyworld import TextToPixels
from zoo.schedule import DiscreteSchedule
from zoo.training import consistency
from zoo.training.consistency import ConsistencyRecipe, Function, Objective, train
from zoo.training.data import Batches, open_pictures
from zoo.training.denoiser import DenoiserRecipe
from zoo.training.denoiser import train as train_denoiser
from zoo.training.distance import DISTANCES, VGG, load_lpips
from zoo.training.pairs import Chain, Growth, neighbours, tightening

RECIPES = ("distillation", "training", "tuning")
CHAIN = Chain(DiscreteSchedule.cosine(), dtype=torch.float64)
TINY = {"steps": 4, "size": 16, "batch_size": 3, "warmup": 1, "sample_every": 4, "precision": "fp32"}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact_teacher(model, condition: int):
    """The exact mean of x0 of a plane mixture in the recipe's shape, (B, 2, 1, 1)."""

    def predict(x, j):
        found = [
            model.x0(row[None, :, 0, 0], model.schedule.level(int(k) - 1), condition)
            for row, k in zip(x, j, strict=True)
        ]
        return torch.cat(found)[:, :, None, None]

    return predict


def test_the_euler_step_goes_towards_the_data():
    """x̂ = x + (t_n − t_{n+1})·Φ with Φ = eps and t = sigma/alpha, in x/alpha; t_n < t_{n+1}."""
    x, x0, j, r = drawn(1, 2, 1, 1), drawn(1, 2, 1, 1, seed=1), torch.tensor([700]), torch.tensor([600])
    found = CHAIN.solve(lambda *_: x0, x, j, r, "euler")
    eps = (x - CHAIN.alpha[j] * x0) / CHAIN.sigma[j]
    n, above = CHAIN.sigma[r] / CHAIN.alpha[r], CHAIN.sigma[j] / CHAIN.alpha[j]
    assert n < above
    expected = x / CHAIN.alpha[j] + (n - above) * eps
    torch.testing.assert_close(found / CHAIN.alpha[r], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_teachers_steps_have_the_order_of_their_solver(solver, order):
    model = leaning_mixture()
    teacher, start = exact_teacher(model, 0), drawn(4, 2)
    exact = model.solve(start, model.schedule.level(899), model.schedule.level(99), 0)
    errors = []
    for n in (8, 16, 32):
        x = start[:, :, None, None]
        for k in range(n):
            j, r = (torch.full((4,), 900 - 800 * i // n) for i in (k, k + 1))
            x = CHAIN.solve(teacher, x, j, r, solver)
        errors.append((x[:, :, 0, 0] - exact).abs().max().item())
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(order - 0.25 < o < order + 0.4 for o in orders), orders


def test_onto_the_clean_level_the_step_is_the_teachers_prediction():
    model = leaning_mixture()
    teacher, x, j = exact_teacher(model, 0), drawn(2, 2, 1, 1), torch.tensor([1000, 30])
    told = teacher(x, j)
    torch.testing.assert_close(CHAIN.solve(teacher, x, j, torch.zeros_like(j), "heun"), told)


@pytest.mark.parametrize("k", [0, 1, 399, 400, 799, 1599])
def test_levels_grow_and_the_target_slows_as_the_papers_say(k):
    """The papers count levels, one more than steps: N of arXiv:2303.01469, appendix C, and of arXiv:2310.14189."""
    updates, s0, s1, mu0 = 1600, 2, 150, 0.9
    n = math.ceil(math.sqrt(k / updates * ((s1 + 1) ** 2 - s0**2) + s0**2) - 1) + 1
    growth = Growth(s0 - 1, s1, "root", updates)
    assert growth.steps(k) + 1 == n
    assert growth.decay(k, mu0) == pytest.approx(math.exp(s0 * math.log(mu0) / n))
    s0, s1 = 10, 160
    stage = updates // (math.floor(math.log2(s1 / s0)) + 1)
    assert Growth(s0, s1, "doubling", updates).steps(k) + 1 == min(s0 * 2 ** (k // stage), s1) + 1
    assert Growth(32, 32, "doubling", updates).steps(k) == Growth(32, 32, "root", updates).steps(k) == 32
    assert Growth(32, 32, "doubling", updates).decay(k, 0.95) == pytest.approx(0.95)


def test_neighbours_cut_the_chain_into_equal_parts():
    i = torch.arange(1000)
    j, r = neighbours(CHAIN, 4, i)
    assert (j == i + 1).all() and (r == (i - 249).clamp(min=0)).all()
    steps, k = 0, 1000
    while k > 0:  # from pure noise to the data in 4 steps
        k, steps = int(r[k - 1]), steps + 1
    assert steps == 4


def test_tightening_starts_as_denoising_and_draws_closer():
    i = torch.arange(1000)
    shares, previous = [], None
    for n in (2, 4, 8, 16, 32):
        j, r = tightening(CHAIN, n, i)
        assert (r < j).all() and (r >= 0).all()
        assert previous is None or (r >= previous).all()
        shares.append((r == 0).double().mean().item())
        previous = r
    assert shares[0] > 0.5 and shares == sorted(shares, reverse=True) and shares[-1] < 0.01
    # At little noise it is the rule of the paper in σ, up to one timestep of the chain.
    j, r = tightening(CHAIN, 16, torch.arange(20, 120))
    sigma = CHAIN.angle[j].tan()
    expected = (sigma * (1 - (1 + 8 * torch.sigmoid(-sigma)) / 16)).atan()
    assert ((CHAIN.angle[r] - expected).abs() < CHAIN.angle[1:].diff().max()).all()


class Linear(torch.nn.Module):
    """v = a_t·x + b_t with numbers of its own at each of T timesteps: holds the exact function of a Gaussian."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.a, self.b = (torch.nn.Parameter(torch.zeros(timesteps, 1, 1, 1)) for _ in range(2))

    def forward(self, x, t, encoder_hidden_states):
        return SimpleNamespace(sample=self.a[t.long()] * x + self.b[t.long()])


MEAN, STD, STEPS = 0.4, 0.5, 16


@pytest.mark.parametrize(
    ("recipe", "levels"), [("distillation", [STEPS]), ("training", [2, STEPS]), ("tuning", [2, STEPS])]
)
def test_each_recipe_leads_to_the_consistency_function_of_a_gaussian(recipe, levels):
    """f(x) = m + (x − alpha·m)·k, k = s/√(alpha²s² + sigma²), which distillation reaches up to its solver's error.

    Without a teacher each pair regresses x_r on x_j, so that k is Π (alpha_r·alpha_j·s² + sigma_r·sigma_j)/(alpha_j²s²
    + sigma_j²) along the chain of pairs, which draws near it as N grows. The denoiser, where they begin, is far off.

    Regression sees no more of data and noise than their second moments: four points give the exact expectation.
    """
    chain, updates = Chain(DiscreteSchedule.cosine(STEPS)), 400
    given = ConsistencyRecipe(recipe=recipe, levels=levels, distance="l2", steps=updates)
    objective, network = Objective(given, Function(chain, Boundary())), Linear(STEPS)
    alpha, sigma = chain.alpha, chain.sigma

    def denoise(x, j):
        return MEAN + alpha[j] * STD**2 / (alpha[j] ** 2 * STD**2 + sigma[j] ** 2) * (x - alpha[j] * MEAN)

    if recipe == "tuning":
        with torch.no_grad():  # v of the denoiser: (alpha·x − x0)/sigma, linear in x
            j = torch.arange(1, STEPS + 1)
            at0, at1 = denoise(torch.zeros(STEPS, 1, 1, 1), j), denoise(torch.ones(STEPS, 1, 1, 1), j)
            network.a.copy_((alpha[j] - (at1 - at0)) / sigma[j])
            network.b.copy_(-at0 / sigma[j])
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.5, 0.9))  # the target moves: forget soon
    points = torch.cartesian_prod(torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0])).T[
        ..., None, None, None
    ]
    x0, noise = points.repeat(1, STEPS, 1, 1, 1)
    i, text = torch.arange(STEPS).repeat_interleave(4), torch.zeros(4 * STEPS, 1, 1)
    for step in range(updates):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / updates)
        loss = objective(network, network, denoise, MEAN + STD * x0, noise, i, text, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, j = torch.tensor([-1.5, 0.0, 1.5]).view(3, 1, 1, 1), torch.full((3,), STEPS)
    with torch.no_grad():
        found = objective.function(network, x, j, text[:3])
    exact = MEAN + (x - alpha[j] * MEAN) * STD / (alpha[j] ** 2 * STD**2 + sigma[j] ** 2).sqrt()
    if recipe == "distillation":
        expected = x
        for k in range(STEPS, 0, -1):
            expected = chain.solve(denoise, expected, torch.full((3,), k), torch.full((3,), k - 1), "heun")
    else:
        expected = MEAN + (x - alpha[j] * MEAN) * regressed(objective, STEPS)
    assert (found - expected).abs().max() < 0.002
    assert (found - exact).abs().max() < (0.04 if recipe == "distillation" else 0.12)
    assert (denoise(x, j) - exact).abs().max() > 0.5


def regressed(objective: Objective, n: int) -> float:
    """Where training without a teacher comes to rest on N(m, s²): the product of the regressions down the chain."""
    chain, k, j = objective.chain, 1.0, torch.tensor([objective.chain.timesteps])
    while j > 0:
        _, r = objective.choose(chain, n, j - 1)
        (a, s), (a_r, s_r) = ((chain.alpha[i].item(), chain.sigma[i].item()) for i in (j, r))
        k, j = k * (a_r * a * STD**2 + s_r * s) / (a**2 * STD**2 + s**2), r
    return k


def test_the_bias_of_training_without_a_teacher_falls_with_the_steps():
    """And tuning in the angle needs a chain of a third of the length that the paper's rule in σ has here."""
    for recipe, bounds in (("training", (0.035, 0.015)), ("tuning", (0.025, 0.015))):
        given = ConsistencyRecipe(recipe=recipe)
        objective = Objective(given, Function(CHAIN, Boundary()))
        first, second = (STD - regressed(objective, n) for n in (32, 64))
        assert 0 < second < 0.6 * first and first < bounds[0] and second < bounds[1]
    links, j = 0, torch.tensor([1000])
    while j > 0:
        j, links = tightening(CHAIN, 32, j - 1)[1], links + 1
    assert links == 42


def test_distances_are_one_number_a_picture():
    a, b = drawn(3, 3, 4, 4), drawn(3, 3, 4, 4, seed=1)
    norm = (a - b).flatten(1).norm(dim=1)
    d, c = a[0].numel(), 0.00054 * math.sqrt(a[0].numel())
    found = {name: DISTANCES[name]()(a, b) for name in ("l1", "l2", "pseudo-huber")}
    torch.testing.assert_close(found["l2"], norm**2 / d)
    torch.testing.assert_close(found["l1"], (a - b).abs().sum((1, 2, 3)) / d)
    torch.testing.assert_close(found["pseudo-huber"], ((norm**2 + c**2).sqrt() - c) / math.sqrt(d))


def test_lpips_says_what_it_lacks_and_gets_pictures_of_224_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the lpips package"):
        load_lpips()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(ValueError, match=f"528 MB: download {VGG} to {tmp_path}/checkpoints"):
        load_lpips()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/vgg16-397923af.pth").touch()

    class LPIPS(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            assert net == "vgg"

        def forward(self, a, b):
            assert a.shape[2:] == b.shape[2:] == (224, 224)
            return (a - b).mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=LPIPS))
    assert load_lpips()(torch.ones(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)).tolist() == [1, 1]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A model folder with a network of a few weights, hardly trained."""
    out = tmp_path_factory.mktemp("teacher")
    options = {"channels": [16, 16], "attention_below": 9, "text_width": 16, "size": 16, "batch_size": 2}
    folder = train_denoiser(DenoiserRecipe(out=out, steps=1, precision="fp32", **options))
    assert folder is not None
    return folder


def run(teacher: Path, out: Path, recipe: str = "distillation", **options) -> Path | None:
    return train(ConsistencyRecipe(teacher=teacher, out=out, recipe=recipe, **{**TINY, **options}))


@pytest.fixture(scope="module")
def trained(teacher, tmp_path_factory) -> Path:
    folder = run(teacher, tmp_path_factory.mktemp("whole"))
    assert folder is not None
    return folder


def weights(model: Path, recipe: str = "distillation") -> dict[str, torch.Tensor]:
    return load_file(model / "consistency" / recipe / "diffusion_pytorch_model.safetensors")


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(teacher, trained, tmp_path):
    """Of the recipe whose target has weights of its own, which are kept too."""
    assert run(teacher, tmp_path, stop_at=2) is None
    resumed = run(teacher, tmp_path)
    torch.testing.assert_close(weights(resumed), weights(trained), rtol=0, atol=0)


def test_another_teacher_recipe_or_number_of_updates_does_not_resume(teacher, trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "run")
    for options, message in (
        ({"steps": 5}, "steps=4, but now steps=5"),
        ({"recipe": "tuning"}, "recipe=distillation"),
        ({"teacher": other_teacher(trained, tmp_path)}, "made with teacher_weights="),
    ):
        arguments = {"teacher": teacher, "recipe": "distillation", **options}
        with pytest.raises(ValueError, match=message):
            run(out=tmp_path / "run", **arguments)


def other_teacher(trained: Path, tmp_path: Path) -> Path:
    other = shutil.copytree(trained, tmp_path / "other")
    shutil.copy(next(other.glob("consistency/*/*.safetensors")), other / "denoiser")
    return other


@pytest.mark.parametrize("recipe", ["training", "tuning"])
def test_a_pair_shares_its_data_and_its_noise(recipe, teacher, tmp_path, monkeypatch):
    asked = []
    plain = Function.__call__

    def recorded(self, network, x, j, text):
        asked.append((x, j, torch.is_grad_enabled()))
        return plain(self, network, x, j, text)

    monkeypatch.setattr(Function, "__call__", recorded)
    monkeypatch.setattr(consistency, "_draw_samples", lambda *_: None)
    run(teacher, tmp_path, recipe, steps=1, levels=[4], batch_size=6)
    chain = Chain(DiscreteSchedule.cosine())
    x0, _ = Batches(open_pictures("tinyworld", 0, 16), 6, range(1), 0, 1)[0]
    (below, r, _), *_, (x, j, graded) = asked
    assert graded and (r < j).all() and (r > 0).any()
    noise = (x - chain.alpha[j] * x0) / chain.sigma[j]
    torch.testing.assert_close(below, chain.noisy(x0, noise, r), rtol=1e-4, atol=1e-4)
    assert abs(noise.std().item() - 1) < 0.1


def test_tuning_and_distillation_start_from_the_teacher_and_training_does_not(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(consistency, "_draw_samples", lambda *_: None)
    denoiser = load_file(teacher / "denoiser/diffusion_pytorch_model.safetensors")
    for recipe in RECIPES:
        model = run(teacher, tmp_path / recipe, recipe, steps=1, learning_rate=1e-12)
        same = all(torch.equal(weights(model, recipe)[name], denoiser[name]) for name in denoiser)
        assert same == (recipe != "training"), recipe


def test_a_further_stage_goes_on_from_the_network_of_the_one_before(teacher, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(consistency, "_draw_samples", lambda *_: None)
    before = run(teacher, tmp_path / "first", "training", steps=1)
    after = run(teacher, tmp_path / "second", "training", steps=1, learning_rate=1e-12, init=before)
    torch.testing.assert_close(weights(after, "training"), weights(before, "training"))
    cards = [(model / "consistency/training/README.md").read_text() for model in (before, after)]
    first = next(line for line in cards[0].splitlines() if line.startswith("python "))
    commands = [line for line in cards[1].splitlines() if line.startswith("python ")]
    assert commands[0] == first and f"--init {before}" in commands[1] and len(commands) == 2
    with pytest.raises(ValueError, match="holds no consistency/training to start from"):
        run(teacher, tmp_path / "third", "training", init=trained)


def test_the_model_holds_the_network_and_can_be_compared_on(teacher, trained, tmp_path):
    cells = ["consistency recipe=distillation", "consistency steps=2 recipe=distillation", "consistency"]
    result = zoo.compare(zoo.Comparison(model=f"folder:{trained}", prompt="a red car", cells=cells))
    assert [cell.status for cell in result.cells] == ["done", "done", "na"]
    assert [cell.nfe for cell in result.cells[:2]] == [{"consistency/distillation": n} for n in (1, 2)]
    assert "has denoiser, consistency/distillation" in result.cells[2].error
    assert {tensor.dtype for tensor in weights(trained).values()} == {torch.float16}
    part = trained / "consistency/distillation"
    assert (part / "config.json").read_text() == (trained / "denoiser/config.json").read_text()
    card = json.loads((part / "consistency.json").read_text())
    assert card["teacher"] == TextToPixels(teacher, "t", "t").fingerprint()
    assert (trained.parent / "samples/step-000004.png").is_file()
    words = shlex.split(next(line for line in (part / "README.md").read_text().splitlines() if "zoo" in line))
    for option, value in (("--recipe", "distillation"), ("--levels", "32"), ("--target-ema", "0.95")):
        assert words[words.index(option) + 1] == value

    other = shutil.copytree(trained, tmp_path / "model")
    (other / "consistency/distillation/consistency.json").write_text(
        json.dumps({**card, "chain": [500, 1, 2]})
    )
    with pytest.raises(OSError, match="was trained on a chain of"):
        TextToPixels(other, "m", "m")


def test_other_scalings_are_read_back_as_they_were_trained(teacher, tmp_path):
    """What the engine draws with a network of σ_d = 0.5 is what the recipe's own function says."""
    folder = run(teacher, tmp_path, "tuning", steps=1, sigma_data=0.5)
    model = TextToPixels(folder, "m", "m")
    cpu = torch.device("cpu")
    network = model.network("consistency/tuning", cpu, torch.float32)
    unet = load_saved(UNet2DConditionModel, folder / "consistency/tuning", torch.float32)
    function = Function(Chain(model.schedule), Boundary(0.5))
    x, j = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([1000, 400])
    text = model.condition("a red car", cpu)
    expected = function(unet, x, j, text.expand(2, -1, -1))
    torch.testing.assert_close(network(x, (j - 1).float(), [text, text]), expected, rtol=1e-4, atol=1e-4)
    assert model.prediction_kind("consistency/tuning") == "x0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "magic"], "recipe: String should match"),
        (["--levels", "8", "4"], "levels=[8, 4]: one number of at least 1, or two that grow"),
        (["--levels", "2000"], "levels=[2000]: the chain of"),
        (["--size", "64"], "makes pictures of 32 pixels, not 64: add --size 32"),
        (["--distance", "lpips"], "distance lpips needs"),
        (["--teacher", "nowhere"], "nowhere is not a model folder"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message, tmp_path, capsys):
    assert main(["train", "consistency", "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("zoo: ") and message in error
