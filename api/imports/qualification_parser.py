"""What candidates state about themselves, as it is written into one cell of a table.

One entry is a few words in any order, entries are parted by a semicolon or a new line:
`2019-03-01~2023-06-30 本职业 某某公司；2023-07-01~至今 相关职业`. JSON is understood as well.
The content is personal, so a fault names the entry and the word by their place only.
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

Claim = dict[str, Any]


def _hours(value: Any) -> int:
    return v.whole(re.sub(r"(学时|小时|hours|h)$", "", v.plain(value).lower()))


def _maybe_level(value: Any) -> Any:
    return None if value is None else v.level(value)


# Entry -> its fields with what reads them; the first field that understands a word takes it.
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
"""Where a word goes that nothing else understands."""
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
_DEFAULTS: dict[str, Claim] = {"trainings": {"certificate": False}}
_DAYS = ("started_on", "ended_on", "issued_on", "obtained_on", "completed_on", "graduated_on")
_ONGOING = ("至今", "now", "present", "")


def claims_from_words(told: Mapping[str, Any]) -> Claim:
    """Qualifications whose values stand in words, with every value as the program names it.

    told: the fields of `Qualifications`; lists of objects or text of one cell each.
    Raises: CellFault.
    """
    meant: Claim = {}
    for key, value in told.items():
        if value is None or value == "":
            continue
        if key in FIELDS:
            meant[key] = claims(key, value)
        elif key == "intends_to_work":
            meant[key] = v.yes(value)
        elif key == "birth_date":
            meant[key] = v.day(value)
        else:
            meant[key] = value  # an unknown name is refused by the command itself
    return meant


def nested(value: Any) -> Claim:
    """All qualifications in one object, or in the JSON text of one. Raises: CellFault."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise CellFault("is no JSON") from None
    if not isinstance(value, dict):
        raise CellFault("is no object")
    return claims_from_words(value)


def claims(field: str, value: Any) -> list[Claim]:
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
    read: list[Claim] = []
    for place, entry in enumerate(entries, start=1):
        try:
            read.append(_object(field, entry) if isinstance(entry, dict) else _words(field, entry))
        except CellFault as fault:
            raise CellFault(f"entry {place}: {fault}") from None
    return read


def _object(field: str, entry: Mapping[str, Any]) -> Claim:
    meant: Claim = {}
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


def _words(field: str, entry: Any) -> Claim:
    if not isinstance(entry, str):
        raise CellFault("is neither an object nor text")
    meant: Claim = dict(_DEFAULTS.get(field, {}))
    free: list[str] = []
    for place, word in enumerate(entry.split(), start=1):
        if field == "work_periods" and "~" in (written := word.replace("～", "~")):
            meant |= _period(written)
        elif word.lower() in FLAGS.get(field, {}):
            meant |= {FLAGS[field][word.lower()]: True}
        elif not _understood(field, word, meant):
            if field not in FREE:
                raise CellFault(f"word {place} is not understood")
            free.append(word)
    if free:
        meant[FREE[field]] = " ".join(free)
    meant.pop("enrolled", None)  # being a student is what neither day nor final year says
    return meant


def _understood(field: str, word: str, meant: Claim) -> bool:
    """Whether some field that has no value yet understands a word; it then has it."""
    for key, parser in FIELDS[field].items():
        if key in meant:
            continue
        try:
            meant[key] = parser(word)
        except CellFault:
            continue
        return True
    return False


def _period(word: str) -> Claim:
    first, _, last = word.partition("~")
    started: date = v.day(first)
    return {"started_on": started} | ({} if last in _ONGOING else {"ended_on": v.day(last)})
