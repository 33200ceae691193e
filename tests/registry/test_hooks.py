"""Hooks that are misspelt, raise, or return something else: each is explained."""

import pytest

from tests.registry.specimens import GOOD, HEADER, drop_in


def test_one_failing_hook_does_not_take_the_others_along(folder):
    registry, info = drop_in(
        folder,
        GOOD + "\n@hookimpl\ndef register_conditioners():\n    raise RuntimeError('no conditioners today')",
    )
    assert info.state == "failed"
    assert "no conditioners today" in info.error
    assert "register_conditioners" in info.traceback
    assert info.registers == {"samplers": ["specimen/euler"]}
    assert "specimen/euler" in registry.samplers


def test_a_hook_that_exits_does_not_end_the_program(folder):
    _, info = drop_in(folder, HEADER + "@hookimpl\ndef register_models():\n    raise SystemExit")
    assert (info.state, info.error) == ("failed", "SystemExit")


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ("None", "register_samplers must return a list of SamplerSpec, but returned None"),
        ("SamplerSpec('a', object, title='A')", "but returned of type SamplerSpec"),
        ("{'a': 1}", "of type dict"),
        ("['ddim']", "one entry is of type str"),
        ("[ConditionerSpec('a', object, title='A')]", "one entry is of type ConditionerSpec"),
        ("[SamplerSpec('a', 3, title='A')]", "implementation of sampler 'a' must be a class"),
        ("[SamplerSpec('a', 'no colon', title='A')]", "written package.module:Class, got 'no colon'"),
        ("[SamplerSpec('a b', object, title='A')]", "sampler 'a b': a name is letters and digits"),
        ("[SamplerSpec(None, object, title='A')]", "name of sampler None must be a string"),
        ("[SamplerSpec('a', object, title=None)]", "title of sampler 'a' must be a string"),
        ("[SamplerSpec('a', object, title='A', params=dict)]", "must be a pydantic model class"),
        ("[SamplerSpec('other/a', object, title='A')]", "without a slash"),
        ("[SamplerSpec('a', object)]", "title"),
    ],
)
def test_a_wrong_return_value_is_explained(folder, returned, error):
    registry, info = drop_in(folder, HEADER + f"@hookimpl\ndef register_samplers():\n    return {returned}")
    assert info.state == "failed"
    assert error in info.error
    assert not any(name.startswith("specimen/") for name in registry.samplers)


@pytest.mark.parametrize("marker", ["@hookimpl", ""])
def test_a_misspelt_hook_is_reported_with_a_suggestion(folder, marker):
    _, info = drop_in(folder, GOOD + f"\n{marker}\ndef register_sampelrs():\n    return []")
    assert info.state == "failed"
    assert info.error == "unknown hook register_sampelrs; did you mean register_samplers?"
    assert info.registers == {"samplers": ["specimen/euler"]}


def test_a_misspelt_hook_may_have_any_name_when_it_is_marked(folder):
    _, info = drop_in(folder, GOOD + "\n@hookimpl\ndef offer_pictures():\n    return []")
    assert info.state == "failed"
    assert "unknown hook offer_pictures; there are register_samplers, " in info.error


def test_a_hook_of_a_later_zoo_may_be_marked_optional(folder):
    _, info = drop_in(folder, GOOD + "\n@hookimpl(optionalhook=True)\ndef register_smells():\n    return []")
    assert (info.state, info.error) == ("loaded", "")


def test_an_imported_function_is_not_taken_for_a_hook(folder):
    _, info = drop_in(folder, "from shutil import register_archive_format\n" + GOOD)
    assert (info.state, info.error) == ("loaded", "")


def test_a_forgotten_decorator_is_noticed(folder):
    _, info = drop_in(folder, GOOD.replace("@hookimpl", ""))
    assert (info.state, info.error) == ("failed", "register_samplers lacks @hookimpl")


def test_a_plugin_without_hooks_is_noticed(folder):
    _, info = drop_in(folder, "ZOO_API = 1")
    assert info.state == "failed"
    assert "it offers nothing" in info.error


def test_a_hook_that_wants_arguments_is_refused(folder):
    _, info = drop_in(folder, GOOD.replace("register_samplers()", "register_samplers(registry)"))
    assert info.state == "failed"
    assert "registry" in info.error
