"""What visitors read of errors, at home and among strangers."""

import pytest

from zoo.comparison import CellResult, Comparison
from zoo.discovery import PluginInfo
from zoo.metric import NoScore
from zoo.registry import Registry
from zoo.store import results_json
from zoo.ui import disclosure, exports, plugins_tab
from zoo.ui.calls import calls
from zoo.ui.request import sentence
from zoo.ui.running import Runner
from zoo.ui.runs import Run, new_run
from zoo.ui.shelf import Shelf

TOLD = "FileNotFoundError: no such file: '/srv/models of ada/unet.bin', token hf_abcdefghijklmnopqrstuvwx"
FAILED = CellResult(
    "ddim steps=2",
    "failed",
    error=TOLD,
    traceback=f'File "/srv/zoo/cell.py"\n{TOLD}',
    metrics={"frechet": NoScore("no file /srv/statistics.npz", failed=True)},
)


@pytest.fixture
def hosted(monkeypatch):
    monkeypatch.setenv("ZOO_HOSTED", "1")


@pytest.fixture
def home(monkeypatch):
    monkeypatch.delenv("ZOO_HOSTED", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "[Errno 2] No such file: '/home/ada/my models/model.json'",
            "[Errno 2] No such file: '…/model.json'",
        ),
        (
            "/srv/m is no model: /srv/m/unet/config.json is no JSON",
            "…/m is no model: …/config.json is no JSON",
        ),
        ("folder:/srv/m cannot be read", "folder:…/m cannot be read"),
        ("image=/etc/hostname (see ~/.cache/x)", "image=…/hostname (see …/x)"),
        (r"C:\Users\ada\x.py and \\server\share\f", "…/x.py and …/f"),
        ("file:///etc/passwd", "…/passwd"),
        ("at https://ada:pass@example.org/x", "at https://…@example.org/x"),
        ("key hf_abcdefghijklmnopqrstuvwx", "key …"),
    ],
)
def test_folders_and_secrets_are_left_out(text, shown):
    assert disclosure.without_paths(disclosure.without_secrets(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "in the method 'ddim steps=5/10 | cfg scale=3': a name is missing",
        "there is no sampler 'mine/euler'; did you mean controlnet_aux/canny and/or hub:OWNER/NAME?",
        "see https://arxiv.org/abs/2010.02502, or docs/models.md",
        "1/2, a / b, </b>, λ·σ/α, (3, H, W)",
        "data:image/png;base64,…",
    ],
)
def test_what_is_no_path_is_left(text):
    assert disclosure.without_paths(disclosure.without_secrets(text)) == text


def test_values_of_secret_variables_are_left_out(monkeypatch, hosted):
    monkeypatch.setenv("SOME_API_KEY", "0123456789")
    monkeypatch.setenv("ZOO_LOGIN", "ada:correct-horse bob:staple-battery")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "sometimes")
    assert disclosure.visible("0123456789, staple-battery, sometimes") == "…, …, sometimes"


def test_at_home_everything_is_told(home):
    assert disclosure.visible(TOLD) == TOLD
    assert disclosure.result(FAILED) is FAILED
    assert disclosure.traceback("all of it") == "all of it"


def test_a_run_holds_nothing_that_strangers_may_not_read(hosted, tmp_path, caplog):
    registry = Registry(safe_mode=True)
    runner = Runner(registry, "cpu", Shelf(tmp_path))
    run = new_run(Comparison(model="gaussian", cells=["ddim steps=2"]), [], registry)
    runner.shelf.begin(run)
    run.note(0, FAILED)
    run.notices = ("from /srv/models of ada",)
    run.say("ended", "Not run.", "/srv/m is not a model")
    shown = str(run.since(0)) + exports.report(run) + results_json(run.result)
    assert "/srv" not in shown and "hf_" not in shown
    assert "…/unet.bin" in shown and "…/statistics.npz" in shown
    assert 'File "/srv/zoo/cell.py"' in caplog.text, "whoever runs the page finds it in the log"


def test_a_run_kept_at_home_is_told_to_strangers_without_folders(home, monkeypatch, tmp_path):
    registry = Registry(safe_mode=True)
    comparison = Comparison(model="gaussian", cells=["ddim steps=2"])
    run = new_run(comparison, [], registry)
    shelf = Shelf(tmp_path)
    shelf.begin(run)
    run.note(0, FAILED)
    run.say("ended", "Not run.")
    shelf.write(run)
    assert run.since(0)["cells"]["0"]["traceback"] == FAILED.traceback
    monkeypatch.setenv("ZOO_HOSTED", "1")
    again = shelf.load(run.id)
    assert isinstance(again, Run)
    assert again.since(0)["cells"]["0"]["traceback"] == "" and "/srv" not in str(again.since(0))


def test_every_way_to_say_what_is_wrong_is_covered(hosted, tmp_path, monkeypatch):
    registry = Registry(safe_mode=True)
    info = PluginInfo(
        "odd", "folder", "/srv/plugins/odd.py", error=TOLD, traceback=FAILED.traceback, state="failed"
    )
    registry.plugins.append(info)
    table = plugins_tab.table(registry)
    assert "…/odd.py" in table and "/srv" not in table and "Traceback" not in table

    asked = {f.__name__: f for f in calls(registry, Runner(registry, "cpu", Shelf(tmp_path)))}

    def fail(*_: object) -> None:
        raise RuntimeError(TOLD)

    monkeypatch.setattr("zoo.ui.calls.card", fail)
    answer = asked["read_card"]({"line": "ddim"})
    assert answer["error"].startswith("RuntimeError: FileNotFoundError: no such file: '…/unet.bin'")
    assert sentence(ValueError("/srv/m is no model")) == "…/m is no model"
