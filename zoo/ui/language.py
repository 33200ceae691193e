"""The page in the visitor's language: the words as gradio takes them, and the script that chooses among them.

Gradio's own translation (`gr.I18n`) asks the browser for its language once, before any script that a page may give it
has run. Ours must therefore stand at the top of the HTML, where `ChoosesLanguage` puts it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from zoo.ui.words import LANGUAGES, marks, plugin_texts, say, table

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def label(key: str) -> I18nData:
    """What is said under a key, for the label of one of gradio's components.

    Raises:
        KeyError: nothing is.
    """
    return I18nData(say(key).key)


def translations(made: Callable[[str], Mapping[str, str]]) -> gr.I18n:
    """The words of all languages, and what else is said under keys of its own, such as tables of words.

    Args:
        made: tells these for a language.
    """
    return gr.I18n(
        **{
            name: {**table(language), **_own(language), **made(language)}
            for language, name in LANGUAGES.items()
        }
    )


def _own(language: str) -> dict[str, str]:
    """What built-in plugins say of themselves, under keys that hold the English."""
    return {f"own.{text}": texts[language] for text, texts in plugin_texts().items() if language in texts}


def switch() -> str:
    """The choice of a language, as HTML."""
    links = "".join(
        f'<a href="?lang={language}" lang="{language}" hreflang="{language}">{say("site.name", language)}</a>'
        for language in LANGUAGES
    )
    name = say("site.language")
    return f'<nav class="zoo-language" aria-label="{name}" {marks(name, "aria-label")}>{links}</nav>'


def script() -> str:
    """The script that must run first."""
    text = Path(__file__).with_name("language.js").read_text(encoding="utf-8")
    return text.replace("/* our names and gradio's, from zoo/ui/words */ {}", json.dumps(LANGUAGES))


class ChoosesLanguage:
    """ASGI middleware that puts `script` at the top of the page, and leaves everything else as it is."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app
        self.begin = f"<head><script>{script()}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("method") != "GET":
            return await self.app(scope, receive, send)
        start: MutableMapping[str, Any] = {}
        body = b""

        async def with_script(message: MutableMapping[str, Any]) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
                return
            if not start or message["type"] != "http.response.body":
                return await send(message)
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if b"window.gradio_config" in body:
                body = body.replace(b"<head>", self.begin, 1)
            kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            await send({**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, with_script)


def _is_page(message: MutableMapping[str, Any]) -> bool:
    headers = dict(message["headers"])
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in headers
