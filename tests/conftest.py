"""What every test can rely on."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_networks_of_other_modules() -> None:
    """The shelf is shared by all models, and so by all tests: each module begins with an empty one."""
    if memory := sys.modules.get("zoo.memory"):
        memory.shelf.clear()
