"""Which fields of a fact are sealed, whose data key seals them, and how a sealed value looks.

A field declares it with `Sealed`, also in a nested model. A data key belongs to an owner: a person,
with a class that says how long such data are kept, or the matter that a stream is about. When a key
is destroyed, what it sealed reads as None, so a sealed field may always be None.
Reading order: DataClass, Sealed, the owners and key names, `declared_values`, `map_sealed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

PERSON_FIELD = "person_id"
"""The field of a fact that names the person whose keys seal its personal fields."""


class DataClass(StrEnum):
    """A class of personal data with a retention of its own (数据类别)."""

    IDENTITY = "identity"  # name, document
    CONTACT = "contact"  # phone
    STATEMENTS = "statements"  # qualifications, uploads
    REMARKS = "remarks"  # reasons, objections, free text
    MONEY = "money"  # payee accounts, receipts
    CERTIFICATE = "certificate"  # photo, salt of the card, certificate document


@dataclass(frozen=True, slots=True)
class Sealed:
    """Marks a field that is sealed before it is stored.

    data_class: under which key of the person that the fact names; None for a text that concerns no
        one person: then the stream's matter key seals it, and it goes by that stream's retention.
    of: the field of the fact that names this person.
    """

    data_class: DataClass | None
    of: str = PERSON_FIELD


# --- owners and names of keys ---------------------------------------------------------------------

_PERSON, _MATTER = "person/", "matter/"


def person_owner(person_id: str) -> str:
    """The owner of a person's data keys."""
    return _PERSON + person_id


def matter_owner(stream: str) -> str:
    """The owner of the data keys of a stream."""
    return _MATTER + stream


class KeyName(NamedTuple):
    """A data key: its owner, its class ("" for a matter) and its generation, from 1."""

    owner: str
    data_class: str
    generation: int

    def __str__(self) -> str:
        """`person/<person_id>/<class>/<n>` or `matter/<stream>/<n>`."""
        middle = f"/{self.data_class}" if self.data_class else ""
        return f"{self.owner}{middle}/{self.generation}"


def parse_key_name(text: str) -> KeyName:
    """The key of a stored name. Raises: ValueError for what no key is called."""
    owner, _, generation = text.rpartition("/")
    data_class = ""
    if owner.startswith(_PERSON):
        owner, _, data_class = owner.rpartition("/")
        DataClass(data_class)
    is_owner = owner.startswith((_PERSON, _MATTER)) and not owner.endswith("/")
    number = int(generation) if generation.isascii() and generation.isdigit() else 0
    name = KeyName(owner, data_class, number)
    if not is_owner or number < 1 or str(name) != text:
        raise ValueError("no data key is called that")
    return name


# --- sealed values --------------------------------------------------------------------------------

KEY, SEALED = "key", "sealed"
"""A sealed value is stored as {"key": <name>, "sealed": "<suite>:<base64>"}."""


def is_sealed(value: Any) -> bool:
    """Whether a stored value is a sealed one."""
    return (
        type(value) is dict
        and len(value) == 2
        and type(value.get(SEALED)) is str
        and type(value.get(KEY)) is str
    )


def pointer(parent: str, name: str | int) -> str:
    """The path of a member: a JSON pointer (RFC 6901) within the data of a fact."""
    if type(name) is str:
        name = name.replace("~", "~0").replace("/", "~1")
    return f"{parent}/{name}"


def map_sealed(data: Any, replace: Callable[[str, dict[str, str]], Any], path: str = "") -> Any:
    """JSON data with every sealed value replaced by `replace(path, value)`; changes nothing."""
    kind = type(data)
    if kind is dict:
        if is_sealed(data):
            return replace(path, data)
        return {
            name: map_sealed(value, replace, pointer(path, name))
            if type(value) in (dict, list)
            else value
            for name, value in data.items()
        }
    if kind is list:
        return [
            map_sealed(value, replace, pointer(path, index))
            if type(value) in (dict, list)
            else value
            for index, value in enumerate(data)
        ]
    return data


