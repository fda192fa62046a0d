"""The events that are appended: payments of applications, as the service records them.

Every contender stores the same events, so that all write the same number of bytes.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from domain.store.journal.records import AppendRequest, CommandKey, NewEvent

TOPIC = "fee_paid.v1"
STREAM_LENGTH = 10  # events per stream
SUBJECT = "cashier-07"
ACTOR = {
    "subject": SUBJECT,
    "role": "agency",
    "organisation": "enrolment-agency-3",
    "on_behalf_of": None,
    "authority": None,
}
PAID_AT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


_ODD = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Multiplication by an odd number modulo 2^128 is a bijection."""


def scattered(counted: int) -> int:
    """A 128-bit number scattered over an index like the service's own ids (UUID version 5)."""
    return counted * _ODD % 2**128


def uuid_of(writer: int, number: int, kind: int) -> UUID:
    """A unique id."""
    return UUID(int=scattered(writer << 64 | number << 8 | kind))


def data_of(writer: int, number: int) -> dict[str, Any]:
    """Data of an event."""
    return {
        "application_id": f"{writer:04x}{number // STREAM_LENGTH:028x}",
        "channel": "wechat_pay",
        "fee_items": [
            {"amount_fen": 28000, "item": "certification_fee"},
            {"amount_fen": 12000, "item": "study_material"},
        ],
        "merchant_id": "1900000109",
        "paid_at": "2026-03-02T01:30:00.000000Z",
        "provider_transaction_id": f"42000022{writer:04d}{number:016d}",
        "total_fen": 40000,
    }


def stream_of(writer: int, number: int, run: int) -> tuple[str, int]:
    """Stream and version of a writer's event."""
    counted = run << 96 | writer << 64 | number // STREAM_LENGTH
    stream = f"application-{scattered(counted):032x}"
    return stream, number % STREAM_LENGTH + 1


def append_of(writer: int, number: int, run: int) -> AppendRequest:
    """One event with the parts of every command: idempotency key, claim, receipt."""
    stream, version = stream_of(writer, number, run)
    writer = run * 1000 + writer
    command_id = uuid_of(writer, number, 1)
    event = NewEvent(
        stream=stream,
        version=version,
        topic=TOPIC,
        event_id=uuid_of(writer, number, 2),
        occurred_at=PAID_AT,
        actor=ACTOR,
        command_id=command_id,
        correlation_id=command_id,
        causation_id=None,
        data=data_of(writer, number),
    )
    return AppendRequest(
        events=(event,),
        claims=(("provider_transaction", f"wechat_pay:{writer:04d}{number:016d}"),),
        command=CommandKey(
            SUBJECT, f"{writer:04d}-{number:012d}", bytes(24) + command_id.bytes, command_id
        ),
        receipt=lambda recorded: b'{"position":%d}' % recorded[-1].position,
    )
