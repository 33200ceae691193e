"""Drop-ins, the .py files of a folder: what goes wrong in one is reported, and stops no other."""

import pickle
import sys

import pytest

from tests.registry.specimens import GOOD, drop_in, plugin, write
from zoo.method import Method
from zoo.registry import Registry


def test_a_good_drop_in_is_loaded_under_its_own_name(folder):
    registry, info = drop_in(folder, GOOD + "\n__version__ = '0.3'\n")
    assert (info.state, info.source, info.version, info.error) == ("loaded", "drop-in", "0.3", "")
    assert info.registers == {"samplers": ["specimen/euler"]}
    assert registry.sampler("specimen/euler").name == "specimen/euler"
    assert registry.sampler("specimen/euler").load().__name__ == "Euler"
    assert info.import_seconds > 0


def test_what_may_be_registered_may_stand_in_a_method(folder):
    registry, info = drop_in(folder, GOOD.replace('"euler"', '"dpm++"'))
    assert info.registers == {"samplers": ["specimen/dpm++"]}
    method = Method.parse("specimen/dpm++ steps=3 | cfg scale=2")
    assert registry.sampler(method.sampler.name).load().__name__ == "Euler"


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
