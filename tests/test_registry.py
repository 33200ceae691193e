"""The registry against plugins that break every rule: each is reported, none stops the others."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import BaseModel, ValidationError

from zoo import builtins as shipped
from zoo.hookspecs import ImplementationError, ModelSpec, SamplerSpec
from zoo.registry import IncompatiblePlugin, PluginError, PluginInfo, Registry, UnknownName, default_registry

ROOT = Path(__file__).parents[1]

HEADER = """
from zoo.hookspecs import ConditionerSpec, ModelSpec, SamplerSpec, hookimpl
ZOO_API = 1
"""
GOOD = (
    HEADER
    + """
class Euler: ...

@hookimpl
def register_samplers():
    return [SamplerSpec("euler", Euler, title="Euler")]
"""
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path_factory):
    """Keep the environment of whoever runs the tests out of them."""
    for name in ("ZOO_PLUGINS_DIR", "ZOO_PLUGINS", "ZOO_DISABLE", "ZOO_STRICT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _no_leftovers(tmp_path):
    """Take the specimens out of sys.modules again."""
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path):
    """An empty folder of drop-ins."""
    return tmp_path


def write(folder: Path, name: str, source: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(dedent(source), encoding="utf-8")
    return path


def install(site: Path, project: str, entry_points: str, requires: str = "", **modules: str) -> None:
    """What pip leaves behind of a package: its modules, and a .dist-info folder."""
    info = site / f"{project.replace('-', '_')}-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 2.5\n{requires}\n")
    (info / "entry_points.txt").write_text(dedent(entry_points))
    for name, source in modules.items():
        write(site, name, source)


def plugin(registry: Registry, name: str) -> PluginInfo:
    (found,) = [info for info in registry.plugins if info.name == name]
    return found


def drop_in(folder: Path, source: str) -> tuple[Registry, PluginInfo]:
    """The registry with this one drop-in, and a well-behaved one that must survive it."""
    write(folder, "specimen", source)
    write(folder, "zz_bystander", GOOD)
    registry = Registry(folder)
    assert plugin(registry, "zz_bystander").state == "loaded"
    assert "zz_bystander/euler" in registry.samplers
    return registry, plugin(registry, "specimen")


def test_a_good_drop_in_is_loaded_under_its_own_name(folder):
    registry, info = drop_in(folder, GOOD + "\n__version__ = '0.3'\n")
    assert (info.state, info.source, info.version, info.error) == ("loaded", "drop-in", "0.3", "")
    assert info.registers == {"samplers": ["specimen/euler"]}
    assert registry.sampler("specimen/euler").name == "specimen/euler"
    assert registry.sampler("specimen/euler").load().__name__ == "Euler"
    assert info.import_seconds > 0


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
    write(folder, "specimen", GOOD)
    monkeypatch.setenv("ZOO_PLUGINS_DIR", str(folder))
    assert "specimen/euler" in Registry().samplers


def test_a_missing_folder_is_reported(tmp_path):
    info = plugin(Registry(tmp_path / "absent"), "plugins-dir")
    assert info.state == "failed"
    assert "absent is not a folder" in info.error


def test_helper_files_are_not_plugins(folder):
    write(folder, "_helper", "raise RuntimeError")
    write(folder, "specimen", GOOD)
    assert [info.name for info in Registry(folder).plugins if info.source == "drop-in"] == ["specimen"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("ZOO_API = 1\nraise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("ZOO_API = 1\nimport sys\nsys.exit(3)", "SystemExit: 3"),
        ("ZOO_API = 1\nimport a_package_that_nobody_has", "ModuleNotFoundError"),
        ("ZOO_API = 1\ndef broken(:\n", "SyntaxError"),
        ("ZOO_API = 1\n\0", "null bytes"),
        (
            "ZOO_API = 1\nclass Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
            "Mute",
        ),
    ],
    ids=[
        "raises",
        "exits",
        "lacks a dependency",
        "syntax error",
        "null byte",
        "error that cannot be printed",
    ],
)
def test_failing_at_import_is_reported_with_its_traceback(folder, source, error):
    _, info = drop_in(folder, source)
    assert info.state == "failed"
    assert error in info.error
    assert "Traceback" in info.traceback
    assert "specimen.py" in info.traceback or "null bytes" in error
    assert info.registers == {}
    assert "zoo_dropin_specimen" not in sys.modules


def test_ctrl_c_still_ends_the_program(folder):
    write(folder, "specimen", "ZOO_API = 1\nraise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry(folder)


@pytest.mark.parametrize(
    ("declaration", "advice"),
    [
        ("", "add the line `ZOO_API = 1`"),
        ("ZOO_API = 2", "this zoo has 1"),
        ("ZOO_API = '1'", "plain integer"),
        ("ZOO_API = True", "plain integer"),
        ("ZOO_API: int = 7", "interface 7"),
    ],
)
def test_a_drop_in_for_another_interface_is_not_run(folder, declaration, advice):
    _, info = drop_in(folder, f"{declaration}\nraise RuntimeError('this was run')")
    assert info.state == "incompatible"
    assert advice in info.error
    assert "this was run" not in info.error + info.traceback


def test_a_drop_in_is_in_sys_modules_while_it_runs(folder):
    registry, info = drop_in(
        folder,
        "import sys\nassert sys.modules[__name__].__file__ == __file__\n" + GOOD,
    )
    assert info.state == "loaded", info.error
    euler = registry.sampler("specimen/euler").load()
    assert type(pickle.loads(pickle.dumps(euler()))) is euler


def test_an_edited_drop_in_is_read_anew(folder):
    for title in ("One", "Two"):  # same length, and within one tick of the file system's clock
        write(folder, "specimen", GOOD.replace('title="Euler"', f'title="{title}"'))
        assert Registry(folder).sampler("specimen/euler").title == title
    assert not (folder / "__pycache__").exists()


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


def test_a_file_name_that_cannot_be_a_plugin_name_is_refused(folder):
    write(folder, "my plugin", GOOD)
    info = plugin(Registry(folder), "my plugin")
    assert info.state == "failed"
    assert "cannot be a plugin's name" in info.error


def test_what_plugins_print_stays_out_of_standard_output(folder, capsys):
    drop_in(folder, "print('at import')\n" + GOOD.replace("    return", "    print('in a hook')\n    return"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "at import\nin a hook\n"


def test_the_first_of_two_equal_names_wins(folder):
    twice = '[SamplerSpec("euler", Euler, title="First"), SamplerSpec("euler", Euler, title="Second")]'
    registry, info = drop_in(folder, GOOD.replace('[SamplerSpec("euler", Euler, title="Euler")]', twice))
    assert registry.sampler("specimen/euler").title == "First"
    assert info.state == "loaded"
    assert "sampler 'specimen/euler', by drop-in" in info.error


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


def test_a_broken_built_in_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr(shipped, "MODULES", {"gone": "zoo.builtins.gone", **shipped.MODULES})
    registry = Registry()
    assert plugin(registry, "gone").state == "failed"
    assert {"ddpm", "ddim"} <= registry.samplers.keys()


def test_the_shipped_built_ins_are_all_loaded():
    registry = Registry(safe_mode=True)
    assert [(info.name, info.state, info.error) for info in registry.plugins] == [
        (name, "loaded", "") for name in shipped.MODULES
    ]
    assert {"ddpm", "ddim", "euler", "heun", "dpmpp_2m", "unipc"} <= registry.samplers.keys()
    assert "cfg" in registry.conditioners
    assert {"tinyworld", "gaussian", "mixture"} <= registry.models.keys()
    assert {"steps", "eta"} <= registry.sampler("ddim").params_model().model_fields.keys()


def test_safe_mode_runs_built_ins_only(folder, monkeypatch):
    site = folder / "site"
    install(site, "guests", "[sampler_zoo]\nguests = zoo_guests_module\n", zoo_guests_module=GOOD)
    monkeypatch.syspath_prepend(site)
    write(folder, "specimen", GOOD)
    assert {info.source for info in Registry(folder, safe_mode=True).plugins} == {"built-in"}
    assert {info.source for info in Registry(folder).plugins} == {"built-in", "entry point", "drop-in"}


def test_disabled_plugins_are_listed_but_not_run(folder, monkeypatch):
    monkeypatch.setenv("ZOO_DISABLE", " specimen ,ddpm")
    registry, info = drop_in(folder, "raise RuntimeError")
    assert (info.state, info.error) == ("disabled", "")
    assert plugin(registry, "ddpm").state == "disabled"
    assert "ddpm" not in registry.samplers
    with pytest.raises(UnknownName, match="Plugin specimen is disabled: ZOO_DISABLE names it"):
        registry.sampler("specimen/euler")


def test_disabling_what_is_not_there_is_a_warning(monkeypatch):
    monkeypatch.setenv("ZOO_DISABLE", "ddimm")
    with pytest.warns(UserWarning, match="no plugin is called that"):
        Registry()


def test_an_allow_list_leaves_out_the_others(folder, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "zz_bystander")
    registry, info = drop_in(folder, "ZOO_API = 1\nraise RuntimeError('this was run')")
    assert (info.state, info.error) == ("disabled", "ZOO_PLUGINS does not name it")
    assert "ddim" in registry.samplers, "built-ins need not be named"
    with pytest.raises(UnknownName, match="Plugin specimen is disabled: ZOO_PLUGINS does not name it"):
        registry.sampler("specimen/euler")
    monkeypatch.setenv("ZOO_PLUGINS", "zz_bystander,bystander")
    with pytest.warns(UserWarning, match="ZOO_PLUGINS names 'bystander'"):
        Registry(folder)


def test_what_is_on_both_lists_is_disabled(folder, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "specimen")
    monkeypatch.setenv("ZOO_DISABLE", "specimen")
    write(folder, "specimen", "raise RuntimeError")
    assert plugin(Registry(folder), "specimen").state == "disabled"


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


CRASH = "ZOO_API = 1\nimport ctypes\nctypes.string_at(0)\n"


def test_a_plugin_that_crashes_the_process_is_left_out_once(folder):
    write(folder, "specimen", CRASH)
    write(folder, "zz_bystander", GOOD)
    program = f"from zoo.registry import Registry; Registry({str(folder)!r})"
    died = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert died.returncode != 0
    registry = Registry(folder)
    info = plugin(registry, "specimen")
    assert info.state == "failed"
    assert "the process died when it was last imported" in info.error
    assert "ZOO_DISABLE=specimen" in info.error
    assert "zz_bystander/euler" in registry.samplers
    write(folder, "specimen", GOOD)
    assert plugin(Registry(folder), "specimen").state == "loaded", "it is tried again at the next start"


def test_a_plugin_that_another_process_is_importing_has_not_crashed(folder):
    (folder / "specimen.py").write_text(
        "ZOO_API = 1\nimport sys\nprint('importing', file=sys.stderr, flush=True)\nsys.stdin.read()\n"
    )
    program = f"from zoo.registry import Registry; Registry({str(folder)!r})"
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **pipes) as other:
        assert other.stderr.readline().strip() == b"importing"
        write(folder, "specimen", GOOD)
        assert plugin(Registry(folder), "specimen").state == "loaded"
        other.communicate(b"")
    assert plugin(Registry(folder), "specimen").state == "loaded"


def test_without_a_folder_to_write_to_plugins_are_loaded_all_the_same(folder, monkeypatch):
    (folder / "a_file").write_text("")
    monkeypatch.setenv("ZOO_STATE_DIR", str(folder / "a_file"))
    write(folder, "specimen", GOOD)
    assert plugin(Registry(folder), "specimen").state == "loaded"


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


def test_an_implementation_given_by_address_is_imported_at_first_use(tmp_path, monkeypatch):
    source = """\
        from pydantic import BaseModel
        class Outer:
            class Inner:
                class Params(BaseModel):
                    steps: int = 9
        """
    write(tmp_path, "zoo_lazy_module", source)
    monkeypatch.syspath_prepend(tmp_path)
    spec = SamplerSpec("lazy", "zoo_lazy_module:Outer.Inner", title="Lazy")
    assert "zoo_lazy_module" not in sys.modules
    assert spec.params_model()().model_dump() == {"steps": 9}
    assert spec.load() is sys.modules["zoo_lazy_module"].Outer.Inner


@pytest.mark.parametrize(
    "address",
    ["zoo_absent:Thing", "zoo.hookspecs:Thing", "zoo_exits_late:Thing"],
    ids=["module", "name", "exits"],
)
def test_an_implementation_that_cannot_be_imported_is_named(tmp_path, monkeypatch, address):
    write(tmp_path, "zoo_exits_late", "raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ImplementationError, match=f"sampler 'lazy' cannot be used: importing {address} failed"
    ):
        SamplerSpec("lazy", address, title="Lazy").load()


def test_parameters_are_the_given_the_implementations_or_none():
    class Given(BaseModel):
        pass

    class Implementation:
        class Params(BaseModel):
            pass

    assert SamplerSpec("a", Implementation, title="A", params=Given).params_model() is Given
    assert SamplerSpec("a", Implementation, title="A").params_model() is Implementation.Params
    without = ModelSpec("a", lambda: None, title="A").params_model()
    assert without.model_fields == {}
    with pytest.raises(ValidationError):
        without(steps=3)


def test_listing_plugins_imports_nothing_heavy(tmp_path):
    program = dedent(
        """
        import json, sys
        import zoo.registry
        registry = zoo.registry.default_registry()
        assert registry.samplers, registry.plugins
        heavy = {"torch", "torchvision", "diffusers", "transformers", "gradio", "cv2", "controlnet_aux"}
        print(json.dumps(sorted(heavy & set(sys.modules))))
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(printed.stdout) == []
