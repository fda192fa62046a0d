"""The public record of a certificate: encoded when its row is written, read at every lookup.

Lookups are far more frequent than changes of a certificate, so its row contains the answer: the
values of PUBLIC_COLUMNS as a JSON array. Source: source-document 5.3.
"""

from __future__ import annotations

from datetime import date, datetime
from operator import itemgetter
from typing import Any

import orjson

from projections.engine.tables import Row

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
