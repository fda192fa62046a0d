"""Checks the rows of logins: their seals, and which of them have to be there.

Every person who has a login and everybody who has acted as staff has a row; who was erased and was
no staff has none. An exchanged row would let one person act as another; a row that is missing gives
its login a second pseudonym, and a rule that needs two persons takes one for two.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.actors import Role
from domain.audit.events import Event, events_since
from domain.audit.results import CheckResult, Pace
from domain.events import REGISTRATION, ErasureConfirmed, LoginAssigned, RegistrationJoined
from domain.store.errors import SealBroken
from domain.store.journal.journal import Journal
from domain.store.journal.logins import LOGIN_COLUMNS, login_from_row
from domain.store.tlog.audit import usable_sealer
from domain.values.logins import SERVICE_SUBJECTS

_NAMING = frozenset(fact.TOPIC for fact in (*REGISTRATION, LoginAssigned))
_PAGE = 1000
_READ = f"""SELECT {LOGIN_COLUMNS} FROM certledger.logins
WHERE ledger = %s AND (key_id, mac) > (%s, %s) ORDER BY key_id, mac LIMIT {_PAGE}"""


class LoginsCheck:
    """Rows without a right seal, rows that are missing, and rows left after an erasure."""

    def __init__(self, journal: Journal) -> None:
        self.result = CheckResult("logins")
        self._journal = journal
        self._sealer = usable_sealer(journal)
        self._persons: dict[str, tuple[str, int]] = {}
        self._erased: dict[str, tuple[str, int]] = {}
        self._staff: dict[str, int] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Note who has a login."""
        for event in events:
            self._note_staff(event)
            person = event.data.get("person_id")
            if event.topic == RegistrationJoined.TOPIC:
                self._persons.pop(str(person), None)
            elif event.topic in _NAMING:
                subject = event.data.get("subject")
                if type(subject) is str and type(person) is str:
                    self._persons[person] = subject, event.position
            elif event.topic == ErasureConfirmed.TOPIC and person in self._persons:
                self._erased[str(person)] = self._persons.pop(str(person))

    def _note_staff(self, event: Event) -> None:
        actor = event.envelope.get("actor")
        if not isinstance(actor, dict) or actor.get("role") == Role.CANDIDATE:
            return
        subject = actor.get("subject")
        if type(subject) is str and not subject.startswith(SERVICE_SUBJECTS):
            self._staff.setdefault(subject, event.position)

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare every row. Raises: Unavailable; what `pace` raises."""
        rows = self._rows(upto, pace)
        erased = {subject for subject, _ in self._erased.values()}
        for event in events_since(self._journal, [ErasureConfirmed.TOPIC], upto):
            person = str(event.data.get("person_id"))
            erased.add(self._persons.pop(person, ("", 0))[0])
        for person, (subject, position) in self._persons.items():
            if subject not in rows:
                what = "has a login, whose row is missing"
                self.result.find(what, position, f"person {person}")
        # Of the erased, `forget_logins` knows who was staff by their commands; imports have none.
        for subject, position in self._staff.items():
            if subject not in rows and subject not in erased:
                what = "acted as staff, and the row of their login is missing"
                self.result.find(what, position, f"login of {subject}")
        again = self._staff.keys() | {subject for subject, _ in self._persons.values()}
        for person, (subject, position) in self._erased.items():
            if subject in rows and subject not in again:
                what = "was erased, and their login is still there"
                self.result.find(what, position, f"person {person}")

    def _rows(self, upto: int, pace: Pace) -> set[str]:
        """The pseudonyms that have a row, after checking each row's seal."""
        found: set[str] = set()
        after: tuple[str, bytes] = ("", b"")
        while rows := self._journal.query(_READ, (self._journal.ledger, *after)):
            for row in rows:
                self.result.count("logins")
                found.add(row[2])
                try:
                    login_from_row(row, self._sealer)
                except SealBroken:
                    self.result.find("its seal is not right", row=f"login of {row[2]}")
            after = rows[-1][0], bytes(rows[-1][1])
            pace(upto)
        return found
