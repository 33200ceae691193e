"""Where a model's files are: `folder:PATH`, or `hub:OWNER/NAME[@REVISION]`, whose files are fetched when needed."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""

_HUB = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")


class Source(ABC):
    """The files of one model.

    Attributes:
        name: what finds exactly these files again.
        title: for people.
        files: their paths, in POSIX spelling.
        commit: of the hub's repository; "" of a folder.
        pinned: whether the commit was asked for and not looked up.
    """

    name: str
    title: str
    files: tuple[str, ...]
    commit: str = ""
    pinned: bool = True

    @abstractmethod
    def path(self, file: str) -> Path:
        """Where the file is on this machine, fetched if it is not there yet.

        Raises:
            OSError: it does not exist, or cannot be fetched.
        """

    def json(self, file: str) -> dict[str, Any]:
        """What a JSON file holds.

        Raises:
            OSError: it does not exist, cannot be fetched, or is not a JSON object.
        """
        try:
            found = json.loads(self.path(file).read_text(encoding="utf-8"))
        except ValueError as error:
            raise OSError(f"{self.name}: {file} is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise OSError(f"{self.name}: {file} must hold an object, not a {type(found).__name__}")
        return found


class Folder(Source):
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.root = path.expanduser()
        if not self.root.is_dir():
            raise OSError(f"{self.root} is not a folder")
        self.name, self.title = f"folder:{path}", self.root.name
        self._opened = {file: _state(self.root / file) for file in _files_below(self.root)}
        self.files = tuple(self._opened)

    def path(self, file: str) -> Path:
        if file not in self.files:
            raise OSError(f"{self.name}: {file} is missing")
        path = self.root / file
        if not path.is_file():
            raise OSError(f"{self.name}: {file} was moved or deleted after the model was opened; put it back")
        if _state(path) != self._opened[file]:
            # Its networks would be of two minds, and the hash of the weights that is on record a wrong one.
            raise OSError(
                f"{self.name}: {file} was changed after the model was opened; start again to use it as it is now"
            )
        return path


class Hub(Source):
    """A repository of the Hugging Face hub (or of the one that HF_ENDPOINT names), at one commit.

    Without a connection it is what the hub's cache on this machine holds of it.

    Args:
        repo: OWNER/NAME.
        revision: a branch, tag or commit; its main branch by default.

    Raises:
        OSError: there is no such thing, or it can neither be reached nor found in the cache.
    """

    def __init__(self, repo: str, revision: str | None = None) -> None:
        self.repo, self.title = repo, repo
        self.asked = f"hub:{repo}" + (f"@{revision}" if revision else "")
        self.commit, self.files = self._look_up(revision)
        self.pinned = revision is not None and self.commit.startswith(revision)
        self.name = f"hub:{repo}@{self.commit}"

    def path(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download

        if file not in self.files:
            raise OSError(f"{self.name}: {file} is missing")
        return Path(
            self._ask(lambda: hf_hub_download(self.repo, file, revision=self.commit, endpoint=_endpoint()))
        )

    def _look_up(self, revision: str | None) -> tuple[str, tuple[str, ...]]:
        from huggingface_hub import HfApi

        def look() -> tuple[str, tuple[str, ...]]:
            info = HfApi(_endpoint()).model_info(self.repo, revision=revision, timeout=TIMEOUT)
            return str(info.sha), tuple(sorted(file.rfilename for file in info.siblings or ()))

        try:
            return self._ask(look)
        except ConnectionError:
            if cached := self._cached(revision):
                return cached.name, _files_below(cached)
            raise

    def _cached(self, revision: str | None) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        for file in ("model_index.json", "config.json"):
            found = try_to_load_from_cache(self.repo, file, revision=revision)
            if isinstance(found, str):
                return Path(found).parent
        return None

    def _ask(self, question: Callable[[], T]) -> T:
        from huggingface_hub import errors

        try:
            return question()
        except errors.GatedRepoError:
            raise OSError(
                f"{self.asked} is gated: accept its terms at https://huggingface.co/{self.repo}, then `hf auth login`"
            ) from None
        except errors.RevisionNotFoundError:
            raise OSError(
                f"{self.asked}: the repository has no such revision; name a branch, tag or commit of it"
            ) from None
        except errors.RepositoryNotFoundError:
            raise OSError(
                f"{self.asked}: the hub has no such model, or it is private and you are not logged in (hf auth login)"
            ) from None
        except Exception as error:  # of whatever library carries the connection
            raise ConnectionError(
                f"{self.asked}: the hub cannot be reached, and the cache has no copy of what is needed "
                f"({type(error).__name__}); connect to the network, or give folder:PATH"
            ) from error


def open_source(name: str) -> Source:
    """The source that a name like `hub:OWNER/NAME@REVISION` or `folder:PATH` stands for.

    Raises:
        OSError: it is not there.
        ValueError: the name is not written like that.
    """
    kind, _, rest = name.partition(":")
    if kind == "folder" and rest:
        return Folder(Path(rest))
    match = _HUB.fullmatch(rest)
    if kind != "hub" or match is None:
        raise ValueError(
            f"a model from elsewhere is written hub:OWNER/NAME[@REVISION] or folder:PATH, got {name!r}"
        )
    return Hub(match["repo"], match["revision"])


def matching(files: Sequence[str], part: str) -> list[str]:
    """The files in a part of a model; in its root folder if the part is ""."""
    if not part:
        return [file for file in files if "/" not in file]
    return [file for file in files if file.startswith(f"{part}/")]


def _files_below(root: Path) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()))


def _state(path: Path) -> tuple[int, int]:
    """Of a file: changes when it does."""
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _endpoint() -> str | None:
    """Read at every call, unlike the hub's own library does."""
    return os.environ.get("HF_ENDPOINT") or None
