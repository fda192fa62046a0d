"""One append under the head lock: nothing that is read here can change before it commits.

The lock comes first, so there is no conflict to detect afterwards and no transaction to repeat;
the COMMIT travels with the rows. Whoever loses the connection at that moment cannot know the
outcome, and is told so instead of being made to guess.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg2

from domain.store.batch import Accepted, Batch
from domain.store.connection import PgConnection, is_connection_failure
from domain.store.errors import OutcomeUnknown, UnknownLedger
from domain.store.records import (
    NO_EVENTS,
    Append,
    Claim,
    CommandKey,
    Head,
    KnownCommand,
    PersonKey,
    Recorded,
)
from domain.store.statements import Need, read, write_message

_IN_ERROR = psycopg2.extensions.TRANSACTION_STATUS_INERROR


class Transaction:
    """A held head lock. Made by `Journal.transaction`; used by one thread.

    What was read stays read: a second question for the same stream, claim, command, key or view
    costs no round trip.
    """

    def __init__(
        self, connection: PgConnection, ledger: str, need: Need, now: datetime | None
    ) -> None:
        """Lock the ledger's head row and read what is needed, in one message.

        now: time to write as recorded_at; the server's own if None. A ledger's time never runs
            backwards, whatever the clock does.
        Raises: UnknownLedger; psycopg2.Error.
        """
        self._connection = connection
        self._ledger = ledger
        self._loaded: dict[str, tuple[int, list[Recorded]]] = {}
        self._versions: dict[str, int | None] = {}
        self._commands: dict[tuple[str, str], KnownCommand | None] = {}
        self._claims: dict[Claim, int | None] = {}
        self._persons: dict[str, PersonKey | None] = {}
        self._views: dict[str, int | None] = {}
        self._head: Head | None = None
        self._server_time: datetime | None = None
        self._read(need, lock=True)
        if self._head is None or self._server_time is None:
            raise UnknownLedger(ledger=ledger)
        recorded_at = max(now or self._server_time, self._head.recorded_at)
        self.batch = Batch(ledger, self._head, recorded_at, self)

    @property
    def head(self) -> Head:
        """Where the ledger stood when the lock was taken."""
        assert self._head is not None
        return self._head

    # --- questions for many at once --------------------------------------------------------------

    def commands(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], KnownCommand]:
        """Those of the commands (principal, key) that were carried out."""
        wanted = list(keys)
        self._read(Need(commands=[k for k in wanted if k not in self._commands]))
        return {k: found for k in wanted if (found := self._commands[k]) is not None}

    def claimed(self, claims: Iterable[Claim]) -> dict[Claim, int]:
        """Those of the claims (kind, key) that are held, with the position that holds them."""
        wanted = list(claims)
        self._read(Need(claims=[c for c in wanted if c not in self._claims]))
        return {c: found for c in wanted if (found := self._claims[c]) is not None}

    def load(self, after: Mapping[str, int]) -> dict[str, list[Recorded]]:
        """Events of many streams, each after the given version (NO_EVENTS for all of them)."""
        missing = {
            s: v for s, v in after.items() if s not in self._loaded or self._loaded[s][0] > v
        }
        self._read(Need(streams=missing))
        return {s: [e for e in self._loaded[s][1] if e.version > v] for s, v in after.items()}

    def versions(self, streams: Iterable[str]) -> dict[str, int | None]:
        """Last version of each stream, None if it has no event."""
        wanted = list(streams)
        self._read(Need(versions=[s for s in wanted if s not in self._versions]))
        return {s: self._versions[s] for s in wanted}

    def person_keys(self, persons: Iterable[str]) -> dict[str, PersonKey | None]:
        """Key rows of persons, None for whom none was made."""
        wanted = list(persons)
        self._read(Need(persons=[p for p in wanted if p not in self._persons]))
        return {p: self._persons[p] for p in wanted}

    # --- what the batch asks, one at a time ------------------------------------------------------

    def last_version(self, stream: str) -> int | None:
        """Last committed version of a stream, None if it has no event."""
        if stream not in self._versions:
            self._read(Need(versions=(stream,)))
        return self._versions[stream]

    def claim(self, claim: Claim) -> int | None:
        """Position that holds the claim, None if it is free."""
        if claim not in self._claims:
            self._read(Need(claims=(claim,)))
        return self._claims[claim]

    def command(self, name: tuple[str, str]) -> KnownCommand | None:
        """The command carried out under (principal, key)."""
        if name not in self._commands:
            self._read(Need(commands=(name,)))
        return self._commands[name]

    def person_key(self, person: str) -> PersonKey | None:
        """The person's key row, None if none was made."""
        if person not in self._persons:
            self._read(Need(persons=(person,)))
        return self._persons[person]

    def tracked(self, view: str) -> int | None:
        """Position a view has reached, None if it has none."""
        if view not in self._views:
            self._read(Need(views=(view,)))
        return self._views[view]

    def has_events(self, event_ids: Iterable[UUID]) -> bool:
        """Whether any of these events is recorded."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM certledger.journal WHERE ledger = %s "
                "AND event_id = ANY(%s::uuid[]))",
                (self._ledger, list(map(str, event_ids))),
            )
            return bool(cursor.fetchone()[0])

    # --- writing ---------------------------------------------------------------------------------

    def append(self, appends: Iterable[Append]) -> list[list[Recorded]]:
        """Accept appends in order; they are written when the transaction commits.

        Returns: the events of each, as they will stand.
        Raises: as Batch.accept; then the whole transaction is given up.
        """
        together = list(appends)
        self._read_for(together)
        return [self.accept(append).recorded for append in together]

    def accept(self, append: Append, command: CommandKey | None = None) -> Accepted:
        """Accept one append, or refuse it and keep the others. Raises: as Batch.accept."""
        return self.batch.accept(append, command)

    def commit(self) -> None:
        """Write everything accepted and commit, in one message.

        Raises: psycopg2.Error if it was surely not committed; OutcomeUnknown if the connection
            was lost when the COMMIT was already on its way.
        """
        if self.batch.is_empty:
            with self._connection.cursor() as cursor:
                cursor.execute("COMMIT")
            return
        with self._connection.cursor() as cursor:
            message = write_message(self._connection, cursor, self.batch)
            try:
                cursor.execute(message)
            except psycopg2.Error as error:
                # The server's word about a statement ends the message before the COMMIT and
                # leaves the transaction failed. Anything else may have happened after it.
                failed = self._connection.info.transaction_status == _IN_ERROR
                if error.pgcode is None or is_connection_failure(error) or not failed:
                    raise OutcomeUnknown(command_id=self._first_command_id()) from error
                raise

    def _first_command_id(self) -> UUID | None:
        for known in self.batch.commands.values():
            return known.command_id
        return UUID(self.batch.events[0].parsed["command_id"]) if self.batch.events else None

    # --- reading ---------------------------------------------------------------------------------

    def _read_for(self, appends: list[Append]) -> None:
        """Ask in one message what accepting these would ask one by one."""
        commands = {append.command.name for append in appends if append.command}
        streams = {draft.stream for append in appends for draft in append.drafts}
        claims = {c for append in appends for c in (*append.claims, *append.releases)}
        persons = {key.person for append in appends for key in append.fresh_keys}
        views = {view for append in appends for view, _ in append.tracks}
        self._read(
            Need(
                commands=commands - self._commands.keys(),
                versions=streams - self._versions.keys(),
                claims=claims - self._claims.keys(),
                persons=persons - self._persons.keys(),
                views=views - self._views.keys(),
            )
        )

    def _read(self, need: Need, *, lock: bool = False) -> None:
        wanted = (need.streams, need.versions, need.commands, need.claims, need.persons, need.views)
        if not lock and not any(wanted):
            return
        with self._connection.cursor() as cursor:
            rows = read(self._connection, cursor, self._ledger, need, lock=lock)
        loaded: dict[str, list[Recorded]] = {stream: [] for stream in need.streams}
        self._versions.update(dict.fromkeys(need.versions))
        self._commands.update(dict.fromkeys(need.commands))
        self._claims.update(dict.fromkeys(need.claims))
        self._persons.update(dict.fromkeys(need.persons))
        self._views.update(dict.fromkeys(need.views))
        for row in rows:
            self._keep(row, loaded)
        for stream, events in loaded.items():
            # UNION ALL promises no order.
            events.sort(key=lambda event: event.version)
            after = need.streams[stream]
            if events:
                self._versions[stream] = events[-1].version
            elif after > 0:
                self._versions[stream] = after
            elif after == NO_EVENTS:
                self._versions[stream] = None
            self._loaded[stream] = after, events

    def _keep(self, row: tuple[Any, ...], loaded: dict[str, list[Recorded]]) -> None:
        kind, a, b, n, m, x, y, since, until, row_id = row
        if kind == "event":
            event = Recorded(n, a, m, b, row_id, bytes(x), bytes(y), since, until)
            loaded[a].append(event)
        elif kind == "version":
            self._versions[a] = m
        elif kind == "command":
            self._commands[(a, b)] = KnownCommand(bytes(x), row_id, n, m, bytes(y))
        elif kind == "claim":
            self._claims[(a, b)] = n
        elif kind == "person":
            wrapped = None if x is None else bytes(x)
            self._persons[a] = PersonKey(a, b, bytes(y).decode(), wrapped)
        elif kind == "tracked":
            self._views[a] = n
        elif self._head is None:
            self._head, self._server_time = Head(n, since), until
