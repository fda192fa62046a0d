"""No reader of the journal hands on what has no right seal.

Covers: domain/store/journal/sealed_rows.py
"""

from collections.abc import Callable
from typing import Any

import pytest

from domain.store.errors import NoJournalKey, SealBroken, WrongServiceKey
from domain.store.eventsourcing_adapter.tailer import Listener, Tailer
from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest
from domain.store.journal.snapshot_table import (
    StoredSnapshot,
    insert_snapshots,
    select_snapshots,
)
from domain.store.journal.statements import ReadRequest
from domain.store.keys.seals import Sealer, SealRange, seal_key
from domain.store.postgres.connection import Cursor
from domain.store.recorder import Datastore, JournalApplicationRecorder
from domain.store.writer.commands import Replayed
from domain.store.writer.group_commit import Committer
from tests.store.drafts import append, command, draft, next_event
from tests.support import tampering
from tests.support.keys import SEALER, journal_of
from tests.support.postgres import Database

Tamper = Callable[[Cursor], Any]

TAMPERINGS: dict[str, tuple[Tamper, int]] = {
    "an envelope": (lambda c: tampering.alter(c, 3, amount_fen=1), 3),
    "the last envelope": (lambda c: tampering.alter(c, 5, amount_fen=1), 5),
    "an envelope without its hash": (
        lambda c: c.execute(
            "UPDATE certledger.journal SET envelope = envelope || ' ' WHERE position = 3"
        ),
        3,
    ),
    "a hash": (
        lambda c: c.execute(
            "UPDATE certledger.journal SET leaf_hash = sha256('x') WHERE position = 3"
        ),
        3,
    ),
    "a seal": (
        lambda c: c.execute("UPDATE certledger.journal SET seal = sha256('x') WHERE position = 3"),
        3,
    ),
    "the key of a seal": (
        lambda c: c.execute(
            "UPDATE certledger.journal SET seal_key = '00000000' WHERE position = 3"
        ),
        3,
    ),
    "two places": (lambda c: tampering.swap(c, 3, 4), 3),
    "a deleted event": (lambda c: tampering.delete(c, 3), 3),
    **{
        f"column {column}": (
            lambda c, change=f"{column} = {value}": c.execute(
                f"UPDATE certledger.journal SET {change} WHERE position = 3"
            ),
            3,
        )
        for column, value in {
            "topic": "'fee_refunded.v1'",
            "event_id": "gen_random_uuid()",
            "occurred_at": "occurred_at + interval '1 day'",
            "recorded_at": "recorded_at + interval '1 day'",
        }.items()
    },
}
"""What a superuser did -> the position of the first event that is not right then."""

by_superuser = pytest.mark.parametrize(
    ("tamper", "position"), TAMPERINGS.values(), ids=TAMPERINGS.keys()
)


@pytest.fixture
def written(journal: Journal) -> Journal:
    """Five events: version 1 to 3 of stream a at the odd positions, b between them."""
    with journal.transaction() as transaction:
        for one in (append("a", 1), append("b", 1), append("a", 2), append("b", 2)):
            transaction.append([one])
        transaction.append([append("a", 3, command=command("k"), receipt=lambda _: b"answer")])
    return journal


def broken_at(position: int) -> Any:
    return pytest.raises(SealBroken, match=f"position {position} of ledger omc")


@by_superuser
def test_events_are_read_up_to_the_one_that_is_not_right(
    written: Journal, database: Database, tamper: Tamper, position: int
) -> None:
    with tampering.superuser(database) as cursor:
        tamper(cursor)
    seen = []
    with broken_at(position):
        seen.extend(event.position for event in written.events(page=1))
    assert seen == list(range(1, position))
    assert [event.position for event in written.read(0, position - 1)] == seen
    with broken_at(position):
        written.read(0, 10)


@by_superuser
def test_a_tailer_delivers_none_of_a_page_that_is_not_right(
    written: Journal, database: Database, tamper: Tamper, position: int
) -> None:
    with tampering.superuser(database) as cursor:
        tamper(cursor)
    listener = Listener(written.dsn)
    with broken_at(position):
        Tailer(written, listener).page(0)
    listener.close()


@by_superuser
def test_the_librarys_recorder_selects_nothing_that_is_not_right(
    written: Journal, database: Database, tamper: Tamper, position: int
) -> None:
    with tampering.superuser(database) as cursor:
        tamper(cursor)
    datastore = Datastore(written.dsn, "omc", SEALER)
    with pytest.raises(Exception, match="has no right seal"):
        JournalApplicationRecorder(datastore).select_notifications(1, 10)
    datastore.close()


