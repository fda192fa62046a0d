#!/usr/bin/env python3
"""Writes docs/events.md and docs/schemas/ from domain/events.py."""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from domain import events  # noqa: E402
from domain.editions.edition import EditionKind  # noqa: E402
from scripts.documents.schemas import (  # noqa: E402
    clause_links,
    schema_of,
    schema_of_edition,
    shape,
    summary,
)

HEAD = (ROOT / "scripts/documents/events_head.md").read_text("utf-8")


def rows(schema: dict[str, Any], parts: dict[str, Any]) -> str:
    """A table of the fields."""
    lines = ["| field | what it is | meaning |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        optional = "" if name in schema.get("required", ()) else " (may be left out)"
        kind = shape(field, parts).replace("|", "\\|")
        lines.append(f"| `{name}` | {kind}{optional} | {field.get('description', '')} |")
    return "\n".join(lines) + "\n"


def section(fact: type[events.Fact], schema: dict[str, Any]) -> str:
    """One fact."""
    text = fact.__doc__ or ""
    stream = fact.STREAM if fact.STREAM == "ledger" else f"{fact.STREAM}-<{fact.STREAM}_id>"
    head = f"`{fact.__name__}` · stream `{stream}`{clause_links(text)}"
    link = f"[schema](schemas/{fact.TOPIC}.json)"
    table = rows(schema, schema.get("$defs", {}))
    return f"\n### {fact.TOPIC}\n\n{head} · {link}\n\n{summary(text)}\n\n{table}"


def pages() -> dict[str, str]:
    """Every page by its path under docs/."""
    schemas = {topic: schema_of(fact) for topic, fact in events.CATALOGUE.items()}
    parts = {n: p for schema in schemas.values() for n, p in schema.get("$defs", {}).items()}
    journey = [fact for fact in vars(events).values() if fact in events.CATALOGUE.values()]
    text = HEAD + "".join(section(fact, schemas[fact.TOPIC]) for fact in journey)
    text += "\n## Parts of facts\n" + "".join(
        f"\n### {name}\n\n{summary(part['description'])}\n\n{rows(part, parts)}"
        for name, part in sorted(parts.items())
        if "properties" in part
    )
    written = {topic: _text(schema) for topic, schema in schemas.items()}
    written |= {f"edition-{kind.value}": _text(schema_of_edition(kind)) for kind in EditionKind}
    return {"events.md": text} | {f"schemas/{t}.json": each for t, each in written.items()}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/schemas").mkdir(exist_ok=True)
    for path, text in pages().items():
        (ROOT / "docs" / path).write_text(text, encoding="utf-8")
