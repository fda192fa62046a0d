"""Keyed hashes of requests and idempotency keys, against a plain reading of RFC 2104."""

import base64
import hashlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.store.errors import CommandKeyMissing, IdempotencyKeyExpired
from domain.store.keys.command_hashes import (
    COMMAND_PURPOSE,
    REQUEST_HASH_BYTES,
    CommandHasher,
)
from domain.values.key_ids import symmetric_key_id
from tests.support.epochs import GivenEpochs, epoch

KEY, OTHER, IDEMPOTENCY = (bytes([n]) * 32 for n in (1, 2, 3))
EPOCHS = GivenEpochs()
HASHER = CommandHasher(KEY, IDEMPOTENCY).of("omc", EPOCHS)


def plain_hmac(key: bytes, message: bytes) -> bytes:
    """RFC 2104 with SHA-256, for keys that are shorter than a block."""
    inner, outer = (bytes(each ^ pad for each in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    return hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()


@given(request=st.binary(max_size=5000))
def test_a_stored_request_is_the_ids_of_key_and_epoch_and_the_mac(request: bytes) -> None:
    stored = HASHER.request(request).stored
    of_epoch = plain_hmac(KEY, b"certledger command epoch v1\0" + b"e" * 32)
    mac = plain_hmac(of_epoch, b"certledger request v1\0omc\0" + request)
    key_id = bytes.fromhex(symmetric_key_id(COMMAND_PURPOSE, KEY))
    assert stored == key_id + b"\0\0\0\1" + mac
    assert len(stored) == REQUEST_HASH_BYTES


@given(principal=st.text(), key=st.text())
def test_a_stored_key_is_the_mac_of_ledger_principal_and_key(principal: str, key: str) -> None:
    named = json.dumps(["omc", principal, key], ensure_ascii=False, separators=(",", ":"))
    mac = plain_hmac(IDEMPOTENCY, b"certledger idempotency v1\0" + named.encode())
    assert HASHER.key(principal, key) == base64.urlsafe_b64encode(mac).decode().rstrip("=")


def test_neither_principal_nor_key_may_pass_for_a_part_of_the_other() -> None:
    hashed = {
        CommandHasher(KEY, IDEMPOTENCY).of(ledger, EPOCHS).key(principal, key)
        for ledger in ("omc", "other")
        for principal, key in (("auth0|1", "K"), ("auth0", "1|K"), ('a","b', "c"), ("a", 'b","c'))
    }
    assert len(hashed) == 8


def test_the_same_request_in_two_ledgers_has_two_hashes() -> None:
    other = CommandHasher(KEY, IDEMPOTENCY).of("other", EPOCHS)
    assert other.request(b"a").stored != HASHER.request(b"a").stored
    assert not other.request(b"a").is_same(HASHER.request(b"a").stored)


@given(request=st.binary(max_size=300), asked=st.binary(max_size=300))
def test_a_request_is_recognised_under_every_known_key(request: bytes, asked: bytes) -> None:
    stored = HASHER.request(request).stored
    later = CommandHasher(OTHER, IDEMPOTENCY, retired=[KEY]).of("omc", EPOCHS)
    for hasher in (HASHER, later):
        assert hasher.request(asked).is_same(stored) == (asked == request)
    assert later.request(request).stored != stored
    with pytest.raises(CommandKeyMissing, match=stored[:4].hex()):
        CommandHasher(OTHER, IDEMPOTENCY).of("omc", EPOCHS).request(request).is_same(stored)


def test_a_request_is_compared_until_its_epoch_is_over() -> None:
    first, second = epoch(1), epoch(2, b"f" * 32)
    stored = HASHER.request(b"a").stored
    for epochs in (GivenEpochs(second, first), GivenEpochs(first, second)):
        hasher = CommandHasher(KEY, IDEMPOTENCY).of("omc", epochs)
        assert hasher.request(b"a").is_same(stored)
        assert not hasher.request(b"b").is_same(stored)
    later = CommandHasher(KEY, IDEMPOTENCY).of("omc", GivenEpochs(second))
    assert later.request(b"a").stored != stored
    for asked in (b"a", b"b"):
        with pytest.raises(IdempotencyKeyExpired):
            later.request(asked).is_same(stored)


def test_a_hash_of_an_epoch_that_is_not_known_yet_is_no_expired_one() -> None:
    newer = CommandHasher(KEY, IDEMPOTENCY).of("omc", GivenEpochs(epoch(2)))
    with pytest.raises(CommandKeyMissing):
        HASHER.request(b"a").is_same(newer.request(b"a").stored)


def test_another_epoch_of_the_same_number_has_its_own_hashes() -> None:
    """A failover may lose an epoch; the one that begins instead has its number."""
    epochs = GivenEpochs(epoch(2, b"l" * 32))
    hasher = CommandHasher(KEY, IDEMPOTENCY).of("omc", epochs)
    lost = hasher.request(b"a").stored
    epochs.epochs = (epoch(2, b"n" * 32),)
    stored = hasher.request(b"a").stored
    assert stored != lost
    other = CommandHasher(KEY, IDEMPOTENCY).of("omc", GivenEpochs(*epochs.epochs))
    assert other.request(b"a").is_same(stored)


def test_another_command_key_finds_the_same_keys() -> None:
    later = CommandHasher(OTHER, IDEMPOTENCY, retired=[KEY]).of("omc", EPOCHS)
    assert later.key("li", "k") == HASHER.key("li", "k")
    assert CommandHasher(KEY, OTHER).of("omc", EPOCHS).key("li", "k") != HASHER.key("li", "k")


@pytest.mark.parametrize("place", range(3))
def test_a_key_has_32_bytes(place: int) -> None:
    keys = [KEY, IDEMPOTENCY, OTHER]
    keys[place] = keys[place][:31]
    with pytest.raises(ValueError, match="32 bytes"):
        CommandHasher(keys[0], keys[1], retired=[keys[2]])


def test_keys_are_not_shown_and_reach_other_processes() -> None:
    hasher = CommandHasher(KEY, IDEMPOTENCY, retired=[OTHER])
    assert repr(hasher) == f"CommandHasher({symmetric_key_id(COMMAND_PURPOSE, KEY)})"
    copy = pickle.loads(pickle.dumps(hasher)).of("omc", EPOCHS)
    assert copy.request(b"a").stored == HASHER.request(b"a").stored
    assert copy.key("li", "k") == HASHER.key("li", "k")
