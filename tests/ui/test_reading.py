"""Results as a person reads them: side by side, on their way, while they run, as files, on a phone and at night."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from benchmarks.visitors import Page as Visitor
from tests.ui.person import compare, ended, lines, opened, quickest, sources
from tests.ui.test_access import AXE, RULES, TABS, WAIT, open_tab

LINES = ("ddim steps=8", "heun steps=4", "ddim steps=4 | cfg scale=2")
"""As many evaluations in different numbers of steps."""

FRAMES = """[...document.querySelectorAll('.zoo-cell')].map(cell =>
  [...cell.querySelectorAll('canvas.z-frame:not([hidden])')].map(canvas => canvas.toDataURL()))"""

FOUND = """rules => axe.run(document, {...rules, resultTypes: ['violations']})
  .then(found => found.violations.flatMap(rule => rule.nodes.map(node => [rule.id, node.html.slice(0, 200)])))"""

WIDER = """() => [...document.querySelectorAll('body *')].filter(one => {
  // Gradio's frame clips what is too wide, so that the document's own width tells nothing.
  const box = one.getBoundingClientRect();
  if (!box.width || !one.checkVisibility() || box.right <= window.innerWidth + 1 && box.left >= -1) return false;
  if (getComputedStyle(one).clip !== 'auto') return false;  // said to screen readers only
  for (let up = one.parentElement; up; up = up.parentElement) {
    const {overflowX, position} = getComputedStyle(up);
    if (/auto|scroll|hidden/.test(overflowX) || position === 'fixed') return false;
  }
  return true;
}).map(one => one.outerHTML.slice(0, 120))"""

LUMINANCE = """query => {
  const context = new OffscreenCanvas(1, 1).getContext('2d');
  const style = getComputedStyle(document.querySelector(query));
  return ['color', 'backgroundColor'].map(which => {
    context.fillStyle = style[which];
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((sum, value) => sum + value / 765, 0);
  });
}"""


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page with the quickest model; fails in the end if it logged an error."""
    with opened(browser, server, accept_downloads=True, reduced_motion="reduce") as page:
        yield quickest(page)


@pytest.fixture
def cells(page: Any) -> Any:
    """The page with `LINES` compared."""
    lines(page, *LINES)
    compare(page, done=3)
    return page


@pytest.fixture(scope="module")
def ask(server: Any) -> Any:
    """Questions to the server as the page's script puts them."""
    address = urlsplit(server.url)
    return Visitor(address.hostname or "", address.port or 0).ask


def run_of(page: Any) -> str:
    return parse_qs(urlsplit(page.url).query)["run"][0]


def pixels(uri: str) -> Any:
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(picture.convert("RGB"), dtype=int)


# ---- two cells on one spot -----------------------------------------------------------------------------------------


def test_the_plot_grows_while_cells_still_run(page):
    lines(page, "ddim steps=2", "ddim steps=3", "odd/slow steps=60")
    page.click("#compare")
    page.wait_for_function("""document.querySelector('.zoo-cell[data-state=running]')
        && document.querySelectorAll('.z-point').length == 1""")
    page.wait_for_function("document.querySelectorAll('.z-point').length == 2")
    assert page.locator("#table tbody tr").count() == 3
    ended(page, done=3)


def test_any_two_cells_lie_on_one_spot_with_any_seed(cells):
    tiles = sources(cells)  # cell by cell, seed by seed
    shown = "['left', 'right'].map(side => document.querySelector(`.z-ab-${side}`).src)"
    cells.click("#ab")
    assert cells.evaluate(shown) == [tiles[0], tiles[4]], "the first and the last"
    for b in (1, 0, 2):
        cells.select_option("#ab-b", str(b))
        assert cells.evaluate(shown) == [tiles[0], tiles[2 * b]]
    cells.select_option("#ab-seed", "1")
    assert cells.evaluate(shown) == [tiles[1], tiles[5]]
    cells.select_option("#ab-a", "1")
    assert cells.evaluate(shown) == [tiles[3], tiles[5]]
    title = cells.locator(".zoo-cell h3").nth(1).inner_text()
    assert cells.get_attribute(".z-ab-left", "alt") == f"{title}, seed 1"
    cells.keyboard.press("Escape")


