"""Sealed values open with their keys, at their place, until an erasure.

Covers: domain/store/privacy/field_encryption.py, domain/store/privacy/cipher_suites.py,
domain/store/journal/data_keys.py
"""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from domain.store.errors import WrongKey
from domain.store.journal.bucket_keys import BucketKey
from domain.store.journal.data_keys import DataKey
from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest, RecordedEvent
from domain.store.privacy.bucket_keys import BucketKeys, StoredBuckets, new_bucket
from domain.store.privacy.cipher_suites import suite_named
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.store.privacy.field_encryption import (
    FieldEncryptor,
    Vault,
    erased_owners,
)
from domain.values.sealed_fields import DataClass, Sealed
from tests.store.drafts import append, draft
from tests.store.facts import EPOCH_KEYS, INDEX_KEY, MASTER_KEYS, vault_of
from tests.support.keys import EPOCH_DIRECTORY

ALGORITHMS = ["aes-256-gcm", "sm4-gcm"]
IDENTITY, REMARKS = Sealed(DataClass.IDENTITY), Sealed(DataClass.REMARKS)
MATTER = Sealed(None)
NOW = datetime(2026, 9, 1, 2, tzinfo=UTC)

Value = dict[str, str]


class Buckets:
    """Bucket keys in memory, under an epoch of this run."""

    def __init__(self) -> None:
        self.epoch = EPOCH_KEYS.make(1, NOW + timedelta(days=30))
        self.rows = [new_bucket("omc", (n, 1), self.epoch, "aes-256-gcm") for n in range(1024)]

    def read(self) -> list[BucketKey]:
        return self.rows

    def make(self, keys: EpochKeys, algorithm: str) -> None:
        raise AssertionError("they are there")

    def newest_epoch(self) -> tuple[int, str]:
        return self.epoch.name


BUCKETS = Buckets()


class Rows:
    """Key rows in memory, and the time of the append."""

    def __init__(self, *rows: DataKey, recorded_at: datetime = NOW) -> None:
        self.rows = list(rows)
        self.recorded_at = recorded_at

    def data_keys(self, owner: str) -> Sequence[DataKey]:
        return sorted(row for row in self.rows if row.owner == owner)

    def destroy(self, owner: str, data_class: str = "") -> None:
        self.rows = [
            row._replace(bucket_generation=None, wrapped=None)
            if row.name[:2] == (owner, data_class)
            else row
            for row in self.rows
        ]

    def vault(self, **changes: Any) -> Vault:
        """A vault whose keys are these."""
        return Vault(
            "omc",
            BucketKeys("omc", EPOCH_KEYS, BUCKETS),
            INDEX_KEY,
            lambda names: [row for row in self.rows if row.name in set(names)],
            **changes,
        )

    def seal(self, mark: Sealed, value: Any = "text", person: str | None = "p1") -> Value:
        """Seal a value as the first event of stream `a`, and keep the key it needed."""
        encryptor = FieldEncryptor(self.vault(), self)
        sealed = encryptor.seal(mark, person, "a", 1, "/name", value)
        self.rows += encryptor.fresh_keys
        return sealed


def seal(
    journal: Journal, vault: Vault, person: str, value: Any, stream: str = "a", mark=IDENTITY
) -> Value:
    """Seal a value as field `name` of the next event of a stream, and record its key."""
    with journal.transaction() as transaction:
        version = (transaction.last_version(stream) or 0) + 1
        encryptor = vault.encryptor(transaction.batch)
        sealed = encryptor.seal(mark, person, stream, version, "/name", value)
        transaction.append([append(stream, version, fresh_keys=encryptor.fresh_keys)])
    return sealed


def erase(journal: Journal, person: str, data_class: str = "identity") -> list[RecordedEvent]:
    with journal.transaction() as transaction:
        keys = ((f"person/{person}", data_class),)
        version = (transaction.last_version("erasure") or 0) + 1
        return transaction.append([append("erasure", version, destroy_keys=keys)])[0]


# --- the format ----------------------------------------------------------------------------------


def hkdf(key: bytes, info: str, algorithm: str, length: int) -> bytes:
    """RFC 5869 without salt, one block."""
    pseudorandom = hmac.new(bytes(32), key, algorithm).digest()
    return hmac.new(pseudorandom, info.encode() + b"\x01", algorithm).digest()[:length]


