"""The table of person claims: whose an identity document is, by blind index.

Derived from events: `domain.person_claims` says which rows a person has. A batch replaces all rows
of a person at once, in the transaction of the fact that changes them. No event has an index, so
that an erasure leaves none.
"""

from __future__ import annotations

from collections.abc import Iterable

PersonIndex = tuple[str, str]
"""(kind, blind index). Of kind DOCUMENT an index has one person; of others it may have several."""

PersonRows = tuple[str, tuple[PersonIndex, ...]]
"""(person id, every row that the person has from now on); none after an erasure."""

DOCUMENT = "document"
"""The kind of which an index has one person."""

FORGET_PERSONS = """DELETE FROM certledger.person_claims
WHERE ledger = $1 AND person_id = ANY ($2::text[])"""

INSERT_PERSON_CLAIMS = """INSERT INTO certledger.person_claims (ledger, kind, index, person_id)
SELECT $1, r.kind, r.index, r.person_id
FROM unnest($2::text[], $3::text[], $4::text[]) AS r (kind, index, person_id)"""


def rows_to_insert(persons: Iterable[PersonRows]) -> list[tuple[str, str, str]]:
    """Rows as INSERT_PERSON_CLAIMS takes them: kind, index, person id."""
    return [(kind, index, person) for person, rows in persons for kind, index in rows]
