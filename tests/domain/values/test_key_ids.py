"""Ids of keys, computed again from their definition."""

import hashlib
import hmac

from domain.values.key_ids import key_id, symmetric_key_id

PUBLIC, SECRET = b"\x05" * 32, bytes(range(32))


def test_the_id_of_a_public_key_is_the_first_eight_digits_of_its_hash():
    assert key_id("log", PUBLIC) == hashlib.sha256(b"log\0" + PUBLIC).hexdigest()[:8]


def test_the_id_of_a_secret_key_is_the_first_eight_digits_of_a_mac():
    made = hmac.new(SECRET, b"certledger key id v1\0journal", "sha256").hexdigest()
    assert symmetric_key_id("journal", SECRET) == made[:8]


def test_the_same_key_has_another_id_for_another_purpose():
    assert key_id("log", PUBLIC) != key_id("token", PUBLIC)
    assert symmetric_key_id("journal", SECRET) != symmetric_key_id("index", SECRET)
