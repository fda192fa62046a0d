"""Crypto-shredding and blind indexes: fields open with the keys, at their place, until erasure.

Covers: domain/store/privacy/field_encryption.py, domain/store/privacy/cipher_suites.py,
domain/store/privacy/blind_index.py, domain/store/journal/person_keys.py
"""

import os
import subprocess
import sys

import pytest

from domain.store.errors import DataKeyDestroyed, WrongKey
from domain.store.journal.journal import Journal
from domain.store.journal.person_keys import PersonKey
from domain.store.journal.records import AppendRequest, RecordedEvent
from domain.store.privacy.field_encryption import (
    FieldEncryptor,
    MasterKeys,
    Vault,
    erased_persons,
)
from tests.store.drafts import append, draft
from tests.store.facts import INDEX_KEY, MASTER_KEYS, vault_of

ALGORITHMS = ["aes-256-gcm", "sm4-gcm"]


class NoKeys:
    """Key rows without any key."""

    def person_key(self, person: str) -> PersonKey | None:
        return None


def seal(journal: Journal, vault: Vault, person: str, text: str, stream: str = "a") -> str:
    """Seal a text as field `name` of the next event of a stream, and record its key."""
    with journal.transaction() as transaction:
        version = (transaction.last_version(stream) or 0) + 1
        encryptor = vault.encryptor(transaction)
        sealed = encryptor.seal(person, stream, version, "name", text)
        transaction.append([append(stream, version, fresh_keys=encryptor.fresh_keys)])
    return sealed


def erase(journal: Journal, person: str) -> list[RecordedEvent]:
    with journal.transaction() as transaction:
        return transaction.append([append(f"erasure-{person}", 1, destroy_keys=(person,))])[0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("text", ["", "王小明", "x" * 5000, "\x00\u2028"])
def test_a_sealed_field_opens_in_another_process_too(
    journal: Journal, algorithm: str, text: str
) -> None:
    sealed = seal(journal, vault_of(journal, algorithm=algorithm), "p1", text)
    assert sealed.startswith(algorithm + ":")
    assert text == "" or text not in sealed
    other = vault_of(journal)
    assert other.open("p1", "a", 1, "name", sealed) == text


def test_a_field_of_one_suite_opens_when_the_other_is_the_default(
    journal: Journal,
) -> None:
    sealed = [
        seal(journal, vault_of(journal, algorithm=algorithm), "p1", "王小明")
        for algorithm in (*ALGORITHMS, "aes-256-gcm")
    ]
    assert [one.split(":")[0] for one in sealed] == [*ALGORITHMS, "aes-256-gcm"]
    for algorithm in ALGORITHMS:
        vault = vault_of(journal, algorithm=algorithm)
        for version, one in enumerate(sealed, 1):
            assert vault.open("p1", "a", version, "name", one) == "王小明"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("place", [("b", 1, "name"), ("a", 2, "name"), ("a", 1, "phone")], ids=str)
def test_a_ciphertext_that_was_moved_does_not_open(
    journal: Journal, algorithm: str, place: tuple[str, int, str]
) -> None:
    vault = vault_of(journal, algorithm=algorithm)
    sealed = seal(journal, vault, "p1", "王小明")
    with pytest.raises(WrongKey):
        vault.open("p1", *place, sealed)


def test_a_ciphertext_of_another_ledger_or_person_does_not_open(journal: Journal) -> None:
    vault = vault_of(journal)
    sealed = seal(journal, vault, "p1", "王小明")
    seal(journal, vault, "p2", "李", stream="b")
    with pytest.raises(WrongKey):
        vault.open("p2", "a", 1, "name", sealed)
    rows = vault._read_keys({"p1"})
    other_ledger = Vault("other", MASTER_KEYS, INDEX_KEY, lambda _: rows)
    with pytest.raises(WrongKey):
        other_ledger.open("p1", "a", 1, "name", sealed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "corrupt",
    [
        lambda s: s[:-6] + ("A" if s[-6] != "A" else "B") + s[-5:],
        lambda s: s.split(":")[0] + ":",
        lambda s: s.split(":")[0] + ":AAAA",
        lambda s: "rot13:" + s.split(":")[1],
        lambda s: s.replace(":", ":!", 1),
    ],
    ids=["flipped", "empty", "short", "unknown algorithm", "not base64"],
)
def test_a_corrupted_ciphertext_does_not_open(journal: Journal, algorithm: str, corrupt) -> None:
    vault = vault_of(journal, algorithm=algorithm)
    sealed = seal(journal, vault, "p1", "王小明")
    with pytest.raises(WrongKey):
        vault.open("p1", "a", 1, "name", corrupt(sealed))


def test_a_person_has_one_key_and_every_sealing_another_ciphertext(journal: Journal) -> None:
    vault = vault_of(journal)
    first, second = (seal(journal, vault, "p1", "王小明") for _ in range(2))
    assert first != second
    assert journal.query("SELECT count(*) FROM certledger.person_keys") == [(1,)]


def test_the_database_holds_neither_the_text_nor_the_key(journal: Journal) -> None:
    vault = vault_of(journal)
    seal(journal, vault, "p1", "王小明")
    key = vault._cache["p1"].key
    assert key is not None
    ((wrapped,),) = journal.query("SELECT wrapped FROM certledger.person_keys")
    assert key not in bytes(wrapped)
    assert "王小明".encode() not in bytes(wrapped)


# --- erasure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_after_erasure_nothing_opens_and_nothing_more_is_sealed(
    journal: Journal, algorithm: str
) -> None:
    vault = vault_of(journal, algorithm=algorithm)
    sealed = seal(journal, vault, "p1", "王小明")
    others = seal(journal, vault, "p2", "李", stream="b")
    erase(journal, "p1")
    vault.forget("p1")
    assert vault.open("p1", "a", 1, "name", sealed) is None
    assert vault.open("p2", "b", 1, "name", others) == "李"
    with pytest.raises(DataKeyDestroyed):
        seal(journal, vault, "p1", "again")
    assert journal.query("SELECT wrapped FROM certledger.person_keys WHERE person = 'p1'") == [
        (None,)
    ]


