"""Parses the qualifications that a candidate states, written into one cell of a table.

An entry is a few words in any order; entries are separated by a semicolon or a new line:
`2019-03-01~2023-06-30 本职业 某某公司；2023-07-01~至今 相关职业`. JSON is accepted too. The
content is personal, so a refusal names the entry and the word by their position only.
Reading order: `parse_object`, `parse_entries`, then the two forms of an entry.
Source: source-document 1.2, 3.1(2), 3.1(3), 3.1(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import orjson

from api.imports import cell_parsers as v
from api.imports.cell_parsers import CellFault, Parser

Values = dict[str, Any]
"""Fields of a qualification, or of all of them, as the domain names them."""


def _hours(value: Any) -> int:
    return v.whole(re.sub(r"(学时|小时|hours|h)$", "", v.plain(value).lower()))


def _maybe_level(value: Any) -> Any:
    return None if value is None else v.level(value)


# Field of Qualifications -> parsers of an entry; a word goes to the first one that accepts it.
FIELDS: dict[str, dict[str, Parser]] = {
    "work_periods": {"relation": v.relation},
    "certificates": {
        "kind": v.held_kind,
        "level": _maybe_level,
        "relation": v.relation,
        "issued_on": v.day,
    },
    "titles": {"rank": v.rank, "relation": v.relation, "obtained_on": v.day},
    "trainings": {"level": v.level, "hours": _hours, "completed_on": v.day},
    "education": {
        "kind": v.school,
        "relation": v.relation,
        "graduated_on": v.day,
        "programme": v.programme,
    },
    "apprenticeships": {"relation": v.relation, "completed_on": v.day},
}
FREE = {"work_periods": "employer", "certificates": "number"}
"""The field that takes the words that no parser accepts."""
FLAGS: dict[str, dict[str, str]] = {
    "trainings": {"结业证书": "certificate", "certificate": "certificate"},
    "education": {
        "应届": "final_year",
        "应届毕业生": "final_year",
        "final_year": "final_year",
        "经评估": "evaluated",
        "evaluated": "evaluated",
        "在读": "enrolled",
        "enrolled": "enrolled",
    },
}
_DEFAULTS: dict[str, Values] = {"trainings": {"certificate": False}}
_DAYS = ("started_on", "ended_on", "issued_on", "obtained_on", "completed_on", "graduated_on")
_ONGOING = ("至今", "now", "present", "")


def parse_qualifications(stated: Mapping[str, Any]) -> Values:
    """Qualifications with every value as the domain names it.

    stated: the fields of `Qualifications`, each a list of objects or the text of a cell.
    Raises: CellFault.
    """
    meant: Values = {}
    for key, value in stated.items():
        if value is None or value == "":
            continue
        if key in FIELDS:
            meant[key] = parse_entries(key, value)
        elif key == "intends_to_work":
            meant[key] = v.yes(value)
        elif key == "birth_date":
            meant[key] = v.day(value)
        else:
            meant[key] = value  # the command itself refuses an unknown name
    return meant


def parse_object(value: Any) -> Values:
    """All qualifications from one object, or from its JSON text. Raises: CellFault."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise CellFault("is no JSON") from None
    if not isinstance(value, dict):
        raise CellFault("is no object")
    return parse_qualifications(value)


def parse_entries(field: str, value: Any) -> list[Values]:
    """The entries of one field, from a list of objects, JSON text or words. Raises: CellFault."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise CellFault("begins like JSON but is none") from None
    if isinstance(value, str):
        entries: list[Any] = [part for part in re.split(r"[;；\n]", value) if part.strip()]
    elif isinstance(value, list | tuple):
        entries = list(value)
    else:
        raise CellFault("is neither a list nor text")
    parsed: list[Values] = []
    for place, entry in enumerate(entries, start=1):
        try:
            is_object = isinstance(entry, dict)
            parsed.append((_from_object if is_object else _from_words)(field, entry))
        except CellFault as fault:
            raise CellFault(f"entry {place}: {fault}") from None
    return parsed


def _from_object(field: str, entry: Mapping[str, Any]) -> Values:
    meant: Values = {}
    for key, value in entry.items():
        if value is None:
            continue
        parser = FIELDS[field].get(key)
        if key in _DAYS:
            parser = None if key == "ended_on" and value in _ONGOING else v.day
        try:
            meant[key] = parser(value) if parser else value
        except CellFault as fault:
            raise CellFault(f"{key} {fault}") from None
    return {k: value for k, value in meant.items() if value not in _ONGOING or k != "ended_on"}


def _from_words(field: str, entry: Any) -> Values:
    if not isinstance(entry, str):
        raise CellFault("is neither an object nor text")
    meant: Values = dict(_DEFAULTS.get(field, {}))
    free: list[str] = []
    for place, word in enumerate(entry.split(), start=1):
        if field == "work_periods" and "~" in (written := word.replace("～", "~")):
            meant |= _period(written)
        elif word.lower() in FLAGS.get(field, {}):
            meant |= {FLAGS[field][word.lower()]: True}
        elif not _accept(field, word, meant):
            if field not in FREE:
                raise CellFault(f"word {place} is not understood")
            free.append(word)
    if free:
        meant[FREE[field]] = " ".join(free)
    meant.pop("enrolled", None)  # implied: neither a graduation day nor a final year is stated
    return meant


def _accept(field: str, word: str, meant: Values) -> bool:
    """Give a word to the first field without a value whose parser accepts it; False if none."""
    for key, parser in FIELDS[field].items():
        if key in meant:
            continue
        try:
            meant[key] = parser(word)
        except CellFault:
            continue
        return True
    return False


def _period(word: str) -> Values:
    first, _, last = word.partition("~")
    started: date = v.day(first)
    return {"started_on": started} | ({} if last in _ONGOING else {"ended_on": v.day(last)})
