"""Names of keys, sealed values in JSON, and what a model declares sealed."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from domain.values.sealed_fields import (
    DataClass,
    KeyName,
    Sealed,
    blanked,
    declared_values,
    has_sealed,
    is_sealed,
    map_sealed,
    matter_owner,
    models_in,
    parse_key_name,
    parse_placed,
    person_owner,
    placed_text,
    sealed_fields,
    sealed_values,
    without_sealed,
)

VALUE = {"key": "person/P1/remarks/1", "sealed": "aes-256-gcm:AAAA"}
IDS = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._-]{0,20}", fullmatch=True)


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)
    rule: str
    figures: Annotated[dict[str, int] | None, Sealed(DataClass.STATEMENTS)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True)
    lines: tuple[Line, ...]
    note: Annotated[str | None, Sealed(None)] = None


class Fact(BaseModel):
    model_config = ConfigDict(frozen=True)
    person_id: str
    reason: Annotated[str | None, Sealed(DataClass.REMARKS)]
    part: Part | None = None
    others: tuple[Line, ...] = ()


class Plain(BaseModel):
    """A model without sealed fields."""

    name: str


FACT = Fact(
    person_id="P1",
    reason="材料不全",
    part=Part(lines=(Line(rule="a", figures={"years": 3}), Line(rule="b", figures=None))),
    others=(Line(rule="c", figures={"months": 9}),),
)


# --- keys ----------------------------------------------------------------------------------------


@given(IDS, st.sampled_from(DataClass), st.integers(1, 10_000))
def test_the_key_of_a_person_is_called_by_person_class_and_generation(
    person: str, data_class: DataClass, generation: int
) -> None:
    name = KeyName(person_owner(person), data_class.value, generation)
    assert str(name) == f"person/{person}/{data_class.value}/{generation}"
    assert parse_key_name(str(name)) == name


@given(IDS, st.integers(1, 10_000))
def test_the_key_of_a_matter_is_called_by_stream_and_generation(
    stream: str, generation: int
) -> None:
    name = KeyName(matter_owner(stream), "", generation)
    assert str(name) == f"matter/{stream}/{generation}"
    assert parse_key_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "/1", "person/P1/1", "person/P1/other/1", "person//identity/1"),
        *("person/P1/identity/0", "person/P1/identity/-1", "person/P1/identity/01"),
        *("person/P1/identity/٣", "person/P1/identity/", "matter//1", "other/P1/1"),
    ],
)
def test_another_text_is_the_name_of_no_key(text: str) -> None:
    with pytest.raises(ValueError):
        parse_key_name(text)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *(None, "text", 1, [], {}, [VALUE], {"key": "k"}, {"sealed": "s"}),
        *(VALUE | {"more": 1}, {"key": 1, "sealed": "s"}, {"key": "k", "sealed": {}}),
    ],
)
def test_only_a_key_and_a_ciphertext_are_a_sealed_value(value: Any) -> None:
    assert is_sealed(VALUE)
    assert not is_sealed(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(VALUE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def at(data: Any, path: str) -> Any:
    """The member at a JSON pointer, by RFC 6901."""
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        data = data[int(name)] if isinstance(data, list) else data[name]
    return data


@given(st.dictionaries(st.text(), JSON, max_size=4).filter(lambda data: not is_sealed(data)))
def test_every_sealed_value_is_found_at_its_path(data: dict[str, Any]) -> None:
    before = json.dumps(data)
    found = sealed_values(data)
    assert all(at(data, path) == value == VALUE for path, value in found)
    assert len({path for path, _ in found}) == len(found)
    assert json.dumps(data).count(json.dumps(VALUE)) == len(found)
    assert json.dumps(without_sealed(data)) == before.replace(json.dumps(VALUE), "null")
    assert map_sealed(data, lambda path, value: value) == data
    assert json.dumps(data) == before


@given(IDS, st.integers(1, 99), st.sampled_from(["/reason", "/missing/0/figures"]))
def test_a_view_can_store_a_sealed_value_with_its_place(
    stream: str, version: int, path: str
) -> None:
    assert parse_placed(placed_text(stream, version, path, VALUE)) == (
        stream,
        version,
        path,
        VALUE,
    )
    assert parse_placed("component_already_paid") is None


# --- models --------------------------------------------------------------------------------------


def test_a_model_declares_what_is_sealed_in_it_and_in_nested_ones() -> None:
    assert [name for name, _ in sealed_fields(Fact)] == ["reason"]
    assert models_in(Fact) == [Part, Line]
    assert has_sealed(Part)
    assert not has_sealed(Plain)
    data = FACT.model_dump(mode="json")
    found = {value.path: value.mark.data_class for value in declared_values(Fact, data)}
    assert found == {
        "/reason": DataClass.REMARKS,
        "/part/lines/0/figures": DataClass.STATEMENTS,
        "/others/0/figures": DataClass.STATEMENTS,
    }
    for value in declared_values(Fact, data):
        assert value.holder[value.name] == at(data, value.path)


@given(JSON)
def test_data_of_another_shape_is_searched_without_a_fault(value: Any) -> None:
    data = {"reason": value, "part": value, "others": value}
    for each in declared_values(Fact, data):
        assert at(data, each.path) == each.holder[each.name]


def test_a_state_knows_a_fact_without_its_sealed_fields() -> None:
    assert blanked(FACT) == Fact(
        person_id="P1",
        reason=None,
        part=Part(lines=(Line(rule="a", figures=None), Line(rule="b", figures=None))),
        others=(Line(rule="c", figures=None),),
    )
    plain = Plain(name="x")
    assert blanked(plain) is plain
