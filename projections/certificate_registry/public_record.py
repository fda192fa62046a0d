"""What everybody is told of a certificate: made when its row is written, read at every lookup.

A lookup is asked far more often than a certificate changes, so its answer stands ready in the
certificate's row: the values of PUBLIC as a JSON array. Source: source-document 5.3.
"""

from __future__ import annotations

from datetime import date, datetime
from operator import itemgetter
from typing import Any

import orjson

from projections.engine.view import Row

PUBLIC = (
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
"""What everybody may see of a certificate they could name."""

_DAYS = ("issued_on", "seen_province_on", "seen_nation_on", "reissued_on")
_values = itemgetter(*PUBLIC[1:-1])


def written(ledger: str, certificate: Row) -> str | None:
    """The answer of a certificate's row; None while it is not issued and nobody's business."""
    if not certificate["issued"]:
        return None
    since = certificate["current_since"].removesuffix("Z").removesuffix(".000000")
    return orjson.dumps([ledger, *_values(certificate), f"{since}+00:00"]).decode()


def told(answer: str) -> dict[str, Any]:
    """The answer by name, days and times as text (ISO 8601)."""
    return dict(zip(PUBLIC, orjson.loads(answer), strict=True))


def public(answer: str) -> Row:
    """The answer by name, for rendering: days are dates, `current_since` is an aware moment."""
    row = told(answer)
    for name in _DAYS:
        row[name] = row[name] and date.fromisoformat(row[name])
    row["current_since"] = datetime.fromisoformat(row["current_since"])
    return row
