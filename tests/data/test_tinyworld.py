"""TinyWorld draws what its attributes say, the same way every time."""

from __future__ import annotations

import itertools
import pickle

import cv2
import numpy as np
import pytest

from zoo.data.tinyworld import (
    COLOURS,
    FACINGS,
    KINDS,
    PALETTE,
    PLACES,
    SCENES,
    SEGMENTS,
    SIZES,
    VOCABULARY,
    Attributes,
    TinyWorld,
    caption,
    draw_attributes,
    render,
)

MUSHROOM = Attributes("mushroom", "red", "night", "small", "left", "right")
EVERY_LOOK = list(itertools.product(KINDS, COLOURS, SCENES))


def of_look(kind: str, colour: str, scene: str, size: str = "large") -> Attributes:
    return Attributes(kind, colour, scene, size, "middle", "right")


def thing_mask(sample) -> np.ndarray:
    return sample.maps.segmentation == SEGMENTS.index(sample.attributes.kind)


def seen_colour(pixels: np.ndarray) -> str:
    """The palette colour most pixels, (n, 3), come close to."""
    palette = np.array([PALETTE[name] for name in COLOURS], float)
    apart = np.linalg.norm(pixels[:, None, :].astype(float) - palette, axis=2)
    votes = apart.argmin(axis=1)[apart.min(axis=1) < 60]
    return COLOURS[np.bincount(votes, minlength=len(COLOURS)).argmax()]


def test_same_seed_and_index_give_the_same_sample():
    first, again = TinyWorld(seed=5)[17], TinyWorld(seed=5)[17]
    assert np.array_equal(first.image, again.image)
    assert (first.caption, first.attributes) == (again.caption, again.attributes)


def test_another_seed_or_index_gives_another_picture():
    image = TinyWorld(seed=5)[17].image
    assert not np.array_equal(image, TinyWorld(seed=6)[17].image)
    assert not np.array_equal(image, TinyWorld(seed=5)[18].image)


def test_order_of_access_does_not_matter():
    world = TinyWorld(seed=2)
    forwards = [world[i].image for i in range(8)]
    backwards = [world[i].image for i in reversed(range(8))]
    assert np.array_equal(forwards, backwards[::-1])


def test_maps_do_not_change_the_picture():
    assert np.array_equal(TinyWorld(seed=1)[4].image, TinyWorld(seed=1, maps=True)[4].image)


def test_survives_pickling():
    world = pickle.loads(pickle.dumps(TinyWorld(seed=9, size=48)))
    assert np.array_equal(world[3].image, TinyWorld(seed=9, size=48)[3].image)


def test_every_size_shows_the_same_composition():
    small, big = TinyWorld(seed=3, size=32), TinyWorld(seed=3, size=64)
    for index in range(40):
        one, other = small[index], big[index]
        assert (one.attributes, one.caption) == (other.attributes, other.caption)
        shrunk = cv2.resize(other.image, (32, 32), interpolation=cv2.INTER_AREA)
        assert np.abs(one.image.astype(int) - shrunk).mean() < 4
        stranger = small[index + 1].image.astype(int)
        assert np.abs(stranger - shrunk).mean() > 10


def test_batch_stacks_the_single_samples():
    world = TinyWorld(seed=4, size=24)
    images, captions, attributes = world.batch([7, 2])
    assert images.shape == (2, 24, 24, 3) and images.dtype == np.uint8
    assert np.array_equal(images[1], world[2].image)
    assert captions == [world[7].caption, world[2].caption]
    assert attributes == [world[7].attributes, world[2].attributes]


def test_plain_caption_names_colour_kind_and_scene():
    assert caption(MUSHROOM) == "a red mushroom at night"
    assert caption(of_look("house", "orange", "snow")) == "an orange house in the snow"


def test_varied_captions_stay_in_the_vocabulary_and_use_all_of_it():
    rng = np.random.default_rng(0)
    texts = [caption(draw_attributes(rng), rng) for _ in range(3000)]
    assert {word for text in texts for word in text.split()} == set(VOCABULARY)
    assert list(VOCABULARY) == sorted(VOCABULARY)


def test_varied_captions_say_nothing_false():
    rng = np.random.default_rng(1)
    for _ in range(500):
        truth = draw_attributes(rng)
        words = caption(truth, rng).split()
        assert truth.kind in words
        assert set(words) & set(COLOURS) <= {truth.colour}
        assert set(words) & set(SIZES) <= {truth.size}
        assert ("night" in words) <= (truth.scene == "night")
        if "facing" in words:
            assert words[words.index("facing") + 1] == truth.facing
        for place in PLACES:
            named = f"on the {place}" in " ".join(words) or f"in the {place}" in " ".join(words)
            assert named <= (truth.place == place)


def test_varied_captions_leave_out_colour_and_scene_now_and_then():
    rng = np.random.default_rng(2)
    texts = [caption(MUSHROOM, rng) for _ in range(2000)]
    for word in ("red", "night"):
        share = sum(word not in text.split() for text in texts) / len(texts)
        assert 0.07 < share < 0.13


