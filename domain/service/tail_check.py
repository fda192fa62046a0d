"""Compares the commands and logins of the last events of a ledger, every second.

Without its command an event could be recorded twice, and without the row of its login a person
could act as two. Such rows are checked where they are read, but a row that is gone shows nowhere.
Each row is read and checked once; after that the database hashes the rows of the tail, and one
query compares them with what was remembered. Reading order: TailCheck.compare, `_read`.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Collection, Iterable
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import orjson

from domain.actors import Role
from domain.claims import login_claim
from domain.decision import stream_of
from domain.events import FORGETTING
from domain.store.errors import LogDiffers, SealBroken
from domain.store.journal.envelope import ACTOR_SQL, COMMAND_ID_SQL
from domain.store.journal.journal import Journal
from domain.store.journal.logins import LIVE_LOGIN, LOGIN_COLUMNS, login_from_row
from domain.store.journal.sealed_rows import COMMAND_COLUMNS, command_from_row
from domain.store.tlog.checkpoints import TAIL_EVENTS
from domain.values.logins import is_service

_COMMAND_HASH = """sha256(convert_to(principal || ' ' || key || ' ' || seal_key, 'UTF8')
    || uuid_send(command_id) || int8send(first_position) || int8send(last_position)
    || request_hash || seal || receipt)"""

_LOGIN_HASH = """sha256(convert_to(pseudonym || ' ' || key_id || ' ' || seal_key, 'UTF8')
    || mac || seal)"""

_COMPARE = f"""SELECT
    (SELECT sha256(string_agg({_COMMAND_HASH}, ''::bytea ORDER BY last_position, principal, key))
    FROM certledger.commands
    WHERE ledger = %(ledger)s AND last_position > %(after)s AND last_position <= %(upto)s),
    (SELECT sha256(string_agg({_LOGIN_HASH}, ''::bytea ORDER BY pseudonym, key_id, mac))
    FROM certledger.logins WHERE ledger = %(ledger)s AND pseudonym = ANY(%(pseudonyms)s))"""

# Of each command of the range: its events and its row, either of which may be missing.
_COMMANDS = f"""SELECT e.first, e.last, e.actor, c.hash, c.principal, c.key, {COMMAND_COLUMNS}
FROM (SELECT {COMMAND_ID_SQL} AS command, min(j.position) AS first, max(j.position) AS last,
        (array_agg({ACTOR_SQL}))[1] AS actor
    FROM certledger.journal j
    WHERE j.ledger = %(ledger)s AND j.position > %(after)s AND j.position <= %(upto)s
    GROUP BY 1) e
FULL JOIN (SELECT *, {_COMMAND_HASH} AS hash FROM certledger.commands
    WHERE ledger = %(ledger)s AND last_position > %(after)s AND last_position <= %(upto)s) c
