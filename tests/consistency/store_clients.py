"""Clients of a committer: random concurrent appends and reads, all recorded."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from domain.store.errors import (
    Closed,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    StoreError,
    Unavailable,
)
from domain.store.journal.data_keys import DataKey
from domain.store.journal.journal import Journal
from domain.store.journal.records import (
    NO_EVENTS,
    AppendRequest,
    CommandKey,
    NewEvent,
    RecordedEvent,
)
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand
from domain.store.writer.group_commit import Committer
from domain.values.sealed_fields import DataClass, person_owner
from tests.consistency.history import (
    Answer,
    NotDone,
    Recorder,
    Refused,
    Replayed,
    Saw,
    Unknown,
    Wrote,
)
from tests.consistency.store_spec import (
    ERASED,
    PICKY,
    POISON,
    Ask,
    StoreRead,
    digest_of,
    plain,
    receipt_of,
    request_hash_of,
)

ACTOR = {"subject": "li", "role": "registrar", "organisation": "omc"} | dict.fromkeys(
    ("on_behalf_of", "authority")
)
MORNING = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
STREAMS = tuple("abcdefgh")
CLAIMS = tuple(("number", str(n)) for n in range(4))
PERSONS = tuple(f"p{n}" for n in range(12))
CLASS = DataClass.IDENTITY.value
KEYS = range(100)
"""Idempotency keys that several clients share."""
NOTHING_RECORDED = (Overloaded, DeadlineExceeded, Unavailable, Closed)


class Unwilling(StoreError):
    """The command refused by what it read."""

    code = "unwilling"


class KeyDestroyed(StoreError):
    """The key of person {person} is destroyed."""

    code = "person_erased"


class StubStateCache:
    """A state cache as of a ledger; its states are the last mark of each stream.

    Its methods are the writer's ports. A cached state may be old but never wrong.
    """

    def __init__(self) -> None:
        self._states: dict[str, tuple[int, str]] = {}

    def cached_version(self, stream: str) -> int:
        return self._states[stream][0] if stream in self._states else NO_EVENTS

    def apply_committed(self, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            version, _ = self._states.get(event.stream, (0, ""))
            if event.version == version + 1:
                self._states[event.stream] = event.version, event.data["mark"]

    def last(self, stream: str, view: BatchView) -> list[Any]:
        """Version and mark of a stream's last event in a read view."""
        cached = self._states.get(stream)
        later = view.recorded(stream)
        assert all(e.version > cached[0] for e in later) if cached else True
        if later:
            return [later[-1].version, later[-1].data["mark"]]
        return [0, None] if cached is None else list(cached)


def command_of(ask: Ask, cache: StubStateCache) -> QueuedCommand:
    """An append as a command that writes the state it read into its events."""
    command_id = uuid5(NAMESPACE_URL, f"https://example.com/{ask.key or ask.mark}")

    def execute(view: BatchView) -> AppendRequest:
        seen = _observe(ask, cache, view)
        if ask.picky and seen["position"] % PICKY == 0:
            raise Unwilling(seen=seen)
        data: dict[str, Any] = {"mark": ask.mark, "seen": seen}
        fresh: tuple[DataKey, ...] = ()
        if ask.person is not None:
            fresh = _seal(ask, seen, data, view.recorded_at)
        return AppendRequest(
            events=tuple(_draft(ask, n, view, data, command_id) for n in range(len(ask.writes))),
            claims=ask.claims,
            releases=ask.releases,
            receipt=receipt_of,
            fresh_keys=fresh,
            destroy_keys=(((person_owner(ask.person), CLASS),) if ask.erase and ask.person else ()),
        )

    command = None
    if ask.key is not None:
        command = CommandKey(ACTOR["subject"] or "", ask.key, request_hash_of(ask), command_id)
    streams = tuple(stream for stream, _ in ask.writes)
    return QueuedCommand(execute, streams=streams, command=command, timeout_seconds=ask.timeout_s)


