"""The tabs "See how it moves" and "Learn" as a person uses them: a real server, a real browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.comparison import Comparison
from zoo.models import mixture
from zoo.schedule import Level
from zoo.trajectory import trace
from zoo.ui import forward, moves
from zoo.ui.latents import drawn_picture

WAIT = 240_000
"""Milliseconds; much more than an idle machine needs."""

STAGE = "[...document.querySelectorAll('#moves-stage, #moves-stage *')].find(e => e.zoo).zoo"


@pytest.fixture
def motion() -> str:
    """What the visitor's system says of motion."""
    return "reduce"


@pytest.fixture
def page(browser: Any, server: Any, motion: str) -> Iterator[Any]:
    """The opened page; fails the test if it logs an error or asks any other host for something."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion=motion)
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
    allowed = (server.url, "data:", "blob:")
    opened.on("request", lambda r: None if r.url.startswith(allowed) else wrong.append(f"asked {r.url}"))
    opened.goto(server.url)
    yield opened
    context.close()
    assert wrong == []


def open_tab(page: Any, *names: str) -> None:
    for name in names:
        page.locator("[role=tab]:visible", has_text=name).first.click()


def lines(page: Any) -> list[str]:
    return page.locator(".zoo-panel code").all_inner_texts()


def distance(page: Any, line: str) -> float:
    """The number that a method's panel shows beside "distance to exact"."""
    panel = page.locator(".zoo-panel").nth(lines(page).index(line))
    assert panel.locator("dt").first.inner_text() == "distance to exact"
    return float(panel.locator("dd").first.inner_text())


def test_paths_are_drawn_over_the_exact_density_and_follow_the_guidance_scale(page):
    open_tab(page, "See how it moves")
    page.wait_for_function("document.querySelectorAll('.zoo-panel canvas').length == 7")
    assert lines(page) == list(moves.LINES)
    assert "DDIM, 5 steps" in page.locator(".zoo-panel canvas").nth(3).get_attribute("aria-label")
    for noisy in ("ddpm steps=50", "ddim steps=50 eta=1"):
        assert page.locator(".zoo-panel", has_text=noisy).first.inner_text().count("stochastic") == 1
    coarse, fine = (distance(page, line) for line in ("ddim steps=5", "ddim steps=50"))
    assert coarse > 2 * fine > 0
    (traced,) = trace(Comparison(model="mixture", seeds="0..23", cells=["ddim steps=5"]), device="cpu")
    assert coarse == pytest.approx(traced.error_to_solution.value, rel=0.01), "three digits of it are shown"

    model, level = mixture.build(), Level(0.6, 0.8, 0.0)
    points = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-1.0, 1.4]], dtype=torch.float64)
    density = model.log_density(points, level)
    score = -model.eps(points, level) / level.sigma
    for (x, y), log, (gx, gy) in zip(points.tolist(), density.tolist(), score.tolist(), strict=True):
        found = page.evaluate(
            f"([x, y]) => {STAGE}.density({STAGE}.data().mixture, x, y, 0.6, 0.8, null)", [x, y]
        )
        assert [found["log"], found["gx"], found["gy"]] == pytest.approx([log, gx, gy], abs=1e-6)

    before = page.locator(".zoo-panel canvas").nth(1).evaluate("c => c.toDataURL()")
    page.locator("#moves-stage .zoo-scrubber").fill("0.5")
    assert "σ 0.71" in page.inner_text("#moves-stage .zoo-level")
    assert page.locator(".zoo-panel canvas").nth(1).evaluate("c => c.toDataURL()") != before

    page.locator("#moves-scale input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "[...document.querySelectorAll('.zoo-panel code')].some(c => c.textContent.includes('scale=3.1'))"
    )
    assert "cfg scale=3.1" in page.input_value("#moves-methods textarea")

    page.fill("#moves-methods textarea", "ddim steps=4 | nonsense")
    page.click("#moves-run")
    page.wait_for_selector("#moves .zoo-problem")
    assert "nonsense" in page.inner_text("#moves .zoo-problem")
    page.fill("#moves-methods textarea", "progressive_distillation steps=3\nddim steps=2")
    page.click("#moves-run")
    page.wait_for_function("document.querySelectorAll('.zoo-panel').length == 2")
    assert lines(page) == ["progressive_distillation steps=3", "ddim steps=2"]
    assert "distilled/3" in page.locator(".zoo-panel").first.inner_text(), "it says what it lacks"


def test_a_sampler_is_added_by_its_title_with_the_keys_alone(page):
    open_tab(page, "See how it moves")
    page.get_by_label("Add a sampler").focus()
    page.locator("#moves-add [role=option]", has_text="UniPC").first.wait_for()
    page.keyboard.type("UniPC")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.zoo-panel canvas').length == 8")
    assert lines(page) == [*moves.LINES, "unipc steps=20"]
    assert page.input_value("#moves-methods textarea").splitlines()[-1] == "unipc steps=20"
    page.wait_for_function("document.querySelector('#moves-add input').value == ''")  # ready for the next


@pytest.mark.parametrize("motion", ["no-preference"])
def test_play_moves_the_points_from_noise_towards_data(page):
    open_tab(page, "See how it moves")
    page.wait_for_function("document.querySelectorAll('.zoo-panel canvas').length > 0")
    page.locator("#moves-stage .zoo-scrubber").fill("0")  # which stops what plays by itself
    canvas = page.locator(".zoo-panel canvas").nth(1)
    before, noisy = canvas.evaluate("c => c.toDataURL()"), page.inner_text("#moves-stage .zoo-level")
    page.click("#moves-stage .zoo-play")
    page.wait_for_function("Number(document.querySelector('#moves-stage .zoo-scrubber').value) > 0.02")
    assert canvas.evaluate("c => c.toDataURL()") != before
    assert page.inner_text("#moves-stage .zoo-level") != noisy