def test_the_edge_between_two_pictures_follows_the_mouse(cells):
    cells.locator(".zoo-tile").first.click()
    box = cells.locator(".z-ab-stage").bounding_box()

    def hidden() -> float:
        """How much of A is cut off on its right, in percent."""
        clipped = cells.locator(".z-ab-left").evaluate("e => getComputedStyle(e).clipPath")
        return float(re.fullmatch(r"inset\(0px ([\d.]+)% 0px 0px\)", clipped)[1])  # type: ignore[index]

    def to(share: float) -> None:
        cells.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)

    to(0.25)
    cells.mouse.down()
    assert hidden() == pytest.approx(75, abs=1)
    to(0.8)
    assert hidden() == pytest.approx(20, abs=1)
    to(-0.2)
    assert hidden() == 100, "beyond the picture it stays at its rim"
    to(0.6)
    cells.mouse.up()
    to(0.1)
    assert hidden() == pytest.approx(40, abs=1), "let go"
    assert cells.input_value("#ab-range") == "60", "the keys go on from there"
    cells.keyboard.press("Escape")


# ---- the way -------------------------------------------------------------------------------------------------------


def scrub(page: Any, by: str, place: int) -> list[list[Any]]:
    """The pictures of the way that each cell shows; none where it shows its finished ones."""
    page.select_option("#scrub-by", by)
    page.fill("#scrub", str(place))
    page.wait_for_function("!/^$|…/.test(document.querySelector('#scrub-note').innerText)")
    return [[pixels(uri) for uri in one] for one in page.evaluate(FRAMES)]


def test_the_way_is_lined_up_by_noise_steps_evaluations_and_time(cells, ask):
    found = ask("look_at", {"id": run_of(cells)})["cells"]
    ways = [ask("cell_way", {"id": run_of(cells), "cell": i}) for i in range(3)]
    sprites = {
        kind: [pixels(way[kind]).reshape(len(way["frames"]), 16, 2, 16, 3) for way in ways]
        for kind in ("x0", "x_t")
    }

    def assert_shown(by: str, place: int, rows: list[int | None], kind: str = "x0") -> None:
        for shown, row, sprite in zip(scrub(cells, by, place), rows, sprites[kind], strict=True):
            assert len(shown) == (0 if row is None else 2), (by, place)
            for seed, picture in enumerate(shown):
                assert np.array_equal(picture, sprite[row, :, seed]), (by, place, row)

    def last(i: int, key: str, most: float) -> int:
        """The last frame of a cell up to a value of what it is lined up by."""
        return max(row for row, frame in enumerate(ways[i]["frames"]) if row == 0 or frame[key] <= most)

    # 250/1000 of 8 steps are 2, and these are 2 evaluations for DDIM, 4 with guidance or with Heun's second stage.
    assert [sum(cell["nfe"].values()) for cell in found.values()] == [8, 7, 8]
    assert_shown("steps", 250, [last(0, "nfe", 2), last(1, "nfe", 4), last(2, "nfe", 4)])
    assert_shown("steps", 500, [last(0, "nfe", 4), None, None])
    assert_shown("nfe", 250, [last(i, "nfe", 2) for i in range(3)])
    assert_shown("nfe", 900, [last(0, "nfe", 7), None, last(2, "nfe", 7)])
    told = cells.locator(".zoo-reading").all_inner_texts()
    assert told[0].startswith("step 7 of 8") and told[1] == "finished" and told[2].startswith("step 3 of 4")

    seconds = [cell["seconds"] for cell in found.values()]
    half = max(seconds) / 2
    assert_shown("time", 500, [None if half >= seconds[i] else last(i, "seconds", half) for i in range(3)])
    scrub(cells, "noise", 600)
    level = float(re.search(r"log-SNR (-?\d+\.\d+)", cells.inner_text("#scrub-note"))[1])  # type: ignore[index]
    assert_shown("noise", 600, [last(i, "log_snr", level) for i in range(3)])
    rows = [last(i, "log_snr", level) for i in range(3)]
    cells.select_option("#scrub-kind", "x_t")
    assert_shown("noise", 600, rows, "x_t")

    first = scrub(cells, "noise", 0)
    for seed in (0, 1):
        assert all(np.array_equal(one[seed], first[0][seed]) for one in first), (
            "all begin with the same noise"
        )
    assert not np.array_equal(first[0][0], first[0][1])
    cells.select_option("#scrub-kind", "x0")
    assert not np.array_equal(scrub(cells, "noise", 0)[0][0], first[0][0]), "what the network sees in it"


