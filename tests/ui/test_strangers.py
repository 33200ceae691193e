"""A page that strangers reach: what they cannot read, fetch or take from each other, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.ui.browser import ROOT, Server, page_server
from zoo.registry import Registry
from zoo.ui import page
from zoo.ui.running import Runner
from zoo.ui.shelf import Shelf

PLUGIN = '''
"""A sampler whose error holds what nobody may read, and one that is slow."""
import os, time
from zoo import Field, Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Telling(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        raise RuntimeError(f"no file {__file__}, tried with {os.environ['ZOO_TEST_TOKEN']}")

class Slow(Sampler):
    class Params(Sampler.Params):
        steps: int = Field(500, ge=1, le=1000)
    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            time.sleep(0.1)
        return prediction.x0

@hookimpl
def register_samplers():
    return [SamplerSpec("telling", Telling, title="Telling"), SamplerSpec("slow", Slow, title="Slow")]
'''

TOKEN, PASSWORD, CONTENT = "the-value-of-a-token", "a-long-password", "what the secret file holds"


class Caller:
    """One visitor, who sends paths just as they are written."""

    def __init__(self, url: str, timeout: float = 60) -> None:
        self.host, self.timeout = urlsplit(url).netloc, timeout
        self.cookie = ""

    def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, str]:
        """Status and text of an answer; of one that never ends, its beginning."""
        headers = {"Content-Type": kind, "Cookie": self.cookie} if self.cookie else {"Content-Type": kind}
        data = body if isinstance(body, str) else json.dumps(body)
        connection = http.client.HTTPConnection(self.host, timeout=self.timeout)
        try:
            connection.request(method, path, None if body is None else data.encode(), headers)
            answer = connection.getresponse()
            if cookies := re.findall(r"(access-token-unsecure-[^;,]+)", str(answer.headers)):
                self.cookie = "; ".join(cookies)
            endless = "event-stream" in (answer.getheader("Content-Type") or "")
            text = answer.read1(1 << 16) if endless else answer.read()
            return answer.status, text.decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def login(self) -> int:
        form = urlencode({"username": "ada", "password": PASSWORD})
        return self.ask("POST", "/login", form, "application/x-www-form-urlencoded")[0]

    def server_function(self, name: str, data: Any) -> Any:
        """What the page's script asks."""
        config = json.loads(self.ask("GET", "/config")[1])
        (stage,) = (c for c in config["components"] if c["props"].get("elem_id") == "zoo-compare")
        asked = {"session_hash": "tests", "component_id": stage["id"], "fn_name": name, "data": data}
        return json.loads(self.ask("POST", "/gradio_api/component_server", asked)[1])

    def event(self, index: int, data: list[Any]) -> str:
        """All that is said of an event of the page."""
        session = f"event{index}-{time.monotonic_ns()}"
        asked = {"fn_index": index, "data": data, "session_hash": session}
        status, text = self.ask("POST", "/gradio_api/queue/join", asked)
        if status != 200:
            return text
        said = ""
        connection = http.client.HTTPConnection(self.host, timeout=self.timeout)
        connection.request(
            "GET", f"/gradio_api/queue/data?session_hash={session}", headers={"Cookie": self.cookie}
        )
        answer = connection.getresponse()
        while "process_completed" not in said and (line := answer.readline().decode()):
            said += line
        connection.close()
        return said


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    path.write_text(CONTENT)
    return path


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page as on a server: strangers look at it, and a name and a password are asked for."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "odd.py").write_text(PLUGIN)
    variables = {
        "ZOO_HOSTED": "1",
        "ZOO_LOGIN": f"ada:{PASSWORD}",
        "ZOO_TEST_TOKEN": TOKEN,
        "ZOO_PER_PERSON": "1",
    }
    with page_server("--device", "cpu", "--plugins-dir", str(folder), **variables) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(exposed: Server) -> Caller:
    visitor = Caller(exposed.url)
    assert visitor.login() == 200
    assert visitor.cookie
    return visitor


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Every method and path that the server answers, as gradio lists them."""
    from gradio.routes import App

    registry = Registry(safe_mode=True)
    runner = Runner(registry, "cpu", Shelf(tmp_path_factory.mktemp("runs")))
    app = App.create_app(page.build(registry, runner))
    found = [
        (method, route.path)
        for route in _flat(app.routes)
        for method in getattr(route, "methods", None) or ["GET"]
    ]
    assert len(found) > 60
    assert ("GET", "/gradio_api/file={path_or_url:path}") in found
    return sorted(set(found))


def _flat(routes: Any) -> Iterator[Any]:
    """The routes of all routers; some versions of FastAPI keep an included one whole."""
    for route in routes:
        if hasattr(route, "path"):
            yield route
        else:
            yield from _flat(route.original_router.routes)


def traversals(target: Path) -> list[str]:
    """Ways to write a path that servers have fallen for."""
    path = str(target)
    up = "../" * 12
    return [
        path,
        path.lstrip("/"),
        f"/{path}",
        up + path.lstrip("/"),
        f"/{up}{path.lstrip('/')}",
        quote(path, safe=""),
        quote(quote(path, safe=""), safe=""),
        quote(up + path.lstrip("/"), safe=""),
        "%2e%2e/" * 12 + path.lstrip("/"),
        "..%2f" * 12 + quote(path.lstrip("/"), safe=""),
        "..\\" * 12 + path.lstrip("/").replace("/", "\\"),
        "....//" * 12 + path.lstrip("/"),
        f"file={path}",
        f"file://{path}",
        f"{path}%00.png",
        f".{path}",
        f"assets/..{path}",
    ]


def leaks(text: str) -> bool:
    """Whether an answer holds what no visitor may read."""
    return any(mark in text for mark in (CONTENT, TOKEN, PASSWORD, "root:x:0:0", "The sampler zoo's page:"))


def test_nobody_gets_in_without_the_password(exposed, routes):
    stranger = Caller(exposed.url)
    form = urlencode({"username": "ada", "password": "a guess"})
    assert stranger.ask("POST", "/login", form, "application/x-www-form-urlencoded")[0] == 400
    closed = (
        "/config",
        "/gradio_api/info",
        "/gradio_api/queue/status",
        "/gradio_api/file=x",
        "/gradio_api/openapi.json",
    )
    for path in closed:
        assert stranger.ask("GET", path)[0] in (401, 403), path
    for path in ("queue/join", "component_server", "upload", "call/compare", "run/compare"):
        assert stranger.ask("POST", f"/gradio_api/{path}", {})[0] == 401, path
    assert "telling" not in stranger.ask("GET", "/")[1], (
        "the page shows what there is before anybody logged in"
    )


def test_no_route_gives_a_file_of_the_server_away(exposed, visitor, routes, secret):
    link = exposed.folder / "uploads" / "link.png"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(secret)
    others = [link, Path("/etc/passwd"), Path("/proc/self/environ"), ROOT / "app.py"]
    forms = [*traversals(secret), *(form for target in others for form in traversals(target)[:6])]
    walker = Caller(exposed.url, timeout=2)
    walker.cookie = visitor.cookie
    served = []
    for method, route in routes:
        if "{" not in route or method == "HEAD" or "heartbeat" in route:
            continue
        for form in forms:
            path = re.sub(r"\{[^}]*\}", lambda _, form=form: form, route)
            status, text = walker.ask(method, path, {} if method == "POST" else None)
            if leaks(text):
                served.append((status, method, path))
    assert not served
    own = exposed.folder / "uploads" / "own.txt"
    own.write_text("an upload")
    assert walker.ask("GET", f"/gradio_api/file={own}") == (200, "an upload"), "the walk would find a file"


def test_no_parameter_of_a_route_gives_a_file_away(exposed, visitor, routes, secret):
    walker = Caller(exposed.url, timeout=2)
    walker.cookie = visitor.cookie
    names = (
        "path",
        "file",
        "url",
        "path_or_url",
        "deep_link",
        "page",
        "session_hash",
        "upload_id",
        "name",
        "api_name",
    )
    for method, route in routes:
        if "{" in route or method not in ("GET", "POST") or "logout" in route:
            continue
        for form in (str(secret), "../" * 12 + str(secret).lstrip("/")):
            given = {name: form for name in names}
            text = walker.ask(method, f"{route}?{urlencode(given)}", given if method == "POST" else None)[1]
            assert not leaks(text), f"{method} {route}"


def test_no_event_and_no_function_of_the_page_gives_a_file_away(visitor, secret):
    config = json.loads(visitor.ask("GET", "/config")[1])
    file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}, "orig_name": "a.svg"}
    for event in config["dependencies"]:
        if not event["backend_fn"]:
            continue
        for given in (
            file,
            str(secret),
            [file],
            file | {"is_stream": True},
            file | {"path": "/proc/self/environ"},
        ):
            said = visitor.event(event["id"], [given] * len(event["inputs"]))
            assert not leaks(said), event["api_name"]
    stage = [c for c in config["components"] if c["props"].get("elem_id") == "zoo-compare"]
    for name in re.findall(r"def (\w+)\(data", (ROOT / "zoo/ui/calls.py").read_text()):
        for given in (
            str(secret),
            {"id": f"../../{secret}", "uri": str(secret), "line": f"ddim image={secret}"},
        ):
            assert not leaks(json.dumps(visitor.server_function(name, given))), name
    for component in stage:
        for name in ("postprocess", "__init__", "ls", "load", "__class__"):
            asked = {
                "session_hash": "x",
                "component_id": component["id"],
                "fn_name": name,
                "data": str(secret),
            }
            assert visitor.ask("POST", "/gradio_api/component_server", asked)[0] == 404


def test_no_address_is_fetched(visitor):
    config = json.loads(visitor.ask("GET", "/config")[1])
    events = [event for event in config["dependencies"] if event["backend_fn"] and event["inputs"]]
    assert events
    file = {"path": "http://192.0.2.1/a.png", "meta": {"_type": "gradio.FileData"}}
    for event in events:
        said = visitor.event(event["id"], [file] * len(event["inputs"]))
        assert "not named by its address" in said, event["api_name"]
    for path in ("file=http://192.0.2.1/a.png", "file=https:%2f%2f192.0.2.1/a", "file/http://192.0.2.1/a"):
        assert visitor.ask("GET", f"/gradio_api/{path}") == (
            403,
            '{"detail":"Only uploaded pictures are served, and no address is fetched."}',
        )
    assert visitor.ask("GET", "/gradio_api/proxy=https://a.hf.space/x")[0] == 403


def test_what_the_page_does_not_need_is_not_offered(visitor):
    for path in ("/monitoring", "/monitoring/summary", "/gradio_api/deep_link?session_hash=x"):
        assert visitor.ask("GET", path)[0] == 403
    for path in ("process_recording", "vibe-edit/"):
        assert visitor.ask("POST", f"/gradio_api/{path}", {})[0] in (403, 404)
    assert visitor.ask("GET", "/gradio_api/runs")[0] == 404
    config = json.loads(visitor.ask("GET", "/config")[1])
    assert config["analytics_enabled"] is False
    connection = http.client.HTTPConnection(visitor.host, timeout=60)
    connection.putrequest("POST", "/gradio_api/queue/join")
    connection.putheader("Content-Length", "999999999999")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_errors_tell_strangers_what_happened_without_folders_and_secrets(visitor):
    asked = {"model": "gaussian", "cards": [{"line": "odd/telling"}, {"line": "ddim steps=2"}], "seeds": "0"}
    begun = visitor.server_function("start_run", asked)
    deadline = time.monotonic() + 120
    while (run := visitor.server_function("look_at", {"id": begun["id"]}))["state"] != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    failed = run["cells"]["0"]
    assert failed["status"] == "failed"
    assert failed["error"] == "RuntimeError: no file …/odd.py, tried with …"
    assert failed["traceback"] == ""
    assert run["cells"]["1"]["status"] == "done"
    plugins = visitor.event(_plugins_shown(visitor), [])
    assert "no file …/odd.py" in plugins
    assert not leaks(plugins) and "Traceback" not in plugins and str(ROOT.parent) not in plugins


def _plugins_shown(visitor: Caller) -> int:
    """The event that shows the plugins anew: the one without inputs whose answer is nothing but HTML."""
    config = json.loads(visitor.ask("GET", "/config")[1])
    html = {component["id"] for component in config["components"] if component["type"] == "html"}
    return next(
        e["id"]
        for e in config["dependencies"]
        if e["api_visibility"] == "private"
        and not e["inputs"]
        and e["backend_fn"]
        and {*e["outputs"]} <= html
    )


def test_one_person_does_not_take_the_page_from_the_others(visitor):
    asked = {"model": "gaussian", "cards": [{"line": "odd/slow steps=100"}], "seeds": "0"}
    begun = visitor.server_function("start_run", asked)
    refused = visitor.server_function("start_run", asked)
    assert refused["error"] == {"say": "ask.enough", "with": {"n": 1}}
    config = json.loads(visitor.ask("GET", "/config")[1])
    (compare,) = (e["id"] for e in config["dependencies"] if e["api_name"] == "compare")
    said = visitor.event(compare, [["ddim steps=2"], "gaussian", "", "", "0", False, [], {}])
    assert "1 of your comparisons are at work already" in said
    assert visitor.server_function("stop_run", begun) == {}
    deadline = time.monotonic() + 60
    while "error" in (
        again := visitor.server_function("start_run", asked | {"cards": [{"line": "ddim steps=1"}]})
    ):
        assert time.monotonic() < deadline, again
        time.sleep(0.2)


def test_callers_of_the_api_are_told_which_field_is_wrong(visitor):
    config = json.loads(visitor.ask("GET", "/config")[1])
    (compare,) = (e["id"] for e in config["dependencies"] if e["api_name"] == "compare")
    good = [["ddim steps=2"], "gaussian", "", "", "0", False, [], {}]
    for place, (name, wrong) in enumerate(
        [
            ("Methods", "ddim"),
            ("Model", {"a": 1}),
            ("Prompt", "a" * 1001),
            ("Negative", []),
            ("Seeds", ["0"]),
            ("Alone", "perhaps"),
            ("Metrics", ["a" * 2000]),
            ("Pictures", {"a": []}),
        ]
    ):
        said = visitor.event(compare, [*good[:place], wrong, *good[place + 1 :]])
        assert f'"error":"{name}' in said, said


def test_many_at_once_leave_the_page_alive(exposed, visitor):
    """Whatever arrives together, one address gets one comparison at a time, and the rest an answer."""
    answers: list[Any] = []

    def ask() -> None:
        caller = Caller(exposed.url)
        caller.cookie = visitor.cookie
        asked = {"model": "gaussian", "cards": [{"line": "odd/slow steps=30"}], "seeds": "0"}
        answers.append(caller.server_function("start_run", asked))

    callers = [threading.Thread(target=ask) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert sum("key" in answer for answer in answers) == 1
    assert sum("error" in answer for answer in answers) == 5
