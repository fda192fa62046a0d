"""Stored indexes find texts while their epoch lasts, and tell nothing afterwards."""

import subprocess

import pytest

from domain.store.keys.login_keys import LoginName
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.index_ciphers import (
    GivenIndexCiphers,
    IndexCipher,
    IndexCipherKey,
    StoredIndexes,
    index_cipher_key,
)
from tests.support.epochs import GivenEpochs, epoch

ALGORITHMS = ["aes-256-gcm", "sm4-gcm"]
INDEX_KEY = b"i" * 32
FIRST, SECOND = epoch(1), epoch(2, b"f" * 32)


def stored_indexes(algorithm: str = ALGORITHMS[0], *epochs) -> StoredIndexes:
    return StoredIndexes(BlindIndexes(INDEX_KEY, algorithm), GivenEpochs(*epochs).ciphers())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stored_index_names_its_epoch_and_is_the_same_each_time(algorithm: str) -> None:
    index = BlindIndexes(INDEX_KEY, algorithm).blind_index("document", "1")
    stored = stored_indexes(algorithm).stored(index)
    form, _, digits = stored.partition(":")
    suite, _, plain = index.partition(":")
    assert form == f"{suite}.1"
    assert len(digits) == 64
    assert digits != plain
    assert stored_indexes(algorithm).stored(index) == stored
    assert stored_indexes(algorithm).opened(stored) == index


def test_the_cipher_is_the_standard_one() -> None:
    """AES-256 by OpenSSL, under the key that HKDF makes of the epoch's (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    index = BlindIndexes(INDEX_KEY).blind_index("document", "1")
    given = index_cipher_key(FIRST)
    key = HKDF(SHA256(), 32, salt=None, info=b"certledger aes-256-gcm").derive(given.key)
    command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
    plain = bytes.fromhex(index.partition(":")[2])
    done = subprocess.run(command, input=plain, capture_output=True, check=True)
    assert IndexCipher(given).encrypt(index) == f"hmac-sha256.1:{done.stdout.hex()}"


def test_two_epochs_are_searched_and_one_is_written() -> None:
    index = BlindIndexes(INDEX_KEY).blind_index("document", "1")
    both = stored_indexes(ALGORITHMS[0], SECOND, FIRST)
    old, new = (stored_indexes(ALGORITHMS[0], one) for one in (FIRST, SECOND))
    assert both.stored(index) == old.stored(index)
    assert set(both.forms(index)) == {old.stored(index), new.stored(index)}
    assert {both.opened(form) for form in both.forms(index)} == {index}
    assert both.prefixes() == ("hmac-sha256.1", "hmac-sm3.1", "hmac-sha256.2", "hmac-sm3.2")


def test_the_keys_of_a_later_epoch_tell_nothing_of_an_earlier_one() -> None:
    index = BlindIndexes(INDEX_KEY).blind_index("document", "1")
    stored = stored_indexes(ALGORITHMS[0], FIRST).stored(index)
    later = stored_indexes(ALGORITHMS[0], SECOND)
    assert later.opened(stored) is None
    assert stored not in later.search_tokens("document", "1")
    assert later.opened(stored.replace(".1:", ".2:")) != index


def test_search_tokens_match_every_suite_and_epoch_and_hide_the_text() -> None:
    both = [stored_indexes(algorithm, SECOND, FIRST) for algorithm in ALGORITHMS]
    every = {
        one.stored(BlindIndexes(INDEX_KEY, algorithm).blind_index("name", "张三"))
        for algorithm in ALGORITHMS
        for one in (stored_indexes(algorithm, FIRST), stored_indexes(algorithm, SECOND))
    }
    for indexes in both:
        tokens = indexes.search_tokens("name", "张 三")
        assert set(tokens.all()) == every
        for stored in every:
            assert stored in tokens
            assert stored not in indexes.search_tokens("name", "李四")
            assert stored not in indexes.search_tokens("document", "张三")
        for nothing in (None, "", "hmac-sha256:", "hmac-sha256.1:", "hmac-sha1.1:00", 7):
            assert nothing not in tokens
        assert "三" not in f"{tokens!r} {tokens}"


@pytest.mark.parametrize(
    "stored",
    ["", "x", "hmac-sha256:" + "0" * 64, "hmac-sha256.1:", "hmac-sha256.1:0", "hmac-sha256.1:zz",
     "hmac-sha1.1:" + "0" * 64, "hmac-sha256.01:" + "0" * 64],
)  # fmt: skip
def test_what_is_no_stored_index_opens_to_none(stored: str) -> None:
    assert stored_indexes().opened(stored) in (None, "hmac-sha256:")


def test_a_login_comes_under_an_epoch_and_back() -> None:
    name = LoginName("0123abcd", bytes(range(32)))
    [stored] = stored_indexes().logins([name])
    assert stored.key_id == "0123abcd.1"
    assert stored.mac != name.mac
    assert IndexCipher(index_cipher_key(FIRST)).plain_login(stored) == name
    both = [name, LoginName("ffffffff", b"x" * 32)]
    names = stored_indexes(ALGORITHMS[0], SECOND, FIRST).logins(both)
    ids = [each.key_id for each in names]
    assert ids == ["0123abcd.1", "0123abcd.2", "ffffffff.1", "ffffffff.2"]


def test_ciphers_are_made_again_only_for_other_keys() -> None:
    given = GivenIndexCiphers([index_cipher_key(FIRST)])
    [before] = given.all
    given.set([index_cipher_key(FIRST)])
    assert given.all[0] is before
    given.set([index_cipher_key(SECOND), index_cipher_key(FIRST)])
    assert [cipher.epoch for cipher in given.all] == [2, 1]
    assert given.writing.epoch == 2


def test_no_key_shows_in_a_representation() -> None:
    assert repr(IndexCipherKey(3, b"secret")) == "IndexCipherKey(3)"