def test_the_way_is_played_stopped_and_played_to_its_end(cells):
    place = "Number(document.querySelector('#scrub').value)"
    label = "document.querySelector('.z-play').getAttribute('aria-label')"
    cells.click(".z-play")
    assert cells.evaluate(label) == "Stop"
    cells.wait_for_function(f"{place} > 50 && {place} < 900")
    seen = cells.evaluate(FRAMES)
    assert [len(one) for one in seen] == [2, 2, 2]
    cells.wait_for_function(
        f"JSON.stringify({FRAMES}) != {json.dumps(json.dumps(seen, separators=(',', ':')))}"
    )
    cells.click(".z-play")
    assert cells.evaluate(label) == "Play"
    stopped = cells.evaluate(place)
    cells.wait_for_timeout(100)
    assert 50 < cells.evaluate(place) == stopped

    cells.fill("#scrub", "950")
    cells.click(".z-play")
    cells.wait_for_function(f"{place} == 1000")
    assert cells.evaluate(label) == "Play"
    assert cells.evaluate(FRAMES) == [[], [], []], "the finished pictures"


# ---- a run, while it lasts and as files ----------------------------------------------------------------------------

NOTED = """() => {
  window.noted = [];
  const grid = document.querySelector('#zoo-grid');
  const say = () => {
    const cell = grid.querySelector('.zoo-cell');
    const text = (name) => cell.querySelector(name).textContent;
    const share = cell.querySelector('.zoo-bar').getAttribute('aria-valuenow');
    const one = [cell.dataset.state, cell.getAttribute('aria-busy'), text('.zoo-state'), text('.zoo-nfe'), share];
    if (JSON.stringify(one) !== JSON.stringify(window.noted.at(-1))) window.noted.push(one);
  };
  new MutationObserver(say).observe(grid, {subtree: true, childList: true, characterData: true, attributes: true});
}"""


def test_a_running_cell_says_how_far_it_is_and_then_only_what_it_cost(page):
    lines(page, "odd/slow steps=10")
    page.evaluate(NOTED)
    compare(page, done=1)
    noted = [one for one in page.evaluate("window.noted") if one[0] == "running" and one[3]]
    steps = [int(re.fullmatch(r"step (\d+) of 10", said)[1]) for _, _, said, _, _ in noted]  # type: ignore[index]
    assert len(set(steps)) >= 3 and steps == sorted(steps)
    assert {busy for _, busy, *_ in noted} == {"true"}
    for step, (*_, nfe, share) in zip(steps, noted, strict=True):
        assert (nfe, share) == (f"{step} NFE", str(10 * step)), "one evaluation a step"
    assert page.evaluate("window.noted.at(-1)") == ["done", "false", "done", "10 NFE", "100"]
    assert not page.is_visible(".zoo-state") and not page.is_visible(".zoo-bar")