def test_symmetric_things_are_never_said_to_face_a_side():
    rng = np.random.default_rng(3)
    assert not any("facing" in caption(MUSHROOM, rng) for _ in range(200))


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_can_be_told_apart_in_every_kind_and_scene(colour):
    wrong = []
    for number, look in enumerate(EVERY_LOOK):
        if look[1] != colour:
            continue
        sample = render(of_look(*look), np.random.default_rng(number), maps=True)
        if seen_colour(sample.image[thing_mask(sample)]) != colour:
            wrong.append(look)
    assert not wrong


@pytest.mark.parametrize("scene", SCENES)
def test_things_stand_out_from_the_scene(scene):
    for number, (kind, colour) in enumerate(itertools.product(KINDS, COLOURS)):
        sample = render(of_look(kind, colour, scene), np.random.default_rng(number), maps=True)
        mask = thing_mask(sample).astype(np.uint8)
        rim = cv2.dilate(mask, np.ones((5, 5), np.uint8)) - mask
        body = sample.image[mask > 0]
        body = body[np.linalg.norm(body.astype(float) - PALETTE[colour], axis=1) < 60]
        around = sample.image[rim > 0]
        contrast = np.linalg.norm(body.mean(axis=0) - around.mean(axis=0))
        assert contrast > 45, (kind, colour, contrast)


def test_depth_follows_the_layers():
    for index in range(60):
        sample = TinyWorld(seed=8, maps=True)[index]
        maps, thing = sample.maps, thing_mask(sample)
        assert maps.segmentation.max() < len(SEGMENTS) and maps.depth.dtype == np.uint8
        ground = maps.segmentation == SEGMENTS.index("ground")
        assert maps.depth[thing].min() > maps.depth[ground].max()
        assert maps.depth[maps.segmentation == SEGMENTS.index("sky")].max() == 0
        assert not (maps.segmentation > SEGMENTS.index("light"))[~thing].any()


def test_size_sets_how_much_of_the_height_a_thing_fills():
    for kind in KINDS:
        heights = []
        for size in SIZES:
            look = of_look(kind, "blue", "snow", size)
            rows = thing_mask(render(look, np.random.default_rng(0), maps=True)).any(axis=1)
            heights.append(rows.sum())
        assert heights[0] + 2 < heights[1] < heights[2] - 2, (kind, heights)


def test_place_sets_where_a_thing_is():
    for kind, size in itertools.product(KINDS, SIZES):
        middles = []
        for place in PLACES:
            look = Attributes(kind, "blue", "snow", size, place, "left")
            mask = thing_mask(render(look, np.random.default_rng(0), maps=True))
            middles.append(np.nonzero(mask)[1].mean())
        assert middles[0] + 1.5 < middles[1] < middles[2] - 1.5, (kind, size, middles)


@pytest.mark.parametrize("kind", KINDS)
def test_facing_mirrors_the_thing(kind):
    masks = []
    for facing in FACINGS:
        look = Attributes(kind, "blue", "snow", "small", "middle", facing)
        mask = thing_mask(render(look, np.random.default_rng(0), size=128, maps=True))
        columns = np.nonzero(mask.any(axis=0))[0]
        masks.append(mask[:, columns[0] : columns[-1] + 1])
    width = min(mask.shape[1] for mask in masks)
    left, right = masks[0][:, :width], masks[1][:, ::-1][:, :width]
    assert (left != right).sum() < 0.1 * left.sum()


def test_keypoints_lie_on_the_person():
    for number in range(60):
        facing = FACINGS[number % 2]
        look = Attributes("person", "green", "beach", "medium", "middle", facing)
        sample = render(look, np.random.default_rng(number), size=64, maps=True)
        keypoints, mask = sample.maps.keypoints, thing_mask(sample)
        assert len(keypoints) == 14
        for name, (x, y) in keypoints.items():
            assert mask[int(y), int(x)], (name, number)
        assert keypoints["head"][1] < keypoints["neck"][1] < keypoints["left_hip"][1]
        for joint in ("shoulder", "hip"):
            assert keypoints[f"left_{joint}"][0] < keypoints[f"right_{joint}"][0]


def test_only_the_person_has_keypoints_and_maps_come_only_when_asked_for():
    assert render(MUSHROOM, np.random.default_rng(0), maps=True).maps.keypoints == {}
    assert render(MUSHROOM, np.random.default_rng(0)).maps is None


@pytest.mark.parametrize("name", ["kind", "colour", "scene", "size", "place", "facing"])
def test_unknown_names_are_refused_with_the_allowed_ones(name):
    good = vars(MUSHROOM)
    with pytest.raises(ValueError, match=f"unknown {name} 'teal': choose one of .*{good[name]}"):
        Attributes(**{**good, name: "teal"})


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="seed"):
        TinyWorld(seed=-1)
    with pytest.raises(ValueError, match="size"):
        render(MUSHROOM, np.random.default_rng(0), size=0)
    with pytest.raises(IndexError):
        TinyWorld()[-1]
