"""The edits that a page describes: code blocks whose preceding line says where each one goes.

The line is one of

    New file `path`
    In `path`, before `line`
    In `path`, after `line`
    In `path`, instead of `line`
    At the end of `path`

where `line` is the beginning of exactly one line of the file. The block takes the indentation of
that line. `instead of` replaces the line and, if it opens a bracket, everything up to its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from scripts.documents.citations import ROOT

_EDIT = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`"
    r"|At the end of `(?P<end>[^`]+)`"
    r"|In `(?P<path>[^`]+)`, (?P<place>before|after|instead of) `(?P<line>[^\n]+)`)"
    r"\n\n```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_BLOCK = re.compile(r"^```\w+\n.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Edit:
    """One block and where it goes. place: new, end, before, after, instead of."""

    path: str
    place: str
    line: str
    text: str

    def apply(self, tree: Path) -> None:
        """Make the edit in a copy of the tree. Raises: AssertionError where it does not fit."""
        file = tree / self.path
        if self.place == "new":
            assert not file.exists(), f"{self.path} exists already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text, "utf-8")
            return
        text = file.read_text("utf-8")
        file.write_text(
            f"{text}\n\n{self.text}" if self.place == "end" else self._in(text), "utf-8"
        )

    def _in(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        found = [n for n, line in enumerate(lines) if line.lstrip().startswith(self.line)]
        assert len(found) == 1, f"{len(found)} lines of {self.path} begin with {self.line!r}"
        [here] = found
        margin = lines[here][: len(lines[here]) - len(lines[here].lstrip())]
        block = indent(self.text, margin)
        end = here + 1
        if self.place == "before":
            end = here
        elif self.place == "after":
            here = end
        else:
            while _open_brackets("".join(lines[here:end])):
                end += 1
        return "".join([*lines[:here], block, *lines[end:]])


def _open_brackets(text: str) -> int:
    return sum(text.count(mark) for mark in "([{") - sum(text.count(mark) for mark in ")]}")


def edits_under(page: str, heading: str) -> list[Edit]:
    """The edits in the section of a page, in order; every block of it is one."""
    text = (ROOT / page).read_text("utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = [_edit_of(match) for match in _EDIT.finditer(section)]
    assert len(found) == len(_BLOCK.findall(section)), f"a block of {heading!r} has no place"
    return found


def _edit_of(match: re.Match[str]) -> Edit:
    if match["new"]:
        return Edit(match["new"], "new", "", match["text"])
    if match["end"]:
        return Edit(match["end"], "end", "", match["text"])
    return Edit(match["path"], match["place"], match["line"], match["text"])
