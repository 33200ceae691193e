"""The words of the page: as many in every language, none left in scripts, and shown in the visitor's language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.ui.waiting import waited_for
from zoo.lessons.methods import lessons
from zoo.registry import Registry
from zoo.ui import front, language
from zoo.ui.catalogue import catalogue
from zoo.ui.language import ChoosesLanguage
from zoo.ui.learn import card
from zoo.ui.words import LANGUAGES, element, plugin_texts, received, say, sent, table

CHINESE = [name for name in LANGUAGES if name != "en"]
WAIT = 240_000
UI = front.STATIC.parent
SCRIPTS = sorted([*UI.glob("*.js"), *front.STATIC.glob("*.js")])

ALIKE = {"csv", "plot_nfe", "scrub_nfe", "method_line_hint", "energy_absent", "level", "facts", "comma"}
"""Names of words that are the same in all languages: code, numbers and abbreviations."""

COMPOSED = (
    "lessons.",
    "presets.",
    "page.na",
    "page.scrub_",
    "run.busy",
    "run.waiting",
    "moves.error_",
    "moves.key_",
    "learn.family_",
    "plugins.state_",
)
"""Words whose keys are put together at run time begin so."""

SIMPLIFIED_ONLY = "这们说个为时与网络采样噪声别页点击选项运会变认读写开关条数据库图从对应标预测还设无样过进"
TRADITIONAL_ONLY = "這們說個為時與網絡採樣噪聲別頁點擊選項運會變認讀寫開關條數據庫圖從對應標預測還設無樣過進"


def blanks(text: str) -> list[str]:
    """What is filled in, formulas apart."""
    return sorted(re.findall(r"\{(\w+)\}", re.sub(r"\$[^$]*\$", "", text)))


@pytest.mark.parametrize("name", CHINESE)
def test_every_language_says_as_much_with_the_same_blanks_and_formulas(name):
    english, other = table("en"), table(name)
    assert list(other) == list(english), "the same keys in the same order"
    for key, text in english.items():
        assert blanks(other[key]) == blanks(text), key
        assert sorted(re.findall(r"\$[^$]*\$", other[key])) == sorted(re.findall(r"\$[^$]*\$", text)), key
        assert sorted(re.findall(r"`[^`]*`", other[key])) == sorted(re.findall(r"`[^`]*`", text)), key
        if key.partition(".")[2] not in ALIKE and key != "site.name":
            assert re.search(r"[\u4e00-\u9fff]", other[key]), f"{key} is not translated"


def test_simplified_and_traditional_characters_are_not_mixed():
    simplified = set(SIMPLIFIED_ONLY) - set(TRADITIONAL_ONLY)
    traditional = set(TRADITIONAL_ONLY) - set(SIMPLIFIED_ONLY)
    own = {name: "".join(texts[name] for texts in plugin_texts().values()) for name in CHINESE}
    assert not traditional & set("".join(table("zh-Hans").values()) + own["zh-Hans"])
    assert not simplified & set("".join(table("zh-Hant").values()) + own["zh-Hant"])


NAMES = {"FID", "DDPM", "DDIM", "Euler (Karras)", "Heun (EDM)", "DPM-Solver++ (2M)", "UniPC", "ControlNet"}
"""Alike in every language."""


def shown_texts() -> Iterator[str]:
    """What the page shows of the built-in plugins, but for diffusers' options."""
    registry = Registry(safe_mode=True)
    for lesson in lessons(registry):
        yield from (lesson.summary, lesson.cost, lesson.when)
    facts = catalogue(registry)
    for kind in ("samplers", "conditioners", "models", "metrics"):
        for one in facts[kind]:
            if not one["name"].startswith("diffusers/"):
                yield from (one["title"], one["summary"])
                yield from (text for p in one.get("controls", ()) for text in (p["title"], p["help"]))


def test_what_built_in_plugins_say_of_themselves_is_translated():
    said = {text for text in shown_texts() if re.search("[A-Za-z]{2}", text)} - NAMES
    assert said <= set(plugin_texts())
    for text, texts in plugin_texts().items():
        assert sorted(texts) == CHINESE
        for one in texts.values():
            assert re.search(r"[\u4e00-\u9fff]", one), one
            for number in re.findall(r"\b\d+\b(?! M)|log-SNR|DDIM|Heun|ODE|η", text):
                assert number in one, f"{number} is missing: {one}"


def test_a_lesson_is_told_in_the_visitor_s_language_and_a_stranger_s_as_it_is():
    ddim = next(lesson for lesson in lessons(Registry(safe_mode=True)) if lesson.names == ("ddim",))
    assert "概率流 ODE 的一阶解法" in card(ddim, "zh-Hans") and ddim.summary not in card(ddim, "zh-Hans")
    assert ddim.summary in card(ddim)
    assert "somebody’s own" in card(replace(ddim, summary="somebody’s own"), "zh-Hant")


