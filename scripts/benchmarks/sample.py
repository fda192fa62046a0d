"""The events that are written: payments of applications, as the service records them.

Every contender stores the same ones, so that nobody writes fewer bytes than another.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from domain.store.records import Append, CommandKey, Draft

TOPIC = "fee_paid.v1"
STREAM_LENGTH = 10  # events, before a writer begins another stream
ACTOR = {
    "subject": "cashier-07",
    "role": "agency",
    "organisation": "enrolment-agency-3",
    "on_behalf_of": None,
}
PAID_AT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


def uuid_of(writer: int, number: int, kind: int) -> UUID:
    """An id nobody else has: version 4 in form, counted in content."""
    return UUID(int=(0xBE << 120) | (writer << 100) | (kind << 92) | 4 << 76 | 8 << 60 | number)


def data_of(writer: int, number: int) -> dict[str, Any]:
    """What such an event says."""
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
    stream = f"application-{run:04x}{writer:04x}{number // STREAM_LENGTH:024x}"
    return stream, number % STREAM_LENGTH + 1


def append_of(writer: int, number: int, run: int) -> Append:
    """One event with what every command carries: its idempotency key, a claim, a receipt."""
    stream, version = stream_of(writer, number, run)
    writer = run * 1000 + writer
    command_id = uuid_of(writer, number, 1)
    draft = Draft(
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
    return Append(
        drafts=(draft,),
        claims=(("provider_transaction", f"wechat_pay:{writer:04d}{number:016d}"),),
        command=CommandKey(
            ACTOR["subject"], f"{writer:04d}-{number:012d}", command_id.bytes * 2, command_id
        ),
        receipt=lambda recorded: b'{"position":%d}' % recorded[-1].position,
    )