ON c.command_id::text = e.command
ORDER BY coalesce(c.last_position, e.last), principal, key"""

_LOGINS = f"""SELECT pseudonym, {_LOGIN_HASH}, {LIVE_LOGIN}, {LOGIN_COLUMNS}
FROM certledger.logins l WHERE ledger = %s AND pseudonym = ANY(%s)
ORDER BY pseudonym, key_id, mac"""

_RELEASED = """SELECT released_position FROM certledger.claims
WHERE ledger = %s AND kind = %s AND key = %s AND released_position IS NOT NULL"""


_FORGETTING = frozenset(fact.TOPIC for fact in FORGETTING)


class _Command(NamedTuple):
    """A row of commands that was checked. last: position of its last event; hash: 32 bytes."""

    last: int
    hash: bytes


class _Rows(NamedTuple):
    """The rows of one login. keys: ids of the login keys of those whose epoch is not over."""

    hashes: list[bytes]
    keys: set[str]


class _Acted(NamedTuple):
    """Who acted in the tail. last: position; is_staff: also as staff, by an import, too."""

    last: int
    is_staff: bool


class TailCheck:
    """Compares the rows that belong to the last events of one ledger. Thread-safe."""

    def __init__(self, journal: Journal, events: int = TAIL_EVENTS) -> None:
        """events: how many of the last ones."""
        self._journal = journal
        self._events = events
        self._end = 0  # the position up to which everything was compared
        self._commands: deque[_Command] = deque()
        self._actors: dict[str, _Acted] = {}
        self._logins: dict[str, _Rows] = {}  # by pseudonym
        self._lock = threading.Lock()

    def compare(self, end: int) -> None:
        """Compare the tail that ends at a position, which must be committed.

        A row that is missing or has no right seal, and a row of commands for events that are of
        another one, is a difference. The login of somebody whose data were erased may be gone.
        Raises: LogDiffers; SealBroken for an altered event; Unavailable.
        """
        with self._lock:
            after = max(0, end - self._events)
            self._forget(after)
            if after < self._end <= end:
                self._compare_known(after)
            if self._end < end:
                self._read(max(after, self._end), end)

    def _forget(self, upto: int) -> None:
        """Forget what does not belong to the tail any more."""
        while self._commands and self._commands[0].last <= upto:
            self._commands.popleft()
        for pseudonym in [each for each, acted in self._actors.items() if acted.last <= upto]:
            del self._actors[pseudonym]
            self._logins.pop(pseudonym, None)  # not there if `_read` was broken off

    def _compare_known(self, after: int) -> None:
        """Compare the hashes of what was checked before; check again what differs."""
        arguments = {
            "ledger": self._journal.ledger,
            "after": after,
            "upto": self._end,
            "pseudonyms": list(self._logins),
        }
        [(commands, logins)] = self._journal.query(_COMPARE, arguments)
        rows = (self._logins[pseudonym].hashes for pseudonym in sorted(self._logins))
        if bytes(logins or b"") != _hash(chain.from_iterable(rows)):
            self._check_logins(self._logins)
        if bytes(commands or b"") != _hash(command.hash for command in self._commands):
            self._commands.clear()
            self._read(after, self._end)

    def _read(self, after: int, upto: int) -> None:
        """Check the rows of a range of events, and remember them."""
        ledger = self._journal.ledger
        arguments = {"ledger": ledger, "after": after, "upto": upto}
        rows = self._journal.query(_COMMANDS, arguments)
        checked = [self._checked(row, after) for row in rows]
        fresh = self._actors.keys() - self._logins.keys()
        if fresh:
            self._check_logins(fresh)
        self._commands += checked
        self._end = upto

    def _checked(self, row: tuple[Any, ...], after: int) -> _Command:
        """A command whose row belongs to its events. Raises: LogDiffers."""
        first, last, actor, stored_hash, principal, key, *columns = row
        if principal is None:
            self._differs(f"no command recorded event {first}")
        try:
            command = command_from_row((principal, key), columns, self._journal.sealer)
        except SealBroken:
            self._differs(f"the seal of the command of event {columns[3]} is not right")
        begin = max(command.first_position or 0, after + 1)
        if (begin, command.last_position) != (first, last):
            self._differs(f"a row of commands names event {columns[3]}, which is of another one")
        self._note_actor(bytes(actor), last)
        return _Command(last, bytes(stored_hash))

    def _note_actor(self, actor: bytes, position: int) -> None:
        try:
            found = orjson.loads(actor)
            subject, role = str(found["subject"]), found["role"]
        except (ValueError, TypeError, KeyError):
            return  # an altered event, which its readers refuse
        if subject and not is_service(subject):
            before = self._actors.get(subject)
            is_staff = role != Role.CANDIDATE
            self._actors[subject] = _Acted(
                position, is_staff or (before is not None and before.is_staff)
            )

    def _check_logins(self, pseudonyms: Collection[str]) -> None:
        """Check the rows of logins. Raises: LogDiffers."""
        found = {pseudonym: _Rows([], set()) for pseudonym in pseudonyms}
        rows = self._journal.query(_LOGINS, (self._journal.ledger, list(pseudonyms)))
        for pseudonym, stored_hash, is_live, *columns in rows:
            try:
                login = login_from_row(columns, self._journal.sealer)
            except SealBroken:
                self._differs(f"the seal of the login of {pseudonym} is not right")
            found[pseudonym].hashes.append(bytes(stored_hash))
            if is_live:
                found[pseudonym].keys.add(login.name.key_id.partition(".")[0])
        for pseudonym, of_login in found.items():
            # A row may have come under another epoch, but there is one under each key.
            before = self._logins.get(pseudonym)
            is_gone = not of_login.keys or (before is not None and before.keys - of_login.keys)
            if is_gone and not self._is_forgotten(pseudonym):
                self._differs(f"the row of the login of {pseudonym} is missing")
            self._logins[pseudonym] = of_login

    def _is_forgotten(self, pseudonym: str) -> bool:
        """Whether the rows of a login went with the erasure of its person.

        Those of who acted as staff stay. Raises: SealBroken for an altered event.
        """
        if self._actors[pseudonym].is_staff:
            return False
        journal = self._journal
        for (position,) in journal.query(_RELEASED, (journal.ledger, *login_claim(pseudonym))):
            for event in journal.read(position - 1, 1):
                if event.topic not in _FORGETTING:
                    continue
                person = journal.stream(stream_of("person", event.data["person_id"]))
                if any(each.data.get("subject") == pseudonym for each in person):
                    return True
        return False

    def _differs(self, reason: str) -> NoReturn:
        raise LogDiffers(ledger=self._journal.ledger, reason=reason)


def _hash(hashes: Iterable[bytes]) -> bytes:
    """As the database hashes rows; empty if there are none."""
    joined = b"".join(hashes)
    return hashlib.sha256(joined).digest() if joined else b""
