"""The published mask of a document number."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.values.identity_documents import (
    DocumentType,
    InvalidIdentityDocument,
    mask_number,
    validate_document,
)
from tests.support.synthetic_identity import TODAY, citizen, citizen_numbers, permanent_2017

CITIZEN = DocumentType.RESIDENT_ID
FOREIGN = DocumentType.FOREIGN_PERMANENT_RESIDENT_ID


@given(citizen_numbers)
def test_a_mask_never_shows_the_birthday(number):
    masked = mask_number(CITIZEN, number)
    assert masked == number[:3] + "*" * 13 + number[-2:]
    assert masked[6:14] == "*" * 8


@given(st.dates(dt.date(1930, 1, 1), TODAY), st.integers(0, 9))
def test_a_mask_never_shows_the_birthday_of_a_card_of_2017(born, order):
    number = permanent_2017(f"USA3301{born:%y%m%d}{order}")
    assert mask_number(FOREIGN, number)[7:13] == "*" * 6


@given(st.sampled_from(DocumentType), st.text("0123456789ABCHMX", max_size=30))
def test_a_mask_covers_at_least_three_characters_and_all_of_a_short_number(document_type, number):
    masked = mask_number(document_type, number)
    assert len(masked) == len(number)
    assert masked.count("*") >= min(3, len(number))
    if len(number) < 5:
        assert set(masked) <= {"*"}


def test_the_mask_does_not_depend_on_the_spelling():
    number = citizen()
    assert mask_number(CITIZEN, f" {number[:6]} {number[6:]}") == mask_number(CITIZEN, number)
    assert mask_number(DocumentType.TAIWAN_PERMIT, "12345678") == "1******8"
    assert mask_number(DocumentType.HOME_RETURN_PERMIT, "H12345678") == "H12****78"


@given(citizen_numbers)
def test_the_repr_of_a_document_shows_only_the_mask(number):
    document = validate_document(CITIZEN, number, TODAY)
    for shown in (repr(document), str(document), f"{document}"):
        assert number not in shown
        assert document.masked in shown


def test_an_error_never_contains_the_number():
    number = citizen(born="20270101")
    with pytest.raises(InvalidIdentityDocument) as refusal:
        validate_document(CITIZEN, number, TODAY)
    assert number not in str(refusal.value)
    assert number not in repr(refusal.value.fields)


def test_a_document_is_immutable():
    document = validate_document(CITIZEN, citizen(), TODAY)
    with pytest.raises(ValidationError):
        document.number = "x"
    assert document.number == citizen()
