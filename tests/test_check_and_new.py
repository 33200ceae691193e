"""`zoo check` and `zoo new` on the command line, and deprecations."""

from __future__ import annotations

import json

import pytest
import tomllib

import zoo
from zoo import deprecation
from zoo.cli import main
from zoo.commands import check as check_command
from zoo.commands.new import KINDS, words_of, write
from zoo.deprecation import ZooDeprecationWarning, deprecated


def test_a_built_in_is_checked_by_name_with_a_setting(capsys):
    assert main(["check", "classifier_free_guidance", "--method", "cfg scale=1", "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)
    assert {outcome["subject"] for outcome in outcomes} == {"cfg", "cfg scale=1.0"}
    assert {outcome["state"] for outcome in outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what to check"),
        (["no_such_plugin"], "there is no plugin and no module 'no_such_plugin'; installed are models, ddpm"),
        (["no/such/file.py"], "there is no file"),
        (["no.such.module"], "there is no plugin and no module 'no.such.module'; installed are models, ddpm"),
        (["cfg"], "there is no plugin and no module 'cfg'; did you mean 'classifier_free_guidance'?"),
        (["sampler-zoo-ddim"], "did you mean 'ddim'?"),
        (["ddim/ddim"], "did you mean 'ddim'?"),
        (["."], ". is a folder: name one .py file of it; or if it is a package, install it first"),
        (["zoo.method"], "zoo.method: it offers nothing: no function is marked @hookimpl"),
        (["ddim", "--method", "dimm steps=3"], "there is no 'dimm'; there are ddim"),
        (["ddim", "--method", "ddim steps=0"], "steps: Input should be greater than or equal to 1"),
        (["--explain", "order"], "there is no check 'order'; there are import_is_light"),
    ],
)
def test_wrong_input_to_check_is_explained(arguments, message, capsys):
    try:
        code = main(["check", *arguments])
    finally:
        printed = capsys.readouterr()
    assert code == 2
    assert message in printed.err


HOOK = "ZOO_API = 1\nfrom zoo import SamplerSpec, hookimpl\n@hookimpl\ndef register_samplers():\n    "
TWICE = "return [SamplerSpec('a', object, title=t) for t in ('A', 'B')]"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ZOO_API = 1\nraise SystemExit('no')", "odd.py cannot be imported: SystemExit: no (odd.py, line 2)"),
        ("ZOO_API = 1\nraise ValueError('no')", "odd.py cannot be imported: ValueError: no (odd.py, line 2)"),
        ("ZOO_API = 1\n\ndef broken(:", "cannot be imported: SyntaxError: invalid syntax (odd.py, line 3)"),
        ("x = 1", "odd.py: it does not say which plugin interface it is for: add the line `ZOO_API = 1`"),
        (HOOK + "raise KeyError('no')", "odd: register_samplers raised KeyError: 'no' (odd.py, line 5)"),
        (HOOK + "return None", "odd: register_samplers must return a list of SamplerSpec, but returned None"),
        (HOOK + "return ['a']", "must return a list of SamplerSpec, but one entry is of type str"),
        (HOOK + "return []", "odd contributes nothing: its hooks return empty lists"),
        (HOOK + TWICE, "odd: register_samplers returns 'a' twice"),
        (HOOK.replace("@hookimpl", "") + TWICE, "odd: register_samplers lacks @hookimpl"),
        (HOOK.replace("samplers", "sampelrs") + TWICE, "did you mean register_samplers?"),
        (HOOK.replace("samplers()", "samplers(x)") + TWICE, "definition: register_samplers(x)"),
    ],
)
def test_a_file_that_the_registry_would_refuse_is_refused_with_the_reason(source, message, tmp_path, capsys):
    (tmp_path / "odd.py").write_text(source + "\n")
    assert main(["check", str(tmp_path / "odd.py")]) == 2
    assert message in capsys.readouterr().err


def test_a_file_whose_name_cannot_be_a_plugin_s_is_refused(tmp_path, capsys):
    (tmp_path / "my plugin.py").write_text(HOOK + TWICE)
    assert main(["check", str(tmp_path / "my plugin.py")]) == 2
    assert "'my plugin' cannot be a plugin's name" in capsys.readouterr().err