def sealed_values(data: Any) -> list[tuple[str, dict[str, str]]]:
    """Every sealed value in JSON data with its path."""
    found: list[tuple[str, dict[str, str]]] = []
    map_sealed(data, lambda path, value: found.append((path, value)))
    return found


def without_sealed(data: dict[str, Any]) -> dict[str, Any]:
    """The data with every sealed value None, as if its key were destroyed."""
    found: dict[str, Any] = map_sealed(data, lambda path, value: None)
    return found


def placed_text(stream: str, version: int, path: str, sealed: dict[str, str]) -> str:
    """A sealed value with its place in the journal as one text, which a view can store.

    `domain.service.ledger.Ledger.open_texts` opens it.
    """
    return json.dumps([stream, version, path, sealed[KEY], sealed[SEALED]], separators=(",", ":"))


def parse_placed(text: str) -> tuple[str, int, str, dict[str, str]] | None:
    """Stream, version, path and value of a text of `placed_text`; None for a code."""
    if not text.startswith("["):
        return None
    stream, version, path, key, sealed = json.loads(text)
    return stream, version, path, {KEY: key, SEALED: sealed}


# --- what a model declares ------------------------------------------------------------------------


class DeclaredValue(NamedTuple):
    """A value that is to be sealed. path: JSON pointer. holder[name] is the value."""

    path: str
    mark: Sealed
    holder: dict[str, Any]
    name: str


class _Plan(NamedTuple):
    """The sealed fields of a model, and the fields with models that have some."""

    fields: tuple[tuple[str, Sealed], ...]
    nested: tuple[tuple[str, _Plan], ...]

    @property
    def is_empty(self) -> bool:
        return not (self.fields or self.nested)


def has_sealed(model: type[BaseModel]) -> bool:
    """Whether a model, or one nested in it, has a sealed field."""
    return not _plan(model).is_empty


def sealed_fields(model: type[BaseModel]) -> tuple[tuple[str, Sealed], ...]:
    """The sealed fields of a model itself, without nested models."""
    return _plan(model).fields


def models_in(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models nested in a model, at any depth."""
    found: list[type[BaseModel]] = []
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            found += [inner, *models_in(inner)]
    return list(dict.fromkeys(found))


def declared_values(model: type[BaseModel], data: dict[str, Any]) -> Iterator[DeclaredValue]:
    """The values that a model declares sealed, in its data as JSON; those that are None are left
    out. Raises: nothing for data of another shape: what does not fit is left out.
    """
    return _declared(_plan(model), data, "")


def blanked(fact: M) -> M:
    """The fact with every sealed field None, as a state may know it; the same if it has none."""
    plan = _plan(type(fact))
    return fact if plan.is_empty else _blanked(plan, fact)


def _declared(plan: _Plan, data: dict[str, Any], path: str) -> Iterator[DeclaredValue]:
    for name, mark in plan.fields:
        if data.get(name) is not None:
            yield DeclaredValue(pointer(path, name), mark, data, name)
    for name, inner in plan.nested:
        value, place = data.get(name), pointer(path, name)
        if type(value) is dict:
            yield from _declared(inner, value, place)
        elif type(value) is list:
            for index, item in enumerate(value):
                if type(item) is dict:
                    yield from _declared(inner, item, pointer(place, index))


def _blanked(plan: _Plan, model: M) -> M:
    changes: dict[str, Any] = {name: None for name, _ in plan.fields}
    for name, inner in plan.nested:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changes[name] = _blanked(inner, value)
        elif isinstance(value, tuple):
            changes[name] = tuple(_blanked(inner, item) for item in value)
    return model.model_copy(update=changes)


@cache
def _plan(model: type[BaseModel]) -> _Plan:
    fields, nested = [], []
    for name, field in model.model_fields.items():
        marks = [mark for mark in field.metadata if isinstance(mark, Sealed)]
        if marks:
            fields.append((name, marks[0]))
            continue
        for inner in _models_in(field.annotation):
            plan = _plan(inner)
            if not plan.is_empty:
                nested.append((name, plan))
    return _Plan(tuple(fields), tuple(nested))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation such as `tuple[Model, ...] | None` names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
