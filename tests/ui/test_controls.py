from enum import Enum
from typing import Literal

import gradio as gr
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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("steps", gr.Slider),
        ("eta", gr.Slider),
        ("percentile", gr.Slider),
        ("order", gr.Number),
        ("tolerance", gr.Number),
        ("spacing", gr.Dropdown),
        ("colour", gr.Dropdown),
        ("guided", gr.Checkbox),
        ("note", gr.Textbox),
        ("limit", gr.Number),
    ],
)
def test_every_kind_of_field_gets_its_control(name, kind):
    field = Params.model_fields[name]
    assert type(control(name, field, field.default)) is kind


def test_labels_and_bounds_come_from_the_field():
    slider = control("steps", Params.model_fields["steps"], 20)
    assert (slider.label, slider.info, slider.minimum, slider.maximum, slider.value) == (
        "Steps",
        "how many",
        1,
        1000,
        20,
    )


def test_excluded_bounds_cannot_be_chosen_and_the_default_can():
    slider = control("percentile", Params.model_fields["percentile"], 0.995)
    assert 0 < slider.minimum < slider.maximum < 1
    assert (0.995 / slider.step) == pytest.approx(round(0.995 / slider.step))


def test_choices_are_those_of_the_field():
    assert control("colour", Params.model_fields["colour"], Colour.BLUE).value == "blue"
    choices = control("spacing", Params.model_fields["spacing"], "leading").choices
    assert [value for _, value in choices] == ["trailing", "leading"]


def test_every_parameter_of_the_built_ins_gets_a_control():
    registry = Registry(safe_mode=True)
    for spec in [*registry.samplers.values(), *registry.conditioners.values()]:
        for name, field in methods.fields(spec).items():
            assert control(name, field, field.get_default()).label


def test_a_picture_is_uploaded():
    class Controlled(BaseModel):
        image: PictureName = Field("", title="Picture", description="what to follow")

    made = control("image", Controlled.model_fields["image"], "")
    assert isinstance(made, gr.File)
    assert made.label == "Picture: what to follow"
