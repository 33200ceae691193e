"""What the gate in front of gradio's server lets through, without a server."""

from types import SimpleNamespace

import gradio as gr
import pytest
from starlette.exceptions import HTTPException

from tests.ui.waiting import waited_for
from zoo.ui import gate, login
from zoo.ui.gate import Gate, Page, as_sent


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads" / "0a").mkdir(parents=True)
    (tmp_path / "uploads" / "0a" / "mine.png").write_bytes(b"pixels")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "uploads" / "0a" / "link.png").symlink_to(tmp_path / "secret")
    (tmp_path / "uploads" / "0a" / "ring").symlink_to(tmp_path / "uploads" / "0a" / "ring")
    return tmp_path / "uploads"


async def _answered(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})


def status(path, headers=(), app=_answered, receive=None):
    """What a request to this path is answered with."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    waited_for(Gate(app)(scope, receive, send))
    return sent[0]["status"]


def test_a_file_of_the_folder_of_uploads_is_served(uploads):
    assert status(f"/gradio_api/file={uploads}/0a/mine.png") == 200
    assert status("/config") == status("/assets/index.js") == status("/gradio_api/queue/join") == 200


@pytest.mark.parametrize(
    "target",
    [
        "{uploads}/0a/link.png",
        "{uploads}/0a/ring",
        "{uploads}/../secret",
        "{uploads}/0a/../../secret",
        "{uploads}x/secret",
        "/etc/passwd",
        "app.py",
        "~/.ssh/id_rsa",
        "http://example.org/a.png",
        "https://example.org/a.png",
        "file:///etc/passwd",
        "{uploads}/\0",
        "",
        "a" * 5000,
    ],
)
@pytest.mark.parametrize("route", ["/gradio_api/file=", "/gradio_api/file/", "/zoo/gradio_api/file="])
def test_any_other_is_not(uploads, target, route):
    assert status(route + target.format(uploads=uploads)) == 403


@pytest.mark.parametrize(
    "path", ["proxy=https://a.hf.space/x", "deep_link", "process_recording", "vibe-code/"]
)
def test_what_the_page_does_not_need_is_refused(uploads, path):
    assert status(f"/gradio_api/{path}") == 403
    assert status("/monitoring") == status("/monitoring/key") == 403


@pytest.mark.parametrize("length", [b"128000001", b"-1", b"many"])
def test_a_request_that_says_it_is_too_long_is_refused(uploads, length):
    assert status("/upload", [(b"content-length", length)]) == 413


def test_a_request_that_does_not_say_how_long_it_is_is_counted(uploads, monkeypatch):
    monkeypatch.setattr(gate, "MAX_BODY", 10)

    async def receive():
        return {"type": "http.request", "body": b"1234", "more_body": True}

    async def reads(scope, receive, send):
        for _ in range(3):
            await receive()

    with pytest.raises(HTTPException, match="at most 10 bytes"):
        status("/upload", app=reads, receive=receive)


def test_addresses_in_what_is_sent_are_refused_before_they_are_fetched(monkeypatch):
    seen = []

    async def preprocess(self, block_fn, inputs, *more, **named):
        seen.append(inputs)
        return inputs

    monkeypatch.setattr(gr.Blocks, "preprocess_data", preprocess)
    page = Page()
    for given in ("http://127.0.0.1/", "https://example.org/a.png", "ftp://example.org/x"):
        for nested in ({"path": given}, [{"path": given}], {"value": {"image": {"path": given}}}):
            with pytest.raises(gr.Error, match="not named by its address"):
                waited_for(page.preprocess_data(None, ["text", nested], None))
    assert not seen
    harmless = [
        {"path": "/tmp/gradio/a.png", "url": "http://127.0.0.1:7860/gradio_api/file=/tmp/gradio/a.png"}
    ]
    assert waited_for(page.preprocess_data(None, harmless, None)) == harmless


def test_an_upload_is_taken_as_the_file_that_it_is(uploads):
    sent = SimpleNamespace(path=str(uploads / "0a" / "mine.png"), url=None, orig_name="mine.png")
    assert as_sent(sent) == sent.path, "what is no picture is told by whoever reads it"
    assert as_sent(None) is None
    with pytest.raises(gr.Error, match="uploaded first"):
        as_sent(SimpleNamespace(path=None, url="data:image/png;base64,AAAA"))


@pytest.mark.parametrize(
    ("value", "logins"),
    [
        ("", []),
        ("ada:secret", [("ada", "secret")]),
        (" ada:a:b  bob:c\n", [("ada", "a:b"), ("bob", "c")]),
    ],
)
def test_logins_are_read_from_the_environment(monkeypatch, value, logins):
    monkeypatch.setenv("ZOO_LOGIN", value)
    assert login.from_environment() == logins


@pytest.mark.parametrize("value", ["ada", "ada:", ":secret", "ada:secret bob"])
def test_a_login_that_cannot_be_read_is_refused_without_being_shown(monkeypatch, value):
    monkeypatch.setenv("ZOO_LOGIN", value)
    with pytest.raises(ValueError, match="ZOO_LOGIN is written name:password") as caught:
        login.from_environment()
    assert "secret" not in str(caught.value) and "ada" not in str(caught.value)


def test_the_console_says_who_can_reach_the_page():
    for host in ("127.0.0.1", "127.1.2.3", "localhost", "::1"):
        assert login.notice(host, protected=False) == ""
    assert "can use this page: ZOO_LOGIN=name:password" in login.notice("0.0.0.0", protected=False)
    assert "asked for a name and a password" in login.notice("0.0.0.0", protected=True)
