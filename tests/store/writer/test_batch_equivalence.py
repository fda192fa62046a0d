"""Deciding commands together in one transaction comes to the same as deciding them one by one."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest, CommandKey
from domain.store.tlog.audit import verify
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer
from tests.store.drafts import draft, id_of

STREAMS = st.sampled_from(["a", "b", "c"])
CLAIMS = st.lists(st.tuples(st.just("n"), st.sampled_from("123")), max_size=2, unique=True)

COMMANDS = st.fixed_dictionaries(
    {
        "writes": st.lists(STREAMS, max_size=3),
        "behind": st.sampled_from([0, 0, 0, 1]),  # versions the sender did not know of
        "claims": CLAIMS,
        "releases": CLAIMS,
        "key": st.none() | st.sampled_from(["k1", "k2", "k3"]),
        "request": st.sampled_from([b"request", b"request", b"another"]),
        "announced": st.booleans(),
        "refused": st.sampled_from([False, False, False, True]),
    }
)


def job(number: int, wish: dict[str, Any]) -> QueuedCommand:
    def run(view: BatchView) -> AppendRequest:
        if wish["refused"]:
            raise ValueError("refused")
        drafts = []
        for stream in wish["writes"]:
            ahead = sum(one.stream == stream for one in drafts)
            version = len(view.recorded(stream)) + ahead + 1 - wish["behind"]
            event = draft(stream, version)
            object.__setattr__(event, "event_id", id_of(f"{number}/{len(drafts)}"))
            drafts.append(event)
        return AppendRequest(
            tuple(drafts),
            claims=tuple(wish["claims"]),
            releases=tuple(wish["releases"]),
            receipt=lambda recorded: b"%d events at %d" % (len(recorded), view.position),
        )

    command = None
    if wish["key"]:
        command = CommandKey("li", wish["key"], wish["request"], id_of(f"command {number}"))
    announced = tuple(set(wish["writes"])) if wish["announced"] else ()
    return QueuedCommand(run, streams=announced, command=command)


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
@given(wishes=st.lists(COMMANDS, min_size=1, max_size=25))
def test_together_or_alone_is_the_same(dsn: str, wishes: list[dict[str, Any]]) -> None:
    number = next(_numbers)
    alone, together = Journal(dsn, f"alone-{number}"), Journal(dsn, f"together-{number}")
    for journal in (alone, together):
        journal.create_ledger()
    jobs = [job(n, wish) for n, wish in enumerate(wishes)]
    with Committer(alone) as committer:
        one_by_one = [outcome(committer.submit(one)) for one in jobs]
    with Committer(together) as committer:
        may_go_on = threading.Event()

        def wait(_view: BatchView) -> AppendRequest:
            assert may_go_on.wait(30)
            return AppendRequest()

        committer.submit(QueuedCommand(wait))
        futures = [committer.submit(one) for one in jobs]
        may_go_on.set()
        at_once = [outcome(future) for future in futures]
    assert at_once == one_by_one
    assert stored(together) == stored(alone)
    for journal in (alone, together):
        assert verify(journal).is_good
        journal.close()


_numbers = iter(range(1_000_000))
