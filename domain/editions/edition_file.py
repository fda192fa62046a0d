"""Reads the file of an edition: one JSON object {kind, edition, valid_from, content}."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.editions.contents import check_edition
from domain.editions.edition import Edition, EditionKind, MalformedEdition

EDITION_NAME = r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$"


class EditionFile(BaseModel):
    """The file of an edition, its content not checked yet."""

    model_config = ConfigDict(extra="forbid")
    kind: EditionKind
    edition: str = Field(pattern=EDITION_NAME, description="its name, new within the kind")
    valid_from: date = Field(description="the first day on which it holds")
    content: dict[str, Any]


def read_edition(kind: EditionKind, raw: bytes) -> Edition:
    """The edition in a file.

    kind: what the file has to hold. raw: UTF-8 JSON, with or without a byte order mark.
    Raises: MalformedEdition with the place and the reason, EditionTooLarge.
    """
    try:
        file = EditionFile.model_validate(
            json.loads(
                raw.decode("utf-8-sig"),
                object_pairs_hook=_object,
                parse_float=_refuse_number,
                parse_constant=_refuse_number,
            )
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "file"
        reason = first["msg"].removeprefix("Value error, ")
        raise MalformedEdition(kind=kind.value, place=place, reason=reason) from None
    except (ValueError, RecursionError) as error:
        raise MalformedEdition(kind=kind.value, place="file", reason=str(error)) from None
    if file.kind is not kind:
        reason = f"the file holds an edition of {file.kind.value}"
        raise MalformedEdition(kind=kind.value, place="kind", reason=reason)
    return check_edition(kind, file.edition, file.valid_from, file.content)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated keys, which would silently drop a rule."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} appears twice in one object")
    return found


def _refuse_number(text: str) -> Any:
    raise ValueError(f"{text} is no whole number")
