"""A server that was started to be measured: on so many cores, its files in a temporary folder, and what it takes."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 300.0


@dataclass
class Server:
    """One that was started here."""

    process: subprocess.Popen[bytes]
    port: int
    runs: Path
    files: Path


@contextmanager
def started(port: int, cores: int, arguments: list[str]) -> Iterator[Server]:
    """`python app.py` on so many cores, with its files in a temporary folder."""
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        runs, files, log = Path(folder, "runs"), Path(folder, "files"), Path(folder, "log.txt")
        places = {"ZOO_RUNS_DIR": str(runs), "GRADIO_TEMP_DIR": str(files), "TMPDIR": folder}
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "app.py", "--port", str(port), *arguments],
                cwd=ROOT,
                env={**os.environ, **places, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            own = psutil.Process(process.pid)
            if hasattr(own, "cpu_affinity"):
                own.cpu_affinity(own.cpu_affinity()[:cores])
        try:
            deadline = time.monotonic() + START_SECONDS
            while not (found := re.search(r"is at \S+:(\d+)", log.read_text())):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server did not start:\n{log.read_text()}")
                time.sleep(0.2)
            yield Server(process, int(found[1]), runs, files)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Gauge:
    """Notes every few seconds what a server takes: memory, temporary files, kept runs."""

    def __init__(self, server: Server, every: float = 2.0) -> None:
        self.server, self.every = server, every
        self.rows: list[dict[str, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Gauge:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        import psutil

        process = psutil.Process(self.server.process.pid)
        started = time.monotonic()
        while not self._over.wait(self.every):
            try:
                memory = process.memory_info().rss
            except psutil.Error:
                return
            runs = self.server.runs
            self.rows.append(
                {
                    "minute": (time.monotonic() - started) // 60,
                    "rss_mb": memory / 1e6,
                    "temporary_mb": _size(self.server.files) / 1e6,
                    "runs_mb": _size(runs) / 1e6,
                    "runs": sum(1 for _ in runs.iterdir()) if runs.is_dir() else 0,
                }
            )

    def minutes(self) -> list[dict[str, float]]:
        """The most of each minute."""
        found = []
        for minute, rows in itertools.groupby(self.rows, key=lambda row: row["minute"]):
            same = list(rows)
            found.append(
                {key: round(max(row[key] for row in same), 1) for key in same[0]} | {"minute": minute}
            )
        return found


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # gone meanwhile
            continue
    return total
