"""Checks the rows of logins: their seals, and which of them have to be there.

Every person who has a login and everybody who has acted as staff has a row; who was erased and was
no staff has none. An exchanged row would let one person act as another; a row that is missing gives
its login a second pseudonym, and a rule that needs two persons takes one for two. A fact names
every member of staff: the row of that very login has to have their pseudonym.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from domain.actors import Role, is_named
from domain.audit.events import Event, events_since
from domain.audit.results import CheckResult, Pace
from domain.errors import LedgerError
from domain.events import (
    FORGETTING,
    REGISTRATION,
    ActorNamed,
    LoginAssigned,
    RegistrationJoined,
)
from domain.store.errors import SealBroken, WrongEpochKey
from domain.store.journal.journal import Journal
from domain.store.journal.logins import LIVE_LOGIN, LOGIN_COLUMNS, login_from_row
from domain.store.keys.login_keys import LoginKeys, LoginName
from domain.store.privacy.field_encryption import Vault
from domain.store.privacy.index_ciphers import StoredIndexes
from domain.store.tlog.audit import usable_sealer
from domain.values.logins import normal_form
from domain.values.sealed_fields import is_sealed

_NAMING = frozenset(fact.TOPIC for fact in (*REGISTRATION, LoginAssigned))
_ROLES = frozenset(Role)
_FORGETTING = frozenset(fact.TOPIC for fact in FORGETTING)
_PAGE = 1000
_READ = f"""SELECT {LOGIN_COLUMNS}, {LIVE_LOGIN} FROM certledger.logins l
WHERE ledger = %s AND (key_id, mac) > (%s, %s) ORDER BY key_id, mac LIMIT {_PAGE}"""
_AGAIN = f"""SELECT pseudonym FROM certledger.logins l
WHERE ledger = %s AND pseudonym = ANY(%s) AND {LIVE_LOGIN}"""


class _Named(NamedTuple):
    """Whom a fact names. login: sealed, with its place in the journal."""

    position: int
    stream: str
    version: int
    login: dict[str, str]


class LoginsCheck:
    """Rows without a right seal, rows that are missing, and rows left after an erasure.

    Of staff, rows of another login than the fact that names them, and logins named twice.
    """

    def __init__(
        self, journal: Journal, vault: Vault, keys: LoginKeys, indexes: StoredIndexes
    ) -> None:
        """vault: opens the logins of staff. keys, indexes: find their rows."""
        self.result = CheckResult("logins")
        self._journal = journal
        self._vault = vault
        self._keys = keys
        self._indexes = indexes
        self._sealer = usable_sealer(journal)
        self._persons: dict[str, tuple[str, int]] = {}
        self._erased: dict[str, tuple[str, int]] = {}
        self._staff: dict[str, int] = {}
        self._named: dict[str, _Named] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Note who has a login."""
        for event in events:
            self._note_staff(event)
            if event.topic == ActorNamed.TOPIC:
                self._note_name(event)
            person = event.data.get("person_id")
            if event.topic == RegistrationJoined.TOPIC:
                self._persons.pop(str(person), None)
            elif event.topic in _NAMING:
                subject = event.data.get("subject")
                if type(subject) is str and type(person) is str:
                    self._persons[person] = subject, event.position
            elif event.topic in _FORGETTING and person in self._persons:
                self._erased[str(person)] = self._persons.pop(str(person))

    def _note_staff(self, event: Event) -> None:
        actor = event.envelope.get("actor")
        if not isinstance(actor, dict):
            return
        subject, role = actor.get("subject"), actor.get("role")
        if type(subject) is str and role in _ROLES and is_named(subject, Role(role)):
            self._staff.setdefault(subject, event.position)

    def _note_name(self, event: Event) -> None:
        subject, login = event.data.get("subject"), event.data.get("login")
        if type(subject) is str and isinstance(login, dict) and is_sealed(login):
            place = event.envelope["stream"], event.envelope["version"]
            self._named.setdefault(subject, _Named(event.position, *place, login))

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare every row. Raises: Unavailable; what `pace` raises."""
        by_name = self._rows(upto, pace)
        rows = set(by_name.values())
        for event in events_since(self._journal, _FORGETTING, upto):
            self._persons.pop(str(event.data.get("person_id")), None)
        needed = {*self._staff, *(subject for subject, _ in self._persons.values())}
        rows |= self._still_there(sorted(needed - rows))
        for person, (subject, position) in self._persons.items():
            if subject not in rows:
                what = "has a login, whose row is missing"
                self.result.find(what, position, f"person {person}")
        for subject, position in self._staff.items():
            if subject not in rows:
                what = "acted as staff, and the row of their login is missing"
                self.result.find(what, position, f"login of {subject}")
            if subject not in self._named:
                what = "acted as staff, and no event names them"
                self.result.find(what, position, f"login of {subject}")
        with suppress(WrongEpochKey):  # the check of keys names it
            self._compare_names(by_name)
        again = self._staff.keys() | {subject for subject, _ in self._persons.values()}
        for person, (subject, position) in self._erased.items():
            if subject in rows and subject not in again:
                what = "was erased, and their login is still there"
                self.result.find(what, position, f"person {person}")

    def _still_there(self, pseudonyms: Sequence[str]) -> set[str]:
        """Those that have a row: one may have come under another epoch while rows were read."""
        found: set[str] = set()
        for begin in range(0, len(pseudonyms), _PAGE):
            page = list(pseudonyms[begin : begin + _PAGE])
            rows = self._journal.query(_AGAIN, (self._journal.ledger, page))
            found |= {pseudonym for (pseudonym,) in rows}
        return found

    def _compare_names(self, rows: dict[LoginName, str]) -> None:
        """Compare the logins that events name with the rows of these logins."""
        with suppress(LedgerError):  # each is then opened by itself
            self._vault.preload(named.login for named in self._named.values())
        known: dict[str, str] = {}
        for subject, (position, stream, version, sealed) in self._named.items():
            try:
                login = self._vault.open(stream, version, "/login", sealed)
            except LedgerError:
                continue  # the check of keys finds it
            if type(login) is not str:
                continue
            other = known.setdefault(normal_form(login), subject)
            if other != subject:
                what = f"has the login of {other}, under a second pseudonym"
                self.result.find(what, position, f"login of {subject}")
            names = self._indexes.logins(self._keys.names(self._journal.ledger, login))
            pseudonyms = {rows[name] for name in names if name in rows}
            if pseudonyms - {subject} and other == subject:
                what = "is staff, and the row of their login has another pseudonym"
                self.result.find(what, position, f"login of {subject}")
            self.result.count("staff named")

    def _rows(self, upto: int, pace: Pace) -> dict[LoginName, str]:
        """The pseudonym of each row, after checking its seal."""
        found: dict[LoginName, str] = {}
        after: tuple[str, bytes] = ("", b"")
        while rows := self._journal.query(_READ, (self._journal.ledger, *after)):
            for *row, is_live in rows:
                self.result.count("logins")
                if is_live:
                    found[LoginName(row[0], bytes(row[1]))] = row[2]
                else:
                    self.result.find("its epoch is over", row=f"login of {row[2]}")
                try:
                    login_from_row(row, self._sealer)
                except SealBroken:
                    self.result.find("its seal is not right", row=f"login of {row[2]}")
            after = rows[-1][0], bytes(rows[-1][1])
            pace(upto)
        return found
