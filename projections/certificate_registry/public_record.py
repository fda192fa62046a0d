"""The public record of a certificate: encoded when its row is written, read at every lookup.

Lookups are far more frequent than changes of a certificate, so its row contains the answer: the
values of PUBLIC_COLUMNS as a JSON array. Source: source-document 5.3.
"""

from __future__ import annotations

from datetime import date, datetime
from operator import itemgetter
from typing import Any

import orjson

from projections.certificate_registry.standing_changes import RecordChecks
from projections.engine.row_seals import ViewWrong, check_seal
from projections.engine.tables import Row

VIEW_NAME = "certificate_registry"

PUBLIC_COLUMNS = (
    "ledger",
    "kind",
    "number",
    "masked_name",
    "masked_number",
    "document_type",
    "occupation",
    "occupation_name",
    "edition",
    "level",
    "job_type",
    "theory",
    "practical",
    "issued_on",
    "organisation_name",
    "issuer_name",
    "progress",
    "seen_province_on",
    "seen_nation_on",
    "standing",
    "reason_class",
    "version",
    "reissued_on",
    "current_since",
)
"""What a lookup shows of a certificate."""

_DAYS = ("issued_on", "seen_province_on", "seen_nation_on", "reissued_on")
_values = itemgetter(*PUBLIC_COLUMNS[1:-1])


def encode(ledger: str, certificate: Row) -> str | None:
    """The public record of a certificate's row; None before the certificate is issued."""
    if not certificate["issued"]:
        return None
    since = certificate["current_since"].removesuffix("Z").removesuffix(".000000")
    return orjson.dumps([ledger, *_values(certificate), f"{since}+00:00"]).decode()


# --- the seal of a row ----------------------------------------------------------------------------


def sealed(certificate: Row, derived: Row) -> tuple[str, bytes]:
    """The key of a certificate's row as text, and what its seal is over.

    That is everything by which a lookup finds it and everything that is shown of it.
    """
    answer = derived["answer"] or _unissued(certificate)
    return _sealed(
        certificate["kind"],
        certificate["number"],
        answer,
        *(certificate[name] for name in _CHECKED),
    )


_CHECKED = (
    *("name_index", "document_index", "passport_index", "verify_token"),
    *("position", "person_id", "holder_position", "history_sha256"),
)
"""The columns by which a lookup finds a row, those that say how old it is, and its history."""


def _unissued(certificate: Row) -> str:
    """In place of the public record of a certificate that has none: what will be in it."""
    return orjson.dumps([certificate[name] for name in _KNOWN]).decode()


_KNOWN = tuple(name for name in PUBLIC_COLUMNS if name not in ("ledger", *_DAYS, "current_since"))
"""What is known of a certificate before its issue."""


def _sealed(
    kind: str,
    number: str,
    answer: str,
    name_index: str | None,
    document_index: str | None,
    passport_index: str | None,
    verify_token: str | None,
    position: int,
    person_id: str,
    holder_position: int,
    history_sha256: str,
) -> tuple[str, bytes]:
    found_by = (name_index, document_index, passport_index, verify_token)
    made_by = (position, person_id, holder_position, history_sha256)
    return f"{kind}|{number}", orjson.dumps([number, kind, *found_by, *made_by, answer])


def check(
    checks: RecordChecks,
    ledger: str,
    seal: str | None,
    kind: str,
    number: str,
    answer: str,
    name_index: str | None,
    document_index: str | None,
    passport_index: str | None,
    verify_token: str | None,
    position: int,
    person_id: str,
    holder_position: int,
    history_sha256: str,
) -> None:
    """Check the seal of a row, and that neither certificate nor holder have changed since.

    Nor may the ledger be one of which the audit has found rows that no event made.

    Raises: ViewWrong, RecordOutdated.
    """
    found_by = (name_index, document_index, passport_index, verify_token)
    made_by = (position, person_id, holder_position)
    key_text, payload = _sealed(kind, number, answer, *found_by, *made_by, history_sha256)
    check_seal(checks.row_keys, ledger, VIEW_NAME, key_text, payload, seal or "")
    checks.wrong.check(VIEW_NAME, ledger)
    checks.changes.check(ledger, kind, number, *made_by)


def check_whole(checks: RecordChecks, row: Row) -> None:
    """Check a whole row as it was selected: as `check`, and its columns against what is sealed.

    Raises: ViewWrong, RecordOutdated.
    """
    answer = row["answer"]
    if row["issued"] != (answer is not None):
        raise ViewWrong(view=VIEW_NAME)
    if answer is not None:
        try:
            public = for_page(answer)
        except (ValueError, TypeError, AttributeError):
            raise ViewWrong(view=VIEW_NAME) from None
        if any(row[name] != value for name, value in public.items()):
            raise ViewWrong(view=VIEW_NAME)
    checked = (row[name] for name in _CHECKED)
    shown = answer or _unissued(row)
    check(checks, row["ledger"], row["seal"], row["kind"], row["number"], shown, *checked)


def sealed_link(link: Row, derived: Row) -> tuple[str, bytes]:
    """As `sealed`, for the row of a link that is not printed on the current version."""
    return _sealed_link(
        *(link[name] for name in ("token", "kind", "number", "version", "position"))
    )


def _sealed_link(
    token: str, kind: str, number: str, version: int, position: int
) -> tuple[str, bytes]:
    return f"link|{token}", orjson.dumps([kind, number, version, position])


def check_link(
    checks: RecordChecks,
    ledger: str,
    seal: str | None,
    token: str,
    kind: str,
    number: str,
    version: int,
    position: int,
) -> None:
    """Check the seal of such a row. Raises: ViewWrong."""
    key_text, payload = _sealed_link(token, kind, number, version, position)
    check_seal(checks.row_keys, ledger, VIEW_NAME, key_text, payload, seal or "")


# --- reading it -----------------------------------------------------------------------------------


def decode(record: str) -> dict[str, Any]:
    """The record by column name, days and times as text (ISO 8601)."""
    return dict(zip(PUBLIC_COLUMNS, orjson.loads(record), strict=True))


def for_page(record: str) -> Row:
    """The record by column name, with days as dates and `current_since` as aware datetime."""
    row = decode(record)
    for name in _DAYS:
        row[name] = row[name] and date.fromisoformat(row[name])
    row["current_since"] = datetime.fromisoformat(row["current_since"])
    return row
