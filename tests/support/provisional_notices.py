"""Public notices whose end an older calendar left provisional, written as facts.

The packaged calendar knows these days of 2026, so the end of most of them can be corrected.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import NAMESPACE_URL, uuid5

from domain import events as e
from domain.actors import Actor, service_actor
from domain.store.journal.records import NewEvent
from tests.support.actors import CERTIFIER

PUBLISHED_ON = date(2026, 3, 2)
ENDS_ON = date(2026, 3, 6)
"""As the older calendar had it."""
LAST_DAY = date(2026, 3, 9)
"""The last of five working days after PUBLISHED_ON."""
CLOSES_AT = datetime(2026, 3, 6, 16, tzinfo=UTC)
"""24:00 of ENDS_ON in Shanghai."""

BEYOND_EVERY_CALENDAR = date(2399, 12, 30)
"""A day of publication whose working days no calendar knows."""


def draft(stream: str, version: int, fact: e.Fact, by: Actor = CERTIFIER) -> NewEvent:
    """A fact as the store takes it."""
    number = uuid5(NAMESPACE_URL, f"https://example.com/{stream}/{version}")
    return NewEvent(
        stream=stream,
        version=version,
        topic=fact.TOPIC,
        event_id=number,
        occurred_at=datetime(2026, 3, 2, 1, tzinfo=UTC),
        actor=by.to_envelope(),
        command_id=number,
        correlation_id=number,
        causation_id=None,
        data=fact.model_dump(mode="json"),
    )


def opened(notice_id: str, published_on: date = PUBLISHED_ON, **changed: object) -> NewEvent:
    """A notice with a provisional end."""
    fields = {
        "notice_id": notice_id,
        "session_id": "S1",
        "kind": "main",
        "published_on": published_on,
        "ends_on": ENDS_ON,
        "ends_on_is_provisional": True,
        "working_days": 5,
        "calendar_edition": "an older one",
        "deadline_on": date(2026, 3, 31),
        "application_ids": ("A1",),
    }
    return draft(f"notice-{notice_id}", 1, e.PublicNoticeOpened(**(fields | changed)))


def extended(
    notice_id: str, version: int = 2, *, by_the_service: bool, **changed: object
) -> NewEvent:
    """The correction of its end."""
    fields = {
        "notice_id": notice_id,
        "ends_on": LAST_DAY,
        "ends_on_is_provisional": False,
        "calendar_edition": "a newer one",
    }
    fact = e.PublicNoticeExtended(**(fields | changed))
    actor = service_actor("extend_notice") if by_the_service else CERTIFIER
    return draft(f"notice-{notice_id}", version, fact, actor)


def closed(notice_id: str, version: int = 2) -> NewEvent:
    """The end of a notice."""
    fact = e.PublicNoticeClosed(notice_id=notice_id, final_count=1)
    return draft(f"notice-{notice_id}", version, fact)
