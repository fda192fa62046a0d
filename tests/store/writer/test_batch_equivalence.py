"""Commands executed in one batch have the same outcomes as one by one.

Covers: domain/store/writer/group_commit.py, domain/store/journal/batch.py
"""

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest, NewEvent
from domain.store.tlog.audit import verify
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer
from tests.store.drafts import command as command_key
from tests.store.drafts import draft, id_of
from tests.support.keys import journal_of

STREAMS = st.sampled_from(["a", "b", "c"])
CLAIMS = st.lists(st.tuples(st.just("n"), st.sampled_from("123")), max_size=2, unique=True)

COMMANDS = st.fixed_dictionaries(
    {
        "writes": st.lists(STREAMS, max_size=3),
        "stale_by": st.sampled_from([0, 0, 0, 1]),  # versions the sender did not know of
        "claims": CLAIMS,
        "releases": CLAIMS,
        "key": st.none() | st.sampled_from(["k1", "k2", "k3"]),
        "request": st.sampled_from([b"request", b"request", b"another"]),
        "with_read_set": st.booleans(),
        "refused": st.sampled_from([False, False, False, True]),
    }
)


def command_of(number: int, request: dict[str, Any]) -> QueuedCommand:
    def run(view: BatchView) -> AppendRequest:
        if request["refused"]:
            raise ValueError("refused")
        events: list[NewEvent] = []
        for stream in request["writes"]:
            earlier = sum(one.stream == stream for one in events)
            version = len(view.recorded(stream)) + earlier + 1 - request["stale_by"]
            event = draft(stream, version)
            object.__setattr__(event, "event_id", id_of(f"{number}/{len(events)}"))
            events.append(event)
        return AppendRequest(
            tuple(events),
            claims=tuple(request["claims"]),
            releases=tuple(request["releases"]),
            receipt=lambda recorded: b"%d events at %d" % (len(recorded), view.position),
        )

    command = None
    if request["key"]:
        command = command_key(request["key"], request["request"])
        command = command._replace(command_id=id_of(f"command {number}"))
    with_read_set = tuple(set(request["writes"])) if request["with_read_set"] else ()
    return QueuedCommand(run, streams=with_read_set, command=command)


def outcome(future: Future) -> tuple:
    error = future.exception(30)
    if error is not None:
        return type(error).__name__, str(error)
    answer = future.result()
    if isinstance(answer, Replayed):
        return "Replayed", answer
    assert isinstance(answer, Accepted)
    rows = [(e.position, e.stream, e.version, e.event_id) for e in answer.recorded]
    return "Accepted", answer.receipt, rows


def stored(journal: Journal) -> tuple:
    events = [(e.position, e.stream, e.version, e.event_id) for e in journal.read(0, 999)]
    tables = [
        journal.query(
            f"SELECT {columns} FROM certledger.{table} WHERE ledger = %s ORDER BY 1, 2, 3",
            (journal.ledger,),
        )
        for table, columns in (
            ("claims", "kind, key, position, released_position"),
            ("commands", "principal, key, command_id, first_position, last_position"),
        )
    ]
    return events, tables


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(requests=st.lists(COMMANDS, min_size=1, max_size=25))
def test_one_batch_and_many_batches_give_the_same_outcomes(
    dsn: str, requests: list[dict[str, Any]]
) -> None:
    number = next(_numbers)
    alone, batched = journal_of(dsn, f"alone-{number}"), journal_of(dsn, f"batched-{number}")
    for journal in (alone, batched):
        journal.create_ledger()
    queued = [command_of(n, request) for n, request in enumerate(requests)]
    with Committer(alone) as committer:
        expected = [outcome(committer.submit(one)) for one in queued]
    with Committer(batched) as committer:
        release = threading.Event()

        def wait(_view: BatchView) -> AppendRequest:
            assert release.wait(30)
            return AppendRequest()

        committer.submit(QueuedCommand(wait))
        futures = [committer.submit(one) for one in queued]
        release.set()
        outcomes = [outcome(future) for future in futures]
    assert outcomes == expected
    assert stored(batched) == stored(alone)
    for journal in (alone, batched):
        assert verify(journal).is_good
        journal.close()


_numbers = iter(range(1_000_000))
