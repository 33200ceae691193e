"""Remembers which plugin is being imported, so that one that takes the process down is noticed at the next start.

Native code may crash in a way that no Python code sees. So before a stranger's plugin is imported a small file is
written and held, and afterwards deleted. A file that is left over, and that no process holds, names the plugin that a
process died of; that plugin is then left out once, so that the page starts and can say so.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

Import = tuple[str, str]
"""A plugin's name and location."""


def state_folder() -> Path:
    """Where the files are kept: ZOO_STATE_DIR, else the user's own folder for such things."""
    if chosen := os.environ.get("ZOO_STATE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "sampler-zoo"


@contextmanager
def importing(plugin: str, location: str) -> Iterator[None]:
    """Note that this plugin is being imported, while the block runs; where nothing can be written, do without."""
    file: IO[str] | None = None
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        file = _note(plugin, location)
    try:
        yield
    finally:
        if file is not None:
            if sys.platform == "win32":  # where an open file cannot be deleted
                file.close()
            with suppress(OSError):
                os.unlink(file.name)
            file.close()


def crashed() -> set[Import]:
    """The plugins during whose import a process died; each death is told once."""
    found = set()
    with suppress(OSError, RuntimeError):
        for path in (state_folder() / "importing").glob("*.json"):
            with suppress(OSError, ValueError):  # held by its process, or died before it was written
                plugin, location = _taken(path)
                found.add((plugin, location))
    return found


def _note(plugin: str, location: str) -> IO[str]:
    """The file, held by this process until it is closed or the process ends, in whatever way."""
    folder = state_folder() / "importing"
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / f"{uuid.uuid4().hex}.json", "x", encoding="utf-8")  # noqa: SIM115
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX)
    json.dump([plugin, location], file)
    file.flush()
    return file


def _taken(path: Path) -> list[str]:
    """What a left-over file says, deleting it; raises OSError where a process holds it."""
    with path.open(encoding="utf-8") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        text = file.read()
    if sys.platform == "win32":
        path.unlink()  # refused while its process has it open
    note: list[str] = json.loads(text)
    return note
