"""The detectors of controlnet_aux: what they need, that nothing but weights is opened, and maps of any size."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo import HubFile, Unavailable, annotate
from zoo.builtins import annotators_controlnet_aux as aux
from zoo.data.tinyworld import TinyWorld
from zoo.detector import seen_size
from zoo.registry import Registry

WITH_FILES = [name for name, (cls, *_) in aux.DETECTORS.items() if cls.files]
WITHOUT_FILES = [name for name in aux.DETECTORS if name not in WITH_FILES]


class Malicious:
    """A pickle that makes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


@pytest.fixture(autouse=True)
def _nothing_cached(monkeypatch):
    """As on a fresh machine, at home; with a way to the hub that fails the test."""
    for name in ("SPACE_ID", "ZOO_ANNOTATOR_DOWNLOADS", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(HubFile, "cached", lambda file: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("it was fetched"))
    aux._loaded.cache_clear()
    yield
    aux._loaded.cache_clear()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has one file, whatever is asked of it; its path."""
    path = tmp_path / "7_model.pth"
    monkeypatch.setenv("ZOO_ANNOTATOR_DOWNLOADS", "1")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(path))
    return path


def listed_as_it_is(monkeypatch, path: Path) -> None:
    """The digest that is listed for TEED becomes that of this file."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(aux.Teed.files, "filename", replace(aux.Teed.files["filename"], sha256=digest))


def picture(size: int = 32) -> np.ndarray:
    return TinyWorld(3, size=size)[0].image


def test_all_are_listed_with_what_they_need():
    specs = Registry(safe_mode=True).annotators
    assert [f"controlnet_aux/{name}" for name in aux.DETECTORS] == [n for n in specs if "/" in n]
    assert {"canny", "lineart_standard", "shuffle"} == set(WITHOUT_FILES)
    for name, (cls, *_) in aux.DETECTORS.items():
        needs = specs[f"controlnet_aux/{name}"].needs
        assert bool(needs) == bool(cls.files)
        for file in cls.files.values():
            assert file.path in needs and file.repository in needs


@pytest.mark.parametrize("name", [name for name in WITH_FILES if name != "dwpose"])
def test_missing_weights_are_named_before_anything_is_fetched(name):
    file = next(iter(aux.DETECTORS[name][0].files.values()))
    with pytest.raises(Unavailable) as caught:
        annotate(picture(), f"controlnet_aux/{name}")
    for told in (file.path, file.repository, file.size, "ZOO_ANNOTATOR_DOWNLOADS=1", file.command):
        assert told in str(caught.value)


def test_missing_packages_are_named(monkeypatch):
    find = aux.importlib.util.find_spec
    monkeypatch.setattr(
        aux.importlib.util, "find_spec", lambda name: None if name.startswith("mm") else find(name)
    )
    with pytest.raises(Unavailable, match="DWposeDetector needs the package mmengine: pip install openmim"):
        annotate(picture(), "controlnet_aux/dwpose")
    monkeypatch.setattr(aux.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="needs the package controlnet_aux: pip install controlnet-aux"):
        annotate(picture(), "controlnet_aux/canny")


@pytest.mark.parametrize("name", ["teed", "sam"])
def test_a_hosted_page_opens_no_weights_unless_its_owner_says_so(name, monkeypatch):
    detector = aux.DETECTORS[name][0]()
    monkeypatch.setattr(HubFile, "cached", lambda file: Path("here.pth"))
    detector.check()
    monkeypatch.setenv("SPACE_ID", "someone/zoo")
    with pytest.raises(
        Unavailable, match="a hosted page does not open unless its owner sets ZOO_ANNOTATOR_DOWNLOADS"
    ):
        detector.check()
    aux.Canny().check()
    monkeypatch.setenv("ZOO_ANNOTATOR_DOWNLOADS", "1")
    detector.check()


def test_files_are_not_opened_where_torch_was_told_to_run_what_they_hold(hub, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(Unavailable, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set"):
        annotate(picture(), "controlnet_aux/teed")


@pytest.mark.parametrize(
    ("save", "open_carelessly"),
    [
        (torch.save, lambda path: torch.load(path, weights_only=False)),
        (
            lambda thing, path: path.write_bytes(pickle.dumps(thing)),
            lambda path: pickle.loads(path.read_bytes()),
        ),
    ],
)
def test_a_malicious_file_is_refused_without_running(save, open_carelessly, hub, tmp_path, monkeypatch):
    marker = tmp_path / "it ran"
    save(Malicious(marker), hub)

    with pytest.raises(ValueError, match=r"not Annotators/7_model.pth .* as it was published: its SHA-256"):
        annotate(picture(), "controlnet_aux/teed")
    listed_as_it_is(monkeypatch, hub)  # as if the listed file itself were malicious
    with pytest.raises(
        ValueError, match="holds more than weights, which could run code, so it was not opened"
    ):
        annotate(picture(), "controlnet_aux/teed")
    assert not marker.exists()

    open_carelessly(hub)
    assert marker.exists()  # so it is malicious


def test_weights_are_accepted_and_give_the_detectors_own_map(hub, monkeypatch):
    from controlnet_aux import TEEDdetector
    from controlnet_aux.teed.ted import TED

    torch.manual_seed(0)
    network = TED()
    torch.save(network.state_dict(), hub)
    listed_as_it_is(monkeypatch, hub)
    seen = picture(128)
    drawn = annotate(seen, "controlnet_aux/teed resolution=128 safe_steps=0")
    expected = TEEDdetector(network)(seen, detect_resolution=128, safe_steps=0, output_type="np")
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.std() > 1
    assert annotate(picture(), "controlnet_aux/teed resolution=64").shape == (32, 32, 3)


def test_weights_of_another_network_are_refused(hub, monkeypatch):
    torch.save({"weight": torch.zeros(3)}, hub)
    listed_as_it_is(monkeypatch, hub)
    with pytest.raises(ValueError, match=r"TEEDdetector: .* does not hold its weights"):
        annotate(picture(), "controlnet_aux/teed")


def test_canny_is_theirs_and_opencvs_and_ours():
    import cv2
    from controlnet_aux import CannyDetector

    seen = picture(512)
    drawn = annotate(seen, "controlnet_aux/canny")
    np.testing.assert_array_equal(drawn, CannyDetector()(seen))
    np.testing.assert_array_equal(drawn, annotate(seen, "canny"))
    np.testing.assert_array_equal(drawn[:, :, 0], cv2.Canny(seen, 100, 200))
    assert drawn.any()


def test_their_misspelt_blur_is_called_blur():
    from controlnet_aux import LineartStandardDetector

    seen = picture(512)
    drawn = annotate(seen, "controlnet_aux/lineart_standard blur=2 intensity_threshold=3")
    theirs = LineartStandardDetector()(
        seen, guassian_sigma=2, intensity_threshold=3, detect_resolution=512, output_type="np"
    )
    np.testing.assert_array_equal(drawn, theirs)
    assert (drawn != annotate(seen, "controlnet_aux/lineart_standard")).any()


@pytest.mark.parametrize("size", [(480, 640), (1000, 300)])
def test_what_a_detector_sees_is_what_it_would_make_of_the_picture(size):
    from controlnet_aux import CannyDetector

    large = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    theirs = CannyDetector()(large, detect_resolution=256, image_resolution=256)
    width, height = seen_size(size[1], size[0], 256)
    assert theirs.shape == (height, width, 3)


@pytest.mark.parametrize("name", WITHOUT_FILES)
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (3, 200), (300, 170)])
def test_maps_have_the_size_of_the_picture(name, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    drawn = annotate(noise, f"controlnet_aux/{name} resolution=128")
    assert drawn.shape == noise.shape and drawn.dtype == np.uint8


@pytest.mark.parametrize("name", ["canny", "lineart_standard"])
def test_small_pictures_have_edges_too(name):
    drawn = annotate(picture(32), f"controlnet_aux/{name}")
    assert drawn.max() == 255 and 10 < drawn.mean() < 128


def test_shuffle_follows_its_seed_and_leaves_the_global_generator_alone():
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    first, again, other = (
        annotate(picture(), f"controlnet_aux/shuffle resolution=64 seed={seed}") for seed in (1, 1, 2)
    )
    assert np.random.rand() == expected
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_segments_are_painted_the_largest_first():
    class Found:
        def __init__(self, *masks):
            self.mask_generator = self
            self.masks = masks

        def generate(self, seen):
            return [{"segmentation": mask, "area": int(mask.sum())} for mask in self.masks]

    inner, outer = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    inner[2:4, 2:4] = True
    seen = np.zeros((8, 8, 3), np.uint8)
    drawn = aux.Sam().call(Found(inner, outer), seen)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2
    assert (drawn[2, 2] != drawn[0, 0]).any() and (drawn[7, 7] == drawn[0, 0]).all()
    assert not aux.Sam().call(Found(), seen).any()