def decrypt(suite: str, key: bytes, sealed: bytes, context: str) -> bytes:
    """nonce ‖ ciphertext ‖ tag under the suite's own key, by the suite's definition."""
    nonce, body, tag = sealed[:12], sealed[12:-16], sealed[-16:]
    if suite == "aes-256-gcm":
        own = hkdf(key, "certledger aes-256-gcm", "sha256", 32)
        return AESGCM(own).decrypt(nonce, body + tag, context.encode())
    own = hkdf(key, "certledger sm4-gcm", "sm3", 16)
    decryptor = Cipher(algorithms.SM4(own), modes.GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(context.encode())
    return decryptor.update(body) + decryptor.finalize()


def opened_independently(rows: Rows, sealed: Value, place: str) -> bytes:
    """The padded plaintext, from the rows and the master key, by the written format alone."""
    assert sealed.keys() == {"key", "sealed"}
    [row] = [row for row in rows.rows if sealed["key"] == name_of(row)]
    wrapped_for = f"certledger data key v1|omc|{sealed['key']}"
    key = decrypt(row.algorithm, bucket_key_of(row.owner), row.wrapped, wrapped_for)
    suite, _, encoded = sealed["sealed"].partition(":")
    context = f"certledger field v1|omc|{place}|{sealed['key']}"
    return decrypt(suite, key, base64.b64decode(encoded, validate=True), context)


def bucket_key_of(owner: str) -> bytes:
    """The key of an owner's bucket, from its row, the file of its epoch and the master key."""
    number = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:2]) >> 6
    [bucket] = [row for row in BUCKETS.rows if row.bucket == number]
    [path] = EPOCH_DIRECTORY.glob(f"epoch_{bucket.epoch}_{bucket.key_id}")
    file = json.loads(path.read_bytes())
    assert file.keys() == {"algorithm", "ends_at", "master_key_id", "wrapped"}
    context = f"certledger epoch key v1|{bucket.epoch}|{bucket.key_id}|{file['ends_at']}"
    wrapped = base64.b64decode(file["wrapped"], validate=True)
    epoch_key = decrypt(file["algorithm"], b"m" * 32, wrapped, context)
    named = hmac.digest(epoch_key, b"certledger key id v1\0epoch", "sha256")[:4].hex()
    assert named == bucket.key_id
    context = f"certledger bucket key v1|omc|{number}|{bucket.generation}"
    return decrypt(bucket.algorithm, epoch_key, bucket.wrapped, context)


def name_of(row: DataKey) -> str:
    parts = (row.owner, row.data_class, str(row.generation))
    return "/".join(part for part in parts if part)


VALUES = [
    ("王小明", '"王小明"'),
    ("", '""'),
    (7, "7"),
    ([1, "二", None], '[1,"二",null]'),
    ({"years": 3, "half": True}, '{"half":true,"years":3}'),
    ("x" * 29, '"' + "x" * 29 + '"'),  # 31 bytes, and the mark fills the block
    ("x" * 30, '"' + "x" * 30 + '"'),  # 32 bytes, and the mark begins the next one
]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("value", "text"), VALUES)
def test_a_sealed_value_is_what_its_format_says(algorithm: str, value: Any, text: str) -> None:
    if algorithm == "sm4-gcm" and "sm3" not in hashlib.algorithms_available:
        pytest.skip("this Python has no SM3 of its own to compare with")
    rows = Rows()
    encryptor = FieldEncryptor(rows.vault(algorithm=algorithm), rows)
    sealed = encryptor.seal(IDENTITY, "p1", "person-p1", 3, "/missing/0/figures", value)
    rows.rows += encryptor.fresh_keys
    assert sealed["key"] == "person/p1/identity/1"
    padded = opened_independently(rows, sealed, "person-p1|3|/missing/0/figures")
    plain, mark, zeros = padded.rpartition(b"\x80")
    assert plain.decode() == text
    assert mark
    assert zeros == bytes(len(zeros))
    assert len(padded) % 32 == 0
    assert len(padded) - len(plain) <= 32
    assert rows.vault().open("person-p1", 3, "/missing/0/figures", sealed) == value


def test_the_vector_of_the_format_opens() -> None:
    """Made once by another program, from data key and nonce."""
    key = bytes(range(32))
    suite, context = suite_named("aes-256-gcm"), b"certledger data key v1|omc|person/P1/remarks/1"
    wrapped = suite.encrypt(bucket_key_of("person/P1"), key, context)
    row = DataKey("person/P1", "remarks", 1, suite.name, 1, wrapped, NOW)
    assert Rows(row).vault().open("application-A1", 4, "/reason", VECTOR) == "证明 expired"


