"""What the page says: one file per language in this folder, all with the same keys, "section.name".

What built-in plugins say of themselves, in English, is beside them in `plugins.json`: English text → language → text.

Server and browser say the same words from the same files: `say` here, `zooWords.say` in `zoo/ui/language.js`. What the
server says travels with its key, so that a comparison begun in one language can be looked at in another.
"""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "en", "zh-Hans": "zh-CN", "zh-Hant": "zh-TW"}
"""The files, and what gradio calls these languages, into which its own components are translated."""

ENGLISH = "en"

Sent = str | dict[str, Any]


class Said(str):
    """A sentence of the page's: English wherever it is read as text; with its key, for the other languages."""

    key: str
    values: dict[str, Any]


@functools.cache
def table(language: str) -> Mapping[str, str]:
    """All words of a language, by "section.name"."""
    path = Path(__file__).with_name(f"{language}.json")
    sections = json.loads(path.read_text(encoding="utf-8"))
    return {f"{section}.{name}": text for section, words in sections.items() for name, text in words.items()}


def say(key: str, language: str = ENGLISH, /, **values: Any) -> Said:
    """What is said under a key, {…} filled in.

    Raises:
        KeyError: nothing is.
    """
    text = re.sub(r"\{(\w+)\}", lambda name: str(values.get(name[1], name[0])), table(language)[key])
    said = Said(text)
    said.key, said.values = key, values
    return said


def translated(text: str, language: str) -> str:
    """What a built-in plugin says of itself, in a language; a text that nobody has translated stays as it is."""
    return plugin_texts().get(text, {}).get(language, text)


@functools.cache
def plugin_texts() -> Mapping[str, Mapping[str, str]]:
    """English text of a built-in plugin → language → text."""
    path = Path(__file__).with_name("plugins.json")
    found: Mapping[str, Mapping[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def sent(text: str) -> Sent:
    """A text as the browser gets it, and as it is kept: {say, with}, or itself if it is none of the page's."""
    return {"say": text.key, "with": text.values} if isinstance(text, Said) else text


def received(text: Sent) -> str:
    """What `sent` made; an unknown key is said as it is."""
    if isinstance(text, str):
        return text
    return say(text["say"], **text["with"]) if text["say"] in table(ENGLISH) else str(text["say"])


def element(text: str, tag: str = "span", attributes: str = "") -> str:
    """An HTML element that says a text in the visitor's language, and nothing else.

    Args:
        text: of the page's, or anybody's, which stays as it is; it is escaped.
        tag: its name.
        attributes: as written in HTML.
    """
    return f"<{tag} {attributes} {marks(text)}>{html.escape(text)}</{tag}>"


def marks(text: str, attribute: str = "") -> str:
    """What tells the browser to say a text within an element, or in one of its attributes; "" if nobody can."""
    if not isinstance(text, Said):
        return ""
    name = f"data-say-{attribute}" if attribute else "data-say"
    mark = json.dumps(sent(text), ensure_ascii=False) if text.values else text.key
    return f'{name}="{html.escape(mark, quote=True)}"'
