"""Files from a hub: only pinned ones, fetched only where that was allowed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from zoo.hub import HubFile, Unavailable, UrlFile

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = HubFile("owner/name", "folder/model.pth", "1 MB", DIGEST, "0123abc")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    for name in ("SPACE_ID", "ZOO_ANNOTATOR_DOWNLOADS", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)


def test_a_file_whose_content_could_change_cannot_be_listed():
    with pytest.raises(ValueError, match="needs a sha256 or a revision"):
        HubFile("owner/name", "model.pth", "1 MB")


def test_the_command_to_get_it_names_the_commit():
    assert FILE.command == "hf download owner/name folder/model.pth --revision 0123abc"


def test_it_is_fetched_once_allowed(monkeypatch, tmp_path):
    asked = []

    def fetch(repository, path, revision):
        asked.append((repository, path, revision))
        (tmp_path / "model.pth").write_bytes(CONTENT)
        return str(tmp_path / "model.pth")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with pytest.raises(Unavailable, match="not on this machine: set ZOO_ANNOTATOR_DOWNLOADS=1"):
        FILE.get()
    monkeypatch.setenv("ZOO_ANNOTATOR_DOWNLOADS", "0")
    with pytest.raises(Unavailable):
        FILE.get()
    assert not asked
    monkeypatch.setenv("ZOO_ANNOTATOR_DOWNLOADS", "1")
    assert FILE.get().read_bytes() == CONTENT
    assert asked == [("owner/name", "folder/model.pth", "0123abc")]


def test_a_failed_download_is_one_line(monkeypatch):
    def fetch(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setenv("ZOO_ANNOTATOR_DOWNLOADS", "1")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with pytest.raises(Unavailable, match=r"fetching it failed: OSError: no route$"):
        FILE.get()


def test_what_is_here_is_taken_and_compared(monkeypatch, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(CONTENT)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(path))
    assert FILE.get() == path
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match=f"SHA-256 is not {DIGEST}; delete it and fetch it again"):
        FILE.get()


def test_a_file_at_an_address_is_kept_where_torch_keeps_such_files(monkeypatch, tmp_path):
    source = tmp_path / "model.pth"
    source.write_bytes(CONTENT)
    file = UrlFile(tmp_path.as_uri(), "model.pth", "", sha256=DIGEST[:8])
    place = tmp_path / "torch/hub/checkpoints/model.pth"
    with pytest.raises(Unavailable, match="or run `curl --create-dirs -o "):
        file.check()
    monkeypatch.setenv("ZOO_ANNOTATOR_DOWNLOADS", "1")
    assert file.get() == place and place.read_bytes() == CONTENT
    assert Path(file.cached()) == place
    with pytest.raises(ValueError, match=r"is not model\.pth from"):
        UrlFile(tmp_path.as_uri(), "model.pth", "", sha256="00").get()
