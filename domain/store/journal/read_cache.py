"""The committed state, as one batch needs it: asked together, kept, never asked twice.

Under the head lock nothing can change, so what was read stays true. Without it, every answer comes
with the head as it stood at that moment: as long as that is the head the batch builds on, or the
one before the batch that is on its way, the answer is as good. Reading order: Lookups, `_read`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from domain.store.errors import UnknownLedger
from domain.store.journal.batch import Batch
from domain.store.journal.records import (
    NO_EVENTS,
    Claim,
    Head,
    KnownCommand,
    PersonKey,
    RecordedEvent,
)
from domain.store.journal.statements import ReadRequest, read
from domain.store.postgres.connection import PgConnection


class HeadConflict(Exception):
    """Somebody else has appended since: what was decided must be decided anew."""


class ReadCache:
    """What is committed, and on top of it the batch that is on its way. Used by one thread.

    What was read stays read: a second question for the same stream, claim, command, key or view
    costs no round trip.
    """

    def __init__(
        self,
        connection: PgConnection,
        ledger: str,
        need: ReadRequest,
        *,
        lock: bool,
        before: Batch | None = None,
    ) -> None:
        """Read what is needed, in one message; with `lock`, take the ledger's head lock first.

        before: a batch whose COMMIT is on its way: what it writes counts as if it were there.
        Raises: UnknownLedger, HeadMoved; psycopg2.Error.
        """
        self._connection = connection
        self._ledger = ledger
        self._locked = lock
        self._before = before
        self._loaded: dict[str, tuple[int, list[RecordedEvent]]] = {}
        self._versions: dict[str, int | None] = {}
        self._commands: dict[tuple[str, str], KnownCommand | None] = {}
        self._claims: dict[Claim, int | None] = {}
        self._persons: dict[str, PersonKey | None] = {}
        self._views: dict[str, int | None] = {}
        self._found: Head | None = None
        self._server_time: datetime | None = None
        self._read(need, lock=lock)
        if self._found is None or self._server_time is None:
            raise UnknownLedger(ledger=ledger)
        self.head = self._found if before is None else before.end
        self.server_time = self._server_time

    # --- questions for many at once --------------------------------------------------------------

    def commands(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], KnownCommand]:
        """Those of the commands (principal, key) that were carried out."""
        wanted = list(keys)
        self._read(ReadRequest(commands=[k for k in wanted if k not in self._commands]))
        return {k: found for k in wanted if (found := self.command(k)) is not None}

    def claimed(self, claims: Iterable[Claim]) -> dict[Claim, int]:
        """Those of the claims (kind, key) that are held, with the position that holds them."""
        wanted = list(claims)
        self._read(ReadRequest(claims=[c for c in wanted if c not in self._claims]))
        return {c: found for c in wanted if (found := self.claim(c)) is not None}

    def load(self, after: Mapping[str, int]) -> dict[str, list[RecordedEvent]]:
        """Committed events of many streams, each after the given version (NO_EVENTS for all)."""
        missing = {
            s: v for s, v in after.items() if s not in self._loaded or self._loaded[s][0] > v
        }
        self._read(ReadRequest(streams=missing))
        return {s: [e for e in self._loaded[s][1] if e.version > v] for s, v in after.items()}

    def on_the_way(self, stream: str, after: int) -> list[RecordedEvent]:
        """Events of a stream after a version that the batch before this one is committing.

        Those that `load` has found committed already are among the committed ones only.
        """
        if self._before is None:
            return []
        _, loaded = self._loaded.get(stream, (NO_EVENTS, []))
        last = loaded[-1].version if loaded else after
        return [e for e in self._before.streams.get(stream, ()) if e.version > last]

    def versions(self, streams: Iterable[str]) -> dict[str, int | None]:
        """Last version of each stream, None if it has no event."""
        wanted = list(streams)
        self._read(ReadRequest(versions=[s for s in wanted if s not in self._versions]))
        return {s: self.last_version(s) for s in wanted}

    def person_keys(self, persons: Iterable[str]) -> dict[str, PersonKey | None]:
        """Key rows of persons, None for whom none was made."""
        wanted = list(persons)
        self._read(ReadRequest(persons=[p for p in wanted if p not in self._persons]))
        return {p: self.person_key(p) for p in wanted}

    # --- what the batch asks, one at a time ------------------------------------------------------

    def last_version(self, stream: str) -> int | None:
        """Version of a stream's last event, None if it has none."""
        if self._before is not None and stream in self._before.streams:
            return self._before.streams[stream][-1].version
        if stream not in self._versions:
            self._read(ReadRequest(versions=(stream,)))
        return self._versions[stream]

    def claim(self, claim: Claim) -> int | None:
        """Position that holds the claim, None if it is free."""
        if self._before is not None and claim in self._before.live_claims:
            holder = self._before.live_claims[claim]
            return None if holder is None else holder.position
        if claim not in self._claims:
            self._read(ReadRequest(claims=(claim,)))
        return self._claims[claim]

    def command(self, name: tuple[str, str]) -> KnownCommand | None:
        """The command carried out under (principal, key)."""
        if self._before is not None and name in self._before.commands:
            return self._before.commands[name]
        if name not in self._commands:
            self._read(ReadRequest(commands=(name,)))
        return self._commands[name]

    def person_key(self, person: str) -> PersonKey | None:
        """The person's key row, None if none was made."""
        if person not in self._persons:
            self._read(ReadRequest(persons=(person,)))
        found = self._persons[person]
        return found if self._before is None else self._before.key_with(person, found)

    def tracked(self, view: str) -> int | None:
        """Position a view has reached, None if it has none."""
        if self._before is not None and view in self._before.tracks:
            return self._before.tracks[view]
        if view not in self._views:
            self._read(ReadRequest(views=(view,)))
        return self._views[view]

    # --- reading ---------------------------------------------------------------------------------

    def ask(self, need: ReadRequest) -> None:
        """Read in one message what would be asked one by one."""
        self._read(
            ReadRequest(
                commands=set(need.commands) - self._commands.keys(),
                versions=set(need.versions) - self._versions.keys(),
                claims=set(need.claims) - self._claims.keys(),
                persons=set(need.persons) - self._persons.keys(),
                views=set(need.views) - self._views.keys(),
            )
        )

    def _read(self, need: ReadRequest, *, lock: bool = False) -> None:
        first = self._found is None
        wanted = (need.streams, need.versions, need.commands, need.claims, need.persons, need.views)
        if not first and not any(wanted):
            return
        with self._connection.cursor() as cursor:
            rows = read(self._connection, cursor, self._ledger, need, lock=lock)
        loaded: dict[str, list[RecordedEvent]] = {stream: [] for stream in need.streams}
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

    def _keep(self, row: tuple[Any, ...], loaded: dict[str, list[RecordedEvent]]) -> None:
        kind, a, b, n, m, x, y, since, until, row_id = row
        if kind == "event":
            event = RecordedEvent(n, a, m, b, row_id, bytes(x), bytes(y), since, until)
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
        else:
            self._look_at(Head(n, since), until)

    def _look_at(self, head: Head, server_time: datetime) -> None:
        """Every answer brings the head it belongs to. Raises: HeadMoved."""
        if self._before is not None:
            if head.position not in (self._before.head.position, self._before.position):
                raise HeadConflict
        elif self._found is not None and head.position != self._found.position:
            raise HeadConflict
        if self._found is None:
            self._found, self._server_time = head, server_time
