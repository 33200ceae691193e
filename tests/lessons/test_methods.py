"""Lessons come from the plugins, third parties' included."""

from __future__ import annotations

import re

from zoo.lessons.methods import lessons
from zoo.registry import Registry

BARE = """
from zoo import Conditioner, ConditionerSpec, Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Mine(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])

@hookimpl
def register_samplers():
    return [SamplerSpec("mine", Mine, title="Mine"), SamplerSpec("far", "no_such_library:Far", title="Far")]
"""


def test_every_built_in_method_says_what_it_costs_when_to_use_it_and_its_equation():
    found = lessons(Registry(safe_mode=True))
    for lesson in found:
        assert all([lesson.summary, lesson.equation, lesson.cost, lesson.when, lesson.source]), lesson.names
        assert lesson.paper or "diffusers" in lesson.title
        assert lesson.equation.count("{") == lesson.equation.count("}")
        assert not re.search(r"(?<![\w{])s(?!\w)", lesson.equation), "s is a level, and only an index"


def test_every_built_in_card_says_in_two_sentences_what_its_method_does():
    cards = [lesson for lesson in lessons(Registry(safe_mode=True)) if len(lesson.names) == 1]
    assert len(cards) >= 12
    for card in cards:
        sentences = re.split(r"(?<=[.!?])\s+", card.summary)
        assert len(sentences) == 2, card.summary
        for sentence in sentences:
            assert re.fullmatch(r"[A-Z][^.!?]*\.", sentence) and len(sentence.split()) >= 6, sentence
        assert len(sentences[0]) <= 110, "the first stands in lists too"


def test_schedulers_of_diffusers_share_one_lesson_and_others_have_their_own():
    registry = Registry(safe_mode=True)
    found = lessons(registry)
    (family,) = [lesson for lesson in found if len(lesson.names) > 1]
    assert family.title == f"diffusers: {len(family.names)} samplers"
    assert all(name.startswith("diffusers/") for name in family.names)
    names = [name for lesson in found for name in lesson.names]
    assert sorted(names) == sorted([*registry.samplers, *registry.conditioners])


def test_a_plugin_without_these_texts_has_a_lesson_too(tmp_path):
    (tmp_path / "odd.py").write_text(BARE)
    found = {lesson.names[0]: lesson for lesson in lessons(Registry(tmp_path))}
    assert found["odd/mine"].equation == found["odd/mine"].when == ""
    assert found["odd/mine"].source.text.startswith("class Mine(Sampler):")
    assert found["odd/far"].source is None