def test_what_cannot_be_loaded_is_told_once(tmp_path, capsys):
    (tmp_path / "odd.py").write_text(HOOK + "return [SamplerSpec('a', 'no_such_module:A', title='A')]")
    assert main(["check", str(tmp_path / "odd.py")]) == 1
    printed = capsys.readouterr().out
    assert printed.count("No module named 'no_such_module'") == 1
    assert "more: implementation_loads failed" in printed
    assert printed.splitlines()[-1].endswith(": 1 failed")


def test_a_check_that_does_not_come_back_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check_command, "PATIENCE", 0.2)
    plugin = tmp_path / "sleepy.py"
    plugin.write_text(
        "import time\nfrom zoo import Sampler, SamplerSpec, hookimpl\n\nZOO_API = 1\n\n"
        "class Sleepy(Sampler):\n"
        "    def sample(self, x, levels, noise):\n        time.sleep(0.5)\n        yield from ()\n\n"
        "@hookimpl\ndef register_samplers():\n"
        "    return [SamplerSpec('sleepy', Sleepy, 'Sleepy', 'Sleeps, and asks nothing.')]\n"
    )
    assert main(["check", str(plugin)]) == 1
    written = capsys.readouterr()
    assert "sleepy: is_a_sampler has taken 0.2 s so far" in written.err
    assert "has taken" not in written.out


def test_a_check_is_explained(capsys):
    assert main(["check", "--explain", "inputs_are_untouched"]) == 0
    printed = capsys.readouterr().out
    assert "inputs_are_untouched (sampler)" in printed
    assert "inputs_are_untouched (conditioner)" in printed


def test_plugins_says_how_to_install_more(capsys):
    assert main(["plugins", "--safe-mode"]) == 0
    printed = capsys.readouterr().out
    for word in ("pip install", "--plugins-dir", "zoo new", "zoo check", "ZOO_PLUGINS", "ZOO_DISABLE"):
        assert word in printed


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_complete(kind, tmp_path, capsys):
    assert main(["new", "My Method", "--kind", kind, "--out", str(tmp_path)]) == 0
    folder = tmp_path / "sampler-zoo-my-method"
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["sampler_zoo"] == {"my_method": "sampler_zoo_my_method.plugin"}
    assert project["dependencies"] == ["sampler-zoo>=0.1,<1"]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"README.md", ".github/workflows/ci.yml", "tests/test_conformance.py"} <= files
    for name in files:
        text = (folder / name).read_text(encoding="utf-8")
        assert "«" not in text
        if name.endswith(".py"):
            compile(text, name, "exec")
    assert "id-token: write" in (folder / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert main(["new", "my-method", "--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "2fast", "a/b", "lambda", "plugin", "ümlaut", "../up"])
def test_a_name_that_cannot_be_a_package_s_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="cannot be a package's name"):
        write(name, "sampler", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_built_in_s_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the zoo has a plugin 'ddim' itself"):
        write("sampler-zoo-DDIM", "sampler", tmp_path)


def test_an_installed_plugin_with_a_built_in_s_name_is_the_one_that_is_checked(tmp_path, monkeypatch, capsys):
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sampler_zoo]\nddim = no_such_module_of_a_stranger\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["check", "ddim"]) == 2
    assert "ddim cannot be imported: ModuleNotFoundError" in capsys.readouterr().err


def test_a_name_may_be_written_in_any_way():
    for name in ("My Solver", "my-solver", "my_solver", "sampler-zoo-my-solver"):
        assert words_of(name)["project"] == "sampler-zoo-my-solver"
        assert words_of(name)["Class"] == "MySolver"


def test_a_deprecation_warns_for_one_minor_version_and_must_then_be_gone(monkeypatch):
    def old():
        deprecated("zoo.old", "write zoo.new", since="0.2")

    for version in ("0.2.0", "0.3.7"):
        monkeypatch.setattr(zoo, "__version__", version)
        with pytest.warns(
            ZooDeprecationWarning, match=r"since zoo 0\.2 and will be gone in 0\.4: write zoo\.new"
        ) as w:
            old()
        assert w[0].filename == __file__
    monkeypatch.setattr(zoo, "__version__", "0.4.0")
    with pytest.raises(AssertionError, match=r"zoo\.old is deprecated since 0\.2: remove it in 0\.4\.0"):
        old()
    assert deprecation.__doc__
