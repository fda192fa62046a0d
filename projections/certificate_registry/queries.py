"""Queries of the certificate registry, across ledgers. They take a cursor and return dicts.

A lookup takes any two of number, name and document, as blind indexes of what the caller typed; the
number has no check digit, so that one alone proves nothing. The batch forms (`by_numbers`,
`by_documents`, `by_tokens`) answer coalesced requests with one statement; the caller then selects
the rows that are `matching`. Only public records are public. Source: source-document 5.3, 5.4.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from projections.certificate_registry import public_record, state_history
from projections.certificate_registry.standing_changes import RecordChecks
from projections.engine.tables import Row
from projections.engine.view import Cursor, as_of_filter, queries, select

AsOf = int | datetime | None
"""A position of the ledger, an aware datetime, or None for now."""

SQL = queries("certificate_registry")


class FoundCertificate(NamedTuple):
    """A row of `by_numbers` and `by_documents`, in no order.

    asked: the key that found it. number and the indexes: for `matches`. answer: the public record.
    """

    asked: str
    number: str
    name_index: str | None
    document_index: str | None
    passport_index: str | None
    answer: str


class LinkedCertificate(NamedTuple):
    """A row of `by_tokens`. asked: the token. replaced: whether it belongs to an older version.

    version: that it belongs to; None: the current one.
    """

    asked: str
    answer: str
    replaced: bool
    version: int | None


Stored = tuple[Any, ...]
"""A row of the batch forms as the database has it: asked, and what `public_record.check` takes. One
of `by_tokens` ends with seal, version and position of a link that is not the current one."""


def checked_found(checks: RecordChecks, row: Stored) -> FoundCertificate:
    """A checked row of `by_numbers` or `by_documents`. Raises: ViewWrong, RecordOutdated."""
    asked, *sealed = row
    public_record.check(checks, *sealed)
    return FoundCertificate(asked, row[4], row[6], row[7], row[8], row[5])


def checked_linked(checks: RecordChecks, row: Stored) -> LinkedCertificate:
    """A checked row of `by_tokens`. Raises: ViewWrong, RecordOutdated."""
    asked, *sealed, seal, version, position = row
    public_record.check(checks, *sealed)
    if version is None:
        return LinkedCertificate(asked, row[5], False, None)
    ledger, kind, number, answer = row[1], row[3], row[4], row[5]
    public_record.check_link(checks, ledger, seal, asked, kind, number, version, position)
    replaced = public_record.decode(answer)["version"] != version
    return LinkedCertificate(asked, answer, replaced, version)


def prepared() -> dict[str, str]:
    """The batch forms and `standing_changes`, with one parameter, an array of text."""
    names = ("by_numbers", "by_documents", "by_tokens", "standing_changes")
    return {name: SQL[name] % {"keys": "$1"} for name in names}


def matches(
    found: FoundCertificate,
    *,
    number: str | None = None,
    names: Container[str] | None = None,
    documents: Container[str] | None = None,
) -> bool:
    """Whether a found certificate matches the criteria of a lookup.

    names, documents: the blind indexes under which the text may be stored.
    At least two of the three must be given, and all that are given must match. After an erasure
    neither index matches anything.
    """
    if [number, names, documents].count(None) > 1:
        return False
    return (
        (number is None or found.number == number)
        and (names is None or found.name_index in names)
        and (
            documents is None
            or found.document_index in documents
            or found.passport_index in documents
        )
    )


def matching(found: Iterable[FoundCertificate], **asked: Any) -> list[str]:
    """The public records of those that match, in a stable order. asked: as for `matches`."""
    answers = [each.answer for each in found if matches(each, **asked)]
    if len(answers) > 1:
        answers.sort(key=_order)
    return answers


def _order(answer: str) -> tuple[str, ...]:
    record = public_record.decode(answer)
    return record["ledger"], record["issued_on"], record["kind"], record["number"]


def by_numbers(
    cursor: Cursor, numbers: Sequence[str], checks: RecordChecks
) -> list[FoundCertificate]:
    """Issued certificates with one of these numbers, in all ledgers; not yet matched.

    Two ledgers may allocate the same number of their own kind, so a number may occur twice.
    Raises: ViewWrong, RecordOutdated.
    """
    return [checked_found(checks, row) for row in _rows(cursor, checks, "by_numbers", numbers)]


def by_documents(
    cursor: Cursor, document_indexes: Sequence[str], checks: RecordChecks
) -> list[FoundCertificate]:
    """Issued certificates of the holders of these documents; a person may have several.

    Raises: ViewWrong, RecordOutdated.
    """
    return [
        checked_found(checks, row)
        for row in _rows(cursor, checks, "by_documents", document_indexes)
    ]


def by_tokens(
    cursor: Cursor, tokens: Sequence[str], checks: RecordChecks
) -> list[LinkedCertificate]:
    """Issued certificates by the links printed on them. Raises: ViewWrong, RecordOutdated."""
    return [checked_linked(checks, row) for row in _rows(cursor, checks, "by_tokens", tokens)]


def check_absence(checks: RecordChecks) -> None:
    """Check before it is said that there is no such certificate, in any ledger.

    Raises: ViewWrong if the row may be one of those that are known to be missing.
    """
    checks.wrong.check_absence(public_record.VIEW_NAME)


def _rows(
    cursor: Cursor, checks: RecordChecks, name: str, keys: Sequence[str]
) -> list[tuple[Any, ...]]:
    checks.changes.refresh(cursor, SQL["standing_changes"])
    cursor.execute(SQL[name], {"keys": list(keys)})
    return cursor.fetchall()


def lookup(
    cursor: Cursor,
    checks: RecordChecks,
    *,
    number: str | None = None,
    names: Container[str] | None = None,
    documents: Sequence[str] | None = None,
) -> list[str]:
    """Public records of the certificates that match two or three of number, name and document.

    names, documents: as for `matches`. Returns: nothing if too little is given.
    Raises: ViewWrong, RecordOutdated.
    """
    if number is not None:
        found = by_numbers(cursor, [number], checks)
    else:
        found = by_documents(cursor, documents or (), checks)
    return matching(found, number=number, names=names, documents=documents)


def verify(cursor: Cursor, token: str, checks: RecordChecks) -> LinkedCertificate | None:
    """The certificate of a link, or None. Raises: ViewWrong, RecordOutdated."""
    found = by_tokens(cursor, [token], checks)
    return found[0] if found else None


def of_application(
    cursor: Cursor, ledger: str, application_id: str, checks: RecordChecks
) -> list[Row]:
    """An application's certificates, including unissued ones; not public.

    Raises: ViewWrong, RecordOutdated.
    """
    named = {"ledger": ledger, "application_id": application_id}
    return _whole(cursor, checks, "of_application", named)


def _whole(cursor: Cursor, checks: RecordChecks, name: str, named: Row) -> list[Row]:
    checks.changes.refresh(cursor, SQL["standing_changes"])
    rows = select(cursor, SQL[name], named)
    for row in rows:
        public_record.check_whole(checks, row)
    return rows


def listed(
    cursor: Cursor,
    ledger: str,
    kind: str,
    checks: RecordChecks,
    *,
    progress: Sequence[str] | None = None,
    standing: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[Row]:
    """Certificates of a kind in order of number, including unissued ones; not public.

    kind: national or omc. after: number of the last row of the previous page.
    Raises: ViewWrong, RecordOutdated.
    """
    named = {"ledger": ledger, "kind": kind, "standing": standing, "after": after, "limit": limit}
    wanted = None if progress is None else list(progress)
    return _whole(cursor, checks, "listed", named | {"progress": wanted})


def application_of(
    cursor: Cursor, ledger: str, number: str, kind: str, checks: RecordChecks
) -> str | None:
    """The application that a certificate belongs to. Raises: ViewWrong, RecordOutdated."""
    named = {"ledger": ledger, "number": number, "kind": kind}
    found = _whole(cursor, checks, "of_number", named)
    return found[0]["application_id"] if found else None


def history(
    cursor: Cursor,
    ledger: str,
    number: str,
    checks: RecordChecks,
    *,
    kind: str | None = None,
    as_of: AsOf = None,
) -> list[Row]:
    """Every state a certificate was in, oldest first.

    Raises: ViewWrong if there are other states than its events made, RecordOutdated.
    """
    named = {"ledger": ledger, "number": number, "kind": kind}
    found: list[Row] = []
    for certificate in _whole(cursor, checks, "of_number", named):
        states = select(cursor, SQL["history"], named | {"kind": certificate["kind"]})
        found += map(state_history.for_page, state_history.checked(certificate, states))
    return sorted(_recorded(found, as_of), key=lambda state: state["position"])


def _recorded(states: Iterable[Row], as_of: AsOf) -> list[Row]:
    """The states that were recorded by then."""
    bound = as_of_filter(as_of)
    position, time = bound["at_position"], bound["at_time"]
    return [
        state
        for state in states
        if (position is None or state["position"] <= position)
        and (time is None or state["recorded_at"] <= time)
    ]


def standing_on(
    cursor: Cursor,
    ledger: str,
    number: str,
    moment: datetime,
    checks: RecordChecks,
    *,
    kind: str | None = None,
    as_of: AsOf = None,
) -> Row | None:
    """The state of a certificate at a moment, as recorded now or `as_of`; None if it had none.

    Raises: ViewWrong, RecordOutdated.
    """
    states = history(cursor, ledger, number, checks, kind=kind, as_of=as_of)
    return next((each for each in reversed(states) if each["occurred_at"] <= moment), None)


def statistics(
    cursor: Cursor,
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


def standings(cursor: Cursor, ledger: str) -> list[Row]:
    """Certificates counted by kind, standing and progress."""
    return select(cursor, SQL["standings"], {"ledger": ledger})
