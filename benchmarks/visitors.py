"""People at the page, as its server sees them: they speak to it as the page's script does, and look as often."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zoo.ui.words import received

LOOK_SECONDS = 0.12
"""Between two looks, as in zoo/ui/static/run.js."""

PROMPTS = ("a red mushroom at night", "a blue fish on the beach", "a large orange cat in the snow")
METHODS = (
    "ddim steps=10",
    "ddim steps=20 eta=1",
    "ddpm steps=20",
    "heun steps=8",
    "dpmpp_2m steps=10",
    "ddim steps=10 | cfg scale=3",
)
LONG = "ddpm steps=200"
SINGLE = "ddim steps=20"


class Refused(Exception):
    """The server said no; the message is what it said."""


class Page:
    """A browser's side of the page: questions to the server, JSON both ways.

    Args:
        host, port: where the server listens.
        seconds: it may take to answer.
    """

    def __init__(self, host: str, port: int, seconds: float = 60.0) -> None:
        self.host, self.port, self.seconds = host, port, seconds
        self._session = f"{random.getrandbits(60):x}"
        self._line: http.client.HTTPConnection | None = None
        config = json.loads(self._exchange("GET", "/config"))
        self._prefix = config.get("api_prefix", "")
        self._component = next(
            part["id"] for part in config["components"] if part["props"].get("elem_id") == "zoo-compare"
        )

    def ask(self, name: str, data: Any) -> dict[str, Any]:
        """What the server answers.

        Raises:
            Refused: with a sentence.
            OSError: it cannot be reached, or answers with something else.
        """
        found = self._exchange("POST", f"{self._prefix}/component_server", self._body(name, data))
        reply: dict[str, Any] = json.loads(found)
        if reply.get("error"):
            raise Refused(received(reply["error"]))
        return reply

    def ask_and_leave(self, name: str, data: Any) -> None:
        """Ask, and cut the connection before the answer."""
        line = http.client.HTTPConnection(self.host, self.port, timeout=self.seconds)
        line.request("POST", f"{self._prefix}/component_server", self._body(name, data), _JSON)
        line.close()

    def _body(self, name: str, data: Any) -> bytes:
        asked = {"data": data, "component_id": self._component, "fn_name": name}
        return json.dumps(asked | {"session_hash": self._session}).encode()

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> bytes:
        fresh = self._line is None
        line = self._line or http.client.HTTPConnection(self.host, self.port, timeout=self.seconds)
        self._line = None
        try:
            line.request(method, path, body, _JSON)
            response = line.getresponse()
            content = response.read()
        except (http.client.HTTPException, ConnectionError) as error:
            line.close()
            if not fresh:  # the server may close a line that was idle
                return self._exchange(method, path, body)
            raise ConnectionError(f"{path}: {type(error).__name__}: {error}") from error
        if response.status != 200:
            raise OSError(f"{path}: HTTP {response.status}: {content[:200]!r}")
        self._line = line
        return content


_JSON = {"Content-Type": "application/json"}


@dataclass
class Request:
    """One that was made of the server, and what became of it.

    Attributes:
        kind: compare, cancel, leave, upload, alone, grid or beside.
        asked: when (`time.monotonic`).
        run: its id and key; "" if it was refused.
        preview, ended: seconds until there was something to see, and until it had ended.
        said: why it was refused, or what the server says of the whole.
        outcome: refused, done, failed (with a message in its cells), cancelled; or broken: no end, no message.
    """

    kind: str
    asked: float
    run: str = ""
    key: str = ""
    preview: float | None = None
    ended: float | None = None
    said: str = ""
    outcome: str = "broken"
    cells: list[dict[str, Any]] = field(default_factory=list, repr=False)

    @property
    def name(self) -> dict[str, Any]:
        return {"id": self.run, "key": self.key}


class Visitor:
    """One person: makes requests and remembers them.

    Args:
        page: the way to the server.
        model: compared on.
        number: whose; people differ in what they do, the same number does the same again.
        patience: seconds after which a run that has not ended is broken.
    """

    def __init__(self, page: Page, model: str, number: int, patience: float) -> None:
        self.page, self.model, self.patience = page, model, patience
        self.random = random.Random(number)
        self.requests: list[Request] = []
        self.left: list[Request] = []

    def begin(self, kind: str, lines: list[str], seeds: str = "0", **more: Any) -> Request:
        """Press Compare."""
        request = Request(kind, time.monotonic())
        self.requests.append(request)
        asked = {"model": self.model, "prompt": self.random.choice(PROMPTS), "seeds": seeds, **more}
        try:
            news = self.page.ask("start_run", asked | {"cards": [{"line": line} for line in lines]})
        except Refused as error:
            request.said, request.outcome = str(error), "refused"
        except OSError as error:
            request.said = str(error)
        else:
            request.run, request.key = news["id"], news["key"]
            request.cells = list(news["cells"].values())
        return request

    def follow(self, request: Request, until: Callable[[Request], bool] = lambda request: False) -> None:
        """Look until the run has ended, or until something that was waited for has come."""
        version = 0
        deadline = time.monotonic() + self.patience
        while request.run and time.monotonic() < deadline:
            try:
                news = self.page.ask("look_at", request.name | {"since": version})
            except (Refused, OSError) as error:
                request.said = str(error)
                request.outcome = "broken"
                return
            version = news["version"]
            for index, cell in news["cells"].items():
                request.cells[int(index)] = cell
            if request.preview is None and any(cell["images"] for cell in request.cells):
                request.preview = time.monotonic() - request.asked
            if news["state"] == "ended":
                request.ended = time.monotonic() - request.asked
                request.said = received(news["problem"] or news["status"])
                request.outcome = _outcome(request)
                return
            if until(request):
                return
            request.said = f"no end within {self.patience:g} s; last said: {received(news['status'])}"
            time.sleep(LOOK_SECONDS)

    def compare(self) -> None:
        """A few methods side by side, to the end."""
        lines = self.random.sample(METHODS, self.random.randint(1, 4))
        self.follow(self.begin("compare", lines, self.random.choice(("0", "3,8", "0..3"))))

    def cancel(self) -> None:
        """A long run, cancelled as soon as there is something to see."""
        request = self.begin("cancel", [LONG, SINGLE])
        self.follow(request, until=lambda request: request.preview is not None)
        if request.run and request.ended is None:
            self.page.ask("stop_run", request.name)
            self.follow(request)

    def leave(self) -> None:
        """Go away in the middle: cut the connection, and never look again."""
        request = self.begin("leave", [LONG])
        if request.run:
            self.page.ask_and_leave("look_at", request.name | {"since": 0})
            self.left.append(request)

    def upload(self) -> None:
        """A picture, sound or damaged, and then a comparison."""
        png = _png(self.random)
        damaged = self.random.random() < 0.3
        request = Request("upload", time.monotonic())
        self.requests.append(request)
        content = png[: len(png) // 2] if damaged else png
        uri = "data:image/png;base64," + base64.b64encode(content).decode()
        try:
            self.page.ask("keep_picture", {"uri": uri})
        except Refused as error:
            request.said, request.outcome = str(error), "refused" if damaged else "broken"
        except OSError as error:
            request.said = str(error)
        else:
            request.said, request.outcome = "", "broken" if damaged else "done"
            self.compare()

    def stay(self, until: float) -> None:
        """Do this and that, with pauses, until the time has come; then see how what was left has ended."""
        acts = [self.compare] * 6 + [self.cancel] * 2 + [self.leave] + [self.upload] * 2
        while time.monotonic() < until:
            try:
                self.random.choice(acts)()
            except (Refused, OSError) as error:
                self.requests.append(Request("compare", time.monotonic(), said=str(error)))
            time.sleep(self.random.uniform(0.3, 1.5))


def _outcome(request: Request) -> str:
    states = {cell["status"] for cell in request.cells}
    if states & {"queued", "running"}:
        return "broken"
    failed = [cell for cell in request.cells if cell["status"] in ("failed", "na")]
    if failed:
        return "failed" if all(cell["error"] for cell in failed) else "broken"
    if "cancelled" in states:
        return "cancelled" if request.said else "broken"
    return "done" if all(cell["images"] for cell in request.cells) else "broken"


def _png(source: random.Random) -> bytes:
    from PIL import Image

    image = Image.frombytes("RGB", (128, 128), source.randbytes(3 * 128 * 128))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
