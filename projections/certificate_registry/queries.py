"""What is asked of the certificate registry, nationwide. Cursors come in, dicts go out.

A lookup takes any two of number, name and document, as keyed indexes of what the asker typed; the
number has no check digit, so one alone proves nothing. The many-at-once forms answer requests that
arrive together with one statement: take the rows by number or document, then those `agreeing`.
Only answers go to everybody. Source: source-document 5.3, 5.4.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from projections.certificate_registry import public_record as public_answer
from projections.engine.view import Row, as_of_filter, queries, select

AsOf = int | datetime | None
"""A position of the ledger, an aware moment, or None for now."""

SQL = queries("certificate_registry")


class Found(NamedTuple):
    """A row of `by_numbers` and `by_documents`, in no order.

    asked: the key that found it; then what tells whether it agrees, then what may be shown.
    """

    asked: str
    number: str
    name_index: str | None
    document_index: str | None
    answer: str


class Linked(NamedTuple):
    """A row of `by_tokens`. asked: the token. replaced: whether it is of an older version."""

    asked: str
    answer: str
    replaced: bool


def prepared() -> dict[str, str]:
    """The many-at-once forms as statements with one parameter, an array of text."""
    return {
        name: SQL[name] % {"keys": "$1"} for name in ("by_numbers", "by_documents", "by_tokens")
    }


def matches(
    found: Found,
    *,
    number: str | None = None,
    names: Container[str] | None = None,
    documents: Container[str] | None = None,
) -> bool:
    """Whether a found certificate is the one that was asked for.

    names, documents: the indexes that the text may be stored under.
    Two of the three must be given, and all that are given must agree. After an erasure neither
    index agrees with anything.
    """
    if [number, names, documents].count(None) > 1:
        return False
    return (
        (number is None or found.number == number)
        and (names is None or found.name_index in names)
        and (documents is None or found.document_index in documents)
    )


def agreeing(found: Iterable[Found], **asked: Any) -> list[str]:
    """The answers of those that match, in an order of their own. asked: as for `matches`."""
    answers = [each.answer for each in found if matches(each, **asked)]
    if len(answers) > 1:
        answers.sort(key=_order)
    return answers


def _order(answer: str) -> tuple[str, ...]:
    told = public_answer.told(answer)
    return told["ledger"], told["issued_on"], told["kind"], told["number"]


def by_numbers(cursor: Any, numbers: Sequence[str]) -> list[Found]:
    """Issued certificates with one of these numbers, of all ledgers; not yet matched.

    Two ledgers may give the same number of their own kind, so a number may come twice.
    """
    return [Found(*row) for row in _rows(cursor, "by_numbers", numbers)]


def by_documents(cursor: Any, document_indexes: Sequence[str]) -> list[Found]:
    """Issued certificates of the holders of these documents; one person may have many."""
    return [Found(*row) for row in _rows(cursor, "by_documents", document_indexes)]


def by_tokens(cursor: Any, tokens: Sequence[str]) -> list[Linked]:
    """Issued certificates by the links printed on them."""
    return [Linked(*row) for row in _rows(cursor, "by_tokens", tokens)]


def _rows(cursor: Any, name: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    cursor.execute(SQL[name], {"keys": list(keys)})
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def lookup(
    cursor: Any,
    *,
    number: str | None = None,
    names: Container[str] | None = None,
    documents: Sequence[str] | None = None,
) -> list[str]:
    """Answers of the certificates that agree with two or three of number, name and document.

    names, documents: as for `matches`. Returns: nothing if too little was given.
    """
    if number is not None:
        found = by_numbers(cursor, [number])
    else:
        found = by_documents(cursor, documents or ())
    return agreeing(found, number=number, names=names, documents=documents)


def verify(cursor: Any, token: str) -> Linked | None:
    """The certificate of a link, or None."""
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
