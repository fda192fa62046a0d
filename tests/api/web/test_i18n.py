"""The table of texts: complete in both languages, used, and no words in the templates."""

import re
from importlib import resources
from string import Formatter

import pytest

from api.web.i18n import texts
from api.web.rendering import environment

HAN = re.compile(r"[\u3400-\u9fff]")
TEMPLATES = sorted(
    path.name
    for path in (resources.files("api.web") / "templates").iterdir()
    if path.name.endswith(".html")
)
MODULES = sorted(path for path in resources.files("api.web").iterdir() if path.name.endswith(".py"))
NAMES = re.compile(r"site\.other_language|scores\.of|event\.with_reason|occupation\..*")
"""Texts that hold names: of a language in that language, of an occupation as certificates do."""


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", sorted(texts()))
def test_every_text_is_written_in_both_languages(key: str) -> None:
    chinese, english = texts()[key]
    assert chinese.strip() and english.strip()
    assert places(chinese) == places(english)
    if not NAMES.fullmatch(key):
        assert not HAN.search(english), "the English text holds Chinese"
        assert HAN.search(chinese) or not re.search(r"[A-Za-z]{4}", chinese)


@pytest.mark.parametrize("key", sorted(texts()))
def test_chinese_texts_use_chinese_punctuation(key: str) -> None:
    chinese = texts()[key][0]
    assert not re.search(r"[\u3400-\u9fff][,;:?!]", chinese)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_text_a_template_names_is_in_the_table(name: str) -> None:
    source = (resources.files("api.web") / "templates" / name).read_text(encoding="utf-8")
    named = re.findall(r"""\bt\(\s*["']([a-z_.0-9]+)["']\s*[,)]""", source)
    named += re.findall(r"""\(\s*"/\w*", "([a-z_.]+)"\)""", source)
    assert not [key for key in named if key not in texts()]
    beginnings = re.findall(r"""\b(?:t|word)\(\s*["']([a-z_.]+)["']\s*[~,]""", source)
    for beginning in beginnings:
        assert any(key.startswith(beginning) for key in texts()), beginning


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_contains_no_words_of_its_own(name: str) -> None:
    source = (resources.files("api.web") / "templates" / name).read_text(encoding="utf-8")
    without = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", source, flags=re.DOTALL)
    assert not HAN.search(source)
    words = re.findall(r"[A-Za-z]{2,}", without)
    assert set(words) <= {"doctype", "index", "noindex", "nofollow"}


def test_every_text_is_used() -> None:
    templates = resources.files("api.web") / "templates"
    everything = "\n".join(
        [(templates / name).read_text(encoding="utf-8") for name in TEMPLATES]
        + [path.read_text(encoding="utf-8") for path in MODULES]
    )
    quoted = set(re.findall(r"""["']([a-z_]+(?:\.[a-z_0-9A-Z]+)+)["']""", everything))
    beginnings = set(re.findall(r"""["']([a-z_.]+\.)["'{]""", everything))
    beginnings |= {f"{kind}." for kind in re.findall(r"""word\(\s*"([a-z_.]+)\"""", everything)}

    def is_used(key: str) -> bool:
        parts = key.split(".")
        starts = {".".join(parts[:n]) + "." for n in range(1, len(parts))}
        return key in quoted or bool(starts & beginnings)

    assert [key for key in texts() if not is_used(key)] == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_escape_what_they_show(name: str) -> None:
    source = (resources.files("api.web") / "templates" / name).read_text(encoding="utf-8")
    assert "safe" not in re.findall(r"\|\s*(\w+)", source)
    assert environment().autoescape is True
    assert not re.search(r"<script|\son\w+=|style=|javascript:|https?://", source)
