"""Ids that callers choose: the forms of programs, and nothing that could be read as a person."""

import base64
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.steps.enrolment import OpenApplication, RegisterPerson
from domain.steps.payment import RecordPayment
from domain.steps.public_notice import FileObjection
from domain.values.opaque_ids import OPAQUE_ID_PATTERN, OpaqueId
from tests.support.commands import apply_for, object_to, pay, register

OPAQUE = TypeAdapter(OpaqueId)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def is_opaque(text: str) -> bool:
    try:
        return OPAQUE.validate_python(text) == text
    except ValidationError as refused:
        assert [error["type"] for error in refused.errors()] == ["not_an_opaque_id"]
        return False


@given(
    capitals=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", max_size=6),
    digits=st.text("0123456789", max_size=12),
)
def test_a_few_capitals_and_up_to_ten_digits_are_an_id(capitals: str, digits: str) -> None:
    assert is_opaque(capitals + digits) == (1 <= len(capitals) <= 4 and 1 <= len(digits) <= 10)


@given(number=st.integers(0, 2**128 - 1))
def test_128_bits_are_an_id_in_every_way_that_programs_write_them(number: int) -> None:
    assert is_opaque(f"{number:032x}")
    assert is_opaque(uuid.UUID(int=number).hex)
    assert is_opaque(base64.b32encode(number.to_bytes(16)).decode().rstrip("="))
    assert is_opaque("".join(CROCKFORD[number >> 5 * place & 31] for place in range(26)))


@pytest.mark.parametrize(
    "text",
    [
        *("", "wang", "Wang1", "P", "1", "P-1", "P.1", "P_1", " P1", "P1 ", "P1\n", "Ｐ1", "P１"),
        *("13800000000", "330106199503151275", "A-13800000000", "ABCDE1", "王小明", "王1", "P1王"),
        str(uuid.UUID(int=7)),
        "0A" * 16,
        "0a" * 15,
        "A" * 25,
        "a" * 26,
    ],
)
def test_a_name_a_number_and_everything_else_is_none(text: str) -> None:
    assert not is_opaque(text)


@given(text=st.text(max_size=40) | st.from_regex(OPAQUE_ID_PATTERN))
def test_the_documented_pattern_says_the_same(text: str) -> None:
    documented = re.compile(OPAQUE_ID_PATTERN.removesuffix("$") + r"\Z")
    assert is_opaque(text) == (documented.match(text) is not None)
    assert OPAQUE.json_schema()["pattern"] == OPAQUE_ID_PATTERN


@pytest.mark.parametrize(
    ("kind", "name", "make"),
    [
        (RegisterPerson, "person_id", register),
        (OpenApplication, "application_id", apply_for),
        (FileObjection, "objection_id", object_to),
        (RecordPayment, "payment_id", pay),
    ],
)
def test_what_is_made_by_a_command_is_named_by_such_an_id_or_by_us(kind, name, make) -> None:
    for given_id in ("A26030031", uuid.uuid4().hex, None):
        assert getattr(make(**{name: given_id}), name) == given_id
    with pytest.raises(ValidationError, match=f"{name}\n.*one to four capitals"):
        make(**{name: "wang-xiaoming"})
    assert isinstance(make(), kind)
