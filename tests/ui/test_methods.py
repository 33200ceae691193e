import pytest

from zoo.registry import Registry
from zoo.ui import methods
from zoo.ui.editor import MethodList
from zoo.ui.request import MAX_METHODS


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(safe_mode=True)


@pytest.mark.parametrize(
    "line",
    [*methods.DEFAULT_LINES, "ddim eta=0.5 steps=7", "ddpm | cfg scale=3 threshold=dynamic percentile=0.9"],
)
def test_controls_that_nobody_touched_leave_the_line_as_it_is(registry, line):
    sampler, conditioners, values = methods.split(line, registry)
    assert methods.join(line, sampler, conditioners, values, registry) == line


def test_a_control_that_was_moved_is_written_into_the_line(registry):
    line = "ddim steps=20 | cfg scale=3"
    sampler, conditioners, values = methods.split(line, registry)
    values["ddim", "eta"] = 0.5
    values["cfg", "scale"] = 7.0
    assert (
        methods.join(line, sampler, conditioners, values, registry) == "ddim steps=20 eta=0.5 | cfg scale=7"
    )


def test_another_sampler_keeps_the_conditioners(registry):
    line = methods.join("ddpm steps=50 | cfg scale=3", "ddpm", ["cfg"], {}, registry)
    assert line == "ddpm steps=50 | cfg scale=3"
    assert methods.join("ddpm steps=50 | cfg scale=3", "ddpm", [], {}, registry) == "ddpm steps=50"


@pytest.mark.parametrize("line", ["nope steps=3", "ddim steps=0", "ddim steps", "", "| |"])
def test_a_line_that_does_not_exist_is_refused(registry, line):
    with pytest.raises(ValueError, match=r"\w"):
        methods.split(line, registry)


def test_titles_are_words(registry):
    assert methods.title("ddim steps=5", registry) == "DDIM, 5 steps"
    assert methods.title("ddim", registry) == "DDIM, 50 steps"
    title = methods.title("ddim steps=20 | cfg scale=3", registry)
    assert title == "DDIM, 20 steps + Classifier-free guidance, guidance scale 3"
    assert methods.title("<script> x", registry) == "<script> x"


def test_only_ticked_lines_within_the_list_are_chosen():
    ticks = [True, False, True, *[True] * (MAX_METHODS - 3)]
    lines = ["a", "b", "c", "beyond", *[""] * (MAX_METHODS - 4)]
    assert MethodList.chosen(3, *ticks, *lines) == ["a", "c"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.995, "0.995"), (True, "true"), (7, "7"), ("karras", "karras"), (1e-7, "1e-07")],
)
def test_values_are_written_as_people_write_them(value, text):
    assert methods.written(value) == text


def test_a_title_names_no_picture(registry):
    line = "ddim steps=5 | controlnet annotator=pose image=0123456789abcdef"
    assert methods.title(line, registry) == "DDIM, 5 steps + ControlNet, control pose"