def test_another_process_drops_a_destroyed_key_after_the_cache_time(journal: Journal) -> None:
    vault, cached, uncached = (vault_of(journal, cache_seconds=s) for s in (60.0, 60.0, 0.0))
    sealed = seal(journal, vault, "p1", "王小明")
    for other in (cached, uncached):
        assert other.open("p1", "a", 1, "name", sealed) == "王小明"
    erase(journal, "p1")
    assert uncached.open("p1", "a", 1, "name", sealed) is None
    assert cached.open("p1", "a", 1, "name", sealed) == "王小明"
    cached.forget()
    assert cached.open("p1", "a", 1, "name", sealed) is None


def test_a_process_with_a_cached_key_does_not_seal_after_erasure(journal: Journal) -> None:
    vault = vault_of(journal)
    seal(journal, vault, "p1", "王小明")
    erase(journal, "p1")
    with pytest.raises(DataKeyDestroyed):
        seal(journal, vault, "p1", "again")


# --- a key that was destroyed without an erasure --------------------------------------------------


def test_a_key_that_was_destroyed_without_an_event_opens_nothing_and_is_no_erasure(
    journal: Journal,
) -> None:
    vault = vault_of(journal, erased=erased_persons(journal))
    sealed = seal(journal, vault, "p1", "王小明")
    erase(journal, "p1")  # under another topic than an erasure has
    vault.forget()
    with pytest.raises(WrongKey, match="p1 was destroyed, and no event erased them"):
        vault.open("p1", "a", 1, "name", sealed)
    with pytest.raises(WrongKey):
        vault.preload(["p1"])
    [row] = vault._read_keys({"p1"}).values()
    vault.cache_key(row)  # as a command does that has read it
    with pytest.raises(WrongKey):
        vault.open("p1", "a", 1, "name", sealed)


def test_a_key_that_went_with_the_event_of_its_person_is_an_erasure(journal: Journal) -> None:
    vault = vault_of(journal, erased=erased_persons(journal))
    sealed = {person: seal(journal, vault, person, "王小明", person) for person in ("p1", "p2")}
    event = draft("person-p1", 1, topic="personal_data_erased.v1", person_id="p1")
    with journal.transaction() as transaction:
        transaction.append([AppendRequest((event,), destroy_keys=("p1",))])
    vault.forget()
    vault.preload(["p1", "p2"])
    assert vault.open("p1", "p1", 1, "name", sealed["p1"]) is None
    assert vault.open("p2", "p2", 1, "name", sealed["p2"]) == "王小明"


# --- keys of refused commands --------------------------------------------------------------------


def test_the_key_of_a_refused_command_is_not_used_any_more(journal: Journal) -> None:
    vault, other = vault_of(journal), vault_of(journal)
    FieldEncryptor(vault, NoKeys()).seal("p1", "a", 1, "name", "refused in the end")
    sealed = seal(journal, other, "p1", "王小明")
    assert vault.open("p1", "a", 1, "name", sealed) == "王小明"


