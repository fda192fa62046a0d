"""What is due by time alone, folded from the facts, so that there is no table of jobs to lose.

An item is due from `due_at` on. The fact that does it ends it; done by a person or by the service,
that makes no difference. An item that has to be done once more gets the next `attempt`, from which
the idempotency key of its command follows. The queries are in queries.py.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from datetime import date, timedelta
from functools import lru_cache

from domain import events as e
from domain.values.logins import SERVICE_SUBJECTS
from domain.values.primitives import format_instant
from domain.values.sealed_fields import KEY, parse_key_name
from domain.values.working_days import (
    HolidayTable,
    WorkingCalendar,
    add_working_days,
    closes_at,
)
from projections.engine.rows import RowBuffer
from projections.engine.tables import Row
from projections.engine.view import Entry, Handles, View, topics
from projections.worklist.tables import (
    ADOPTED,
    AWAITED,
    CALENDARS,
    COPIED,
    DONE,
    ERASED,
    FILES,
    ITEMS,
    NOTICES,
)

EXTEND_NOTICE = "extend_notice"
"""Calculate the provisional end of a public notice again."""

CONTINUE_ERASURE = "continue_erasure"
"""Examine again what is kept of an erased person's data, and destroy what nothing keeps."""

COPY_EDITION = "copy_edition"
"""Let an edition of the ledger `service` hold in another one too. What is due follows from what
both ledgers adopted and copied: it is no item of either."""

_ONE_DAY = timedelta(days=1)


def _due(rows: RowBuffer, entry: Entry, item_id: str, work: str, due_at: str) -> None:
    """An item is due from a moment on, for the first time or once more."""
    known = rows.get(ITEMS, item_id, work)
    attempt = 1 if known is None else known["attempt"] + 1
    rows.upsert(
        ITEMS,
        {
            "item_id": item_id,
            "work": work,
            "attempt": attempt,
            "due_at": due_at,
            "position": entry.position,
        },
    )


def _settled(rows: RowBuffer, entry: Entry, item_id: str, work: str) -> None:
    """There is nothing to do any more, if there was."""
    known = rows.get(ITEMS, item_id, work)
    if known is not None and known["due_at"] is not None:
        rows.upsert(ITEMS, {**known, "due_at": None, "position": entry.position})


def _credit(rows: RowBuffer, entry: Entry) -> None:
    """Count what the service did by itself."""
    subject = entry.actor["subject"]
    if not subject.startswith(SERVICE_SUBJECTS):
        return
    work = subject.removeprefix(SERVICE_SUBJECTS)
    known = rows.get(DONE, work)
    rows.upsert(
        DONE,
        {
            "work": work,
            "items": 1 if known is None else known["items"] + 1,
            "last_done_at": entry.recorded_at,
            "position": entry.position,
        },
    )


# --- public notices -----------------------------------------------------------------------------

_NOTICE, _CALENDAR = "notice", "calendar"


