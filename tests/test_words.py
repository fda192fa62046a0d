"""The words of the tree: standard terms only, and one word for one thing.

A private word costs every reader a translation, and a search for the standard term finds nothing.
`WORDS` lists each one with what to write instead; `docs/glossary.md` explains the terms.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.source import ROOT, sources

WORDS = {
    r"told": "receives, is answered with, is notified of, says",
    r"anew": "again; rebuild",
    r"whoever|whosoever|whomever": "the caller, the process that …",
    r"stands?(?! (?:by|out|for|alone|up|in for)\b)": "is, is stored, holds",
    r"beside": "next to, in addition to, in a separate process",
    r"elsewhere": "in another process, by another service",
    r"wish(?:es|ed)?": "command, request",
    r"crowds?": "concurrent clients",
    r"dear(?:er|est)?": "expensive",
    r"dice": "rng",
    r"lookout": "progress tracker",
    r"quick eye": "fast pass",
    r"carr(?:y|ied|ies) on(?! the| by| a)": "apply the committed events",
    r"lest": "so that … not",
    r"thereby|therein|thereof|hereby": "name what is meant",
}
"""Pattern of a word in prose, and what to write instead."""

NAME_PARTS = {
    *("told", "anew", "elsewhere", "lookout", "wish", "wishes", "crowd", "dice", "papers"),
    *("squares", "visits", "gathering", "pasts", "book", "books", "door", "doors"),
    *("ear", "ears", "beside", "whoever"),
}
"""Parts of identifiers (`snake_case`, `CamelCase`) that have a standard word instead."""

PHRASES = [(re.compile(rf"\b(?:{word})\b", re.IGNORECASE), use) for word, use in WORDS.items()]
PROSE = ("*.md",)
GENERATED_OR_QUOTED = {
    "docs/source-document.md",  # the source itself
    "CHANGELOG.md",  # names what things were called before
    "tests/test_words.py",
    "tests/domain/test_events.py",  # the forms of the past tense in the names of facts
}
ROOMS = ("domain", "projections", "api", "scripts", "tests")


STORED = {"LogContinuedElsewhere"}
"""Names of facts whose stored topics are given."""


STORED = {"LogContinuedElsewhere"}
"""Names of facts whose stored topics are given."""


def found_in(text: str) -> list[str]:
    """`word: what to write` for each private word in a text."""
    return [f"{match[0]!r}: {use}" for phrase, use in PHRASES for match in phrase.finditer(text)]


def parts_of(name: str) -> set[str]:
    """Lower-case words of an identifier."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@cache
def words_of_python(path: Path) -> tuple[tuple[int, str], ...]:
    """(line, finding) for comments, strings and identifiers of one file."""
    found: list[tuple[int, str]] = []
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            found += [(token.start[0], word) for word in found_in(token.string)]
        elif token.type == tokenize.NAME and token.string not in STORED:
            for part in parts_of(token.string) & NAME_PARTS:
                found.append((token.start[0], f"{token.string} has {part!r}"))
    return tuple(found)


def python_files() -> Iterator[Path]:
    return (source.path for source in sources(*ROOMS))


def test_code_comments_and_messages_use_the_standard_terms():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in python_files()
        if str(path.relative_to(ROOT)) not in GENERATED_OR_QUOTED
        for line, word in words_of_python(path)
    ]
    assert not found, "\n".join(found)


def test_documents_use_the_standard_terms():
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scripts").rglob("*.md")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path in sorted(files)
        if str(path.relative_to(ROOT)) not in GENERATED_OR_QUOTED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for word in found_in(line)
    ]
    assert not found, "\n".join(found)


def english_texts() -> Iterator[tuple[str, str]]:
    """(file, text) of everything that people are shown in English."""
    for path in sorted((ROOT / "api").rglob("*.json")):
        waiting = [json.loads(path.read_text(encoding="utf-8"))]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
            elif isinstance(value, str):
                yield str(path.relative_to(ROOT)), value


def test_texts_of_pages_and_errors_use_the_standard_terms():
    texts = list(english_texts())
    assert len(texts) > 500
    found = [f"{name}: {word}" for name, text in texts for word in found_in(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "is_private"),
    [
        ("the caller is told of it", True),
        ("The view is made anew.", True),
        ("a row that stands in the table", True),
        ("a hot standby stands by until the primary fails", False),
        ("the certificate's standing", False),
        ("next to the live tables", False),
    ],
)
def test_a_private_word_is_recognised(text: str, is_private: bool):
    assert bool(found_in(text)) is is_private


def test_parts_of_names_are_recognised():
    assert parts_of("_settle_alone") == {"settle", "alone"}
    assert parts_of("HTTPDoor") == {"http", "door"}
    assert not parts_of("HANDBOOK") & NAME_PARTS


def test_one_class_name_means_one_thing():
    homes = defaultdict(list)
    for source in sources("domain", "projections", "api"):
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(source.name)
    twice = {name: files for name, files in homes.items() if len(files) > 1}
    assert not twice
