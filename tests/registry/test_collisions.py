"""Names that two plugins offer: the first keeps them, and the second is told."""

from tests.registry.specimens import GOOD, drop_in, install, plugin, write
from zoo import builtins as shipped
from zoo.registry import Registry


def test_the_first_of_two_equal_names_wins(folder):
    twice = '[SamplerSpec("euler", Euler, title="First"), SamplerSpec("euler", Euler, title="Second")]'
    registry, info = drop_in(folder, GOOD.replace('[SamplerSpec("euler", Euler, title="Euler")]', twice))
    assert registry.sampler("specimen/euler").title == "First"
    assert info.state == "loaded"
    assert "sampler 'specimen/euler', by drop-in" in info.error


def test_a_plugin_whose_names_are_all_taken_collides(tmp_path, monkeypatch):
    for project in ("a-first", "b-second"):
        module = project.replace("-", "_") + "_module"
        install(tmp_path, project, f"[sampler_zoo]\nshared = {module}\n", **{module: GOOD})
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    first, second = [info for info in registry.plugins if info.name == "shared"]
    assert (first.state, second.state) == ("loaded", "collision")
    assert "sampler 'shared/euler', by entry point a-first: a_first_module" in second.error
    assert registry.sampler("shared/euler").load().__module__ == "a_first_module"


def test_a_plugin_of_which_one_name_is_taken_keeps_the_rest(folder, monkeypatch):
    site = folder / "site"
    install(site, "guests", "[sampler_zoo]\nspecimen = zoo_early_module\n", zoo_early_module=GOOD)
    monkeypatch.syspath_prepend(site)
    both = '[SamplerSpec(name, Euler, title="Late") for name in ("euler", "heun")]'
    write(folder, "specimen", GOOD.replace('[SamplerSpec("euler", Euler, title="Euler")]', both))
    registry = Registry(folder)
    early, late = [info for info in registry.plugins if info.name == "specimen"]
    assert early.state == late.state == "loaded"
    assert late.registers == {"samplers": ["specimen/heun"]}
    assert "'specimen/euler'" in late.error
    assert "'specimen/heun'" not in late.error
    assert registry.sampler("specimen/euler").title == "Euler"


def test_built_ins_have_bare_names_and_third_parties_cannot_take_them(folder, monkeypatch):
    monkeypatch.setattr(shipped, "MODULES", {"specimen": "zoo_builtin_specimen"})
    site = folder / "site"
    site.mkdir()
    write(site, "zoo_builtin_specimen", GOOD)
    monkeypatch.syspath_prepend(site)
    write(folder, "other", GOOD)
    registry = Registry(folder)
    assert list(registry.samplers) == ["euler", "other/euler"]
    assert plugin(registry, "specimen").source == "built-in"