@by_superuser
def test_no_command_is_decided_on_a_stream_that_is_not_right(
    written: Journal, database: Database, tamper: Tamper, position: int
) -> None:
    head = written.head()
    with tampering.superuser(database) as cursor:
        tamper(cursor)
    with Committer(written) as committer, pytest.raises(SealBroken):
        committer.submit(next_event("a")._replace(streams=("a",))).result(10)
    assert written.head() == head


def test_a_broken_stream_refuses_no_command_of_another_one(
    written: Journal, database: Database
) -> None:
    with tampering.superuser(database) as cursor:
        tampering.alter(cursor, 5, amount_fen=1)
    with Committer(written) as committer:
        requests = [next_event(stream) for stream in ("a", "b", "a", "b", "c") * 20]
        futures = [committer.submit(each._replace(streams=each.versions)) for each in requests]
        failures = [future.exception(20) for future in futures]
    assert [type(failure) for failure in failures] == [
        SealBroken, type(None), SealBroken, type(None), type(None),
    ] * 20  # fmt: skip


@pytest.mark.parametrize("streams", [("a",), ()], ids=["whole", "only its version"])
def test_a_forged_last_version_is_not_built_on(
    written: Journal, database: Database, streams: tuple[str, ...]
) -> None:
    with tampering.application_role(database) as cursor:
        tampering.insert(cursor, "a", 4, "fee_paid.v1", amount_fen=7)
    request = ReadRequest(streams=dict.fromkeys(streams, -1), versions=() if streams else ("a",))
    with written.optimistic_batch(request, None) as batch:
        assert batch.last_version("b") == 2
        with broken_at(6):
            batch.last_version("a")
    with broken_at(6):
        written.stream("a")


# --- the head ------------------------------------------------------------------------------------

HEADS: dict[str, Tamper] = {
    "moved to a forged event": lambda c: (
        tampering.insert(c, "b", 3, "fee_paid.v1", amount_fen=1),
        tampering.move_head(c),
    ),
    "moved without an event": lambda c: c.execute("UPDATE certledger.ledgers SET position = 9"),
    "with another hash": lambda c: c.execute(
        "UPDATE certledger.ledgers SET leaf_hash = sha256('x')"
    ),
}


@pytest.mark.parametrize("tamper", HEADS.values(), ids=HEADS.keys())
def test_a_moved_head_refuses_every_command_with_the_application_role_alone(
    written: Journal, database: Database, tamper: Tamper
) -> None:
    with tampering.application_role(database) as cursor:
        tamper(cursor)
    count = database.execute("SELECT count(*) FROM certledger.journal")
    with Committer(written) as committer:
        futures = [committer.submit(next_event("new")) for _ in range(50)]
        for future in futures:
            with pytest.raises(SealBroken, match="The head at"):
                future.result(20)
    assert database.execute("SELECT count(*) FROM certledger.journal") == count
    with pytest.raises(SealBroken, match="The head at"):
        written.head()


def test_a_head_that_was_exchanged_between_read_and_commit_is_a_conflict(
    written: Journal, database: Database
) -> None:
    other = database.execute("SELECT leaf_hash FROM certledger.journal WHERE position = 1")[0][0]
    with written.optimistic_batch(ReadRequest(versions=("c",)), None) as batch:
        batch.batch.accept(append("c", 1))
        batch.batch.close()
    with tampering.superuser(database) as cursor:
        cursor.execute("UPDATE certledger.ledgers SET leaf_hash = %s", (other,))
    with pytest.raises(Exception) as conflict:
        written.commit_optimistic(batch.batch)
    assert type(conflict.value).__name__ == "HeadConflict"
    assert database.execute("SELECT max(position) FROM certledger.journal") == [(5,)]


# --- commands and snapshots ----------------------------------------------------------------------

RECEIPTS = {
    "receipt": "receipt = 'forged'",
    "request": "request_hash = convert_to(repeat('o', 40), 'UTF8')",
    "command id": "command_id = gen_random_uuid()",
    "key": "key = 'stolen'",
    "principal": "principal = 'an'",
}