VECTOR = {
    "key": "person/P1/remarks/1",
    "sealed": "aes-256-gcm:DA0ODxAREhMUFRYX9SHX/I+ujlRvLjn4o6RnroXDAJeqDpz3"
    "sE7hall5Ei9wzKRGgb4m/hnm0fGU4Num",
}


NAMES = st.text(st.characters(codec="ascii"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: value is not None)


@given(JSON)
def test_every_json_value_opens_as_it_was_sealed(value: Any) -> None:
    rows = Rows()
    sealed = rows.seal(REMARKS, value)
    assert rows.vault().open("a", 1, "/name", sealed) == value


@given(st.text(max_size=200), st.text(max_size=200))
def test_texts_of_one_block_look_alike(one: str, other: str) -> None:
    rows = Rows()
    blocks = [(len(json.dumps(text, ensure_ascii=False).encode()) // 32) for text in (one, other)]
    lengths = [len(rows.seal(REMARKS, text)["sealed"]) for text in (one, other)]
    assert (lengths[0] == lengths[1]) == (blocks[0] == blocks[1])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("text", ["", "王小明", "x" * 5000, "\x00\u2028"])
def test_a_sealed_field_opens_in_another_process_too(
    journal: Journal, algorithm: str, text: str
) -> None:
    sealed = seal(journal, vault_of(journal, algorithm=algorithm), "p1", text)
    assert sealed["sealed"].startswith(algorithm + ":")
    assert text == "" or text not in sealed["sealed"]
    other = vault_of(journal)
    assert other.open("a", 1, "/name", sealed) == text


def test_a_field_of_one_suite_opens_when_the_other_is_the_default(
    journal: Journal,
) -> None:
    sealed = [
        seal(journal, vault_of(journal, algorithm=algorithm), "p1", "王小明")
        for algorithm in (*ALGORITHMS, "aes-256-gcm")
    ]
    assert [one["sealed"].split(":")[0] for one in sealed] == [*ALGORITHMS, "aes-256-gcm"]
    for algorithm in ALGORITHMS:
        vault = vault_of(journal, algorithm=algorithm)
        for version, one in enumerate(sealed, 1):
            assert vault.open("a", version, "/name", one) == "王小明"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "place",
    [("b", 1, "/name"), ("a", 2, "/name"), ("a", 1, "/phone"), ("a", 1, "/x/name")],
    ids=str,
)
def test_a_ciphertext_that_was_moved_does_not_open(
    journal: Journal, algorithm: str, place: tuple[str, int, str]
) -> None:
    vault = vault_of(journal, algorithm=algorithm)
    sealed = seal(journal, vault, "p1", "王小明")
    with pytest.raises(WrongKey):
        vault.open(*place, sealed)


def test_a_ciphertext_of_another_ledger_person_or_class_does_not_open(journal: Journal) -> None:
    vault = vault_of(journal)
    sealed = seal(journal, vault, "p1", "王小明")
    seal(journal, vault, "p2", "李", stream="b")
    seal(journal, vault, "p1", "材料不全", stream="b", mark=REMARKS)
    for other in ("person/p2/identity/1", "person/p1/remarks/1"):
        with pytest.raises(WrongKey):
            vault.open("a", 1, "/name", sealed | {"key": other})
    rows = vault._read_keys([("person/p1", "identity", 1)])
    buckets = StoredBuckets("omc", journal.query)
    other_ledger = Vault(
        "other", BucketKeys("other", EPOCH_KEYS, buckets), INDEX_KEY, lambda _: rows
    )
    with pytest.raises(WrongKey):
        other_ledger.open("a", 1, "/name", sealed)


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
        vault.open("a", 1, "/name", sealed | {"sealed": corrupt(sealed["sealed"])})


@pytest.mark.parametrize(
    "key",
    [
        *("", "person/p1", "person/p1/identity", "person/p1/identity/0", "person/p1/identity/01"),
        *("person/p1/other/1", "person//identity/1", "matter//1", "master/a/1"),
        "person/p1/identity/²",
    ],
)
def test_a_value_under_a_key_that_there_cannot_be_does_not_open(key: str) -> None:
    rows = Rows()
    sealed = rows.seal(IDENTITY)
    with pytest.raises(WrongKey):
        rows.vault().open("a", 1, "/name", sealed | {"key": key})


def test_the_database_holds_neither_the_text_nor_the_key(journal: Journal) -> None:
    vault = vault_of(journal)
    seal(journal, vault, "p1", "王小明")
    key = vault._cache["person/p1/identity/1"].key
    assert key is not None
    ((wrapped,),) = journal.query("SELECT wrapped FROM certledger.data_keys")
    assert key not in bytes(wrapped)
    assert "王小明".encode() not in bytes(wrapped)


# --- owners, classes and generations -------------------------------------------------------------


def test_a_person_has_a_key_a_class_and_every_sealing_another_ciphertext(journal: Journal) -> None:
    vault = vault_of(journal)
    first, second = (seal(journal, vault, "p1", "王小明") for _ in range(2))
    assert first != second
    assert first["key"] == second["key"]
    seal(journal, vault, "p1", "材料不全", mark=REMARKS)
    rows = journal.query("SELECT owner, class, generation FROM certledger.data_keys ORDER BY 1, 2")
    assert rows == [("person/p1", "identity", 1), ("person/p1", "remarks", 1)]


def test_what_concerns_no_one_person_is_sealed_under_the_key_of_its_stream() -> None:
    assert Rows().seal(MATTER)["key"] == "matter/a/1"
    assert Rows().seal(MATTER, person=None)["key"] == "matter/a/1"


def test_what_is_personal_and_of_nobody_is_refused() -> None:
    for nobody in (None, ""):
        with pytest.raises(ValueError, match="names no person"):
            Rows().seal(IDENTITY, person=nobody)


@pytest.mark.parametrize(
    ("age", "generation"), [(timedelta(days=365), 1), (timedelta(days=365, microseconds=1), 2)]
)
def test_a_key_is_used_for_a_year_from_its_first_use_on(age: timedelta, generation: int) -> None:
    rows = Rows()
    old = rows.seal(IDENTITY, "old")
    rows.recorded_at += age
    new = rows.seal(IDENTITY, "new")
    assert new["key"] == f"person/p1/identity/{generation}"
    assert [rows.vault().open("a", 1, "/name", one) for one in (old, new)] == ["old", "new"]


def test_a_destroyed_key_is_followed_by_the_next_generation() -> None:
    rows = Rows()
    old, reason = rows.seal(IDENTITY, "old"), rows.seal(REMARKS, "reason")
    rows.destroy("person/p1", "identity")
    new = rows.seal(IDENTITY, "new")
    assert new["key"] == "person/p1/identity/2"
    opened = [rows.vault().open("a", 1, "/name", one) for one in (old, reason, new)]
    assert opened == [None, "reason", "new"]


def test_a_text_about_somebody_whose_classes_are_all_destroyed_is_the_streams() -> None:
    rows = Rows()
    rows.seal(IDENTITY), rows.seal(REMARKS)
    rows.destroy("person/p1", "identity")
    assert rows.seal(REMARKS)["key"] == "person/p1/remarks/1"
    rows.destroy("person/p1", "remarks")
    for mark in (REMARKS, IDENTITY, Sealed(DataClass.MONEY)):
        assert rows.seal(mark)["key"] == "matter/a/1"
    rows.destroy("matter/a")
    assert rows.seal(REMARKS)["key"] == "matter/a/2"


# --- erasure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_after_erasure_nothing_opens(journal: Journal, algorithm: str) -> None:
    vault = vault_of(journal, algorithm=algorithm)
    sealed = seal(journal, vault, "p1", "王小明")
    others = seal(journal, vault, "p2", "李", stream="b")
    erase(journal, "p1")
    vault.forget("person/p1")
    assert vault.open("a", 1, "/name", sealed) is None
    assert vault.open("b", 1, "/name", others) == "李"
    assert journal.query("SELECT wrapped FROM certledger.data_keys WHERE owner = 'person/p1'") == [
        (None,)
    ]


def test_another_process_drops_a_destroyed_key_after_the_cache_time(journal: Journal) -> None:
    vault, cached, uncached = (vault_of(journal, cache_seconds=s) for s in (60.0, 60.0, 0.0))
    sealed = seal(journal, vault, "p1", "王小明")
    for other in (cached, uncached):
        assert other.open("a", 1, "/name", sealed) == "王小明"
    erase(journal, "p1")
    assert uncached.open("a", 1, "/name", sealed) is None
    assert cached.open("a", 1, "/name", sealed) == "王小明"
    cached.forget()
    assert cached.open("a", 1, "/name", sealed) is None


def test_a_process_with_a_cached_key_does_not_seal_under_it_after_erasure(journal: Journal) -> None:
    vault = vault_of(journal)
    seal(journal, vault, "p1", "王小明")
    erase(journal, "p1")
    assert seal(journal, vault, "p1", "again")["key"] == "matter/a/1"


# --- a key that was destroyed without an erasure --------------------------------------------------


def test_a_key_that_was_destroyed_without_an_event_opens_nothing_and_is_no_erasure(
    journal: Journal,
) -> None:
    vault = vault_of(journal, erased=erased_owners(journal))
    sealed = seal(journal, vault, "p1", "王小明")
    erase(journal, "p1")  # under another topic than an erasure has
    vault.forget()
    with pytest.raises(WrongKey, match="p1/identity/1 was destroyed, and no event erased"):
        vault.open("a", 1, "/name", sealed)
    with pytest.raises(WrongKey):
        vault.preload([sealed])
    [row] = vault._read_keys([("person/p1", "identity", 1)])
    vault.cache_key(row)  # as a command does that has read it
    with pytest.raises(WrongKey):
        vault.open("a", 1, "/name", sealed)


def test_a_key_that_went_with_the_event_of_its_person_is_an_erasure(journal: Journal) -> None:
    vault = vault_of(journal, erased=erased_owners(journal))
    sealed = {person: seal(journal, vault, person, "王小明", person) for person in ("p1", "p2")}
    gone = {"person_id": "p1", "destroyed": ["identity"]}
    event = draft("person-p1", 1, topic="erasure_confirmed.v1", **gone)
    with journal.transaction() as transaction:
        keys = (("person/p1", "identity"),)
        transaction.append([AppendRequest((event,), destroy_keys=keys)])
    vault.forget()
    vault.preload(sealed.values())
    assert vault.open("p1", 1, "/name", sealed["p1"]) is None
    assert vault.open("p2", 1, "/name", sealed["p2"]) == "王小明"


# --- keys of refused commands --------------------------------------------------------------------


def test_the_key_of_a_refused_command_is_not_used_any_more(journal: Journal) -> None:
    vault, other = vault_of(journal), vault_of(journal)
    FieldEncryptor(vault, Rows()).seal(IDENTITY, "p1", "a", 1, "/name", "refused in the end")
    sealed = seal(journal, other, "p1", "王小明")
    assert vault.open("a", 1, "/name", sealed) == "王小明"


def test_a_later_command_of_the_batch_uses_the_key_the_earlier_one_made(journal: Journal) -> None:
    vault = vault_of(journal)
    with journal.transaction() as transaction:
        first = vault.encryptor(transaction.batch)
        one = first.seal(IDENTITY, "p1", "a", 1, "/name", "one")
        transaction.append([append("a", 1, fresh_keys=first.fresh_keys)])
        assert vault.open("a", 1, "/name", one) == "one"
        second = vault.encryptor(transaction.batch)
        two = second.seal(IDENTITY, "p1", "a", 2, "/name", "two")
        assert second.fresh_keys == ()
        transaction.append([append("a", 2)])
    fresh = vault_of(journal)
    assert [fresh.open("a", v, "/name", s) for v, s in ((1, one), (2, two))] == ["one", "two"]


def test_the_keys_of_many_values_are_read_in_one_query(journal: Journal) -> None:
    vault = vault_of(journal)
    sealed = [seal(journal, vault, f"p{n}", f"name {n}", f"s{n}") for n in range(5)]
    fresh, asked = vault_of(journal), []
    read = fresh._read_keys
    fresh._read_keys = lambda names: asked.append(len(list(names))) or read(names)
    fresh.preload(sealed)
    assert [fresh.open(f"s{n}", 1, "/name", one) for n, one in enumerate(sealed)] == [
        f"name {n}" for n in range(5)
    ]
    assert asked == [5]


def test_the_rows_of_keys_are_read_as_far_as_they_exist(journal: Journal) -> None:
    vault = vault_of(journal)
    sealed = seal(journal, vault, "p1", "王小明")
    lost = sealed | {"key": "person/p2/identity/1"}
    odd = sealed | {"key": "odd"}
    assert [*vault.current_keys([sealed, lost, odd])] == [sealed["key"]]


# --- wrong keys ----------------------------------------------------------------------------------


def test_a_value_without_its_key_is_refused(journal: Journal) -> None:
    with pytest.raises(WrongKey, match="person/p9/identity/1"):
        sealed = {"key": "person/p9/identity/1", "sealed": "aes-256-gcm:" + "A" * 80}
        vault_of(journal).open("a", 1, "/name", sealed)


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


# --- nonces --------------------------------------------------------------------------------------


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
