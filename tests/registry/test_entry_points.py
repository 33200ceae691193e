"""The entry points of installed packages, sound and damaged, and the zoo that they were written for."""

import pytest

from tests.registry.specimens import GOOD, install, plugin
from zoo.registry import Registry


def test_entry_points_are_loaded_with_project_and_version(tmp_path, monkeypatch):
    install(tmp_path, "zoo-guests", "[sampler_zoo]\nguests = zoo_guests_module\n", zoo_guests_module=GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    info = plugin(registry, "guests")
    assert (info.state, info.source, info.version) == ("loaded", "entry point", "2.5")
    assert info.location == "zoo-guests: zoo_guests_module"
    assert registry.sampler("guests/euler").title == "Euler"


def test_broken_entry_points_do_not_stop_the_others(tmp_path, monkeypatch):
    entries = """\
        [sampler_zoo]
        absent = zoo_absent_module
        exits = zoo_exits_module
        good = zoo_good_module
        nothing = zoo_good_module:no_such_thing
        again = zoo_good_module
        """
    install(tmp_path, "mixed", entries, zoo_exits_module="raise SystemExit", zoo_good_module=GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    states = {info.name: info.state for info in registry.plugins if info.source == "entry point"}
    assert states == {
        "absent": "failed",
        "again": "loaded",
        "exits": "failed",
        "good": "failed",
        "nothing": "failed",
    }
    assert "ModuleNotFoundError" in plugin(registry, "absent").error
    assert "no_such_thing" in plugin(registry, "nothing").error
    assert "same object as the plugin again" in plugin(registry, "good").error


def test_damaged_metadata_of_one_package_does_not_hide_another(tmp_path, monkeypatch):
    install(tmp_path, "damaged", "[sampler_zoo]\nneither name nor equals sign\n")
    install(tmp_path, "sound", "[sampler_zoo]\nsound = zoo_sound_module\n", zoo_sound_module=GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    assert "sound/euler" in registry.samplers
    assert plugin(registry, "damaged").state == "failed"


def test_a_package_further_down_the_path_is_hidden_by_the_first(tmp_path, monkeypatch):
    for site in ("below", "above"):
        module = GOOD.replace('"Euler"', f'"{site}"')
        install(tmp_path / site, "twin", "[sampler_zoo]\ntwin = zoo_twin_module\n", zoo_twin_module=module)
        monkeypatch.syspath_prepend(tmp_path / site)
    registry = Registry()
    assert plugin(registry, "twin").state == "loaded"
    assert registry.sampler("twin/euler").title == "above"


@pytest.mark.parametrize(
    ("requires", "state"),
    [
        ("Requires-Dist: sampler-zoo>=99", "incompatible"),
        ("Requires-Dist: Sampler_Zoo (<0.0.1)", "incompatible"),
        ("Requires-Dist: torch\nRequires-Dist: sampler.zoo[page]==99", "incompatible"),
        ("Requires-Dist: sampler-zoo>=0.0.1", "loaded"),
        ('Requires-Dist: sampler-zoo>=99; extra == "later"', "loaded"),
        ('Requires-Dist: sampler-zoo>=99; python_version < "3"', "loaded"),
        ("", "loaded"),
    ],
)
def test_a_package_for_another_zoo_is_not_imported(tmp_path, monkeypatch, requires, state):
    source = GOOD if state == "loaded" else "raise RuntimeError('this was run')"
    install(
        tmp_path, "ranged", "[sampler_zoo]\nranged = zoo_ranged_module\n", requires, zoo_ranged_module=source
    )
    monkeypatch.syspath_prepend(tmp_path)
    info = plugin(Registry(), "ranged")
    assert info.state == state, info.error
    assert "this was run" not in info.error
    if state == "incompatible":
        assert "it needs sampler-zoo" in info.error
        assert "and this is 0." in info.error
