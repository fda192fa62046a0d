"""The code blocks of a page, so that a test can run what a reader reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType

from scripts.documents.citations import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. heading: the one above it. line: where its text begins in the page."""

    page: str
    heading: str
    language: str
    text: str
    line: int


def blocks(page: str, language: str) -> list[Block]:
    """Every block of a language in a page, in order. page: path from the root."""
    text = (ROOT / page).read_text("utf-8")
    bare = _BLOCK.sub(lambda match: re.sub(r"^#", " ", match[0], flags=re.MULTILINE), text)
    found = []
    for match in _BLOCK.finditer(text):
        headings = [h[1] for h in _HEADING.finditer(bare[: match.start()])]
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page, headings[-1], match[1], match[2], line))
    return [block for block in found if block.language == language]


def block_under(page: str, heading: str, language: str) -> Block:
    """The one block of a language under a heading."""
    here = [block for block in blocks(page, language) if block.heading == heading]
    assert len(here) == 1, f"{len(here)} {language} blocks under {heading!r} in {page}"
    return here[0]


def run_python(block: Block) -> ModuleType:
    """Run a Python block as a module of its own; a failure names the line of the page."""
    module = ModuleType("documented")
    padded = "\n" * (block.line - 1) + block.text
    code = compile(padded, str(ROOT / block.page), "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module