def test_no_script_says_anything_of_its_own():
    """Whatever a script shows comes from the words: no text that it writes holds two letters beside each other."""
    quoted = r"""(["'`])((?:(?!\1).)*)\1"""
    places = (
        rf"(?:textContent|innerText|title|placeholder|alt) ?[=:] ?{quoted}",
        rf"""setAttribute\(["'](?:aria-label|aria-valuetext|title|alt|placeholder)["'], ?{quoted}""",
        rf"""["'](?:aria-label|aria-valuetext)["']: ?{quoted}""",
        rf"h\(\s*\"\w+\",\s*\{{[^{{}}]*\}},\s*{quoted}",
    )
    for path in SCRIPTS:
        code = re.sub(r"^\s*(//|/\*|\*).*$|\s// .*$", "", path.read_text(encoding="utf-8"), flags=re.M)
        for _, text in (found for place in places for found in re.findall(place, code)):
            said = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}|NFE|RMSE|log-SNR", "", text)
            assert not re.search(r"[A-Za-z]{2}", said), f"{path.name}: {text!r} belongs in zoo/ui/words"


def test_every_word_is_used_and_every_word_that_is_used_is_there():
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in [*UI.glob("*.py"), *UI.glob("words/*.py")]
    )
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    said = set(re.findall(r"""(?:say|words|label|small)\(\s*["'](\w+\.\w+)["']""", sources))
    said |= {f"page.{name}" for name in re.findall(r"""\bt\(\s*["'](\w+)["']""", front.script())}
    for name, section in (("moves.js", "moves"), ("forward.js", "forward")):
        script = (UI / name).read_text(encoding="utf-8")
        said |= {f"{section}.{key}" for key in re.findall(r"""\bsay\(\s*["'](\w+)["']""", script)}
    assert said <= set(table("en"))
    # Others are put together at run time: from a name that stands in the code, or from one of these and a name.
    for key in set(table("en")) - said:
        name = key.partition(".")[2]
        assert key.startswith(COMPOSED) or re.search(rf"""["'](?:{key}|{name})["']""", sources + scripts), key


def test_what_the_server_says_keeps_its_key_on_the_way_and_on_disk():
    said = say("run.done", done=3, cells=4, seconds="1.5")
    assert said == "3 of 4 cells done in 1.5 s."
    kept = json.loads(json.dumps(sent(said)))
    assert received(kept) == said and sent(received(kept)) == kept
    assert say("run.done", "zh-Hant", **kept["with"]) == "4 格中有 3 格完成，用時 1.5 秒。"
    assert sent("a plugin’s") == received("a plugin’s") == "a plugin’s"
    assert received({"say": "run.of_another_version", "with": {}}) == "run.of_another_version"
    with pytest.raises(KeyError):
        say("run.no_such_thing")


def test_whatever_is_filled_in_is_escaped():
    made = element(say("back.noise_facts", mean='"><script>', std="&"))
    assert "<script" not in made and made.count(">") == 2


def test_only_the_page_itself_gets_the_script():
    async def answer(body: bytes, kind: bytes) -> bytes:
        async def app(scope, receive, send):
            length = (b"content-length", str(len(body)).encode())
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), length]}
            )
            await send({"type": "http.response.body", "body": body[:9], "more_body": True})
            await send({"type": "http.response.body", "body": body[9:]})

        messages = []

        async def send(message):
            messages.append(message)

        await ChoosesLanguage(app)({"type": "http", "method": "GET", "path": "/"}, None, send)
        got = b"".join(message.get("body", b"") for message in messages[1:])
        assert dict(messages[0]["headers"])[b"content-length"] == str(len(got)).encode()
        return got

    page = b"<html><head><script>window.gradio_config = {}</script></head></html>"
    assert waited_for(answer(page, b"text/html; charset=utf-8")).startswith(b"<html><head><script>")
    assert language.script().encode() in waited_for(answer(page, b"text/html"))
    assert waited_for(answer(page, b"text/plain")) == page
    other = b"<html><head></head>a file of somebody's</html>"
    assert waited_for(answer(other, b"text/html")) == other


# ---- in the browser ------------------------------------------------------------------------------------------------

