"""models.toml: what a page's owner offers."""

from __future__ import annotations

import diffusers
import pytest

from tests.models.elsewhere.tiny import unet2d
from tests.small_model import save_small_model
from zoo import compare
from zoo.cli import main
from zoo.models.tinyworld import PROMPTS
from zoo.planning import load_model
from zoo.registry import Registry
from zoo.ui.request import comparison_from

GOOD = """
[[model]]
id = "cats"
title = "Small cats"
source = "folder:cats"
prompt = "2"
licence = "CC0-1.0"
dtype = "bf16"
"""


@pytest.fixture
def offer(tmp_path):
    """Writes a models.toml and gives the registry with it."""

    def write(text):
        (tmp_path / "models.toml").write_text(text, encoding="utf-8")
        return Registry(safe_mode=True, models=tmp_path / "models.toml")

    return write


def test_an_entry_is_a_model_like_any_other(offer, tmp_path):
    registry = offer(GOOD)
    spec = registry.model("cats")
    assert (spec.title, spec.summary) == ("Small cats", "folder:cats, licence CC0-1.0.")
    with pytest.raises(ValueError, match=r"Small cats is unavailable: .*cats is not a folder"):
        load_model("cats", registry)
    pipeline = diffusers.DDPMPipeline(unet2d(num_class_embeds=3), diffusers.DDPMScheduler())
    pipeline.save_pretrained(tmp_path / "cats")
    model = load_model("cats", registry)  # once it is there it is found, without a new start
    assert (model.title, model.dtype, model.examples()[0]) == ("Small cats", "bf16", "2")
    comparison = comparison_from("cats", "2", "", "0", ["ddim steps=2"], registry)
    result = compare(comparison, registry=registry, device="cpu")
    assert result.done, result.cells
    assert result.comparison.record["dtype"] == "bf16", "as its entry says, where nobody says otherwise"
    result = compare(comparison, registry=registry, device="cpu", dtype="fp32")
    assert result.comparison.record["dtype"] == "fp32"


def test_a_model_of_ones_own_is_offered(offer, tmp_path):
    save_small_model(tmp_path / "mine")
    own = GOOD.replace("folder:cats", "folder:mine").replace('"2"', '"a blue cat"')
    model = load_model("cats", offer(own))
    assert (model.title, model.examples()) == ("Small cats", ["a blue cat"])
    assert {"denoiser", "control/canny"} <= set(model.roles)
    assert load_model("cats", offer(own.replace('prompt = "a blue cat"', ""))).examples() == list(PROMPTS)
    tokenizer = tmp_path / "mine/tokenizer/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"mushroom"', '"toadstool"'))
    assert load_model("cats", offer(own.replace('prompt = "a blue cat"', ""))).examples() == []


def test_a_visitor_types_no_names(offer, tmp_path):
    registry = offer(GOOD)
    for name in ("hub:owner/name", f"folder:{tmp_path}"):
        with pytest.raises(ValueError, match="no model"):
            comparison_from(name, "", "", "0", ["ddim steps=2"], registry)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (GOOD.replace('licence = "CC0-1.0"\n', ""), "models.toml, line 2, licence: is missing"),
        (GOOD.replace("folder:cats", "cats"), "models.toml, line 5, source: 'cats' must be hub:OWNER/NAME"),
        (
            GOOD.replace("bf16", "int8"),
            "models.toml, line 8, dtype: input should be '', 'fp32', 'bf16' or 'fp16'",
        ),
        (
            GOOD.replace("prompt", "promt"),
            "models.toml, line 6, promt: there is no such field; there are id, title",
        ),
        (GOOD + 'revision = "v1"', "models.toml, line 2: a folder has no revision"),
        (GOOD.replace('"Small cats"', "7"), "models.toml, line 4, title: input should be a valid string"),
    ],
)
def test_a_wrong_entry_is_unavailable_and_harms_no_other(wrong, said, offer):
    other = GOOD.replace('"cats"', '"dogs"')
    registry = offer(wrong + other)
    assert said in registry.model("cats").summary
    assert registry.model("cats").title.endswith("(unavailable)")
    with pytest.raises(ValueError, match=r"models\.toml, line"):
        load_model("cats", registry)
    assert registry.model("dogs").title == "Small cats"


def test_the_line_is_that_of_the_right_entry(offer):
    registry = offer(GOOD + GOOD.replace('"cats"', '"no name"'))
    assert "models.toml, line 11, id: 'no name' must be letters" in registry.model("models-2").summary


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]]\nid = =", "is not TOML: Invalid value (at line 2, column 6)"),
        ("[model]\nid = 'a'", "expected [[model]] tables only"),
        ("[[models]]\nid = 'a'", "models.toml holds models; expected [[model]] tables only"),
    ],
)
def test_a_damaged_file_is_shown_like_a_damaged_plugin(text, said, offer):
    registry = offer(text)
    (info,) = [info for info in registry.plugins if info.source == "models file"]
    assert info.state == "failed" and said in info.error
    assert "tinyworld" in registry.models


def test_a_name_that_is_taken_stays_with_its_owner(offer):
    registry = offer(GOOD.replace('"cats"', '"tinyworld"'))
    assert registry.model("tinyworld").title == "Tiny World"
    assert "model 'tinyworld', by built-in" in registry.plugins[-1].error


def test_the_environment_names_the_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "models.toml").write_text(GOOD)
    monkeypatch.setenv("ZOO_MODELS", str(tmp_path / "models.toml"))
    assert "cats" in Registry().models
    monkeypatch.setenv("ZOO_PLUGINS", "somebody")
    with pytest.warns(UserWarning, match="no plugin is called that"):
        assert "cats" in Registry().models, "what is chosen among plugins is no choice of models"
    monkeypatch.delenv("ZOO_PLUGINS")
    monkeypatch.setenv("ZOO_MODELS", str(tmp_path / "nowhere.toml"))
    assert "ZOO_MODELS or --models names it" in Registry().plugins[-1].error
    assert main(["models", "--models", str(tmp_path / "models.toml")]) == 0
    assert "cats         Small cats: folder:cats, licence CC0-1.0." in capsys.readouterr().out


def test_the_page_says_why_a_model_is_unavailable(offer):
    from zoo.ui.calls import facts

    registry = offer(GOOD + GOOD.replace('"cats"', '"dogs"').replace("CC0-1.0", ""))
    cats = facts("cats", registry)
    assert cats["examples"] == [] and "cats is not a folder" in cats["problem"]
    assert "licence: string should have at least 1 character" in facts("dogs", registry)["problem"]
    assert facts("gaussian", registry)["problem"] == ""
