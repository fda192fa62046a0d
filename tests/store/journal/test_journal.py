"""Appending under the head lock, and reading what was appended.

Covers: domain/store/journal/journal.py, domain/store/journal/records.py,
domain/store/journal/statements.py, domain/store/errors.py
"""

from datetime import UTC, datetime, timedelta

import psycopg2.errors
import pytest

from domain.store.errors import (
    ClaimNotHeld,
    ClaimTaken,
    EnvelopeTooLarge,
    IdempotencyKeyReused,
    InvalidLedgerName,
    RejectedByDatabase,
    SealBroken,
    SiteCodeTaken,
    StaleStream,
    TrackingBehind,
    Unavailable,
    UnknownLedger,
)
from domain.store.journal.journal import Journal, ledgers
from domain.store.journal.records import (
    NO_EVENTS,
    AppendRequest,
    CommandKey,
)
from domain.store.journal.statements import ReadRequest
from domain.store.tlog.audit import verify
from tests.store.drafts import ACTOR, MORNING, append, command, data_key, draft, id_of
from tests.support import tampering
from tests.support.keys import add_buckets, journal_of
from tests.support.postgres import Database

IDENTITY = ("person/p", "identity")


def write(journal: Journal, *appends: AppendRequest) -> list:
    with journal.transaction() as transaction:
        return transaction.append(appends)


def test_events_get_the_next_positions_in_order(journal: Journal) -> None:
    first, second = write(journal, append("a", 1, 2), append("b", 1))
    (third,) = write(journal, append("a", 3))
    assert [event.position for event in first + second + third] == [1, 2, 3, 4]
    assert journal.read(0, 10) == first + second + third
    assert journal.head().position == 4
    assert verify(journal).is_good


@pytest.mark.parametrize("others", [0, 20])
def test_an_event_reads_back_as_it_was_written(journal: Journal, others: int) -> None:
    data = {
        "text": "专业技能 \\ \" ' , { } \u2028 \x00 \x7f NULL",
        "empty": "",
        "list": [1, None, True],
    }
    written = draft('it\'s "a" {stream}, \\N 考', 1, topic="topic,1", **data)
    more = tuple(draft("b", version) for version in range(1, others + 1))
    ((event, *rest),) = write(journal, AppendRequest((written, *more)))
    assert journal.read(0, 99) == [event, *rest]
    found = journal.read(0, 1)[0]
    assert found.data == data
    assert found.parsed["actor"] == ACTOR
    assert (found.stream, found.topic) == (written.stream, "topic,1")
    assert (found.event_id, found.occurred_at) == (written.event_id, written.occurred_at)
    assert journal.stream(written.stream) == [event]
    assert verify(journal).is_good


def test_text_is_stored_as_utf8_whatever_the_environment_names(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "GBK")
    write(journal, AppendRequest((draft("𠮷", 1, name="𠮷"),)))
    [found] = journal.read(0, 1)
    assert (found.stream, found.data) == ("𠮷", {"name": "𠮷"})


@pytest.mark.parametrize("others", [0, 20])
def test_a_command_reads_back_as_it_was_written(journal: Journal, others: int) -> None:
    receipt = bytes(range(256))
    hashed = b"\x00\xff" * 20
    odd = CommandKey('it\'s "li"', "{key}, \\N 考", hashed, id_of("odd"))
    empty = AppendRequest(command=command("nothing"))
    more = [AppendRequest(command=command(f"k{n}")) for n in range(others)]
    write(journal, append("a", 1, 2, command=odd, receipt=lambda _: receipt), empty, *more)
    assert journal.command(*odd.name)[:5] == (hashed, id_of("odd"), 1, 2, receipt)
    known = journal.command("li", "nothing")
    nothing = command("nothing")
    assert known[:5] == (nothing.request_hash, nothing.command_id, None, None, b"")
    assert len(journal.query("SELECT 1 FROM certledger.commands")) == 2 + others


def test_a_ledger_is_created_once_and_keeps_its_site_code(journal: Journal, dsn: str) -> None:
    journal.create_ledger()
    journal.create_ledger("S000000000001")
    journal.create_ledger("S000000000001")
    journal.create_ledger()
    with pytest.raises(SiteCodeTaken):
        journal.create_ledger("S000000000002")
    other = journal_of(dsn, "other")
    with pytest.raises(SiteCodeTaken):
        other.create_ledger("S000000000001")
    other.create_ledger("S000000000002")
    assert ledgers(dsn) == ("omc", "other")
    other.close()


