"""The bytes of seals, computed again from their definition."""

import base64
import hashlib
import hmac
import json
from uuid import UUID

import pytest

from domain.store.errors import SealBroken
from domain.store.keys.seals import Sealer, SealRange, check_row, seal_key

NEW, OLD = bytes(range(32)), bytes(range(100, 132))
SEALER = Sealer(seal_key(NEW), [seal_key(OLD)])
OMC = SEALER.of("omc")
BEFORE = Sealer(seal_key(OLD)).of("omc")
LEAF, OTHER_LEAF = hashlib.sha256(b"leaf").digest(), hashlib.sha256(b"other").digest()
ID = UUID("6f2b7c0e-6a0c-5d0e-9d56-8c1d6d1f2b11")


def mac(key: bytes, *parts: bytes) -> bytes:
    """HMAC by its definition (RFC 2104), without the library's."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + b"".join(parts)).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()


def text(parts: list[object]) -> bytes:
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_seal_of_an_event_is_over_ledger_position_and_leaf_hash():
    position = b"\0\0\0\0\0\0\x01\x02"
    assert OMC.event(258, LEAF) == mac(NEW, b"certledger seal v1\0omc\0", position, LEAF)


def test_the_seal_of_an_event_is_this_one_for_ever():
    seal = Sealer(seal_key(b"\x01" * 32)).of("omc").event(1, b"\x02" * 32)
    assert (
        seal
        == hmac.new(
            b"\x01" * 32, b"certledger seal v1\0omc\0" + bytes(7) + b"\x01" + b"\x02" * 32, "sha256"
        ).digest()
    )
    assert seal.hex() == "0c3e7ad588071a97ad78f9a0e9d2772595143e0f1d9bfb429fdf01f71504ac5b"


def test_the_seal_of_a_head_is_over_the_same_under_another_name():
    position = bytes(7) + b"\x07"
    assert OMC.head(7, LEAF) == mac(NEW, b"certledger head v1\0omc\0", position, LEAF)


def test_the_seal_of_a_command_is_over_canonical_json():
    parts = ["omc", '李"\\', "k\x1e", "00ff", str(ID), "7b7d"]
    expected = mac(NEW, b"certledger command v1\0", text(parts))
    assert OMC.command('李"\\', "k\x1e", b"\x00\xff", ID, b"{}") == expected


def test_the_seal_of_a_snapshot_is_over_canonical_json():
    parts = ["omc", "session-1", 100, 512, LEAF.hex(), "state_kept.v1", "7b7d"]
    expected = mac(NEW, b"certledger snapshot v1\0", text(parts))
    assert OMC.snapshot("session-1", 100, 512, LEAF, "state_kept.v1", b"{}") == expected


def test_the_seal_of_a_row_is_under_a_derived_key():
    extracted = mac(bytes(32), NEW)  # HKDF (RFC 5869) without salt
    derived = mac(extracted, b"certledger row v1\x01")
    assert OMC.row_key() == derived
    expected = mac(derived, b"certledger row v1\0omc\0registry\0national/1\0", b"payload")
    assert OMC.row("registry", "national/1", b"payload") == expected


def test_a_journal_key_has_the_id_of_its_purpose():
    assert seal_key(NEW).id == mac(NEW, b"certledger key id v1\0journal").hex()[:8]


def test_a_key_has_thirty_two_bytes():
    with pytest.raises(ValueError, match="32 bytes"):
        seal_key(b"short")


def test_no_key_shows_in_a_representation():
    shown = f"{seal_key(NEW)!r} {SEALER!r} {OMC!r}"
    assert NEW.hex() not in shown and repr(NEW) not in shown
    assert base64.b64encode(NEW).decode() not in shown


@pytest.mark.parametrize(
    "check",
    [
        lambda: OMC.check_event(2, LEAF, OMC.event(1, LEAF), OMC.key_id),
        lambda: OMC.check_event(1, OTHER_LEAF, OMC.event(1, LEAF), OMC.key_id),
        lambda: OMC.check_event(1, LEAF, SEALER.of("other").event(1, LEAF), OMC.key_id),
        lambda: OMC.check_event(1, LEAF, OMC.head(1, LEAF), OMC.key_id),
        lambda: OMC.check_event(1, LEAF, OMC.event(1, LEAF)[:31], OMC.key_id),
        lambda: OMC.check_event(1, LEAF, OMC.event(1, LEAF), BEFORE.key_id),
        lambda: OMC.check_event(1, LEAF, OMC.event(1, LEAF), "00000000"),
        lambda: OMC.check_head(1, LEAF, OMC.event(1, LEAF), OMC.key_id),
        lambda: OMC.check_head(2, LEAF, OMC.head(1, LEAF), OMC.key_id),
        lambda: OMC.check_command(
            "li", "k", b"", ID, b"y", OMC.command("li", "k", b"", ID, b"x"), OMC.key_id
        ),
        lambda: OMC.check_command(
            "an", "k", b"", ID, b"x", OMC.command("li", "k", b"", ID, b"x"), OMC.key_id
        ),
        lambda: OMC.check_snapshot(
            "s", 1, 1, LEAF, "t", b"y", OMC.snapshot("s", 1, 1, LEAF, "t", b"x"), OMC.key_id
        ),
        lambda: OMC.check_snapshot(
            "s", 1, 1, OTHER_LEAF, "t", b"x", OMC.snapshot("s", 1, 1, LEAF, "t", b"x"), OMC.key_id
        ),
        lambda: OMC.check_row("v", "k", b"y", OMC.row("v", "k", b"x")),
        lambda: OMC.check_row("v", "j", b"x", OMC.row("v", "k", b"x")),
    ],
)
def test_a_seal_over_anything_else_is_broken(check):
    with pytest.raises(SealBroken):
        check()


def test_right_seals_pass():
    OMC.check_event(1, LEAF, OMC.event(1, LEAF), OMC.key_id)
    OMC.check_head(1, LEAF, OMC.head(1, LEAF), OMC.key_id)
    OMC.check_command("li", "k", b"h", ID, b"x", OMC.command("li", "k", b"h", ID, b"x"), OMC.key_id)
    snapshot = OMC.snapshot("s", 1, 1, LEAF, "t", b"x")
    OMC.check_snapshot("s", 1, 1, LEAF, "t", b"x", snapshot, OMC.key_id)
    OMC.check_row("v", "k", b"x", OMC.row("v", "k", b"x"))


def test_a_retired_key_is_good_for_what_it_sealed():
    OMC.check_event(1, LEAF, BEFORE.event(1, LEAF), BEFORE.key_id)
    OMC.check_row("v", "k", b"x", BEFORE.row("v", "k", b"x"))


def test_a_key_is_good_within_its_range_only():
    ranges = [SealRange(BEFORE.key_id, 1, 10), SealRange(OMC.key_id, 9, None)]
    sealer = OMC.with_ranges(ranges)
    sealer.check_event(10, LEAF, BEFORE.event(10, LEAF), BEFORE.key_id)
    sealer.check_event(9, LEAF, OMC.event(9, LEAF), OMC.key_id)
    with pytest.raises(SealBroken):
        sealer.check_event(11, LEAF, BEFORE.event(11, LEAF), BEFORE.key_id)
    with pytest.raises(SealBroken):
        sealer.check_event(8, LEAF, OMC.event(8, LEAF), OMC.key_id)
    with pytest.raises(SealBroken):
        sealer.check_head(11, LEAF, BEFORE.head(11, LEAF), BEFORE.key_id)
    assert OMC.ranges is None and sealer.ranges == tuple(ranges)


def test_a_process_with_row_keys_alone_checks_rows():
    seal = BEFORE.row("v", "k", b"x")
    check_row(SEALER.row_keys(), "omc", "v", "k", b"x", seal)
    with pytest.raises(SealBroken):
        check_row(SEALER.row_keys(), "other", "v", "k", b"x", seal)
