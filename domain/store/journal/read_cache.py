"""Prefetches the committed state that one batch needs, and caches it for the batch's lifetime.

Under the head lock nothing can change, so what was read stays valid. Without the lock every answer
carries the head it was read at. The answer is valid while that head is the one the batch builds on
or, if a preceding batch is in flight, the one before or after that batch.
Reading order: ReadCache, `_read`, `_check_head`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.store.errors import SealBroken, UnknownLedger
from domain.store.journal.batch import Batch
from domain.store.journal.data_keys import DataKey
from domain.store.journal.logins import SELECT_ACTED_AS_STAFF, LoginRow, login_from_row
from domain.store.journal.person_claims import PersonIndex
from domain.store.journal.records import (
    NO_EVENTS,
    Claim,
    Head,
    KnownCommand,
    RecordedEvent,
)
from domain.store.journal.sealed_rows import (
    check_versions,
    command_from_row,
    event_from_row,
    head_from_row,
    version_from_row,
)
from domain.store.journal.statements import ReadRequest, read
from domain.store.keys.login_keys import LoginName
from domain.store.keys.seals import LedgerSealer
from domain.store.postgres.connection import PgConnection

AHEAD_MAX = timedelta(minutes=1)
"""How far a head may be ahead of the server's clock before its time is compared."""

SELECT_RECORDED_AT = (
    "SELECT recorded_at FROM certledger.journal WHERE ledger = %s AND position = %s"
)


SELECT_CLAIMS_UNDER = """SELECT key FROM certledger.claims
WHERE ledger = %s AND kind = %s AND key >= %s AND key < %s AND released_position IS NULL"""


class HeadConflict(Exception):
    """Another writer has appended: the batch has to be executed again on the new head."""