@pytest.mark.parametrize("change", RECEIPTS.values(), ids=RECEIPTS.keys())
def test_a_rewritten_command_is_never_replayed(
    written: Journal, database: Database, change: str
) -> None:
    with tampering.superuser(database) as cursor:
        cursor.execute(f"UPDATE certledger.commands SET {change}")
        cursor.execute("SELECT principal, key FROM certledger.commands")
        name = cursor.fetchone()
    assert name is not None
    with pytest.raises(SealBroken, match="The command at position 5"):
        written.command(*name)
    again = next_event("a")._replace(command=command("k")._replace(principal=name[0], key=name[1]))
    with Committer(written) as committer, pytest.raises(SealBroken):
        committer.submit(again).result(10)
    assert written.head().position == 5


def test_an_untouched_command_is_replayed(written: Journal) -> None:
    with Committer(written) as committer:
        outcome = committer.submit(next_event("a")._replace(command=command("k"))).result(10)
    assert isinstance(outcome, Replayed)
    assert outcome.receipt == b"answer"


SNAPSHOT = StoredSnapshot("a", 3, "state.v1", b'{"state":1}')


def test_a_planted_snapshot_is_not_used(written: Journal, database: Database) -> None:
    with tampering.application_role(database) as cursor:
        cursor.execute(
            "INSERT INTO certledger.snapshots SELECT ledger, stream, version, 'state.v1', 'x', "
            "position, leaf_hash, seal, seal_key FROM certledger.journal WHERE position = 5"
        )
    assert select_snapshots(written, "a") == []


@pytest.mark.parametrize(
    "change", ["state = 'other'", "version = 2", "stream = 'b'", "topic = 'other.v1'"]
)
def test_a_snapshot_is_used_for_what_it_was_taken_of(
    written: Journal, database: Database, change: str
) -> None:
    insert_snapshots(written, [SNAPSHOT])
    assert select_snapshots(written, "a") == [SNAPSHOT]
    with tampering.application_role(database) as cursor:
        cursor.execute(f"UPDATE certledger.snapshots SET {change}")
    assert select_snapshots(written, "a") == select_snapshots(written, "b") == []


def test_a_snapshot_of_a_lost_history_is_dropped(written: Journal, database: Database) -> None:
    insert_snapshots(written, [SNAPSHOT])
    with tampering.superuser(database) as cursor:
        tampering.delete(cursor, 5)
        cursor.execute(
            "UPDATE certledger.ledgers l SET position = 4, leaf_hash = j.leaf_hash "
            "FROM certledger.journal j WHERE j.position = 4"
        )
        assert written.sealer is not None
        cursor.execute("SELECT leaf_hash FROM certledger.ledgers")
        leaf = bytes(cursor.fetchone()[0])  # type: ignore[index]
        cursor.execute("UPDATE certledger.ledgers SET seal = %s", (written.sealer.head(4, leaf),))
    later = journal_of(written.dsn)  # as another process, which saw nothing of the lost tail
    with later.transaction() as transaction:
        transaction.append([AppendRequest((draft("a", 3, amount_fen=999),))])
    assert select_snapshots(later, "a") == []
    assert later.stream("a")[-1].data == {"amount_fen": 999}
    later.close()


# --- keys ----------------------------------------------------------------------------------------

OTHER = seal_key(bytes(32))


def test_without_the_key_everything_is_read_and_nothing_written(written: Journal) -> None:
    without = Journal(written.dsn, "omc", None)
    assert [event.position for event in without.events()] == [1, 2, 3, 4, 5]
    assert without.head() == written.head()
    with pytest.raises(NoJournalKey), without.transaction():
        pass
    with pytest.raises(NoJournalKey):
        insert_snapshots(without, [SNAPSHOT])
    without.close()


def test_with_another_key_nothing_is_read(written: Journal) -> None:
    other = Journal(written.dsn, "omc", Sealer(OTHER).of("omc"))
    with broken_at(1):
        other.read(0, 1)
    with pytest.raises(SealBroken), other.transaction():
        pass
    other.close()


def test_a_seal_of_another_ledger_is_not_right(written: Journal, database: Database) -> None:
    twin = journal_of(written.dsn, "twin")
    twin.create_ledger()
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "INSERT INTO certledger.journal SELECT 'twin', position, stream, version, event_id, "
            "topic, envelope, leaf_hash, occurred_at, recorded_at, seal, seal_key "
            "FROM certledger.journal"
        )
    with pytest.raises(SealBroken, match="position 1 of ledger twin"):
        twin.read(0, 10)
    twin.close()


def test_a_key_without_a_range_seals_nothing(written: Journal) -> None:
    assert written.sealer is not None
    ended = written.sealer.with_ranges([SealRange(SEALER.active.id, 1, 5)])
    ended.check_active(5)
    with pytest.raises(WrongServiceKey, match="wrong_key:journal"):
        ended.check_active(6)
