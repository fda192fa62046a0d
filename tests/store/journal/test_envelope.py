"""Envelopes are canonical JSON (RFC 8785); values without one canonical form are refused."""

import enum
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from domain.store.errors import EnvelopeTooLarge, NotCanonical
from domain.store.journal import envelope
from tests.store.drafts import ACTOR, MORNING, id_of

KEYS = st.text(st.characters(max_codepoint=127), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=30
)


@given(VALUES)
def test_the_bytes_are_those_of_rfc_8785(value) -> None:
    written = envelope.canonical_json(value)
    assert written == rfc8785.dumps(value)
    assert envelope.parse(written) == value


@given(st.dictionaries(KEYS, SCALARS, min_size=2))
def test_the_order_of_keys_does_not_change_the_bytes(value) -> None:
    backwards = dict(reversed(value.items()))
    assert envelope.canonical_json(value) == envelope.canonical_json(backwards)


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1.0, "$"),
        ({"a": [1, {"b": 0.5}]}, "$.a[1].b"),
        ({"a": math.nan}, "$.a"),
        ({"a": math.inf}, "$.a"),
        ({"a": [2**53]}, "$.a[0]"),
        ({"a": -(2**53)}, "$.a"),
        ({"名": 1}, "$"),
        ({"a": {"名": 1}}, "$.a"),
        ({"a": {1: 2}}, "$.a"),
        ({"a": ["fine", "lone \ud800"]}, "$.a[1]"),
        ({"a": b"bytes"}, "$.a"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "$.a"),
        ({"a": id_of("x")}, "$.a"),
        ({"a": {1}}, "$.a"),
        ({"a": Colour.RED}, "$.a"),
    ],
)
def test_a_value_without_a_canonical_form_is_refused_with_its_path(value, path: str) -> None:
    with pytest.raises(NotCanonical) as refusal:
        envelope.canonical_json(value)
    assert refusal.value.path == path


def test_a_value_nested_too_deep_is_refused() -> None:
    value: list = []
    for _ in range(100):
        value = [value]
    with pytest.raises(NotCanonical):
        envelope.canonical_json(value)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 2, 1, 30, tzinfo=UTC), "2026-03-02T01:30:00.000000Z"),
        (datetime(2026, 3, 2, 1, 30, 0, 7, tzinfo=UTC), "2026-03-02T01:30:00.000007Z"),
        (
            datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=8))),
            "2026-03-02T01:30:00.000000Z",
        ),
    ],
)
def test_times_are_utc_with_six_digits(moment: datetime, text: str) -> None:
    assert envelope.rfc3339(moment) == text
    assert envelope.from_rfc3339(text) == moment


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(NotCanonical):
        envelope.rfc3339(datetime(2026, 3, 2))


@pytest.mark.parametrize("text", ["2026-03-02T01:30:00Z", "2026-03-02T01:30:00.000000+00:00", ""])
def test_a_time_in_another_form_is_not_read(text: str) -> None:
    with pytest.raises(ValueError):
        envelope.from_rfc3339(text)


def build(**changes) -> bytes:
    given_ = {
        "event_id": id_of("event"),
        "ledger": "omc",
        "stream": "application-1",
        "version": 1,
        "topic": "fee_paid.v1",
        "occurred_at": MORNING,
        "recorded_at": MORNING,
        "actor": ACTOR,
        "command_id": id_of("command"),
        "correlation_id": id_of("correlation"),
        "causation_id": None,
        "data": {"amount_fen": 100},
    }
    return envelope.build(**(given_ | changes))


def test_an_envelope_has_all_fields_of_the_event() -> None:
    assert build() == (
        b'{"actor":{"authority":null,"on_behalf_of":null,"organisation":"omc","role":"registrar",'
        b'"subject":"li"},'
        b'"causation_id":null,"command_id":"%b","correlation_id":"%b","data":{"amount_fen":100},'
        b'"event_id":"%b","ledger":"omc","occurred_at":"2026-03-02T01:30:00.000000Z",'
        b'"recorded_at":"2026-03-02T01:30:00.000000Z","stream":"application-1",'
        b'"topic":"fee_paid.v1","version":1}'
        % tuple(str(id_of(name)).encode() for name in ("command", "correlation", "event"))
    )


def test_the_leaf_hash_is_over_a_zero_byte_and_the_exact_bytes() -> None:
    # Computed with sha256sum.
    assert envelope.leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


def test_an_envelope_may_be_as_large_as_an_entry_of_the_log() -> None:
    room = envelope.LIMIT_BYTES - len(build(data={"text": ""}))
    assert len(build(data={"text": "x" * room})) == envelope.LIMIT_BYTES
    with pytest.raises(EnvelopeTooLarge) as refusal:
        build(data={"text": "x" * (room + 1)})
    assert refusal.value.size_bytes == 65_536


@pytest.mark.parametrize("actor", [{}, {**ACTOR, "more": "x"}, {"subject": "li"}])
def test_an_actor_has_exactly_four_fields(actor: dict) -> None:
    with pytest.raises(NotCanonical):
        build(actor=actor)