@pytest.mark.parametrize("name", ["", "Omc", "a b", "-a", "a" * 64, "考"])
def test_an_invalid_ledger_name_is_refused(dsn: str, name: str) -> None:
    with pytest.raises(InvalidLedgerName):
        journal_of(dsn, name)


def test_an_unknown_ledger_is_refused(dsn: str) -> None:
    journal = journal_of(dsn, "nobody")
    with pytest.raises(UnknownLedger), journal.transaction():
        pass
    with pytest.raises(UnknownLedger):
        journal.head()
    journal.close()


def test_ledgers_are_isolated(journal: Journal, dsn: str) -> None:
    other = journal_of(dsn, "other")
    other.create_ledger()
    write(journal, append("a", 1, claims=(("n", "1"),), command=command("k")))
    write(other, append("a", 1, claims=(("n", "1"),), command=command("k")))
    assert journal.head().position == other.head().position == 1
    assert other.read(0, 10)[0].parsed["ledger"] == "other"
    assert verify(journal).is_good
    assert verify(other).is_good
    other.close()


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "expected", "actual"), [((1,), 0, 2), ((2,), 1, 2), ((4,), 3, 2), ((3, 5), 4, 3)]
)
def test_a_version_that_is_not_the_next_is_refused(
    journal: Journal, versions: tuple[int, ...], expected: int, actual: int
) -> None:
    write(journal, append("a", 1, 2))
    with pytest.raises(StaleStream) as refusal:
        write(journal, append("a", *versions))
    assert refusal.value.fields == {"stream": "a", "expected": expected, "actual": actual}
    assert journal.head().position == 2


def test_a_first_event_has_version_one(journal: Journal) -> None:
    with pytest.raises(StaleStream):
        write(journal, append("a", 2))


def test_a_claim_is_held_by_one_until_it_is_released(journal: Journal) -> None:
    number = ("certificate_number", "S000044010000126400001")
    write(journal, append("a", 1), append("b", 1, claims=(number,)))
    with pytest.raises(ClaimTaken) as refusal:
        write(journal, append("c", 1, claims=(number,)))
    assert refusal.value.position == 2
    write(journal, append("b", 2, releases=(number,)))
    write(journal, append("c", 1, claims=(number,)))
    rows = journal.query("SELECT position, released_position FROM certledger.claims ORDER BY 1")
    assert rows == [(2, 3), (4, None)]


def test_a_claim_may_be_passed_on_within_one_transaction(journal: Journal) -> None:
    seat = ("seat", "1")
    write(
        journal,
        append("a", 1, claims=(seat,)),
        append("a", 2, releases=(seat,)),
        append("b", 1, claims=(seat,)),
        append("b", 2, releases=(seat,), claims=(seat,)),
    )
    rows = journal.query("SELECT position, released_position FROM certledger.claims ORDER BY 1")
    assert rows == [(1, 2), (3, 4), (4, None)]
    with journal.transaction() as transaction:
        assert (transaction.claim(seat), transaction.claim(("seat", "2"))) == (4, None)


@pytest.mark.parametrize(
    "refused",
    [
        append("b", 1, claims=(("n", "1"), ("n", "1"))),
        append("b", 1, claims=(("n", "0"),)),
    ],
)
def test_a_claim_cannot_be_taken_twice(journal: Journal, refused: AppendRequest) -> None:
    write(journal, append("a", 1, claims=(("n", "0"),)))
    with pytest.raises(ClaimTaken):
        write(journal, refused)


def test_a_free_claim_cannot_be_released(journal: Journal) -> None:
    with pytest.raises(ClaimNotHeld):
        write(journal, append("a", 1, releases=(("n", "1"),)))


def test_a_command_key_is_used_once(journal: Journal) -> None:
    write(journal, append("a", 1, command=command("k"), receipt=lambda _: b"answer"))
    with pytest.raises(IdempotencyKeyReused):
        write(journal, append("a", 2, command=command("k")))
    known = journal.command("li", "k")
    assert known is not None
    assert known[:5] == (command("k").request_hash, command("k").command_id, 1, 1, b"answer")
    assert journal.command("li", "other") is None
    with journal.transaction() as transaction:
        assert transaction.commands([("li", "k"), ("li", "x")]) == {("li", "k"): known}


def test_a_command_may_record_nothing_but_its_receipt(journal: Journal) -> None:
    write(journal, AppendRequest(command=command("k"), receipt=lambda _: b"nothing to do"))
    known = journal.command("li", "k")
    assert known is not None
    assert (known.first_position, known.last_position, known.receipt) == (
        None,
        None,
        b"nothing to do",
    )
    assert journal.head().position == 0