def test_pictures_between_two_seeds_and_a_picture_s_own_noise(page):
    open_tab(page, "See how it moves", "Between noises")
    page.wait_for_function("document.querySelectorAll('.zoo-book-strip img').length == 9")
    assert "40 NFE" in page.inner_text(".zoo-book .zoo-said"), "an example made earlier is there at once"
    page.fill("#between-method textarea, #between-method input", "ddim steps=2")
    page.click("#between-run")
    page.wait_for_function("document.querySelector('.zoo-book .zoo-said').textContent.includes(' 2 NFE')")
    page.locator(".zoo-book .zoo-scrubber").fill("4")
    assert "Frame 5 of 9" in page.locator(".zoo-book-page").get_attribute("alt")

    open_tab(page, "Back to noise")
    page.wait_for_function("document.querySelectorAll('.zoo-figures img').length == 3")
    assert "50 NFE up, 50 NFE down" in page.inner_text("#back-shown"), "and another"
    page.fill("#back-steps input[type=number]", "5")
    page.keyboard.press("Tab")
    page.click("#back-run")
    page.wait_for_function(
        "document.querySelector('#back-shown').textContent.includes('5 NFE up, 5 NFE down')"
    )


def test_a_picture_of_ones_own_and_a_drawn_one_go_back_to_noise(page, tmp_path):
    open_tab(page, "See how it moves", "Back to noise")
    Image.new("RGB", (64, 64), (250, 160, 10)).save(tmp_path / "orange.png")
    page.set_input_files("#back-picture input[type=file]", str(tmp_path / "orange.png"))
    page.wait_for_selector("#back-picture img")
    page.fill("#back-steps input[type=number]", "5")
    page.keyboard.press("Tab")
    page.click("#back-run")
    page.wait_for_function(
        "document.querySelector('#back-shown').textContent.includes('5 NFE up, 5 NFE down')"
    )
    shown = page.locator(".zoo-figures img").first
    first = shown.get_attribute("src")
    assert np.abs(pixels(first) - (250, 160, 10)).max() <= 1

    page.click("#back-draw")
    drawn, caption = drawn_picture(0, 32)
    page.wait_for_function(
        "caption => document.querySelector('#back-prompt textarea, #back-prompt input').value == caption",
        arg=caption,
    )
    page.click("#back-run")
    page.wait_for_function("before => document.querySelector('.zoo-figures img').src != before", arg=first)
    assert np.abs(pixels(shown.get_attribute("src")) - drawn).max() <= 1


def pixels(uri: str) -> Any:
    """Of a picture in a data URI, (height, width, 3)."""
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    return np.asarray(picture, dtype=np.float64)


def test_every_method_has_a_card_with_its_equation_and_source(page):
    open_tab(page, "Learn")
    page.wait_for_function("document.querySelectorAll('.block.zoo-lesson .katex-display').length >= 10")
    assert page.locator(".katex-error").count() == 0
    card = page.locator(".block.zoo-lesson", has_text="DDIM").first
    assert card.locator("a").get_attribute("href") == "https://arxiv.org/abs/2010.02502"
    card.locator("summary", has_text="Source").click()
    assert "class DDIM(Sampler):" in card.locator("pre").inner_text()
    font = page.locator(".block.zoo-lesson .katex .mathnormal").first.evaluate(
        "e => document.fonts.check('16px KaTeX_Math') && getComputedStyle(e).fontFamily"
    )
    assert "KaTeX_Math" in font


def test_a_picture_of_ones_own_becomes_noise(page, tmp_path):
    open_tab(page, "Learn", "Forward process")
    page.wait_for_function("document.querySelectorAll('.zoo-sprite').length == 6")
    before = page.locator(".zoo-sprite").first.evaluate("e => e.style.backgroundImage")
    Image.new("RGB", (200, 100), "orange").save(tmp_path / "orange.png")
    page.set_input_files("#forward-picture input[type=file]", str(tmp_path / "orange.png"))
    page.wait_for_function(
        "before => document.querySelector('.zoo-sprite').style.backgroundImage != before", arg=before
    )
    curves = page.locator("#forward-stage .zoo-curves polyline")
    assert len({curves.nth(n).get_attribute("points") for n in range(curves.count())}) == 3
    mark = page.locator("#forward-stage .zoo-mark")
    page.locator("#forward-stage .zoo-scrubber").fill("0")
    assert float(mark.get_attribute("x1")) == float(mark.get_attribute("x2")) == 40
    page.locator("#forward-stage .zoo-scrubber").fill("25")
    assert float(mark.get_attribute("x1")) == float(mark.get_attribute("x2")) == forward.WIDTH - 10
    assert "t = 999" in page.inner_text("#forward-stage .zoo-level")
    assert "t = 999" in page.locator(".zoo-sprite").first.get_attribute("aria-label")
    assert "1000 steps" in page.locator(".zoo-count").first.inner_text()


def test_the_paper_s_algorithms_stand_beside_the_code(page):
    open_tab(page, "Learn", "Algorithms")
    page.wait_for_function("document.querySelectorAll('.zoo-steps li').length == 15")
    text = page.inner_text("body")
    assert "for t, s in levels.pairs():" in text and "plugins/ddpm.py, line" in text
    page.wait_for_function("document.querySelectorAll('.zoo-says .katex').length >= 10")
    assert page.locator(".katex-error").count() == 0


@pytest.mark.parametrize("tabs", [("See how it moves",), ("Learn",)], ids=["moves", "learn"])
def test_a_phone_needs_no_sideways_scrolling(page, tabs):
    open_tab(page, *tabs)
    page.wait_for_selector(".zoo-panel canvas, .katex-display >> visible=true")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
