"""What is decided before a plugin is imported: allowed, denied, safe mode, crashed the last time."""

import subprocess
import sys

import pytest

from tests.registry.specimens import GOOD, ROOT, drop_in, install, plugin, write
from zoo.registry import Registry, UnknownName


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
