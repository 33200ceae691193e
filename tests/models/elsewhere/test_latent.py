"""Latent models of diffusers: the zoo's picture is the pipeline's own."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.pipelines.dit import pipeline_dit

from tests.helpers import CPU
from tests.models.elsewhere import tiny
from tests.models.elsewhere.tiny import SCALED, SEEDS, counted, quiet, run, stable_diffusion, vae, zoo_noise
from zoo import interpolate, invert
from zoo.models.elsewhere import open_model
from zoo.models.elsewhere.decoder import LatentDecoder, LinearPreview
from zoo.noise import start_noise

LATENTS = (4, 8, 8)
PROMPT, NEGATIVE = "a red cat", "dog"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pipeline, and the folder that it is saved in."""
    folder = tmp_path_factory.mktemp("stable") / "diffusion with spaces – ü"
    return stable_diffusion(folder), folder


def theirs(pipeline, steps=4, scale=7.5, **more):
    noise = torch.from_numpy(start_noise(SEEDS, LATENTS)).float()
    images = [
        pipeline(
            PROMPT,
            negative_prompt=NEGATIVE,
            latents=latents[None],
            num_inference_steps=steps,
            guidance_scale=scale,
            output_type="pt",
            **more,
        ).images
        for latents in noise
    ]
    return 2 * torch.cat(images) - 1