def test_an_event_too_large_for_the_log_is_refused(journal: Journal) -> None:
    with pytest.raises(EnvelopeTooLarge):
        write(journal, AppendRequest((draft("a", 1, text="x" * 70_000),)))


def test_a_tracked_position_only_moves_forward(journal: Journal) -> None:
    write(journal, append("a", 1, tracks=(("view", 7),)))
    with pytest.raises(TrackingBehind):
        write(journal, append("a", 2, tracks=(("view", 7),)))
    write(journal, append("a", 2, tracks=(("view", 8),)))
    assert journal.query("SELECT view, position FROM certledger.tracking") == [("view", 8)]


def test_a_key_is_the_next_generation_of_its_class(journal: Journal) -> None:
    add_buckets(journal)
    first, second = data_key("p"), data_key("p", generation=2)
    with pytest.raises(RejectedByDatabase):
        write(journal, append("a", 1, fresh_keys=(second,)))
    write(journal, append("a", 1, fresh_keys=(first, data_key("p", "contact"))))
    with pytest.raises(RejectedByDatabase):
        write(journal, append("a", 2, fresh_keys=(first,)))
    write(journal, append("a", 2, destroy_keys=(IDENTITY,)))
    write(journal, append("a", 3, fresh_keys=(second,)))
    with journal.transaction() as transaction:
        left = [(*key.name, key.wrapped) for key in transaction.data_keys("person/p")]
        assert left == [
            ("person/p", "contact", 1, b"wrapped"),
            ("person/p", "identity", 1, None),
            ("person/p", "identity", 2, b"wrapped"),
        ]
        assert list(transaction.data_keys("person/q")) == []


def test_a_key_may_be_made_and_destroyed_in_one_transaction(journal: Journal) -> None:
    add_buckets(journal)
    write(
        journal,
        append("a", 1, fresh_keys=(data_key("p"), data_key("p", "contact"))),
        append("a", 2, destroy_keys=(IDENTITY, ("person/q", "identity"))),
        append("a", 3, fresh_keys=(data_key("p", generation=2),)),
    )
    rows = journal.query(
        "SELECT class, generation, wrapped IS NULL, destroyed_at IS NOT NULL "
        "FROM certledger.data_keys ORDER BY 1, 2"
    )
    assert rows == [
        ("contact", 1, False, False),
        ("identity", 1, True, True),
        ("identity", 2, False, False),
    ]


def test_the_database_knows_the_owners_and_their_classes(journal: Journal) -> None:
    add_buckets(journal)
    for owner, data_class in (("person/p", ""), ("person/p", "other"), ("p", "identity")):
        with pytest.raises(psycopg2.errors.CheckViolation):
            key = data_key("p")._replace(owner=owner, data_class=data_class)
            write(journal, append("a", 1, fresh_keys=(key,)))
    matter = data_key("p")._replace(owner="matter/notice-N1", data_class="")
    write(journal, append("a", 1, fresh_keys=(matter,)))


def test_an_exception_rolls_everything_back(journal: Journal) -> None:
    with pytest.raises(RuntimeError), journal.transaction() as transaction:
        transaction.append([append("a", 1)])
        raise RuntimeError("changed my mind")
    assert journal.head().position == 0
    write(journal, append("a", 1))


# --- time ----------------------------------------------------------------------------------------


def test_recorded_at_never_runs_backwards_whatever_the_clock_does(dsn: str) -> None:
    times = iter([MORNING, MORNING - timedelta(days=1), MORNING + timedelta(seconds=1)])
    journal = journal_of(dsn, "omc", clock=lambda: next(times))
    journal.create_ledger()
    for version in (1, 2, 3):
        write(journal, append("a", version))
    later = MORNING + timedelta(seconds=1)
    assert [event.recorded_at for event in journal.read(0, 9)] == [MORNING, MORNING, later]
    assert journal.head().recorded_at == later
    journal.close()


@pytest.mark.parametrize("written", [0, 1])
def test_a_head_with_a_time_that_its_last_event_lacks_is_refused(
    dsn: str, database: Database, written: int
) -> None:
    """With the application role: every later event would be of that day."""
    journal = journal_of(dsn, "omc")
    journal.create_ledger()
    for version in range(1, written + 1):
        write(journal, append("a", version))
    with tampering.application_role(database) as cursor:
        cursor.execute("UPDATE certledger.ledgers SET recorded_at = '2100-01-01'")
    with pytest.raises(SealBroken):
        write(journal, append("a", written + 1))
    with pytest.raises(SealBroken), journal.optimistic_batch(ReadRequest(), None):
        pass
    journal.close()


