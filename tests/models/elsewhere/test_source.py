"""Where models come from: folders, a hub, and everything that can be wrong with them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import diffusers
import pytest
import torch

from tests.helpers import CPU
from tests.models.elsewhere.tiny import run, unet2d
from zoo.cli import main
from zoo.memory import shelf
from zoo.models.elsewhere import open_model
from zoo.models.elsewhere.source import Hub, open_source
from zoo.planning import load_model
from zoo.registry import default_registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    diffusers.DDPMPipeline(unet2d(), diffusers.DDPMScheduler(100)).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    import shutil

    return shutil.copytree(saved, tmp_path / "copy with spaces – ü")


def problem(folder) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        load_model(f"folder:{folder}", default_registry())
    return str(caught.value)


def test_a_missing_folder(tmp_path):
    assert f"{tmp_path / 'nowhere'} is not a folder" in problem(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
    assert "model_index.json is missing" in problem(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "a lone model.safetensors is not enough" in problem(tmp_path)


@pytest.mark.parametrize(
    "file",
    ["unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"],
)
def test_a_missing_file_is_named(file, copy):
    (copy / file).unlink()
    assert f"{file} is missing" in problem(copy)


def test_a_missing_shard_is_named(copy):
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    weights.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    weights.rename(weights.with_name("one.safetensors"))
    assert "unet/two.safetensors is missing" in problem(copy)


def test_pickles_are_refused(copy):
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    message = problem(copy)
    assert "unet/diffusion_pytorch_model.bin is a pickle, which runs whatever code it holds" in message
    assert "save_pretrained() it again" in message


@pytest.mark.parametrize("name", ["FluxPipeline", "DDPMPipelines"])
def test_another_class_is_named_with_what_can_be_run(name, copy):
    (copy / "model_index.json").write_text(json.dumps({"_class_name": name}))
    message = problem(copy)
    assert f"holds a {name}; what can be run is DDPMPipeline, DDIMPipeline" in message
    assert ("the nearest to it is DDPMPipeline" in message) == (name == "DDPMPipelines")


def test_code_that_comes_with_a_model_is_not_run(copy):
    index = json.loads((copy / "model_index.json").read_text())
    index["unet"] = ["my_unet", "MyUNet"]
    (copy / "model_index.json").write_text(json.dumps(index))
    (copy / "unet/my_unet.py").write_text("raise SystemExit('it ran')")
    assert "unet is ['my_unet', 'MyUNet'], and has to be one of UNet2DModel" in problem(copy)


@pytest.mark.parametrize(
    ("name", "said"), [("Nothing", "which diffusers does not have"), ("EDMEulerScheduler", "ᾱ_t")]
)
def test_a_scheduler_without_a_chain_is_refused(name, said, copy):
    (copy / "scheduler/scheduler_config.json").write_text(json.dumps({"_class_name": name}))
    assert said in problem(copy)


def test_a_damaged_configuration_is_named(copy):
    (copy / "unet/config.json").write_text("{")
    assert "unet/config.json is not JSON" in problem(copy)


def test_a_folder_saved_again_is_loaded_again(copy):
    first = load_model(f"folder:{copy}", default_registry())
    before = first.fingerprint()
    assert load_model(f"folder:{copy}", default_registry()) is first
    network = unet2d()
    network.conv_in.bias.data += 1
    network.save_pretrained(copy / "unet")
    again = load_model(f"folder:{copy}", default_registry())
    assert again is not first and again.fingerprint() != before


@pytest.mark.parametrize("name", ["hub:nobody", "hub:a/b/c", "hub:a/../b", "hub:a/b@", "folder:", "hub:-/b"])
def test_how_names_are_written(name):
    with pytest.raises(ValueError, match=r"written hub:OWNER/NAME\[@REVISION\] or folder:PATH"):
        open_source(name)


def test_a_network_that_had_to_leave_comes_back(saved):
    model = open_model(f"folder:{saved}")
    x, t = torch.randn(1, *model.shape), torch.tensor([50.0])
    first = model.network("denoiser", CPU, torch.float32)
    assert model.network("denoiser", CPU, torch.float32) is first
    assert model.size("denoiser", torch.float16) == 2 * sum(p.numel() for p in first.module.parameters())
    shelf.clear()
    again = model.network("denoiser", CPU, torch.float32)
    assert again is not first and torch.equal(again(x, t, [None]), first(x, t, [None]))


# A hub of our own, asked by huggingface_hub itself


@pytest.fixture
def hub(saved, monkeypatch, tmp_path):
    """A server of one repository, owner/cats; the paths that were asked for."""
    files = {path.relative_to(saved).as_posix(): path for path in saved.rglob("*") if path.is_file()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, body):
            asked.append(f"{self.command} {self.path}")
            found, data = self.path.split("?")[0], None
            if found in ("/api/models/owner/cats", f"/api/models/owner/cats/revision/{COMMIT}"):
                siblings = [{"rfilename": file} for file in files]
                data = json.dumps({"id": "owner/cats", "sha": COMMIT, "siblings": siblings}).encode()
            elif found.startswith(f"/owner/cats/resolve/{COMMIT}/"):
                data = files[found.split(COMMIT + "/")[1]].read_bytes()
            self.send_response(404 if data is None else 200)
            if data is None:
                code = "RevisionNotFound" if "/owner/cats/" in found else "RepoNotFound"
                self.send_header("X-Error-Code", code)
            else:
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{abs(hash(found))}"')
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            if body and data:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield asked
    server.shutdown()
    server.server_close()


def test_a_model_from_the_hub_is_the_folders(hub, saved, capsys, tmp_path, monkeypatch):
    """No weight travels before it is needed; the commit is shown, and kept for the next time."""
    model = open_model("hub:owner/cats")
    assert model.name == f"hub:owner/cats@{COMMIT}"
    assert not any(path.endswith(".safetensors") for path in hub)
    assert (
        main(
            [
                "compare",
                "--model",
                "hub:owner/cats",
                "--method",
                "ddim steps=2",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert f"at commit {COMMIT}; hub:owner/cats@{COMMIT} will find it again" in capsys.readouterr().err
    comparison = json.loads((tmp_path / "out/comparison.json").read_text())
    assert comparison["model"] == f"hub:owner/cats@{COMMIT}"
    assert comparison["record"]["model"] == {"name": comparison["model"], "weights": COMMIT[:16]}
    (theirs,), (ours,) = run(comparison["model"], "ddim steps=2"), run(f"folder:{saved}", "ddim steps=2")
    assert (theirs.images == ours.images).all()
    assert load_model(comparison["model"], default_registry()).notices("") == []

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is there: the cache must do
    assert "unet/config.json" in Hub("owner/cats", COMMIT).files
    with pytest.raises(OSError, match=r"hub:owner/dogs: the hub cannot be reached.*or give folder:PATH"):
        Hub("owner/dogs")


def test_what_the_hub_does_not_have(hub, capsys):
    with pytest.raises(OSError, match=r"hub:owner/cats@v9: the repository has no such revision"):
        Hub("owner/cats", "v9")
    assert main(["compare", "--model", "hub:owner/dogs", "--method", "ddim steps=2"]) == 2
    assert "hub:owner/dogs: the hub has no such model, or it is private" in capsys.readouterr().err