def _opened(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    if data["ends_on_is_provisional"]:
        named = {name: data[name] for name in ("notice_id", "published_on", "working_days")}
        row = {"kind": _NOTICE, **named, "ends_on": data["ends_on"], "position": entry.position}
        rows.upsert(NOTICES, row)
        _schedule(rows, entry, row)


def _extended(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    notice = rows.get(NOTICES, _NOTICE, data["notice_id"])
    if notice is not None and data["ends_on_is_provisional"]:
        row = {**notice, "ends_on": data["ends_on"], "position": entry.position}
        rows.upsert(NOTICES, row)
        _schedule(rows, entry, row)
    else:
        _closed(rows, entry)
    _credit(rows, entry)


def _notice_closed(rows: RowBuffer, entry: Entry) -> None:
    _closed(rows, entry)
    for awaited in rows.group(AWAITED, entry.data["notice_id"]):
        _due(rows, entry, awaited["person_id"], CONTINUE_ERASURE, entry.recorded_at)


def _closed(rows: RowBuffer, entry: Entry) -> None:
    notice = rows.get(NOTICES, _NOTICE, entry.data["notice_id"])
    if notice is not None:
        rows.upsert(NOTICES, {**notice, "ends_on": None, "position": entry.position})
        _settled(rows, entry, notice["notice_id"], EXTEND_NOTICE)


def _adopted(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    rows.upsert(
        ADOPTED,
        {
            "sha256": data["sha256"],
            "edition_kind": data["kind"],
            "adopted_at": entry.recorded_at,
            "position": entry.position,
        },
    )
    _begun(rows, entry)


def _copied(rows: RowBuffer, entry: Entry) -> None:
    rows.upsert(COPIED, {"sha256": entry.data["sha256"], "position": entry.position})
    if entry.data["in_the_way"] is None:
        _begun(rows, entry)
    _credit(rows, entry)


def _begun(rows: RowBuffer, entry: Entry) -> None:
    """A calendar that knows the days of a provisional end makes its correction due."""
    data = entry.data
    if data["kind"] != _CALENDAR:
        return
    rows.upsert(
        CALENDARS,
        {
            "kind": _CALENDAR,
            "edition": data["edition"],
            "valid_from": data["valid_from"],
            "content": json.dumps(data["content"], ensure_ascii=False),
            "adopted_at": entry.recorded_at,
            "position": entry.position,
        },
    )
    for notice in rows.group(NOTICES, _NOTICE):
        if notice["ends_on"] is not None:
            _schedule(rows, entry, notice)


def _schedule(rows: RowBuffer, entry: Entry, notice: Row) -> None:
    """When the provisional end of a notice is to be calculated again.

    As soon as a calendar holds that knows its days, and at the latest when it comes: from then on
    the notice could neither be closed nor shown. Source: source-document 5.1.
    """
    moments = [format_instant(closes_at(date.fromisoformat(notice["ends_on"])))]
    for calendar in rows.group(CALENDARS, _CALENDAR):
        if _knows(calendar, notice):
            eve = date.fromisoformat(calendar["valid_from"]) - _ONE_DAY
            moments.append(max(calendar["adopted_at"], format_instant(closes_at(eve))))
    due_at = min(moments)
    known = rows.get(ITEMS, notice["notice_id"], EXTEND_NOTICE)
    if known is None or known["due_at"] != due_at:
        _due(rows, entry, notice["notice_id"], EXTEND_NOTICE, due_at)


def _knows(calendar: Row, notice: Row) -> bool:
    """Whether a calendar knows every day of a notice."""
    table = _table(calendar["edition"], calendar["content"])
    published = date.fromisoformat(notice["published_on"])
    if published < table.valid_from:
        return False
    return not add_working_days(published, notice["working_days"], table).provisional


@lru_cache(maxsize=64)
def _table(edition: str, content: str) -> WorkingCalendar:
    return HolidayTable.model_validate_json(content).calendar(edition)


# --- files ----------------------------------------------------------------------------------------


def _file(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    sealed = data["plain_sha256"] or data["photo_sha256"]
    name = parse_key_name(sealed[KEY])
    if name.data_class:  # else it lies under the key of its matter, which no erasure destroys
        row = {"person_id": data["person_id"], "sha256": data["sha256"]}
        row |= {"data_class": name.data_class, "named_at": entry.position, "erased_at": None}
        rows.upsert(FILES, {**row, "position": entry.position})


def _files_erased(rows: RowBuffer, entry: Entry, destroyed: Container[str]) -> None:
    """The keys of some classes of a person were destroyed; their files are to be deleted."""
    for file in rows.group(FILES, entry.data["person_id"]):
        if file["erased_at"] is None and file["data_class"] in destroyed:
            rows.upsert(FILES, {**file, "erased_at": entry.position, "position": entry.position})


# --- erasures -------------------------------------------------------------------------------------


def _erased(rows: RowBuffer, entry: Entry) -> None:
    """Every fact of an erasure says what is kept and until when."""
    data = entry.data
    person_id = data["person_id"]
    rows.upsert(ERASED, {"person_id": person_id, "position": entry.position})
    for notice_id in data["awaited"]:
        awaited = {"notice_id": notice_id, "person_id": person_id}
        rows.upsert(AWAITED, {**awaited, "position": entry.position})
    last_day = _first_last_day(data["kept"])
    if last_day is None:
        _settled(rows, entry, person_id, CONTINUE_ERASURE)
    else:
        due_at = format_instant(closes_at(date.fromisoformat(last_day)))
        _due(rows, entry, person_id, CONTINUE_ERASURE, due_at)
    _files_erased(rows, entry, data["destroyed"])
    _credit(rows, entry)


def _first_last_day(kept: Iterable[Row]) -> str | None:
    """The last day of the class that goes first; None if every class waits for something."""
    days: dict[str, list[str | None]] = {}
    for each in kept:
        days.setdefault(each["data_class"], []).append(each["until"])
    known = [[day for day in found if day is not None] for found in days.values() if all(found)]
    return min(map(max, known), default=None)


def _changed(rows: RowBuffer, entry: Entry) -> None:
    """Something happened that changes what has to be kept, if the person was erased."""
    person_id = entry.data["person_id"]
    if rows.get(ERASED, person_id) is not None:
        _due(rows, entry, person_id, CONTINUE_ERASURE, entry.recorded_at)


_CHANGES = (
    *(e.ApplicationWithdrawn, e.InitialReviewRejected, e.SecondReviewRejected),
    *(e.FinalReviewRejected, e.ExcessPaymentReceived, e.RefundSettled),
    *(e.ScoreCorrected, e.ResultPublished, e.CertificateRevoked),
)
"""What may begin or end to keep data of an erased person.

Their applications are over, unless a restored ledger has lost the end of one.
"""


def _others(*facts: type[e.Fact]) -> tuple[type[e.Fact], ...]:
    """Those that change nothing of the kind."""
    return tuple(fact for fact in facts if fact not in _CHANGES)


VIEW = View(
    name="worklist",
    version=8,
    tables=(ITEMS, NOTICES, CALENDARS, ADOPTED, COPIED, ERASED, AWAITED, FILES, DONE),
    handles={
        e.DocumentSubmitted.TOPIC: Handles(_file, (FILES,)),
        e.EditionAdopted.TOPIC: Handles(_adopted),
        e.EditionCopied.TOPIC: Handles(_copied),
        e.PublicNoticeOpened.TOPIC: Handles(_opened),
        e.PublicNoticeExtended.TOPIC: Handles(_extended),
        e.PublicNoticeClosed.TOPIC: Handles(_notice_closed, (AWAITED,)),
        **{fact.TOPIC: Handles(_erased, (FILES,)) for fact in e.ERASURE},
        **{fact.TOPIC: Handles(_changed, (ERASED,)) for fact in _CHANGES},
    },
    ignores=topics(
        *(*e.LEDGER, *e.ACTOR, e.EditionProposed, *e.REGISTRATION, *e.SETTLEMENT),
        *(e.PersonCorrected, e.ErasureProposed),
        *_others(*e.ELIGIBILITY, *e.APPLICATION, e.FeePaid, e.FeeItemUsed, *e.REVIEW, *e.REFUND),
        *(fact for fact in e.DOCUMENT if fact is not e.DocumentSubmitted),
        *_others(*e.EXAM_SESSION, *e.SEAT, *e.SCORE, *e.CERTIFICATE),
        *(*e.OBJECTION, e.SerialTaken, e.ReportFrozen),
    ),
)
