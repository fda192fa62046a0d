"""Blind indexes find encrypted text by its exact value, however it is typed."""

import os

import pytest

from domain.store.journal.journal import Journal
from tests.store.facts import vault_of

ALGORITHMS = ["aes-256-gcm", "sm4-gcm"]


@pytest.mark.parametrize(
    ("algorithm", "name"), [("aes-256-gcm", "hmac-sha256"), ("sm4-gcm", "hmac-sm3")]
)
def test_a_blind_index_is_the_same_however_the_number_is_typed(
    journal: Journal, algorithm: str, name: str
) -> None:
    vault = vault_of(journal, algorithm=algorithm)
    spellings = [
        "11010119900307001x",
        "11010119900307001X",
        " 110101 19900307 001X ",
        "１１０１０１19900307001Ｘ",
    ]
    found = {vault.blind_index("resident_id", one) for one in spellings}
    assert len(found) == 1
    assert found.pop().startswith(name + ":")


def test_a_blind_index_differs_by_kind_by_value_and_by_key(journal: Journal) -> None:
    vault = vault_of(journal)
    other = vault_of(journal, index_key=os.urandom(32))
    indexes = {
        vault.blind_index("resident_id", "1"),
        vault.blind_index("passport", "1"),
        vault.blind_index("resident_id", "2"),
        other.blind_index("resident_id", "1"),
    }
    assert len(indexes) == 4


def test_an_index_of_one_suite_is_found_when_the_other_is_the_default(
    journal: Journal,
) -> None:
    aes, sm4 = (vault_of(journal, algorithm=algorithm) for algorithm in ALGORITHMS)
    stored = [vault.blind_index("resident_id", "1") for vault in (aes, sm4)]
    assert list(aes.blind_indexes("resident_id", "1")) == stored
    assert list(sm4.blind_indexes("resident_id", "1")) == stored[::-1]


def test_the_keyed_hashes_are_the_standard_ones(journal: Journal) -> None:
    # openssl dgst -sha256|-sm3 -mac HMAC over "k|V" under 32 times "i".
    assert vault_of(journal).blind_index("k", "v") == (
        "hmac-sha256:c90c72d22463b077713583957267863ece79258aca79625922223e68151d27d9"
    )
    assert vault_of(journal, algorithm="sm4-gcm").blind_index("k", "v") == (
        "hmac-sm3:4b5529c92499bddbcdd1a040521170b2f1733b097222ec0c5f9e42d71553db10"
    )
