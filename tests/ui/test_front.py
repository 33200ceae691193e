"""The page's script: joined from files that are all there, with words that all exist."""

import re

from zoo.ui.strings import PAGE

from zoo.ui import front

ELSEWHERE = {"title", "tagline", "na"}
"""Used in Python, or the name of a cell's state."""


def test_every_file_is_joined():
    assert {*front.SCRIPTS, *front.STYLES, "welcome.json"} == {path.name for path in front.STATIC.iterdir()}


def test_every_word_exists_and_is_used():
    script = front.script()
    said = set(re.findall(r"""\bt\(\s*"(\w+)\"""", script))
    assert said <= set(PAGE)
    # Others are chosen at run time, from texts or by a prefix.
    prefixes = tuple(re.findall(r"\bt\(`(\w+)\$\{", script))
    loose = {key for key in PAGE if f'"{key}"' in script or key.startswith(prefixes)}
    assert set(PAGE) - said - loose - ELSEWHERE == set()


def test_what_is_filled_in_is_named():
    for key, text in PAGE.items():
        assert re.sub(r"\{\w+\}", "", text).count("{") == 0, key