def test_a_later_command_of_the_batch_uses_the_key_the_earlier_one_made(journal: Journal) -> None:
    vault = vault_of(journal)
    with journal.transaction() as transaction:
        first = vault.encryptor(transaction.batch)
        one = first.seal("p1", "a", 1, "name", "one")
        transaction.append([append("a", 1, fresh_keys=first.fresh_keys)])
        assert vault.open("p1", "a", 1, "name", one) == "one"
        second = vault.encryptor(transaction.batch)
        two = second.seal("p1", "a", 2, "name", "two")
        assert second.fresh_keys == ()
        transaction.append([append("a", 2)])
    fresh = vault_of(journal)
    assert [fresh.open("p1", "a", v, "name", s) for v, s in ((1, one), (2, two))] == ["one", "two"]


# --- master keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_are_rewrapped_under_a_new_master_key(journal: Journal, algorithm: str) -> None:
    sealed = {
        person: seal(journal, vault_of(journal, algorithm=algorithm), person, person, person)
        for person in ("p1", "p2", "p3")
    }
    erase(journal, "p3")
    both = MasterKeys("2027", {"2026": b"m" * 32, "2027": b"n" * 32})
    rotating = vault_of(journal, master_keys=both)
    assert [rotating.rewrap(journal, limit=1) for _ in range(3)] == [1, 1, 0]
    new_only = vault_of(journal, master_keys=MasterKeys("2027", {"2027": b"n" * 32}))
    assert new_only.open("p1", "p1", 1, "name", sealed["p1"]) == "p1"
    assert new_only.open("p2", "p2", 1, "name", sealed["p2"]) == "p2"
    assert new_only.open("p3", "p3", 1, "name", sealed["p3"]) is None
    old_only = vault_of(journal)
    with pytest.raises(WrongKey, match="2027"):
        old_only.open("p1", "p1", 1, "name", sealed["p1"])


def test_a_person_without_a_key_is_refused(journal: Journal) -> None:
    with pytest.raises(WrongKey, match="p9"):
        vault_of(journal).open("p9", "a", 1, "name", "aes-256-gcm:" + "A" * 80)


def test_keys_of_the_wrong_kind_are_refused_at_once(journal: Journal) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKeys("a", {"a": b"short"})
    with pytest.raises(ValueError, match="no master key"):
        MasterKeys("b", {"a": b"m" * 32})
    with pytest.raises(ValueError, match="index key"):
        vault_of(journal, index_key=b"short")
    with pytest.raises(WrongKey):
        vault_of(journal, algorithm="rot13")
    assert "m" * 32 not in repr(MASTER_KEYS)


# --- the blind index -----------------------------------------------------------------------------


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


def test_search_tokens_match_every_suite_and_hide_the_text(
    journal: Journal,
) -> None:
    both = [vault_of(journal, algorithm=algorithm) for algorithm in ALGORITHMS]
    for vault in both:
        tokens = vault.search_tokens("name", "张 三")
        assert list(tokens.all()) == list(vault.blind_indexes("name", "张三"))
        for stored in (other.blind_index("name", "张三") for other in both):
            assert stored in tokens
            assert stored not in vault.search_tokens("name", "李四")
            assert stored not in vault.search_tokens("document", "张三")
        for nothing in (None, "", "hmac-sha256:", "hmac-sha1:00", 7):
            assert nothing not in tokens
        assert "三" not in f"{tokens!r} {tokens}"


def test_the_keyed_hashes_are_the_standard_ones(journal: Journal) -> None:
    # openssl dgst -sha256|-sm3 -mac HMAC over "k|V" under 32 times "i".
    assert vault_of(journal).blind_index("k", "v") == (
        "hmac-sha256:c90c72d22463b077713583957267863ece79258aca79625922223e68151d27d9"
    )
    assert vault_of(journal, algorithm="sm4-gcm").blind_index("k", "v") == (
        "hmac-sm3:4b5529c92499bddbcdd1a040521170b2f1733b097222ec0c5f9e42d71553db10"
    )


FORKED = """
import os
from domain.store.privacy.cipher_suites import AES
def nonces(): return [AES.encrypt(bytes(32), b"", b"")[:12].hex() for _ in range(300)]
first = nonces()
child = os.fork()
if child:
    os.waitpid(child, 0)
    print(*first)
print(*nonces(), flush=True)
"""


def test_no_nonce_is_used_twice_not_even_by_a_forked_child():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True)
    nonces = done.stdout.split()
    assert (len(nonces), len({*nonces})) == (900, 900)