LEFT = r"""() => {
  // Everything that is seen, but for what people, methods and plugins are called or say, for code and for formulas.
  const foreign = 'code, pre, .katex, textarea, option, .zoo-cell footer, .z-chip, '
    + '#about-model, .z-tick, .z-part-head h4, .z-axis, '
    + '.z-controls .z-small, #table td, .z-point, '
    + '.z-control-head label, .zoo-row-name, .zoo-lesson p, .zoo-lesson dd, .zoo-lesson h3, .zoo-lesson small, '
    + '.zoo-says, .zoo-plugins td, .zoo-schedule h3, .zoo-curves text, .zoo-language';
  const named = '.zoo-cell, .z-control, .z-part-head, .zoo-panel, .zoo-book, .z-chip, .z-tick, .zoo-language, footer';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const left = [];
  while (walker.nextNode()) {
    const box = walker.currentNode.parentElement;
    if (!box.checkVisibility({visibilityProperty: true}) || box.closest(foreign + ', script, style')) continue;
    left.push(walker.currentNode.textContent);
  }
  for (const one of document.querySelectorAll('[aria-label], [placeholder], [title]')) {
    if (!one.checkVisibility() || one.closest(named)) continue;
    for (const name of ['aria-label', 'placeholder', 'title']) left.push(one.getAttribute(name) || '');
  }
  const known = new RegExp('NFE|log-SNR|RMSE|PSNR|dB|CSV|PNG|HTML|Python|zip|\\.py|PyPI|DDIM|DDPM|ODE'
    + '|Euler|Heun|Karras|EDM|DPM-Solver|UniPC'
    + '|comparison\\.json|mixture|mine/euler'
    + '|API|Gradio|scaled linear|linear|cosine|ddim steps=20 \\| cfg scale=3|arXiv:'
    // Gradio's, which it has in English only.
    + '|number input for|range slider for|File upload|Upload file|Paste from clipboard|processing|queue: ', 'g');
  return left.filter((text) => /[A-Za-z]{2}/.test(text.replace(known, '')));
}"""


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    made = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="zh-TW", reduced_motion="reduce"
    )
    made.set_default_timeout(WAIT)
    yield made
    made.close()


def usable(page: Any) -> None:
    page.wait_for_selector("#zoo[data-ready]")
    page.wait_for_selector(".zoo-language a[aria-current]")


def test_the_browser_chooses_the_language_the_visitor_another_one_and_what_was_typed_stays(context, server):
    page = context.new_page()
    page.goto(server.url)
    usable(page)
    assert page.evaluate("document.documentElement.lang") == "zh-TW"
    assert page.title() == say("site.title", "zh-Hant")
    assert page.inner_text("#compare") == say("page.compare", "zh-Hant")

    page.fill("#seeds", "5..7")
    page.fill("#method-1 .z-line", "ddim steps=3")
    page.click(".zoo-language a[lang=zh-Hans]")
    page.wait_for_url("**lang=zh-Hans**")
    usable(page)
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.inner_text(".zoo-language [aria-current]") == "简体中文"
    assert (page.input_value("#seeds"), page.input_value("#method-1 .z-line")) == ("5..7", "ddim steps=3")
    page.goto(server.url)
    usable(page)
    assert page.inner_text("#add-method") == say("page.add_method", "zh-Hans"), "the choice is kept"

    page.select_option("#model", "gaussian")
    page.wait_for_selector("#examples button:text-is('dawn')")  # what moves the cards has come
    page.fill("#method-1 .z-line", "")
    for n in (2, 3, 4):
        page.uncheck(f"#method-{n} [type=checkbox]")
    page.click("#compare")
    page.wait_for_function(
        "said => document.querySelector('#problem').innerText == said", arg=say("ask.no_method", "zh-Hans")
    )
    page.fill("#method-1 .z-line", "ddim steps=2")
    page.click("#compare")
    page.wait_for_function("document.querySelector('#status').innerText.includes('格中有 1 格完成')")
    page.click(".zoo-language a[lang=en]")
    page.wait_for_function("document.querySelector('#status')?.innerText.startsWith('1 of 1 cells done in')")


@pytest.mark.parametrize("name", CHINESE)
def test_no_english_is_left_on_any_tab(context, server, name):
    about = Registry(safe_mode=True).model("tinyworld").summary
    page = context.new_page()
    page.goto(f"{server.url}?lang={name}")
    usable(page)
    assert page.inner_text("#about-model") == plugin_texts()[about][name]
    assert page.evaluate(LEFT) == []
    page.click("#more summary")
    page.click("#method-4 .z-adjust")
    page.locator(".zoo-tile").first.click()
    page.wait_for_selector(".z-dialog[open]")
    assert page.evaluate(LEFT) == []
    page.keyboard.press("Escape")
    for tabs, ready in (
        (("moves",), ".zoo-panel canvas"),
        (("moves-between",), "#between-run"),
        (("moves-back",), "#back-run"),
        (("learn",), ".zoo-lesson .katex-display"),
        (("learn-forward",), ".zoo-sprite"),
        (("learn-algorithms",), ".zoo-symbols .katex"),
        (("plugins",), ".zoo-plugins table"),
    ):
        for tab in tabs:
            page.locator(f"[role=tab][data-tab-id={tab}]:visible").click()
        page.wait_for_selector(ready)
        assert page.evaluate(LEFT) == [], tabs
