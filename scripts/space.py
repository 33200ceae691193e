"""Builds a Space as the hub does, starts it, and compares through its API; for Python 3.11 and 3.12.

The order is the hub's: a clean environment gets requirements.txt and gradio at the README's sdk_version, in a folder
that holds nothing else; then the tracked files are copied to another folder; then `python app.py` runs there.

    python scripts/space.py [--python 3.11 3.12]

A version that is not on this machine is an error; --python names those that shall do. Takes 6 GB of the temporary
folder, one version after the other, and gives it back.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ["3.11", "3.12"]
START_SECONDS = 300
"""A first start compiles every module that it imports."""

COMPARE = """
import base64, io, sys
import numpy as np
from gradio_client import Client
from PIL import Image

methods = ["ddim steps=4", "ddpm steps=4 | cfg scale=2"]
asked = {"model": "tinyworld", "prompt": "a red mushroom at night", "seeds": "0..1", "methods": methods}
client = Client(sys.argv[1], verbose=False, httpx_kwargs={"timeout": 300})
answer = client.predict(**asked, api_name="/compare")
for cell in answer["cells"]:
    assert cell["status"] == "done", cell
    for uri in cell["images"]:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.rpartition(",")[2]))))
        assert picture.shape == (32, 32, 3) and picture.std() > 10, (picture.shape, picture.std())
assert [len(cell["images"]) for cell in answer["cells"]] == [2, 2]
print(", ".join(f"{cell['method']}: {cell['nfe']}" for cell in answer["cells"]))
"""


def main() -> int:
    """Build and try each version that is there; the exit code is 0 only if all of them work."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", nargs="+", default=VERSIONS, metavar="VERSION", help="such as 3.11 3.12")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the temporary folder would stay
    found = {version: python(version) for version in parser.parse_args().python}
    if missing := [version for version, path in found.items() if path is None]:
        print(
            f"Python {', '.join(missing)} is not on this machine; install it, or name others with --python",
            file=sys.stderr,
        )
        return 1
    for version, path in found.items():
        if path is not None:
            with tempfile.TemporaryDirectory(prefix="space-") as folder:
                try_space(path, version, Path(folder))
    return 0


def try_space(interpreter: str, version: str, folder: Path) -> None:
    """Build it in an empty folder, start it, compare.

    Raises:
        subprocess.CalledProcessError: something does not work; what it printed says what.
    """

    def say(what: str, since: float) -> None:
        print(f"Python {version}: {what} in {time.monotonic() - since:.0f} s", flush=True)

    started = time.monotonic()
    environment = folder / "environment"
    subprocess.run([interpreter, "-m", "venv", environment], check=True)
    own = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    build = folder / "build"
    build.mkdir()
    shutil.copy(ROOT / "requirements.txt", build)
    wanted = ["-r", "requirements.txt", f"gradio[oauth,mcp]=={sdk_version()}"]
    subprocess.run([own, "-m", "pip", "install", "-qq", *wanted], cwd=build, env=clean(), check=True)
    say("installed", started)

    started = time.monotonic()
    app = folder / "home" / "app"
    copy_tracked(app)
    with served(own, app) as url:
        say("served", started)
        started = time.monotonic()
        subprocess.run([own, "-c", COMPARE, url], cwd=folder, env=clean(), check=True)
        say("compared", started)


def sdk_version() -> str:
    """The version of gradio that the README asks of the hub."""
    found = re.search(r"^sdk_version: (\S+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit("README.md has no sdk_version in its front matter")
    return found[1]


def python(version: str) -> str | None:
    """An interpreter of this version that works; of several the one on the PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):  # pyenv puts a python3.12 on the PATH that may not be chosen
        done = subprocess.run([place, "-c", ask], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return place
    return None


def copy_tracked(target: Path) -> None:
    """What git tracks here, as it is in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


@contextmanager
def served(own: Path, app: Path) -> Iterator[str]:
    """`python app.py` in the folder `app`, with what a Space has in its environment; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    space = {"SPACE_ID": "someone/sampler-zoo", "SYSTEM": "spaces", "GRADIO_SERVER_PORT": str(port)}
    home = {"HOME": str(app.parent), "GRADIO_TEMP_DIR": str(app.parent / "gradio"), "PYTHONUNBUFFERED": "1"}
    log = app.parent / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [own, "app.py"], cwd=app, env=clean() | space | home, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while "The sampler zoo is at" not in log.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"app.py did not start:\n{log.read_text()}")
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        except subprocess.CalledProcessError:
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(30)


def clean() -> dict[str, str]:
    """The environment without what this checkout or this machine's own Python put into it."""
    ours = ("ZOO_", "GRADIO_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


if __name__ == "__main__":
    sys.exit(main())
