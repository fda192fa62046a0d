"""The same key with another request is refused before anything is decided."""

import uuid

import pytest

from domain.store.errors import CommandKeyMissing, IdempotencyKeyExpired, IdempotencyKeyReused
from domain.store.journal.idempotency import ensure_same_request
from domain.store.journal.records import CommandKey, KnownCommand
from domain.store.keys.command_hashes import CommandHasher
from tests.support.epochs import GivenEpochs, epoch

KEY, NEXT_KEY, IDEMPOTENCY = (bytes([n]) * 32 for n in (1, 2, 3))
HASHER = CommandHasher(KEY, IDEMPOTENCY).of("omc", GivenEpochs())


def known(request: bytes, hasher=HASHER) -> KnownCommand:
    return KnownCommand(hasher.request(request).stored, uuid.UUID(int=1), 1, 1, b"{}")


def test_the_same_request_passes():
    assert ensure_same_request(known(b"a"), HASHER.request(b"a").is_same) is None


def test_another_request_under_the_key_is_refused():
    with pytest.raises(IdempotencyKeyReused):
        ensure_same_request(known(b"a"), HASHER.request(b"b").is_same)


def test_a_request_is_compared_under_the_key_it_was_recorded_with():
    later = CommandHasher(NEXT_KEY, IDEMPOTENCY, retired=[KEY]).of("omc", GivenEpochs())
    assert ensure_same_request(known(b"a"), later.request(b"a").is_same) is None
    with pytest.raises(IdempotencyKeyReused):
        ensure_same_request(known(b"a"), later.request(b"b").is_same)


def test_after_the_end_of_its_epoch_a_command_is_named_but_not_compared():
    later = CommandHasher(KEY, IDEMPOTENCY).of("omc", GivenEpochs(epoch(2)))
    with pytest.raises(IdempotencyKeyExpired, match="up to position 1"):
        ensure_same_request(known(b"a"), later.request(b"a").is_same)


def test_without_that_key_nothing_is_said_about_the_request():
    later = CommandHasher(NEXT_KEY, IDEMPOTENCY).of("omc", GivenEpochs())
    with pytest.raises(CommandKeyMissing, match="Ledger omc"):
        ensure_same_request(known(b"a"), later.request(b"a").is_same)


def test_a_command_without_keys_compares_the_hashes_themselves():
    command = CommandKey("li", "k", b"h" * 40, uuid.UUID(int=1))
    assert command.is_same_request(b"h" * 40)
    assert not command.is_same_request(b"x" * 40)