def _observe(ask: Ask, cache: StubStateCache, view: BatchView) -> dict[str, Any]:
    keys = view.data_keys(person_owner(ask.person)) if ask.person is not None else ()
    key = keys[0] if keys else None
    digest = None
    if key is not None:
        digest = ERASED if key.wrapped is None else digest_of(key.wrapped)
    return {
        "position": view.position,
        "streams": [cache.last(s, view) for s in sorted({stream for stream, _ in ask.writes})],
        "claims": [view.claimed(*claim) for claim in sorted({*ask.claims, *ask.releases})],
        "key": digest,
    }


def _seal(
    ask: Ask, seen: dict[str, Any], data: dict[str, Any], now: datetime
) -> tuple[DataKey, ...]:
    """Seal with the person's key, created if there is none; or refuse."""
    assert ask.person is not None
    if seen["key"] == ERASED:
        raise KeyDestroyed(person=ask.person)
    if ask.erase:
        if seen["key"] is None:
            raise Unwilling(seen=seen)
        return ()
    data["sealed_with"] = seen["key"]
    if seen["key"] is not None:
        return ()
    wrapped = os.urandom(48)
    data["sealed_with"] = digest_of(wrapped)
    return (DataKey(person_owner(ask.person), CLASS, 1, "aes-256-gcm", 1, wrapped, now),)


def _draft(
    ask: Ask, place: int, view: BatchView, data: dict[str, Any], command_id: Any
) -> NewEvent:
    stream, known = ask.writes[place]
    ahead = sum(other == stream for other, _ in ask.writes[:place])
    version = (view.version(stream) if known is None else known - ahead) + ahead + 1
    return NewEvent(
        stream=stream,
        version=version,
        topic=ask.topic,
        # A command's events have the same ids in every execution and process.
        event_id=uuid5(command_id, f"event {place}") if ask.key else uuid4(),
        occurred_at=MORNING,
        actor=ACTOR,
        command_id=command_id,
        correlation_id=command_id,
        causation_id=None,
        data=data,
    )


def answer_of(future: Future[Any]) -> Answer:
    """The answer in a future."""
    error = future.exception()
    if isinstance(error, OutcomeUnknown):
        return Unknown(error.code)
    if isinstance(error, NOTHING_RECORDED):
        return NotDone(error.code)
    if isinstance(error, StoreError):
        return Refused(error.code, dict(error.fields))
    result = future.result()
    if isinstance(result, Accepted):
        return Wrote(result.receipt, tuple(plain(event) for event in result.recorded))
    known = (str(result.command_id), result.first_position, result.last_position)
    return Replayed(result.receipt, known)


def submit(
    recorder: Recorder, client: str, committer: Committer, cache: StubStateCache, ask: Ask
) -> Future[Any] | None:
    """Submit an append and record its answer. Returns: None if it was refused at once."""
    end = recorder.begin(client, ask)
    try:
        future = committer.submit(command_of(ask, cache))
    except StoreError as refusal:
        end(NotDone(refusal.code))
        return None
    future.add_done_callback(lambda done: end(answer_of(done)))
    return future


# --- clients --------------------------------------------------------------------------------------


