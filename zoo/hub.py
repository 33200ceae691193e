"""Files of weights that others publish: pinned, from listed sources, and fetched only where that was allowed.

Many of them are pickles, which can run code when they are opened. Three things keep that from happening: a file is
compared with its published SHA-256, or taken from a fixed commit, before anything opens it; it may only be opened by
`torch.load` with weights_only, which builds tensors and refuses the rest; and on a hosted page none is opened unless
the page's owner says so.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

SWITCH = "ZOO_ANNOTATOR_DOWNLOADS"
"""The environment variable that lets files be fetched, and a hosted page open them: 1 is yes."""


class Unavailable(ValueError):
    """Something needs a package or a file that is not here; the message says what, where from and how to get it."""


@dataclass(frozen=True)
class HubFile:
    """One file in a repository of the Hugging Face hub.

    Args:
        repository: owner/name.
        path: within the repository.
        size: about, such as "29 MB"; "" where it is not known.
        sha256: of its content, or the first digits of that where only those are published; "" where it is not known.
        revision: a commit of the repository, never a branch; "" where it is not known.

    Raises:
        ValueError: neither `sha256` nor `revision` is given, so that its content could change.
    """

    repository: str
    path: str
    size: str
    sha256: str = ""
    revision: str = ""

    def __post_init__(self) -> None:
        if not (self.sha256 or self.revision):
            raise ValueError(f"{self} needs a sha256 or a revision, so that its content is fixed")

    def __str__(self) -> str:
        return f"{self.path}{f' ({self.size})' if self.size else ''} from {self.repository}"

    @property
    def command(self) -> str:
        """What to type to get it."""
        at = f" --revision {self.revision}" if self.revision else ""
        return f"hf download {self.repository} {self.path}{at}"

    def check(self) -> None:
        """Refuse at once what `get` would refuse; touches neither the network nor the file's content.

        Raises:
            Unavailable: it is not here and may not be fetched, or may not be opened.
        """
        if hosted() and not downloads_allowed():
            raise Unavailable(
                f"needs {self}, which a hosted page does not open unless its owner sets {SWITCH}=1; "
                "on your own machine it does"
            )
        if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() in ("1", "y", "yes", "true"):
            raise Unavailable(
                f"needs {self}, and TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set, under which a file may run code when "
                "it is opened: unset it"
            )
        if self.cached() is None and not downloads_allowed():
            raise Unavailable(
                f"needs {self}, which is not on this machine: set {SWITCH}=1 to let the zoo fetch it, "
                f"or run `{self.command}`"
            )

    def cached(self) -> Path | None:
        """Where it is on this machine, if it is."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, self.path, revision=self.revision or None)
        return Path(found) if isinstance(found, str) else None

    def fetch(self) -> Path:
        """Download it to where `cached` looks."""
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(self.repository, self.path, revision=self.revision or None))

    def get(self) -> Path:
        """The file on this machine, fetched if it must and may be, its digest compared if that is known.

        Raises:
            Unavailable: see `check`; or fetching it failed.
            ValueError: it is not the file that was published.
        """
        self.check()
        path = self.cached()
        if path is None:
            try:
                path = self.fetch()
            except Exception as error:  # of the network, of the hub, of the disk
                reason = (str(error).strip().splitlines() or [""])[0]
                raise Unavailable(
                    f"needs {self}, and fetching it failed: {type(error).__name__}: {reason}"
                ) from error
        if not _sha256(path).startswith(self.sha256):
            raise ValueError(
                f"{path} is not {self} as it was published: its SHA-256 is not {self.sha256}; "
                "delete it and fetch it again"
            )
        return path


class UrlFile(HubFile):
    """A file at an address, `repository` being all of that but the name; kept where torch keeps such files."""

    @property
    def command(self) -> str:
        return f"curl --create-dirs -o {self._place()} {self.repository}/{self.path}"

    def cached(self) -> Path | None:
        return self._place() if self._place().is_file() else None

    def fetch(self) -> Path:
        import torch

        self._place().parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(f"{self.repository}/{self.path}", str(self._place()), self.sha256)
        return self._place()

    def _place(self) -> Path:
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / self.path


def hosted() -> bool:
    """Whether strangers choose what runs and see what comes of it: on a Space, or where ZOO_HOSTED says so."""
    return bool(os.environ.get("SPACE_ID")) or os.environ.get("ZOO_HOSTED", "") not in ("", "0")


def downloads_allowed() -> bool:
    """Whether the switch is on."""
    return os.environ.get(SWITCH, "") not in ("", "0")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
