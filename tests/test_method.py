"""The method line: parsing and writing are inverse to each other, and mistakes are pointed at."""

from __future__ import annotations

import random

import pytest

from zoo.method import MAX_LENGTH, Method, Part


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("ddim", [("ddim", {})]),
        ("  ddim\tsteps=20   eta=0.5 ", [("ddim", {"steps": "20", "eta": "0.5"})]),
        ("ddim steps=20 | cfg scale=3", [("ddim", {"steps": "20"}), ("cfg", {"scale": "3"})]),
        ("ddim|cfg", [("ddim", {}), ("cfg", {})]),
        ("ddim steps=2|cfg scale=3|cfg", [("ddim", {"steps": "2"}), ("cfg", {"scale": "3"}), ("cfg", {})]),
        ("mine/heun-2.1 order=2", [("mine/heun-2.1", {"order": "2"})]),
        ("mine/dpm++ order=2 | c++", [("mine/dpm++", {"order": "2"}), ("c++", {})]),
        ("a text='two words'", [("a", {"text": "two words"})]),
        ('a text="it\'s" other=', [("a", {"text": "it's", "other": ""})]),
        ("a text='x | y' | b", [("a", {"text": "x | y"}), ("b", {})]),
        ("a sum=1=1", [("a", {"sum": "1=1"})]),
        ("a 'text=quoted whole'", [("a", {"text": "quoted whole"})]),
        ("a text=#3", [("a", {"text": "#3"})]),
        ("a text=größer", [("a", {"text": "größer"})]),
        (r"a text=one\ word", [("a", {"text": "one word"})]),
    ],
)
def test_lines_are_read_as_in_a_shell(line, parts):
    method = Method.parse(line)
    found = [(part.name, dict(part.params)) for part in (method.sampler, *method.conditioners)]
    assert found == parts
    assert Method.parse(str(method)) == method


def test_writing_is_canonical():
    assert str(Method.parse("ddim   steps='20'|cfg scale=3")) == "ddim steps=20 | cfg scale=3"
    assert str(Part.of("ddim", steps=20, eta=0.5, spacing="trailing", clip=True)) == (
        "ddim steps=20 eta=0.5 spacing=trailing clip=true"
    )


def test_what_is_written_is_read_again():
    """Random values of every character that means something to a shell or to this grammar."""
    generator = random.Random(0)
    awkward = "ab1 =|'\"\\#$;&<>()*?~`!\t\nü–€"

    def part() -> Part:
        letters = ["abcXYZ019", *["abcXYZ019_.+-"] * generator.randint(0, 5)]
        name = "".join(map(generator.choice, letters))
        if generator.random() < 0.3:
            name = f"{name}/{name}"
        keys = dict.fromkeys("".join(generator.choices("abc_", k=2)) for _ in range(generator.randint(0, 3)))
        values = ("".join(generator.choices(awkward, k=generator.randint(0, 8))) for _ in keys)
        return Part(name, tuple(zip(keys, values, strict=True)))

    for _ in range(500):
        method = Method(part(), tuple(part() for _ in range(generator.randint(0, 3))))
        assert Method.parse(str(method)) == method


@pytest.mark.parametrize("value", ["|", "||", "a|b", " | ", "'|'", '"', "\\", "'", "", " ", "\n"])
def test_bars_and_quotes_survive_in_values(value):
    method = Method(Part("a", (("text", value), ("last", "1"))), (Part("b"),))
    assert Method.parse(str(method)) == method


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "a name is missing; expected `sampler key=value"),
        ("   ", "a name is missing"),
        ("| cfg", "a name is missing"),
        ("ddim |", "a name is missing"),
        ("ddim || cfg", "a name is missing"),
        ("ddim | | cfg", "a name is missing"),
        ("steps=20", "'steps=20' is not a name"),
        ("ddim steps", "'steps' is not key=value"),
        ("ddim steps 20", "'steps' is not key=value"),
        ("ddim =20", "'=20' is not key=value"),
        ("ddim 2x=1", "'2x=1' is not key=value"),
        ("ddim steps=1 steps=2", "ddim has steps twice"),
        ("a/b/c", "'a/b/c' is not a name"),
        ("+a", "'+a' is not a name"),
        ("ddim | .cfg", "'.cfg' is not a name"),
        ("ddim,cfg", "'ddim,cfg' is not a name"),
        ("'' steps=3", "'' is not a name"),
        ("ddim text='open", "no closing quotation; quote values as in a shell"),
        ("ddim text=end\\", "no escaped character; quote values as in a shell"),
        ("a" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH} characters, this one has {MAX_LENGTH + 1}"),
    ],
)
def test_mistakes_are_pointed_at(line, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 – the message is compared below, as it stands
        Method.parse(line)
    assert message in str(error.value)
    if len(line) <= MAX_LENGTH:
        assert repr(line) in str(error.value)