def test_after_a_clock_that_ran_ahead_its_time_is_gone_on_from(dsn: str) -> None:
    ahead = datetime.now(UTC) + timedelta(days=9)
    times = iter([ahead, MORNING])
    journal = journal_of(dsn, "omc", clock=lambda: next(times))
    journal.create_ledger()
    write(journal, append("a", 1))
    write(journal, append("a", 2))
    assert [event.recorded_at for event in journal.read(0, 9)] == [ahead, ahead]
    journal.close()


def test_position_at_finds_the_last_position_by_time(dsn: str) -> None:
    minutes = iter(range(100))
    journal = journal_of(dsn, "omc", clock=lambda: MORNING + timedelta(minutes=next(minutes)))
    journal.create_ledger()
    assert journal.position_at(MORNING) == 0
    for version in range(1, 8):
        write(journal, append("a", 2 * version - 1, 2 * version))
    for minute in range(7):
        assert journal.position_at(MORNING + timedelta(minutes=minute)) == 2 * minute + 2
        assert (
            journal.position_at(MORNING + timedelta(minutes=minute, seconds=59)) == 2 * minute + 2
        )
    assert journal.position_at(MORNING - timedelta(microseconds=1)) == 0
    assert journal.position_at(datetime.now(UTC) + timedelta(days=9999)) == 14
    journal.close()


# --- reading -------------------------------------------------------------------------------------


def test_read_filters_by_range_and_topics(journal: Journal) -> None:
    drafts = [draft("a", n, topic=f"topic{n % 3}.v1") for n in range(1, 10)]
    write(journal, AppendRequest(tuple(drafts)))

    def positions(*arguments, **more) -> list[int]:
        return [event.position for event in journal.read(*arguments, **more)]

    assert positions(0, 3) == [1, 2, 3]
    assert positions(7, 5) == [8, 9]
    assert positions(2, 9, upto=5) == [3, 4, 5]
    assert positions(0, 9, ("topic0.v1",)) == [3, 6, 9]
    assert positions(0, 9, ("topic0.v1", "topic1.v1"), upto=6) == [1, 3, 4, 6]
    assert positions(9, 9) == []
    assert [event.position for event in journal.events(page=2)] == list(range(1, 10))
    assert [event.position for event in journal.events(3, 6, page=2)] == [4, 5, 6]


def test_a_stream_reads_from_either_end(journal: Journal) -> None:
    write(journal, append("a", 1, 2, 3), append("b", 1), append("a", 4, 5))

    def versions(**window) -> list[int]:
        return [event.version for event in journal.stream("a", **window)]

    assert versions() == [1, 2, 3, 4, 5]
    assert versions(gt=2, lte=4) == [3, 4]
    assert versions(desc=True, limit=2) == [5, 4]
    assert versions(lte=3, desc=True, limit=1) == [3]
    assert journal.stream("nobody") == []


def test_many_streams_load_in_one_query_each_after_its_own_version(journal: Journal) -> None:
    write(journal, append("a", 1, 2, 3), append("b", 1, 2))
    with journal.transaction(ReadRequest(streams={"a": 2, "b": NO_EVENTS})) as transaction:
        found = transaction.load({"a": 2, "b": NO_EVENTS, "c": NO_EVENTS})
        assert {s: [e.version for e in events] for s, events in found.items()} == {
            "a": [3],
            "b": [1, 2],
            "c": [],
        }
        assert [e.version for e in transaction.load({"a": 0})["a"]] == [1, 2, 3]
        assert [transaction.last_version(s) for s in "abc"] == [3, 2, None]
        assert transaction.head.position == 5


def test_an_unreachable_server_raises_unavailable() -> None:
    journal = journal_of("host=/nonexistent dbname=none", "omc")
    with pytest.raises(Unavailable):
        journal.head()


def test_a_restarted_server_fails_no_later_statement(journal: Journal, database: Database) -> None:
    write(journal, append("a", 1))
    assert journal.head().position == 1
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND pid <> pg_backend_pid()",
        database.name,
        user="postgres",
    )
    assert journal.head().position == 1
    write(journal, append("a", 2))
    assert [event.event_id for event in journal.read(1, 1)] == [id_of("event/a/2")]
