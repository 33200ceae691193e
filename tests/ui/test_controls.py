from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from zoo.pictures import PictureName
from zoo.registry import Registry
from zoo.ui import methods
from zoo.ui.controls import control


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Params(BaseModel):
    steps: int = Field(50, ge=1, le=1000, title="Steps", description="how many")
    eta: float = Field(0.0, ge=0, le=1)
    percentile: float = Field(0.995, gt=0, lt=1)
    order: int = 2
    tolerance: float = Field(1e-3, gt=0)
    spacing: Literal["trailing", "leading"] = "trailing"
    colour: Colour = Colour.RED
    guided: bool = False
    note: str = "a"
    limit: float | None = None


def made(name):
    return control(name, Params.model_fields[name])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("steps", "slider"),
        ("eta", "slider"),
        ("percentile", "slider"),
        ("order", "number"),
        ("tolerance", "number"),
        ("spacing", "choice"),
        ("colour", "choice"),
        ("guided", "switch"),
        ("note", "text"),
        ("limit", "number"),
    ],
)
def test_every_kind_of_field_gets_its_control(name, kind):
    assert made(name)["kind"] == kind


def test_labels_and_bounds_come_from_the_field():
    slider = made("steps")
    assert (slider["title"], slider["help"], slider["default"]) == ("Steps", "how many", "50")
    assert (slider["min"], slider["max"], slider["step"]) == (1, 1000, 1)
    assert slider["logarithmic"]
    assert not made("eta")["logarithmic"]


def test_excluded_bounds_cannot_be_chosen_and_the_default_can():
    slider = made("percentile")
    assert 0 < slider["min"] < slider["max"] < 1
    assert 0.995 / slider["step"] == pytest.approx(round(0.995 / slider["step"]))


def test_choices_are_those_of_the_field_as_they_are_written():
    assert (made("colour")["choices"], made("colour")["default"]) == (["red", "blue"], "red")
    assert made("spacing")["choices"] == ["trailing", "leading"]
    assert made("limit")["default"] == ""


def test_defaults_of_the_built_ins_are_what_a_line_without_them_means():
    registry = Registry(safe_mode=True)
    for spec in [*registry.samplers.values(), *registry.conditioners.values()]:
        for name, field in methods.fields(spec).items():
            about = control(name, field)
            assert about["title"]
            given = spec.params_model()(**{name: about["default"]})
            assert given == spec.params_model()(), f"{spec.name} {name}={about['default']}"


def test_a_picture_is_uploaded():
    class Controlled(BaseModel):
        image: PictureName = Field("", title="Picture", description="what to follow")

    about = control("image", Controlled.model_fields["image"])
    assert (about["kind"], about["title"], about["default"]) == ("picture", "Picture", "")