class ReadCache:
    """Committed state plus the writes of a batch in flight. Used by one thread.

    A second read of the same stream, claim, command, key, view, login or index costs no round trip.
    A stream, command or login with a broken seal raises SealBroken when it is asked for, so that it
    refuses the commands that build on it and no other.
    """

    head: Head
    """What the batch builds on: the committed head, or the head after the batch in flight."""

    server_time: datetime

    newest_epoch: int | None = None
    """Number of the newest epoch that there was with the last answer; None if there was none."""

    _head_read: Head | None = None
    _time_read: datetime | None = None

    def __init__(
        self,
        connection: PgConnection,
        sealer: LedgerSealer,
        request: ReadRequest,
        *,
        lock: bool,
        preceding: Batch | None = None,
    ) -> None:
        """Read the request in one message; with `lock`, take the ledger's head lock first.

        sealer: of the ledger. preceding: a batch in flight; its writes count as committed.
        Raises: UnknownLedger, HeadConflict; SealBroken for a wrong head; psycopg2.Error.
        """
        self._connection = connection
        self._sealer = sealer
        self._ledger = sealer.ledger
        self._preceding = preceding
        self._loaded: dict[str, tuple[int, list[RecordedEvent]]] = {}
        self._versions: dict[str, int | None] = {}
        self._commands: dict[tuple[str, str], KnownCommand | SealBroken | None] = {}
        self._claims: dict[Claim, int | None] = {}
        self._owners: dict[str, list[DataKey]] = {}
        self._views: dict[str, int | None] = {}
        self._logins: dict[LoginName, LoginRow | SealBroken | None] = {}
        self._holders: dict[PersonIndex, str | None] = {}
        self._broken: dict[str, SealBroken] = {}
        self._read(request, lock=lock)
        if self._head_read is None or self._time_read is None:
            raise UnknownLedger(ledger=self._ledger)
        self.head = self._head_read if preceding is None else preceding.new_head
        self.server_time = self._time_read

    @property
    def committed_head(self) -> Head:
        """The head that was read, without the batch in flight."""
        assert self._head_read is not None
        return self._head_read

    def check_head_time(self) -> None:
        """Refuse a head of the future whose last event is not: its time has no seal.

        Every later event would take that time. A query only for a head that is more than
        AHEAD_MAX ahead of the server, as after a clock that ran ahead. Raises: SealBroken.
        """
        head = self.committed_head
        if self._preceding is not None or head.recorded_at - self.server_time <= AHEAD_MAX:
            return
        with self._connection.cursor() as cursor:
            cursor.execute(SELECT_RECORDED_AT, (self._ledger, head.position))
            rows = cursor.fetchall()
        if not rows or rows[0][0] != head.recorded_at:
            raise SealBroken(ledger=self._ledger, what="head", position=head.position)

    # --- many at once ----------------------------------------------------------------------------

    def prefetch(self, request: ReadRequest) -> None:
        """Read in one message whatever of the request is not cached; streams are not read."""
        self._read(
            ReadRequest(
                commands=set(request.commands) - self._commands.keys(),
                versions=set(request.versions) - self._versions.keys(),
                claims=set(request.claims) - self._claims.keys(),
                owners=set(request.owners) - self._owners.keys(),
                views=set(request.views) - self._views.keys(),
                logins=set(request.logins) - self._logins.keys(),
                holders=set(request.holders) - self._holders.keys(),
            )
        )

    def commands(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], KnownCommand]:
        """The recorded commands among these (principal, key)."""
        names = list(keys)
        self.prefetch(ReadRequest(commands=names))
        return {name: found for name in names if (found := self.command(name)) is not None}

    def load(self, after: Mapping[str, int]) -> dict[str, list[RecordedEvent]]:
        """Committed events of many streams, each after the given version (NO_EVENTS for all).

        Raises: SealBroken.
        """
        missing = {
            s: v for s, v in after.items() if s not in self._loaded or self._loaded[s][0] > v
        }
        self._read(ReadRequest(streams=missing))
        self._refuse_broken(after)
        return {s: [e for e in self._loaded[s][1] if e.version > v] for s, v in after.items()}

    def pending_events(self, stream: str, after: int) -> list[RecordedEvent]:
        """Events of a stream after a version that the preceding batch is committing.

        Those that `load` found committed already are not repeated.
        """
        if self._preceding is None:
            return []
        _, loaded = self._loaded.get(stream, (NO_EVENTS, []))
        last = loaded[-1].version if loaded else after
        return [e for e in self._preceding.streams.get(stream, ()) if e.version > last]

    # --- one at a time: `CommittedState` of the batch --------------------------------------------

    def last_version(self, stream: str) -> int | None:
        """Version of a stream's last event, None if it has none. Raises: SealBroken."""
        if self._preceding is not None and stream in self._preceding.streams:
            return self._preceding.streams[stream][-1].version
        if stream not in self._versions:
            self._read(ReadRequest(versions=(stream,)))
        self._refuse_broken((stream,))
        return self._versions[stream]

    def claim(self, claim: Claim) -> int | None:
        """Position of the event that took the claim, None if it is free."""
        if self._preceding is not None and claim in self._preceding.live_claims:
            holder = self._preceding.live_claims[claim]
            return None if holder is None else holder.position
        if claim not in self._claims:
            self._read(ReadRequest(claims=(claim,)))
        return self._claims[claim]

    def claims_under(self, kind: str, prefix: str) -> set[str]:
        """The keys of the claims of a kind that begin like this and are taken.

        At one round trip each time. What another process has committed since conflicts with this
        batch at its commit. prefix: in ASCII, not empty.
        """
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        with self._connection.cursor() as cursor:
            cursor.execute(SELECT_CLAIMS_UNDER, (self._ledger, kind, prefix, end))
            found = {key for (key,) in cursor.fetchall()}
        if self._preceding is None:
            return found
        return self._preceding.claims_with(kind, prefix, found)

    def command(self, name: tuple[str, str]) -> KnownCommand | None:
        """The command recorded under (principal, key). Raises: SealBroken."""
        if self._preceding is not None and name in self._preceding.commands:
            return self._preceding.commands[name]
        if name not in self._commands:
            self._read(ReadRequest(commands=(name,)))
        found = self._commands[name]
        if isinstance(found, SealBroken):
            raise SealBroken(**found.fields)
        return found

    def data_keys(self, owner: str) -> Sequence[DataKey]:
        """The owner's key rows, in order of class and generation."""
        if owner not in self._owners:
            self._read(ReadRequest(owners=(owner,)))
        found = self._owners[owner]
        return found if self._preceding is None else self._preceding.keys_with(owner, found)

    def tracked(self, view: str) -> int | None:
        """Position a view has reached, None if it has none."""
        if self._preceding is not None and view in self._preceding.tracks:
            return self._preceding.tracks[view]
        if view not in self._views:
            self._read(ReadRequest(views=(view,)))
        return self._views[view]

    def login(self, name: LoginName) -> LoginRow | None:
        """The row of a login under one key, None if there is none. Raises: SealBroken."""
        if name not in self._logins:
            self._read(ReadRequest(logins=(name,)))
        found = self._logins[name]
        if isinstance(found, SealBroken):
            raise SealBroken(**found.fields)
        return found if self._preceding is None else self._preceding.login_with(name, found)

    def holder(self, index: PersonIndex) -> str | None:
        """The person who has an index; None if nobody has. Of several, any."""
        if index not in self._holders:
            self._read(ReadRequest(holders=(index,)))
        found = self._holders[index]
        return found if self._preceding is None else self._preceding.holder_with(index, found)

    def acted_as_staff(self, pseudonym: str) -> bool:
        """Whether a command of this principal was recorded in another role than a candidate's.

        Asked for an erasure only, at one round trip.
        """
        if self._preceding is not None and self._preceding.acted_as_staff(pseudonym):
            return True
        with self._connection.cursor() as cursor:
            cursor.execute(SELECT_ACTED_AS_STAFF, (self._ledger, pseudonym))
            [(found,)] = cursor.fetchall()
        return bool(found)

    # --- reading ---------------------------------------------------------------------------------

    def _read(self, request: ReadRequest, *, lock: bool = False) -> None:
        if self._head_read is not None and request.is_empty:
            return
        with self._connection.cursor() as cursor:
            rows = read(self._connection, cursor, self._ledger, request, lock=lock)
        loaded: dict[str, list[RecordedEvent]] = {stream: [] for stream in request.streams}
        self._versions.update(dict.fromkeys(request.versions))
        self._commands.update(dict.fromkeys(request.commands))
        self._claims.update(dict.fromkeys(request.claims))
        self._owners.update((owner, []) for owner in request.owners)
        self._views.update(dict.fromkeys(request.views))
        self._logins.update(dict.fromkeys(request.logins))
        self._holders.update(dict.fromkeys(request.holders))
        for row in rows:
            self._cache_row(row, loaded)
        for owner in request.owners:
            self._owners[owner].sort()  # UNION ALL promises no order
        for stream, events in loaded.items():
            events.sort(key=lambda event: event.version)
            after = request.streams[stream]
            try:
                check_versions(events, after, self._ledger)
            except SealBroken as broken:
                self._broken[stream] = broken
            if events:
                self._versions[stream] = events[-1].version
            elif after > 0:
                self._versions[stream] = after
            elif after == NO_EVENTS:
                self._versions[stream] = None
            self._loaded[stream] = after, events

    def _refuse_broken(self, streams: Iterable[str]) -> None:
        """Raises: SealBroken if one of the streams has an event without a right seal."""
        if self._broken:
            for stream in streams:
                if stream in self._broken:
                    raise SealBroken(**self._broken[stream].fields)

    def _cache_row(self, row: tuple[Any, ...], loaded: dict[str, list[RecordedEvent]]) -> None:
        kind, a, b, n, m, x, y, since, until, row_id, seal, seal_key = row
        if kind in ("event", "version"):
            try:
                if kind == "event":
                    row = (n, a, m, b, row_id, x, y, since, until, seal, seal_key)
                    loaded[a].append(event_from_row(row, self._sealer))
                else:
                    row = (n, a, m, b, x, seal, seal_key)
                    self._versions[a] = version_from_row(row, self._sealer)
            except SealBroken as broken:
                self._broken[a] = broken
        elif kind == "command":
            self._cache_command((a, b), (x, row_id, n, m, y, seal, seal_key))
        elif kind == "claim":
            self._claims[(a, b)] = n
        elif kind == "key":
            wrapped = None if x is None else bytes(x)
            algorithm = bytes(y).decode()
            self._owners[a].append(DataKey(a, b, n, algorithm, m, wrapped, since))
        elif kind == "tracked":
            self._views[a] = n
        elif kind == "holder":
            self._holders[(a, b)] = seal_key
        elif kind == "login":
            self._cache_login(LoginName(a, bytes(x)), (a, x, b, seal, seal_key))
        else:
            self.newest_epoch = m
            self._check_head(self._head_of((n, since, y, seal, seal_key)), until)

    def _cache_command(self, name: tuple[str, str], row: tuple[Any, ...]) -> None:
        try:
            self._commands[name] = command_from_row(name, row, self._sealer)
        except SealBroken as broken:
            self._commands[name] = broken

    def _cache_login(self, name: LoginName, row: tuple[Any, ...]) -> None:
        try:
            self._logins[name] = login_from_row(row, self._sealer)
        except SealBroken as broken:
            self._logins[name] = broken

    def _head_of(self, row: tuple[Any, ...]) -> Head:
        """The head of a row; its seal is checked unless it is the one of the first answer.

        Raises: SealBroken.
        """
        first, position, leaf = self._head_read, row[0], row[2]
        if first is None or leaf is None or position != first.position:
            return head_from_row(row, self._sealer)
        if bytes(leaf) == first.leaf_hash:
            return first
        return head_from_row(row, self._sealer)

    def _check_head(self, head: Head, server_time: datetime) -> None:
        """Compare the head that came with an answer. Raises: HeadConflict."""
        if self._preceding is not None:
            if not (
                _is_same(head, self._preceding.head) or _is_same(head, self._preceding.new_head)
            ):
                raise HeadConflict
        elif self._head_read is not None and not _is_same(head, self._head_read):
            raise HeadConflict
        if self._head_read is None:
            self._head_read, self._time_read = head, server_time


def _is_same(one: Head, other: Head) -> bool:
    """Whether two heads are the end of one history."""
    return one.position == other.position and one.leaf_hash == other.leaf_hash
