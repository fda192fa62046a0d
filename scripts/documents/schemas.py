"""The JSON Schema of facts and of contents of editions, and the fields of a fact for a table."""

import re
from typing import Any

from pydantic import BaseModel

from domain.editions.contents import CONTENTS
from domain.editions.edition import EditionKind
from domain.events import Fact
from domain.values.sealed_fields import PERSON_FIELD, models_in, sealed_fields
from scripts.documents.citations import CITED, clauses, expand

SEALED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "key": {"type": "string", "pattern": "^(person|matter)/.+/[1-9][0-9]*$"},
        "sealed": {"type": "string", "pattern": "^[0-9a-z-]+:[0-9A-Za-z+/=]+$"},
    },
    "required": ["key", "sealed"],
    "additionalProperties": False,
}
"""Stored form of a sealed field that was given."""

_ID = "^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$"
_SHAPES = {_ID: "id", "^[0-9a-f]{64}$": "SHA-256, hexadecimal"}


def schema_of(fact: type[Fact]) -> dict[str, Any]:
    """The schema of one fact; a sealed field may be sealed, opened or erased."""
    schema = fact.model_json_schema(mode="serialization")
    _mark_sealed(fact, schema)
    for model in models_in(fact):
        _mark_sealed(model, schema["$defs"][model.__name__])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:certledger:{fact.TOPIC}",
        **schema,
    }


def schema_of_edition(kind: EditionKind) -> dict[str, Any]:
    """The schema of the content of an edition of one kind."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:certledger:edition-{kind.value}",
        **CONTENTS[kind].model_json_schema(),
    }


def _mark_sealed(model: type[BaseModel], schema: dict[str, Any]) -> None:
    for name, mark in sealed_fields(model):
        field = schema["properties"][name]
        opened = [each for each in field["anyOf"] if each != {"type": "null"}]
        field["anyOf"] = [*opened, SEALED, {"type": "null"}]
        field["x-sealed"] = mark.data_class.value if mark.data_class else "matter"
        if mark.of != PERSON_FIELD:
            field["x-sealed-of"] = mark.of


def shape(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """A field's type and range in words; another object as a link to its table."""
    if "x-sealed" in field:
        opened = [each for each in field["anyOf"] if each != SEALED]
        shapes = " or ".join(shape(each, parts) for each in opened)
        whose = f" of `{field['x-sealed-of']}`" if "x-sealed-of" in field else ""
        return f"{shapes}, **sealed: {field['x-sealed']}{whose}**"
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        part = parts[name]
        return f"[{name}](#{name.lower()})" if "properties" in part else shape(part, parts)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(shape(each, parts) for each in field["anyOf"])
    if "prefixItems" in field:
        return f"list of {', '.join(each['title'].lower() for each in field['prefixItems'])}"
    if field.get("type") == "array":
        least, most = field.get("minItems", 0), field.get("maxItems")
        count = f"{least} to {most}" if most else f"{least} or more" if least else "any number"
        return f"list of {shape(field['items'], parts)} ({count})"
    return _plain_type(field)


def _plain_type(field: dict[str, Any]) -> str:
    kind = field.get("type")
    if kind == "integer":
        least, most = field.get("minimum"), field.get("maximum")
        return f"integer, {least} to {most}" if most else f"integer, {least} or more"
    if kind == "string":
        return _text(field)
    return {"boolean": "yes or no"}.get(str(kind), str(kind))


def _text(field: dict[str, Any]) -> str:
    form = field.get("format")
    if form:
        return {"date": "day", "date-time": "instant"}[form]
    pattern = field.get("pattern", "")
    if pattern in _SHAPES:
        return _SHAPES[pattern]
    if "half points" in field.get("description", ""):
        return "marks"
    if pattern:
        return f"text `{pattern}`"
    return f"text, up to {field['maxLength']}" if "maxLength" in field else "text"


def summary(text: str) -> str:
    """The first paragraph of a docstring, without its citation."""
    return re.sub(r"\s*Source: [^\n]*", "", text.partition("\n\n")[0]).replace("\n", " ").strip()


def clause_links(text: str) -> str:
    """The clauses a docstring cites, each linked to its tests; empty if there are none."""
    known = list(clauses())
    cited = [clause for found in CITED.findall(text) for clause in expand(found, known)]
    shown = [f"[{clause}](clauses.md#{re.sub(r'[^0-9]', '', clause)})" for clause in cited]
    return f" · clause {', '.join(shown)}" if shown else ""