def test_negative_prompt_and_timing_reach_the_run_its_report_and_its_code(page, ask):
    wanted = ["ddim steps=3", "ddim steps=3 | cfg scale=2"]
    lines(page, *wanted)
    compare(page, done=2)
    plain = sources(page)
    page.click("#more summary")
    page.fill("#negative", "night")
    page.check("#alone")
    compare(page, done=2)
    assert [a == b for a, b in zip(sources(page), plain, strict=True)] == [True, True, False, False], (
        "guidance leads away from it"
    )
    comparison = ask("look_at", {"id": run_of(page)})["comparison"]
    assert (comparison["negative"], comparison["timing"]) == ("night", "alone")
    assert "alone, after a warm-up" in page.inner_text(".zoo-noise")

    with page.expect_download() as download:
        page.click("#save-report")
    assert download.value.suggested_filename == "dawn-gaussian.html"
    report = download.value.path().read_text()
    assert "<dd>night</dd>" in report and "<dd>alone, after a warm-up</dd>" in report
    kept = [pixels(uri) for uri in re.findall(r'<img src="([^"]+)"', report)]
    assert all(np.array_equal(a, pixels(b)) for a, b in zip(kept, sources(page), strict=True))

    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.click("#copy-python")
    code = page.wait_for_function("window.copied").json_value()
    compile(code, "copied", "exec")
    for said in (*wanted, "negative='night'", "timing='alone'", "seeds=[0, 1]"):
        assert said in code
    page.fill("#negative", "")
    page.uncheck("#alone")
    page.click("#more summary")


# ---- for everybody -------------------------------------------------------------------------------------------------


def test_axe_finds_nothing_in_an_open_card_the_slider_and_a_traceback(page):
    lines(page, "odd/failing", "ddim steps=2 | cfg scale=2", "progressive_distillation steps=3")
    compare(page, done=1, failed=1, na=1)
    page.evaluate(AXE)
    page.click("#method-2 .z-adjust")
    page.click(".zoo-cell[data-state=failed] summary")
    assert "RuntimeError" in page.inner_text(".zoo-cell[data-state=failed] pre")
    found = page.evaluate(FOUND, RULES)
    page.click("#ab")
    page.wait_for_selector(".z-dialog[open]")
    found += page.evaluate(FOUND, RULES)
    page.keyboard.press("Escape")
    page.click("#method-2 .z-adjust")
    assert found == []


@pytest.fixture(scope="module")
def phone(browser: Any, server: Any) -> Iterator[Any]:
    """The page on a phone whose owner likes it dark."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark", reduced_motion="reduce"
    )
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    opened.goto(server.url)
    opened.wait_for_selector("#zoo[data-ready]")
    yield opened
    context.close()


def test_who_likes_it_dark_gets_it_dark(page, phone):
    ink, paper = page.evaluate(LUMINANCE, "body")
    assert ink < 0.3 < 0.9 < paper
    for query in ("body", ".z-card", "#prompt", "#scrub-by"):
        ink, paper = phone.evaluate(LUMINANCE, query)
        assert paper < 0.2 and ink - paper > 0.3, query


def test_what_is_too_wide_for_a_phone_would_be_found(phone):
    phone.evaluate("document.querySelector('#zoo').insertAdjacentHTML('beforeend', '<p id=wide>wide</p>')")
    phone.evaluate("document.querySelector('#wide').style.width = '500px'")
    assert [one[:11] for one in phone.evaluate(WIDER)] == ['<p id="wide']
    phone.evaluate("document.querySelector('#wide').remove()")


def test_an_open_card_and_a_table_fit_on_a_phone(phone):
    phone.tap("#side")
    phone.tap("#method-4 .z-adjust")
    phone.tap("#method-4 [data-place='0.steps.grid']")
    phone.wait_for_selector("#method-4 .z-swap")
    assert phone.evaluate(WIDER) == []


@pytest.mark.parametrize("name", TABS)
def test_no_tab_is_wider_than_a_phone(phone, name):
    open_tab(phone, name)
    assert phone.evaluate(WIDER) == []
