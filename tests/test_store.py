"""What a comparison leaves on disk: pictures to the bit, and everything needed to run it again."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from zoo import Comparison, compare
from zoo.comparison import CellResult, ComparisonResult
from zoo.sheet import GAP, MARGIN, SIDE, _font, _wrapped, draw_sheet, html_table
from zoo.store import Store, to_pil, zip_folder

COMPARISON = Comparison(
    model="gaussian", prompt="dusk – “ü”", seeds=(3, 11), cells=("ddim steps=2", "ddpm steps=2 | cfg scale=2")
)


@pytest.fixture(scope="module")
def result():
    return compare(COMPARISON)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    return result.save(tmp_path_factory.mktemp("out") / "two words – größer" / "run")


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_picture_has_its_file_and_no_part_is_left(folder):
    assert files(folder) == {
        *(f"cells/{cell}/{seed}.png" for cell in ("00", "01") for seed in (3, 11)),
        "comparison.json",
        "grid.png",
        "results.json",
    }


def test_pixels_are_those_of_the_images(folder, result):
    for index, cell in enumerate(result.cells):
        for seed, image in zip(COMPARISON.seeds, cell.images, strict=True):
            pixels = np.asarray(Image.open(folder / f"cells/{index:02d}/{seed}.png"))
            expected = np.rint((image.numpy().clip(-1, 1) + 1) * 127.5).transpose(1, 2, 0)
            np.testing.assert_array_equal(pixels, expected)


def test_pixels_cover_the_whole_range():
    ramp = torch.tensor([-2.0, -1.0, -1 + 2 / 255, 0.0, 1.0, 1.5]).expand(3, 1, 6)
    assert np.asarray(to_pil(ramp))[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]


def test_a_picture_carries_its_comparison(folder, result):
    text = Image.open(folder / "cells/01/11.png").text
    assert Comparison.model_validate_json(text["comparison"]).cells == COMPARISON.cells
    assert (text["method"], text["seed"]) == ("ddpm steps=2 | cfg scale=2", "11")
    grid = Image.open(folder / "grid.png").text
    assert Comparison.model_validate_json(grid["comparison"]) == result.comparison


def test_the_saved_comparison_runs_again_to_the_same_pictures(folder, result):
    saved = Comparison.model_validate_json((folder / "comparison.json").read_text(encoding="utf-8"))
    assert saved == result.comparison
    for one, other in zip(compare(saved).cells, result.cells, strict=True):
        assert torch.equal(one.images, other.images)


def test_results_tell_state_and_cost(folder, result):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [cell["nfe"] for cell in results["cells"]] == [{"denoiser": 2}, {"denoiser": 4}]
    assert [cell["status"] for cell in results["cells"]] == ["done", "done"]
    assert len({cell["noise"] for cell in results["cells"]}) == 1
    assert results["notices"] == list(result.notices)


def test_the_sheet_shows_every_picture(folder, result):
    sheet = np.asarray(Image.open(folder / "grid.png").convert("RGB"))
    for cell in result.cells:
        for image in cell.images:
            picture = np.asarray(to_pil(image).resize((96, 96), Image.Resampling.NEAREST))
            windows = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], (1, 96))[:, :, 0]
            assert (windows == picture[0, :, 0]).all(-1).any()


def test_cells_without_pictures_write_none(tmp_path):
    store = Store(tmp_path, COMPARISON)
    store.add(0, CellResult("ddim steps=2", "failed", error="it broke"))
    assert not any(name.endswith(".png") for name in files(tmp_path))


def test_saving_again_replaces_what_was_there(tmp_path, result):
    result.save(tmp_path)
    before = (tmp_path / "cells/00/3.png").read_bytes()
    (tmp_path / "cells/00/3.png").write_bytes(b"damaged")
    result.save(tmp_path)
    assert (tmp_path / "cells/00/3.png").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Store(tmp_path / "file", COMPARISON)


def test_the_zip_holds_the_folder(folder, tmp_path):
    archive = zip_folder(folder, tmp_path / "run.zip")
    with zipfile.ZipFile(archive) as opened:
        assert set(opened.namelist()) == files(folder)
        assert opened.read("comparison.json") == (folder / "comparison.json").read_bytes()


def test_a_long_method_is_wrapped_and_only_its_last_line_cut():
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    text = "ddim steps=20 eta=0.5 spacing=leading | cfg scale=3 threshold=dynamic percentile=0.99"
    lines = _wrapped(draw, text, SIDE, 15, 3)
    assert len(lines) == 2 and " ".join(lines) == text
    assert all(draw.textlength(line, _font(15)) <= SIDE for line in lines)
    cut = _wrapped(draw, 4 * (text + " "), SIDE, 15, 3)
    assert cut[:2] == lines[:2] and cut[2].endswith("…")
    assert _wrapped(draw, 100 * "x", SIDE, 15, 2)[0].endswith("…")
    assert _wrapped(draw, "", SIDE, 15, 2) == []


def test_a_sheet_of_very_many_seeds_shows_the_first():
    comparison = Comparison(seeds=range(70), cells=("ddim",))
    cell = CellResult("ddim", "done", images=torch.zeros(70, 3, 4, 4))
    result = ComparisonResult(comparison, (cell,))
    assert draw_sheet(result).width == 2 * MARGIN + SIDE + 64 * (96 + GAP)
    assert html_table(result).count("<img") == 64
    assert "no prompt (the first 64 of 70 seeds)" in html_table(result)
