"""The canonical card and its hash, against vectors that were computed without our code."""

import hashlib
from datetime import date

import pytest

from domain.values.certificate_cards import Card, canonical_card, card_sha256

CARD: Card = {
    "ledger": "omc",
    "kind": "national",
    "number": "S000033000123264000001",
    "version": 1,
    "name": '古丽米热·"艾"',
    "document_type": "resident_id",
    "document_number": "33010619950315127X",
    "occupation": "4-01-02-07",
    "occupation_name": "互联网营销师",
    "job_type": None,
    "level": 4,
    "theory": "72",
    "practical": "65.5",
    "issuer_name": "浙江今日头条科技有限公司",
    "organisation_name": "浙江今日头条科技有限公司",
    "issued_on": date(2026, 10, 15),
    "photo_sha256": "ab" * 32,
}
BYTES = (
    '{"document_tail":"127X","document_type":"resident_id","issued_on":"2026-10-15",'
    '"issuer_name":"浙江今日头条科技有限公司","job_type":null,"kind":"national","ledger":"omc",'
    '"level":4,"name":"古丽米热·\\"艾\\"","number":"S000033000123264000001",'
    '"occupation":"4-01-02-07","occupation_name":"互联网营销师",'
    '"organisation_name":"浙江今日头条科技有限公司","photo_sha256":"' + "ab" * 32 + '",'
    '"practical":"65.5","theory":"72","v":1,"version":1}'
).encode()


def test_a_card_is_canonical_json_with_exactly_these_members():
    """Source: source-document 5.2, 5.3."""
    assert canonical_card(CARD) == BYTES


def test_a_card_without_marks_or_photo_says_null():
    absent = canonical_card({**CARD, "theory": None, "practical": None, "photo_sha256": None})
    for member in (b'"theory":null', b'"practical":null', b'"photo_sha256":null'):
        assert member in absent


def test_a_card_shows_no_more_of_a_document_than_its_last_four_characters():
    assert CARD["document_number"].encode() not in canonical_card(CARD)
    short = canonical_card({**CARD, "document_number": "E12"})
    assert b'"document_tail":"E12"' in short


@pytest.mark.parametrize("salt", [bytes(32), bytes(range(32))])
def test_the_hash_is_over_the_salt_and_the_card(salt):
    expected = hashlib.sha256(b"certledger card v1" + b"\x00" + salt + BYTES).hexdigest()
    assert card_sha256(canonical_card(CARD), salt) == expected


def test_the_hash_of_the_vector_does_not_change():
    assert card_sha256(BYTES, bytes(range(32))) == (
        "c5c0e835a6450acc90d302c75a81626342308ddd607da22ac4fb519216ae5e3d"
    )
