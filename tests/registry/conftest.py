"""What the tests of the registry share."""

import sys

import pytest


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