class Client:
    """Sends random appends, sometimes several before the first is answered.

    Repeats appends without a certain outcome under their keys. committers: to choose from, each
    with its state cache.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        committers: Sequence[tuple[Committer, StubStateCache]],
        reads: Journal,
        recorder: Recorder,
        timeouts_s: tuple[float, ...] = (30.0,),
    ) -> None:
        self._name = name
        self._rng = random.Random(f"{name} {seed}")
        self._committers = committers
        self._reads = reads
        self._recorder = recorder
        self._timeouts_s = timeouts_s
        self._asked = 0
        self._known: dict[str, int] = {}

    def work(self, rounds: int) -> None:
        """Append, read, and repeat appends without a certain outcome."""
        for _ in range(rounds):
            burst = [self._ask() for _ in range(self._rng.choice((1, 1, 2, 5)))]
            if self._rng.random() < 0.4 and burst[-1].key:
                burst.append(self._twin(burst[-1]))
            futures = [(ask, self._submit(ask)) for ask in burst]
            wait_for([future for _, future in futures if future is not None], 120)
            for ask, future in futures:
                self._settle(ask, future)
            self._read()

    def _ask(self) -> Ask:
        self._asked += 1
        rng, mark = self._rng, f"{self._name}/{self._asked}"
        count = rng.choice((1, 1, 1, 2, 3))
        streams = sorted(rng.choice(STREAMS) for _ in range(count))
        ask = Ask(
            mark,
            tuple((stream, None) for stream in streams),
            key=rng.choice((None, f"key of {mark}", f"key {rng.choice(KEYS)}")),
            timeout_s=rng.choice(self._timeouts_s),
        )
        kind = rng.random()
        if kind < 0.3:
            stream = rng.choice(STREAMS)
            # The known version may be old.
            return replace(ask, writes=((stream, self._known.get(stream, 0)),))
        if kind < 0.5:
            claims = tuple(rng.sample(CLAIMS, 2))
            return replace(ask, **rng.choice(_with_claims(claims)))
        if kind < 0.65:
            return replace(ask, person=rng.choice(PERSONS), erase=rng.random() < 0.1)
        if kind < 0.75:
            return replace(ask, picky=True)
        return replace(ask, topic=POISON) if kind < 0.78 else ask

    def _twin(self, ask: Ask) -> Ask:
        """The same request again, or another one under its key."""
        self._asked += 1
        request = ask.request if self._rng.random() < 0.7 else b"another"
        return replace(ask, mark=f"{self._name}/{self._asked}", request=request)

    def _submit(self, ask: Ask) -> Future[Any] | None:
        committer, cache = self._rng.choice(self._committers)
        return submit(self._recorder, self._name, committer, cache, ask)

    def _settle(self, ask: Ask, future: Future[Any] | None) -> None:
        answer = NotDone("overloaded") if future is None else answer_of(future)
        if isinstance(answer, Wrote):
            self._known.update({row[1]: row[2] for row in answer.events or ()})
        elif isinstance(answer, Refused) and answer.code == "stale_stream":
            self._known[answer.fields["stream"]] = answer.fields["actual"]
        elif isinstance(answer, Unknown | NotDone) and ask.key and self._rng.random() < 0.8:
            self._asked += 1
            again = replace(ask, mark=f"{self._name}/{self._asked}")
            later = self._submit(again)
            if later is not None:
                wait_for([later], 120)

    def _read(self) -> None:
        rng = self._rng
        at = rng.choice(("head", "stream", "page", "command", "nothing", "nothing"))
        if at == "nothing":
            return
        of: Any = None
        if at == "stream":
            of = rng.choice(STREAMS)
        elif at == "command":
            of = f"key of {self._name}/{rng.randint(1, self._asked)}"
        elif at == "page":
            of = (rng.randint(0, self._asked), 40)
        read = StoreRead(at, of)
        self._recorder.run(self._name, read, lambda: run_read(self._reads, read))


def _with_claims(claims: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """Ways to use two claims: take both, release one, exchange one for the other."""
    return (
        {"claims": claims},
        {"claims": claims[:1]},
        {"releases": claims[:1]},
        {"releases": claims[:1], "claims": claims[1:]},
        {"releases": claims[:1], "claims": claims[:1]},
    )


def run_read(journal: Journal, read: StoreRead) -> Answer:
    """A read, on a connection without faults."""
    try:
        if read.at == "head":
            return Saw(journal.head().position)
        if read.at == "stream":
            return Saw(tuple(plain(event) for event in journal.stream(read.of)))
        if read.at == "page":
            return Saw(tuple(plain(event) for event in journal.read(*read.of)))
        known = journal.command(ACTOR["subject"] or "", read.of)
    except Unavailable:
        return NotDone("unavailable")
    if known is None:
        return Saw(None)
    return Saw((known.first_position, known.last_position, known.receipt))


def run_concurrently(clients: Sequence[Client], rounds: int) -> None:
    """Run all clients, each in its own thread."""
    failed: list[BaseException] = []

    def work(client: Client) -> None:
        try:
            client.work(rounds)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
