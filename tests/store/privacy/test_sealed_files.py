"""A file is sealed as its format says, opens under its key alone, and is several parts if large."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.store.errors import UnknownBlob, WrongKey
from domain.store.journal.data_keys import DataKey
from domain.store.privacy.bucket_keys import BucketKeys
from domain.store.privacy.field_encryption import FieldEncryptor, HeldKey, Vault
from domain.store.privacy.sealed_files import open_file, parts_of, seal_file
from domain.values.sealed_fields import DataClass
from tests.store.facts import EPOCH_KEYS, INDEX_KEY
from tests.store.privacy.test_field_encryption import BUCKETS, Rows

SCAN = b"%PDF-1.7 a scanned page" * 50
KEY = "person/p1/statements/1"


class Store(dict[str, bytes]):
    """Stored files by name, and the key that sealed them."""

    def __init__(self, algorithm: str = "aes-256-gcm", ledger: str = "omc") -> None:
        super().__init__()
        self.rows: list[DataKey] = []
        self.vault = Vault(
            ledger,
            BucketKeys("omc", EPOCH_KEYS, BUCKETS),
            INDEX_KEY,
            lambda names: [row for row in self.rows if row.name in set(names)],
            algorithm=algorithm,
        )
        encryptor = FieldEncryptor(self.vault, Rows())
        self.held = encryptor.key("p1", DataClass.STATEMENTS, "application-A1")
        self.rows += encryptor.fresh_keys

    def seal(self, content: bytes, **sizes: int) -> str:
        """Seal a file; returns its name."""
        name = ""
        for part in seal_file(self.vault, self.held, content, **sizes):
            name = hashlib.sha256(part).hexdigest()
            self[name] = part
        return name

    def read(self, name: str) -> bytes:
        if name not in self:
            raise UnknownBlob(sha256=name)
        return self[name]

    def open(self, name: str, key: str = KEY) -> bytes | None:
        parts = list(open_file(self.vault, key, name, self.read))
        return None if None in parts else b"".join(part for part in parts if part is not None)


def test_a_file_is_sealed_as_the_format_says() -> None:
    store = Store()
    assert str(store.held.name) == KEY
    sealed = store[store.seal(SCAN)]
    key = HKDF(SHA256(), 32, None, b"certledger aes-256-gcm").derive(store.held.key)
    context = f"certledger file v1|omc|{KEY}".encode()
    assert sealed[:5] == b"CLF1\x01"
    assert AESGCM(key).decrypt(sealed[5:17], sealed[17:], context) == SCAN


@pytest.mark.parametrize("algorithm", ["aes-256-gcm", "sm4-gcm"])
@pytest.mark.parametrize("content", [b"", b"x", SCAN])
def test_a_file_comes_back_as_it_was(algorithm: str, content: bytes) -> None:
    store = Store(algorithm)
    name = store.seal(content)
    assert store[name][4] == {"aes-256-gcm": 1, "sm4-gcm": 2}[algorithm]
    assert store.open(name) == content
    assert len(content) < 2 or content not in store[name]


def test_the_same_file_has_another_name_each_time_it_is_sealed() -> None:
    store = Store()
    assert store.seal(SCAN) != store.seal(SCAN)


def test_a_large_file_is_a_list_of_parts_by_hash() -> None:
    store = Store()
    name = store.seal(SCAN, part_bytes=400)
    parts = parts_of(store[name])
    assert len(parts) == -(-len(SCAN) // 400)
    assert store[name] == b"CLF1\x00" + b"".join(map(bytes.fromhex, parts))
    assert store.open(name) == SCAN
    assert all(len(store[part]) <= 400 + 5 + 12 + 16 for part in parts)
    del store[parts[1]]
    with pytest.raises(UnknownBlob):
        store.open(name)


def test_a_file_of_exactly_one_part_has_no_list() -> None:
    store = Store()
    assert parts_of(store[store.seal(SCAN, part_bytes=len(SCAN))]) == []


@pytest.mark.parametrize(
    "altered",
    [
        lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]),
        lambda sealed: b"CLF2" + sealed[4:],
        lambda sealed: sealed[:4] + b"\x02" + sealed[5:],
        lambda sealed: sealed[:4] + b"\x09" + sealed[5:],
        lambda sealed: sealed[:20],
        lambda sealed: sealed[:4],
        lambda sealed: b"",
        lambda sealed: SCAN,
    ],
)
def test_what_is_not_the_sealed_file_does_not_open(altered: Any) -> None:
    store = Store()
    name = store.seal(SCAN)
    store[name] = altered(store[name])
    with pytest.raises(WrongKey):
        store.open(name)


def test_a_file_opens_in_its_ledger_only() -> None:
    store, other = Store(), Store(ledger="other")
    other.rows = store.rows
    name = store.seal(SCAN)
    other[name] = store[name]
    with pytest.raises(WrongKey):
        other.open(name)


def test_a_file_whose_key_is_destroyed_does_not_open() -> None:
    store = Store()
    name = store.seal(SCAN)
    store.rows = [row._replace(wrapped=None) for row in store.rows]
    store.vault.forget("person/p1")
    assert store.open(name) is None
    assert store.vault.is_destroyed(KEY)


def test_a_key_does_not_show_in_its_representation() -> None:
    held = Store().held
    assert isinstance(held, HeldKey)
    assert held.key.hex() not in repr(held)
    assert repr(held.key) not in repr(held)
