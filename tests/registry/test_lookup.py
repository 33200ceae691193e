"""Looking names up: what is not there is answered with what is."""

import json

import pytest

from tests.registry.specimens import GOOD, drop_in, write
from zoo.registry import IncompatiblePlugin, PluginError, Registry, UnknownName, default_registry


def test_an_unknown_name_is_answered_with_what_there_is():
    registry = Registry(safe_mode=True)
    with pytest.raises(UnknownName, match=r"no sampler 'dimm'. Did you mean 'ddim'\? There are: ddpm, ddim"):
        registry.sampler("dimm")
    with pytest.raises(LookupError, match="no model 'ddim'"):
        registry.model("ddim")
    with pytest.raises(UnknownName, match="Did you mean 'controlnet_aux/hed'"):
        registry.annotator("hed")


def test_a_bare_name_is_answered_with_the_full_one(folder):
    write(folder, "specimen", GOOD.replace("euler", "leapfrog"))
    with pytest.raises(UnknownName, match="Did you mean 'specimen/leapfrog'"):
        Registry(folder).sampler("leapfrog")


def test_a_name_of_a_failed_plugin_is_answered_with_why(folder):
    registry, _ = drop_in(folder, "ZOO_API = 1\nraise RuntimeError('no luck')")
    with pytest.raises(UnknownName, match="Plugin specimen is failed: RuntimeError: no luck"):
        registry.sampler("specimen/euler")


def test_plugin_info_is_plain_data(folder):
    registry, info = drop_in(folder, "ZOO_API = 1\nraise RuntimeError")
    listed = json.loads(json.dumps([plugin.to_dict() for plugin in registry.plugins]))
    assert info.to_dict() in listed
    assert set(info.to_dict()) >= {"name", "version", "source", "state", "registers", "error", "traceback"}


def test_the_default_registry_is_made_once():
    default_registry.cache_clear()
    assert default_registry() is default_registry()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("ZOO_API = 1\nraise RuntimeError('no luck')", RuntimeError),
        ("ZOO_API = 1\nraise SystemExit", SystemExit),
        (GOOD.replace("ZOO_API = 1", ""), IncompatiblePlugin),
        (GOOD + "\ndef register_sampler(): ...", PluginError),
        (GOOD + "\n@hookimpl\ndef register_models(): ...", PluginError),
        (GOOD.replace("[Sampler", "2 * [Sampler"), PluginError),
    ],
    ids=["raises", "exits", "incompatible", "misspelt hook", "returns None", "collision"],
)
def test_strict_mode_raises(folder, monkeypatch, source, error):
    write(folder, "specimen", source)
    Registry(folder)
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(error) as raised:
        Registry(folder)
    assert not isinstance(raised.value, PluginError) or "plugin specimen: " in str(raised.value)
