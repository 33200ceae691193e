"""Pictures of any kind become a model's data, or are refused in one line that names them."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

import zoo.picture
from zoo.picture import load_picture, read_picture

RED, BLUE = (255, 0, 0), (0, 0, 255)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def data(*colour: int) -> torch.Tensor:
    return torch.tensor(colour) / 127.5 - 1


def two_halves(size: tuple[int, int] = (8, 8)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "P", "CMYK", "YCbCr", "HSV"])
def test_every_mode_of_colour_is_read(mode):
    found = load_picture(two_halves().convert(mode), 4, 4)
    assert found.shape == (3, 4, 4) and found.dtype == torch.float32
    torch.testing.assert_close(found[:, 1, 0], data(*RED), atol=0.02, rtol=0)
    torch.testing.assert_close(found[:, 1, 3], data(*BLUE), atol=0.02, rtol=0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I"])
def test_every_mode_of_grey_is_read(mode):
    white = 65535 if mode.startswith("I") else 255
    pixels = np.array([[0, white]] * 2)
    picture = {
        "1": lambda: Image.fromarray(pixels.astype(np.uint8)).convert("1"),
        "L": lambda: Image.fromarray(pixels.astype(np.uint8)),
        "LA": lambda: Image.fromarray(pixels.astype(np.uint8)).convert("LA"),
        "I;16": lambda: Image.fromarray(pixels.astype(np.uint16)),
        "I": lambda: Image.fromarray(pixels.astype(np.int32)),
    }[mode]()
    assert picture.mode == mode
    torch.testing.assert_close(load_picture(picture, 2, 2)[:, 0], torch.tensor([[-1.0, 1.0]] * 3))


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((2, 2), 128 * 257, np.uint16)).save(path)
    torch.testing.assert_close(load_picture(path, 2, 2), torch.full((3, 2, 2), 128 / 127.5 - 1))


def test_what_is_transparent_is_white():
    picture = two_halves().convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 4, 8))
    palette = Image.new("P", (2, 2), 0)
    palette.info["transparency"] = 0
    assert (load_picture(picture, 2, 2)[:, :, 0] == 1).all()
    assert (load_picture(palette, 2, 2) == 1).all()


def test_it_is_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn it clockwise
    path = tmp_path / "turned.jpg"
    two_halves((64, 32)).save(path, exif=exif, quality=95)
    found = load_picture(path, 4, 2)
    assert (found[0, 0] > 0.9).all() and (found[2, 3] > 0.9).all()  # left has become top


@pytest.mark.parametrize("size", [(24, 8), (8, 24)])
def test_the_middle_is_kept(size):
    picture = Image.new("RGB", size, RED)
    left, top = (size[0] - 8) // 2, (size[1] - 8) // 2
    picture.paste(BLUE, (left, top, left + 8, top + 8))
    assert (load_picture(picture, 4, 4) == data(*BLUE)[:, None, None]).all()


def test_resizing_is_the_mean_over_the_area():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    mean = pixels.reshape(8, 4, 8, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    found = (load_picture(Image.fromarray(pixels), 8, 8) + 1) * 127.5
    assert np.abs(found.numpy() - mean).max() <= 1  # Pillow rounds after each axis


@pytest.mark.parametrize("size", [(1, 1), (1, 999), (3, 2)])
def test_small_and_narrow_ones_are_enlarged(size):
    assert (load_picture(Image.new("RGB", size, RED), 4, 4) == data(*RED)[:, None, None]).all()


def test_a_damaged_file_is_named(tmp_path):
    text, cut, empty = tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "empty.png"
    text.write_text("no picture")
    empty.write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    for path in (text, cut, empty):
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read as a picture: ") as caught:
            load_picture(path, 4, 4)
        assert "\n" not in str(caught.value)


def test_pixels_without_a_known_range_are_refused():
    with pytest.raises(
        ValueError, match="floating-point numbers of unknown range; save it with 8 or 16 bits"
    ):
        load_picture(Image.new("F", (2, 2)), 4, 4)


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        load_picture(tmp_path / "nowhere.png", 4, 4)
    with pytest.raises(OSError, match=tmp_path.name):
        load_picture(tmp_path, 4, 4)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_pixels_are_read_from_bytes_at_their_own_size(kind):
    found = read_picture(encoded(two_halves((9, 5)), kind))
    assert found.shape == (5, 9, 3) and found.dtype == np.uint8
    assert np.abs(found[:, 0].astype(int) - RED).max() < 30
    assert np.abs(found[:, 8].astype(int) - BLUE).max() < 30


def test_cmyk_and_sixteen_bits_are_read_as_they_look():
    assert (
        np.abs(
            read_picture(encoded(two_halves((16, 16)).convert("CMYK"), "JPEG"))[0, 0].astype(int) - RED
        ).max()
        < 30
    )
    deep = encoded(Image.fromarray(np.full((2, 3), 128 * 257, np.uint16)), "PNG")
    assert (read_picture(deep) == 128).all() and read_picture(deep).shape == (2, 3, 3)


def test_a_turned_picture_has_the_size_at_which_it_is_seen():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(encoded(two_halves((64, 32)), "JPEG", exif=exif)).shape == (64, 32, 3)


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read_picture(animation) == RED).all()


def test_pixels_are_given_back_and_nothing_else_is_taken_for_them():
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert read_picture(pixels) is pixels
    for wrong in (np.zeros((2, 3), np.uint8), np.zeros((2, 3, 3)), np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"a picture is \(H, W, 3\) uint8, got"):
            read_picture(wrong)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<svg/>", "it is an SVG, which has no pixels; save it as PNG"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            "it is no format that is known",
        ),
        (b"", "it is no format that is known"),
        (b"P6 10000 8000 255\n", "it has 10000 × 8000 pixels; at most 67,108,864 in all are read"),
        (encoded(NOISE, "PNG")[:3000], "truncated"),
    ],
)
def test_what_cannot_be_read_says_why(data, reason, tmp_path):
    with pytest.raises(ValueError, match=f"the picture cannot be read as a picture: .*{re.escape(reason)}"):
        read_picture(data)
    path = tmp_path / "given.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(reason)):
        load_picture(path, 4, 4)


def test_of_a_large_jpeg_only_as_much_is_decoded_as_is_needed():
    photo = two_halves((2048, 1536))
    baseline, progressive = encoded(photo, "JPEG"), encoded(photo, "JPEG", progressive=True)
    found = read_picture(baseline, most=1_000_000, longest=1000)
    assert found.shape == (768, 1024, 3), "half, and no less than was said to be enough"
    assert np.abs(found[:, 0].astype(int) - RED).max() < 30
    assert np.abs(found[:, -1].astype(int) - BLUE).max() < 30
    assert read_picture(baseline).shape == (1536, 2048, 3)
    for whole in (progressive, encoded(photo, "PNG")):  # these are held in memory whole
        with pytest.raises(ValueError, match="it has 2048 × 1536 pixels; at most 1,000,000 in all are read"):
            read_picture(whole, most=1_000_000, longest=1000)


def test_a_jpeg_that_is_enormous_is_not_opened_however_small_it_is_wanted(monkeypatch):
    monkeypatch.setattr(zoo.picture, "MAX_PIXELS", 3_000_000)
    with pytest.raises(ValueError, match="at most 3,000,000 in all"):
        read_picture(encoded(two_halves((2048, 1536)), "JPEG"), longest=100)


def test_a_jpeg_that_goes_over_its_pixels_again_and_again_is_refused():
    progressive = encoded(NOISE, "JPEG", progressive=True)
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    assert read_picture(progressive[:-2] + last * 3 + progressive[-2:]).shape == (64, 64, 3)
    with pytest.raises(ValueError, match="it is a JPEG of 510 scans; at most 500 are read"):
        read_picture(progressive[:-2] + last * 500 + progressive[-2:])


def test_an_image_of_the_caller_s_stays_as_it_is():
    image = Image.open(io.BytesIO(encoded(two_halves((64, 48)), "JPEG")))
    assert read_picture(image, longest=16).shape == (48, 64, 3)
    assert image.size == (64, 48)


def test_a_file_too_large_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo.picture, "MAX_BYTES", 10)
    path = tmp_path / "large.png"
    two_halves().save(path)
    with pytest.raises(ValueError, match=r"large\.png has \d+ bytes; at most 10 are read"):
        read_picture(path)
    with pytest.raises(ValueError, match="at most 10 are read"):
        read_picture(path.read_bytes())