def test_stable_diffusion(saved):
    """Leading spacing from t = 1, the clean level at ᾱ_0, guidance away from the negative prompt."""
    pipeline, folder = saved
    with counted(pipeline.unet) as calls:
        expected = theirs(pipeline)
    guided, plain = run(
        f"folder:{folder}",
        "ddim steps=4 spacing=leading | cfg scale=7.5",
        "ddim steps=4 spacing=leading",
        prompt=PROMPT,
        negative=NEGATIVE,
    )
    torch.testing.assert_close(guided.images, expected, rtol=0, atol=1e-4)
    assert guided.nfe == {"denoiser": sum(calls) // len(SEEDS), "decoder": 1}
    assert plain.nfe == {"denoiser": 4, "decoder": 1}
    assert guided.samples.shape == (len(SEEDS), *LATENTS)
    assert (guided.images - plain.images).abs().max() > 1e-2
    torch.testing.assert_close(plain.images, theirs(pipeline, scale=1.0), rtol=0, atol=1e-4)


def test_v_prediction_and_another_scheduler(tmp_path):
    """Stable Diffusion 2.x; the multistep solver is diffusers' own, in the zoo and in the pipeline."""
    options = {**SCALED, "prediction_type": "v_prediction", "steps_offset": 1}
    ddim = diffusers.DDIMScheduler(**options, clip_sample=False, set_alpha_to_one=False)
    pipeline = stable_diffusion(tmp_path / "sd2", scheduler=ddim)
    solver = diffusers.DPMSolverMultistepScheduler(**options, final_sigmas_type="sigma_min")
    own, multistep = run(
        f"folder:{tmp_path / 'sd2'}",
        "ddim steps=3 spacing=leading | cfg scale=3",
        "diffusers/DPMSolverMultistepScheduler steps=3 config=final_sigmas_type=sigma_min | cfg scale=3",
        prompt=PROMPT,
        negative=NEGATIVE,
    )
    torch.testing.assert_close(own.images, theirs(pipeline, 3, 3.0), rtol=0, atol=1e-4)
    pipeline.scheduler = solver
    torch.testing.assert_close(multistep.images, theirs(pipeline, 3, 3.0), rtol=0, atol=1e-4)


def test_a_scheduler_of_pndm_ends_at_the_first_level(tmp_path):
    """Stable Diffusion 1.x is saved with one, whose default is the first level too."""
    scheduler = diffusers.PNDMScheduler(**SCALED, skip_prk_steps=True, steps_offset=1)
    stable_diffusion(tmp_path / "sd1", scheduler=scheduler)
    schedule = open_model(f"folder:{tmp_path / 'sd1'}").schedule
    first = schedule.level(0)
    assert (schedule.clean.alpha, schedule.clean.sigma) == (first.alpha, first.sigma)
    assert [level.t for level in schedule.levels(4, "leading")] == [751, 501, 251, 1, None]


def test_prompts_are_read_as_far_as_they_go(saved):
    pipeline, folder = saved
    model = open_model(f"folder:{folder}")
    for prompt in ("", PROMPT, "z" * 40):
        embedded = pipeline.encode_prompt(prompt, CPU, 1, False)[0]
        torch.testing.assert_close(model.condition(prompt, CPU)[None], embedded, rtol=0, atol=1e-5)
    assert model.notices(PROMPT) == []
    (notice,) = model.notices("q " * 14 + "xyz")
    assert "reads the first 14 tokens" in notice and "x" in notice.split("left out:")[1]


def test_interpolated_frames_are_decoded(saved):
    _, folder = saved
    found = interpolate(
        SEEDS, frames=2, model=f"folder:{folder}", method="ddim steps=2", device="cpu", dtype="fp32"
    )
    (cell,) = run(f"folder:{folder}", "ddim steps=2")
    torch.testing.assert_close(found.images, cell.images, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="a picture file is no such thing"):
        invert("cat.png", model=f"folder:{folder}", method="ddim steps=2")


def test_dit(tmp_path):
    scheduler = diffusers.DDIMScheduler(**SCALED, clip_sample=False)
    pipeline = quiet(diffusers.DiTPipeline(tiny.dit(), vae(), scheduler))
    pipeline.register_to_config(id2label={"207": "golden retriever", "1": "goldfish, Carassius auratus"})
    pipeline.save_pretrained(tmp_path)
    with zoo_noise(LATENTS, pipeline_dit), counted(pipeline.transformer) as calls:
        expected = pipeline([207, 207], guidance_scale=4.0, num_inference_steps=3, output_type="pt").images
    method = "ddim steps=3 spacing=leading | cfg scale=4"
    named, other = (run(f"folder:{tmp_path}", method, prompt=p)[0] for p in ("Golden Retriever", "1"))
    torch.testing.assert_close(named.images, 2 * expected - 1, rtol=0, atol=1e-4)
    assert named.nfe == {"denoiser": sum(calls) // len(SEEDS), "decoder": 1}
    assert (named.samples - other.samples).abs().max() > 1e-2
    with pytest.raises(ValueError, match="did you mean 'golden retriever'"):
        run(f"folder:{tmp_path}", method, prompt="golden retreiver")
    model = open_model(f"folder:{tmp_path}")
    assert model.condition("carassius auratus", CPU) == 1
    assert model.condition("", CPU) == 1000
    model.check_prompt("")


def test_dit_has_learned_its_variance(tmp_path):
    """The prompt's own half of the answer, untouched by guidance; held against diffusers' learned_range."""
    network = tiny.dit()
    quiet(
        diffusers.DiTPipeline(network, vae(), diffusers.DDIMScheduler(**SCALED, clip_sample=False))
    ).save_pretrained(tmp_path)
    method = "ddpm steps=3 spacing=leading variance=learned | cfg scale=4"
    (cell,) = run(f"folder:{tmp_path}", method, prompt="7")
    scheduler = diffusers.DDPMScheduler(**SCALED, clip_sample=False, variance_type="learned_range")
    scheduler.set_timesteps(3)
    from diffusers.schedulers import scheduling_ddpm

    x = torch.from_numpy(start_noise(SEEDS, LATENTS)).float()
    with torch.no_grad(), zoo_noise(LATENTS, scheduling_ddpm):
        next_draw = scheduling_ddpm.randn_tensor()  # the start noise
        torch.testing.assert_close(next_draw, x)
        for t in scheduler.timesteps:
            labels = torch.tensor([7, 7, 1000, 1000])
            towards, without = network(torch.cat([x, x]), t.expand(4), labels).sample.chunk(2)
            eps = without[:, :4] + 4 * (towards[:, :4] - without[:, :4])
            x = scheduler.step(torch.cat([eps, towards[:, 4:]], 1), t, x).prev_sample
    torch.testing.assert_close(cell.samples, x, rtol=0, atol=1e-4)


def test_in_half_precision_it_is_nearly_the_same(saved, tmp_path):
    """In bfloat16, of which three digits are right; what would differ in dtype somewhere would raise."""
    _, folder = saved
    quiet(
        diffusers.DiTPipeline(tiny.dit(), vae(), diffusers.DDIMScheduler(**SCALED, clip_sample=False))
    ).save_pretrained(tmp_path)
    for name, prompt in ((f"folder:{folder}", PROMPT), (f"folder:{tmp_path}", "7")):
        whole, half = (
            run(name, "ddim steps=2 | cfg scale=2", prompt=prompt, dtype=dtype)[0].images
            for dtype in ("fp32", "bf16")
        )
        assert 0 < (whole - half).abs().mean() < 0.05


# Decoding


@torch.no_grad()
def test_pictures_are_decoded_some_at_a_time_and_then_in_tiles():
    network, z = vae(), torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = LatentDecoder(network)(z)
    torch.testing.assert_close(whole, network.decode(z / network.config.scaling_factor).sample.clamp(-1, 1))
    decoder = LatentDecoder(vae())
    seen = []

    def small_memory(latents):
        seen.append(tuple(latents.shape))
        if len(latents) * latents.shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")

    decoder.vae.decoder.register_forward_pre_hook(lambda module, args: small_memory(args[0]))
    torch.testing.assert_close(decoder(z), whole, rtol=0, atol=1e-4)
    assert seen[0] == (3, 4, 16, 16) and seen[-1] == (1, 4, 16, 16)
    assert not decoder.vae.use_tiling

    tiled = LatentDecoder(vae())
    tiled.vae.decoder.register_forward_pre_hook(lambda module, args: too_large(args[0]))

    def too_large(latents):
        if latents.shape[-1] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert tiled(z).shape == whole.shape and tiled.vae.use_tiling
    assert (tiled(z) - whole).abs().mean() < 0.5 * whole.std()


@torch.no_grad()
def test_a_preview_is_the_best_linear_map():
    """Of a decoder that is linear itself, exactly it; the real one's is nearer to its pictures than their mean is."""

    class Linear:
        matrix = torch.tensor([[0.1, 0.2, 0.3], [-0.1, 0.0, 0.1], [0.05, 0.0, -0.2], [0.0, 0.1, 0.0]])

        def decode(self, z):
            rgb = torch.einsum("nchw,ck->nkhw", z, self.matrix) + 0.1
            return rgb.repeat_interleave(8, 2).repeat_interleave(8, 3)

    found = LinearPreview.fit(Linear(), 4, CPU).weights
    torch.testing.assert_close(found, torch.cat([Linear.matrix, torch.full((1, 3), 0.1)]), rtol=0, atol=1e-5)

    decoder = LatentDecoder(vae())
    preview = LinearPreview.fit(decoder, 4, CPU)
    z = torch.nn.functional.interpolate(torch.randn(2, 4, 4, 4), size=16, mode="bilinear")
    real = torch.nn.functional.avg_pool2d(decoder.decode(z), 2)
    assert (preview(z) - real).square().mean() < 0.9 * (
        real - real.mean((0, 2, 3), keepdim=True)
    ).square().mean()


def test_previews_are_small_and_come_before_the_picture(saved):
    from zoo import Comparison, stream

    _, folder = saved
    comparison = Comparison(model=f"folder:{folder}", cells=["ddim steps=3"], seeds=SEEDS)
    events = list(stream(comparison, device="cpu", dtype="fp32"))
    assert events[0].kind == "progress" and events[0].preview.shape == (len(SEEDS), 3, 8, 8)
    assert events[-1].kind == "done" and events[-1].preview.shape == (len(SEEDS), 3, 16, 16)


# Safety


def checker(threshold):
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    torch.manual_seed(5)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    network = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    for weights in (network.concept_embeds_weights, network.special_care_embeds_weights):
        torch.nn.init.constant_(weights, threshold)
    size = {"height": 16, "width": 16}
    return {
        "safety_checker": network.eval(),
        "feature_extractor": CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size),
    }


@pytest.mark.parametrize("threshold", [-2.0, 2.0])
def test_a_safety_checker_is_kept_where_others_look_on(threshold, tmp_path, monkeypatch):
    stable_diffusion(tmp_path / "checked", **checker(threshold))
    name = f"folder:{tmp_path / 'checked'}"
    (own,) = run(name, "ddim steps=2")
    monkeypatch.setenv("SPACE_ID", "owner/space")
    from zoo import planning

    planning._folder_model.clear()
    (shown,) = run(name, "ddim steps=2")
    black = threshold < 0
    assert (shown.images == -1).all() == black
    assert torch.equal(shown.images, own.images) != black
    model = planning.load_model(name, None)
    assert model.pictures(shown.samples).abs().max() == 0, "nothing is shown before it was looked at"
    planning._folder_model.clear()
