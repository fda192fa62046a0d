"""Who a member of staff is, from the facts that name them (`ActorNamed`).

A fact names everybody who acts as staff, in the transaction of their first command. So a pseudonym
can be shown by name, and a login whose row was lost gets no second pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from domain.decision import stream_of
from domain.events import ActorNamed
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.mapper import EntryMapper
from domain.values.logins import normal_form

_PAGE = 1000


class StaffMember(NamedTuple):
    """Whom a pseudonym is. login, name: None if the key that sealed them is gone; name: also if it
    was never given. position: of the fact.
    """

    subject: str
    login: str | None
    name: str | None
    position: int

    @property
    def shown(self) -> str | None:
        """What to call them."""
        return self.name or self.login


class NamedActors:
    """The staff of one ledger. `pseudonym_of` is for one thread, the rest for any."""

    def __init__(self, journal: Journal, mapper: EntryMapper) -> None:
        """Read nothing yet."""
        self._journal = journal
        self._mapper = mapper
        self._by_login: dict[str, str] = {}
        self._read_to = 0

    def pseudonym_of(self, login: str) -> str | None:
        """The pseudonym under which a login has acted as staff; None if it has not.

        A query, for a login without a row only. Raises: SealBroken, WrongKey, Unavailable.
        """
        for member in self.after(self._read_to):
            if member.login is not None:
                self._by_login.setdefault(normal_form(member.login), member.subject)
            self._read_to = member.position
        return self._by_login.get(normal_form(login))

    def after(self, position: int, limit: int | None = None) -> Iterator[StaffMember]:
        """Who was named after a position, in order. Raises: SealBroken, WrongKey, Unavailable."""
        left = limit
        while left is None or left > 0:
            page = _PAGE if left is None else min(left, _PAGE)
            found = self._journal.read(position, page, (ActorNamed.TOPIC,))
            yield from self._opened(found)
            if len(found) < page:
                return
            position = found[-1].position
            left = None if left is None else left - page

    def members(self, subjects: Iterable[str]) -> dict[str, StaffMember]:
        """Those of some pseudonyms who are staff. Raises: SealBroken, WrongKey, Unavailable."""
        recorded = [
            event
            for subject in dict.fromkeys(subjects)
            for event in self._journal.stream(stream_of("actor", subject), limit=1)
        ]
        return {member.subject: member for member in self._opened(recorded)}

    def clear(self) -> None:
        """Forget what was read: the history that it was made of is not the journal's."""
        self._by_login = {}
        self._read_to = 0

    def _opened(self, recorded: list[RecordedEvent]) -> Iterator[StaffMember]:
        for event, entry in zip(recorded, self._mapper.entries(recorded), strict=True):
            fact = entry.fact
            assert isinstance(fact, ActorNamed)
            yield StaffMember(fact.subject, fact.login, fact.name, event.position)
