#!/usr/bin/env python3
"""Writes docs/clauses.md, the rules and tests of each clause, from the citations in the tree."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.documents.citations import Citation, citations, clauses  # noqa: E402

HEAD = (ROOT / "scripts/documents/clauses_head.md").read_text("utf-8")


def by_file(cited: list[Citation]) -> dict[str, list[str]]:
    """Path -> names, in order."""
    files: dict[str, list[str]] = {}
    for citation in cited:
        files.setdefault(citation.path, []).append(citation.name)
    return files


def row(clause: str, cited: list[Citation]) -> str:
    """One clause: its rules, its facts, and the number of its tests."""
    rules = by_file([c for c in cited if not (c.topic or c.path.startswith("tests/"))])
    shown = [f"[{p}](../{p}): {', '.join(f'`{n}`' for n in names)}" for p, names in rules.items()]
    facts = [f"[{c.topic}](events.md#{c.topic.replace('.', '')})" for c in cited if c.topic]
    anchor = "".join(digit for digit in clause if digit.isdigit())
    count = sum(c.is_test for c in cited)
    return f"| {clause} | {'<br>'.join(shown)} | {'<br>'.join(facts)} | [{count}](#{anchor}) |\n"


def section(clause: str, text: str, cited: list[Citation]) -> str:
    """The tests of one clause as sentences, and the test files that cite it as a whole."""
    lines = [f"\n### {clause}\n\n{text}\n\n"]
    for path, names in by_file([c for c in cited if c.is_test or c.is_whole_test_file]).items():
        lines.append(f"- [{path}](../{path}){'' if all(names) else ', the whole file'}\n")
        sentences = (name.removeprefix("test_").replace("_", " ") for name in names if name)
        lines += [f"  - {sentence}\n" for sentence in sentences]
    return "".join(lines)


def render() -> str:
    """The whole page."""
    found, texts = citations(), clauses()
    of = {clause: [c for c in found if c.clause == clause] for clause in texts}
    table = "".join(row(clause, [c for c in of[clause] if c.name]) for clause in texts)
    tests = "".join(section(clause, text, of[clause]) for clause, text in texts.items())
    return HEAD + table + "\n## Tests by clause\n" + tests


if __name__ == "__main__":
    (ROOT / "docs" / "clauses.md").write_text(render(), encoding="utf-8")
