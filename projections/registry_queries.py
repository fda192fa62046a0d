"""What is asked of the certificate registry, nationwide. Cursors come in, dicts go out.

A lookup takes any two of number, name and document, as keyed indexes of what the asker typed; the
number has no check digit, so one alone proves nothing. The many-at-once forms answer requests that
arrive together with one statement: take the rows by number or document, then `matches` each.
Only `public` forms go to everybody. Source: source-document 5.3, 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from projections.view import Row, as_of_filter, queries, select

AsOf = int | datetime | None
"""A position of the ledger, an aware moment, or None for now."""

SQL = queries("certificate_registry")

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

FOUND = ("asked", "name_index", "document_index", "position", *PUBLIC)
"""Columns of `by_numbers` and `by_documents`, in order: first the key that found the row, then what
tells whether it agrees, then what may be shown."""

LINKED = ("asked", "position", *PUBLIC, "replaced")
"""Columns of `by_tokens`, in order. replaced: whether the link is of an older version."""


def public(row: Row) -> Row:
    """A found certificate as everybody may see it, for rendering."""
    shown = {name: row[name] for name in PUBLIC}
    if "replaced" in row:
        shown["replaced"] = row["replaced"]
    return shown


def prepared() -> dict[str, str]:
    """The many-at-once forms as statements with one parameter, an array of text."""
    return {
        name: SQL[name] % {"keys": "$1"} for name in ("by_numbers", "by_documents", "by_tokens")
    }


def matches(
    row: Row,
    *,
    number: str | None = None,
    names: Sequence[str] | None = None,
    documents: Sequence[str] | None = None,
) -> bool:
    """Whether a found certificate is the one that was asked for.

    names, documents: indexes that the text may be stored under, one a suite.
    Two of the three must be given, and all that are given must agree. After an erasure neither
    index agrees with anything.
    """
    asked = 0
    for column, wanted in (
        ("number", None if number is None else (number,)),
        ("name_index", names),
        ("document_index", documents),
    ):
        if wanted is not None:
            asked += 1
            if row[column] not in wanted:
                return False
    return asked >= 2


def by_numbers(cursor: Any, numbers: Sequence[str]) -> list[Row]:
    """Issued certificates with one of these numbers, of all ledgers; not yet matched.

    Two ledgers may give the same number of their own kind, so a number may come twice.
    """
    return select(cursor, SQL["by_numbers"], {"keys": list(numbers)})


def by_documents(cursor: Any, document_indexes: Sequence[str]) -> list[Row]:
    """Issued certificates of the holders of these documents; one person may have many."""
    return select(cursor, SQL["by_documents"], {"keys": list(document_indexes)})


def by_tokens(cursor: Any, tokens: Sequence[str]) -> list[Row]:
    """Issued certificates by the links printed on them, with `replaced`."""
    return select(cursor, SQL["by_tokens"], {"keys": list(tokens)})


def lookup(
    cursor: Any,
    *,
    number: str | None = None,
    name_index: str | None = None,
    document_index: str | None = None,
) -> list[Row]:
    """Certificates that agree with two or three of number, name and document.

    Returns: whole rows, for `public`; empty if nothing agrees or too little was given.
    """
    if number is not None:
        found = by_numbers(cursor, [number])
    elif document_index is not None:
        found = by_documents(cursor, [document_index])
    else:
        return []
    names = None if name_index is None else (name_index,)
    documents = None if document_index is None else (document_index,)
    return [
        row for row in found if matches(row, number=number, names=names, documents=documents)
    ]


def verify(cursor: Any, token: str) -> Row | None:
    """The certificate of a link, or None; `public` says whether the link is of an old version."""
    found = by_tokens(cursor, [token])
    return found[0] if found else None


def of_application(cursor: Any, ledger: str, application_id: str) -> list[Row]:
    """An application's certificates, numbered ones too; not for everybody."""
    named = {"ledger": ledger, "application_id": application_id}
    return select(cursor, SQL["of_application"], named)


def listed(
    cursor: Any,
    ledger: str,
    kind: str,
    *,
    progress: Sequence[str] | None = None,
    standing: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[Row]:
    """Certificates of a kind in order of number, numbered ones too; not for everybody.

    kind: national or omc. after: number of the last row of the page before.
    """
    named = {"ledger": ledger, "kind": kind, "standing": standing, "after": after, "limit": limit}
    wanted = None if progress is None else list(progress)
    return select(cursor, SQL["listed"], named | {"progress": wanted})


def history(
    cursor: Any, ledger: str, number: str, *, kind: str | None = None, as_of: AsOf = None
) -> list[Row]:
    """Every state a certificate was in, oldest first."""
    named = {"ledger": ledger, "number": number, "kind": kind}
    return select(cursor, SQL["history"], named | as_of_filter(as_of))


def standing_on(
    cursor: Any,
    ledger: str,
    number: str,
    moment: datetime,
    *,
    kind: str | None = None,
    as_of: AsOf = None,
) -> Row | None:
    """How a certificate stood at a moment, as we know it now or knew it then; None: not there."""
    named = {"ledger": ledger, "number": number, "kind": kind, "moment": moment}
    found = select(cursor, SQL["standing_on"], named | as_of_filter(as_of))
    return found[0] if found else None


def statistics(
    cursor: Any,
    ledger: str,
    *,
    kind: str = "national",
    issued: tuple[date | None, date | None] = (None, None),
) -> list[Row]:
    """Valid certificates by level, occupation and month of issue. Source: source-document 5.4.

    issued: (from, before) day of issue.
    """
    named = {"ledger": ledger, "kind": kind, "issued_from": issued[0], "issued_before": issued[1]}
    return select(cursor, SQL["statistics"], named)


def standings(cursor: Any, ledger: str) -> list[Row]:
    """How many certificates are in which standing and progress, by kind."""
    return select(cursor, SQL["standings"], {"ledger": ledger})
