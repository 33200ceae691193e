"""What of gradio's server the page does not need, and so does not offer: less to be got wrong.

Gradio fetches addresses that a visitor names, as a file to show (`file=https://…`) or as the content of an upload; it
serves what links in its folder of uploads point to; it keeps states on disk and runs ffmpeg for whoever asks. Here
nothing is fetched, only files that really are in the folder of uploads are served, and no request is without a bound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 128_000_000
"""Most bytes of a request: the pictures of all cards, as text."""

_NOT_OFFERED = re.compile(
    r"/gradio_api/(?:proxy=|deep_link|process_recording|run-history|vibe-)|/monitoring(?:/|$)"
)
_FILE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)


class Gate:
    """The first thing that a request meets.

    Args:
        app: what answers the requests that may pass.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.uploads = Path(get_upload_folder()).resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if reason := self.refusal(scope["path"]):
            await JSONResponse({"detail": reason}, status_code=403)(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            await JSONResponse({"detail": _too_large()}, status_code=413)(scope, receive, send)
            return
        await self.app(scope, _bounded(receive), send)

    def refusal(self, path: str) -> str:
        """Why a path of this server is not answered; "" if it is."""
        if _NOT_OFFERED.search(path):
            return "This page does not offer that."
        found = _FILE.search(path)
        if found is None:
            return ""
        try:
            inside = Path(found[1]).resolve().is_relative_to(self.uploads)
        except (OSError, ValueError, RuntimeError):  # too long, with a zero in it, a ring of links
            inside = False
        return "" if inside else "Only uploaded pictures are served, and no address is fetched."


MIDDLEWARE = [Middleware(Gate)]
"""For the keyword arguments of gradio's own application."""


class Page(gr.Blocks):  # type: ignore[misc]
    """Blocks that fetch nothing for a visitor."""

    async def preprocess_data(
        self, block_fn: Any, inputs: Sequence[Any], *arguments: Any, **named: Any
    ) -> Any:
        """Refuse addresses before gradio fetches what they lead to, which it does for any component."""
        if _names_an_address(inputs):
            raise gr.Error("A file is uploaded, not named by its address.", print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *arguments, **named)


def as_sent(payload: Any) -> Any:
    """An uploaded picture's path, for a `gr.Image` to preprocess with: its own tries all of Pillow's decoders on it."""
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        raise gr.Error("A picture is uploaded first, then named by its path.", print_exception=False)
    return payload.path


def _names_an_address(value: Any) -> bool:
    if isinstance(value, dict):
        path = value.get("path")
        return (isinstance(path, str) and "://" in path) or any(map(_names_an_address, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_names_an_address, value))


def _bounded(receive: Receive) -> Receive:
    """What is received of a body whose length nobody said."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413, _too_large())
        return message

    return bounded


def _too_large() -> str:
    return f"A request has at most {MAX_BODY:,} bytes."
