from types import SimpleNamespace

import pytest

from zoo.registry import Registry
from zoo.ui import methods, presets
from zoo.ui.catalogue import card, catalogue


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(safe_mode=True)


def title(line: str, registry: Registry) -> str:
    return methods.title(line, methods.phrases(line, registry))


def test_titles_are_words(registry):
    assert title("ddim steps=5", registry) == "DDIM, 5 steps"
    assert title("ddim", registry) == "DDIM, 50 steps"
    both = title("ddim steps=20 | cfg scale=3", registry)
    assert both == "DDIM, 20 steps + Classifier-free guidance, guidance scale 3"
    assert title("<script> x", registry) == "<script> x"


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.995, "0.995"), (True, "true"), (7, "7"), ("karras", "karras"), (1e-7, "1e-07")],
)
def test_values_are_written_as_people_write_them(value, text):
    assert methods.written(value) == text


def test_a_card_knows_its_parts_its_title_and_its_axes(registry):
    found = card("ddim  steps=5,10 | cfg scale=3", registry)
    assert found["line"] == "ddim steps=5,10 | cfg scale=3"
    assert found["parts"] == [
        {"name": "ddim", "params": [["steps", "5,10"]]},
        {"name": "cfg", "params": [["scale", "3"]]},
    ]
    assert found["title"] == "DDIM + Classifier-free guidance, guidance scale 3"
    assert (found["cells"], found["columns"]["values"], found["rows"]) == (2, ["5", "10"], None)
    assert (found["problem"], found["problems"]) == ("", {})


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("ddim steps=0", "0.steps", "greater than or equal to 1"),
        ("ddim steps=5,0", "0.steps", "steps=0"),
        ("ddim | cfg scale=x", "1.scale", "valid number"),
        ("ddim stepz=3", "0.stepz", "ddim has steps, eta, spacing"),
        ("nope", None, "no sampler 'nope'"),
        ("ddim | | cfg", None, "name is missing"),
    ],
)
def test_what_is_wrong_is_said_by_field(registry, line, field, message):
    found = card(line, registry)
    assert message in found["problem"]
    assert (field in found["problems"]) == (field is not None)


def test_the_catalogue_has_every_method_and_only_presets_that_can_be_read(registry):
    found = catalogue(registry)
    assert {spec["name"] for spec in found["samplers"]} == set(registry.samplers)
    assert {spec["name"] for spec in found["conditioners"]} == set(registry.conditioners)
    assert {"shootout", "guidance", "eta"} <= {p["name"] for p in found["presets"] if p["plain"]}
    assert not any(one["problem"] for preset in found["presets"] for one in preset["cards"])
    assert {name for preset in found["presets"] for name in preset["metrics"]} <= set(registry.metrics)
    assert next(preset for preset in found["presets"] if preset["name"] == "guidance")["metrics"]
    assert not any(one["problem"] for one in found["cards"])


def test_a_preset_whose_sampler_is_not_there_is_not_offered(registry):
    samplers = {name: spec for name, spec in registry.samplers.items() if name != "unipc"}
    lacking = SimpleNamespace(samplers=samplers, conditioners=registry.conditioners)
    names = {preset.name for preset in presets.known(lacking)}  # type: ignore[arg-type]
    assert "shootout" not in names
    assert "eta" in names


def test_the_example_made_earlier_is_still_understood(registry):
    welcome = catalogue(registry)["welcome"]
    assert all(cell["status"] == "done" and cell["images"] for cell in welcome["cells"].values())
    assert [index for block in welcome["blocks"] for index in block["cells"]] == list(
        range(len(welcome["cells"]))
    )
    assert [one["line"] for one in welcome["cards"]] == welcome["comparison"]["cells"]
    assert not any(card(one["line"], registry)["problem"] for one in welcome["cards"])
    assert welcome["comparison"]["prompt"] in welcome["examples"]


def test_a_title_comes_in_parts_for_other_languages_too(registry):
    assert methods.phrases("ddim steps=1 | cfg scale=3", registry) == [
        [["DDIM", ""], ["steps", "1"]],
        [["Classifier-free guidance", ""], ["Guidance scale", "3"]],
    ]
    assert title("ddim steps=1 eta=1", registry) == "DDIM, 1 step, η 1"
    assert methods.phrases("nobody steps=1", registry) == []


def test_a_title_names_no_picture(registry):
    line = "ddim steps=5 | controlnet annotator=pose image=0123456789abcdef"
    assert title(line, registry) == "DDIM, 5 steps + ControlNet, control pose"
