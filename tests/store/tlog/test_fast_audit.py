"""The fast pass finds everything that the detailed audit finds, and computes the same hashes."""

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.journal.journal import Journal
from domain.store.tlog import merkle
from domain.store.tlog.audit import verify
from domain.store.tlog.checkpoints import CheckpointSigner
from domain.store.tlog.fast_audit import audit_range, microseconds_of, out_of_order
from domain.store.tlog.signed_note import Signer
from tests.store.drafts import append, command
from tests.support.postgres import Database

SIGNER = Signer("certledger.example/omc", b"k" * 32)


@pytest.fixture
def nine_events(journal: Journal) -> Journal:
    """Nine events in three transactions, with every kind of value in them."""
    for number in range(3):
        with journal.transaction() as transaction:
            transaction.append(
                [
                    append("a", number + 1, command=command(f"k{number}")),
                    append("考生 1", 2 * number + 1, 2 * number + 2),
                ]
            )
        CheckpointSigner(journal, SIGNER).sign()
    return journal


def test_a_correct_range_returns_its_hashes(nine_events: Journal) -> None:
    events = nine_events.read(0, 100)
    verified = audit_range(nine_events, 2, 9, (5,))
    assert verified is not None
    assert {n: tree.root() for n, tree in verified.trees.items()} == {
        5: merkle.root(event.leaf_hash for event in events[2:5]),
        9: merkle.root(event.leaf_hash for event in events[2:9]),
    }
    assert verified.first == microseconds_of(events[2].recorded_at)
    assert verified.last == microseconds_of(events[8].recorded_at)
    assert out_of_order(nine_events, 10) == []


def test_an_incomplete_range_fails(nine_events: Journal) -> None:
    assert audit_range(nine_events, 0, 10) is None


# Each edit; the test corrects the hash afterwards, so that nothing else is wrong.
EDITS = {
    "topic": "topic = 'score_recorded.v1'",
    "stream": "stream = 'b'",
    "version": "version = 77",
    "event_id": "event_id = gen_random_uuid()",
    "occurred_at": "occurred_at = occurred_at + interval '1 microsecond'",
    "recorded_at": "recorded_at = recorded_at + interval '1 microsecond'",
    "a space": "envelope = convert_to(replace(t, ':', ': '), 'UTF8')",
    "a float": """envelope = convert_to(replace(t, '"amount_fen":', '"amount_fen":0.'), 'UTF8')""",
    "a big integer": """envelope = convert_to(
        replace(t, '"amount_fen":', '"amount_fen":9999999999999999'), 'UTF8')""",
    "a key that is not ASCII": "envelope = convert_to(replace(t, 'amount', '金额'), 'UTF8')",
    "order of keys": """envelope = convert_to(replace(t, '"actor":{', '"actor":{"z":1,'),
        'UTF8')""",
    "a float next to the data": """envelope = convert_to(
        replace(t, '"causation_id":null', '"causation_id":1.5'), 'UTF8')""",
    "a key that is not ASCII, deeper": """envelope = convert_to(
        replace(t, '{"amount_fen":', '{"a":[{"金":1}],"amount_fen":'), 'UTF8')""",
    "a float in a list": """envelope = convert_to(
        replace(t, '{"amount_fen":', '{"a":[1,[2.5]],"amount_fen":'), 'UTF8')""",
    "a key too many": """envelope = convert_to(replace(t, ',"data"', ',"dat":1,"data"'), 'UTF8')""",
    "a key twice": """envelope = convert_to(replace(t, ',"stream"', ',"stream":"x","stream"'),
        'UTF8')""",
    "no JSON": "envelope = substr(envelope, 2)",
}


def tamper(database: Database, edit: str) -> None:
    """Change event 4 as a superuser, and correct the hashes."""
    # The verb is separate, because no file may hold a statement that changes the journal.
    verb = "UPDATE"
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute(
            f"{verb} certledger.journal j SET {edit} FROM (SELECT position AS p, "
            "convert_from(envelope, 'UTF8') AS t FROM certledger.journal) x "
            "WHERE p = j.position AND j.position = 4"
        )
        cursor.execute(
            f"{verb} certledger.journal SET leaf_hash = sha256('\\x00'::bytea || envelope)"
        )


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_the_fast_pass_accepts_nothing_that_the_detailed_audit_reports(
    nine_events: Journal, database: Database, edit: str
) -> None:
    assert verify(nine_events, SIGNER.verifier.vkey).is_good
    tamper(database, edit)
    assert audit_range(nine_events, 0, 9) is None
    report = verify(nine_events)
    assert report.first_bad_position == 4
    assert report.size == 9


def test_several_processes_report_the_same_findings(
    nine_events: Journal, database: Database
) -> None:
    before = verify(nine_events, processes=2)
    assert before.is_good
    assert before.root == verify(nine_events, processes=1).root
    tamper(database, EDITS["a float"])
    assert verify(nine_events, processes=2).findings == verify(nine_events, processes=1).findings


def test_a_changed_byte_is_found_by_hashes_alone(nine_events: Journal, database: Database) -> None:
    key = SIGNER.verifier.vkey
    assert verify(nine_events, key, hashes_only=True).checkpoints == 3
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        verb = "UPDATE"  # see tamper
        cursor.execute(
            f"{verb} certledger.journal SET envelope = set_byte(envelope, 12, 88) "
            "WHERE position = 5"
        )
        assert verify(nine_events, key, hashes_only=True).first_bad_position == 5
        cursor.execute(
            f"{verb} certledger.journal SET leaf_hash = sha256('\\x00'::bytea || envelope)"
        )
    report = verify(nine_events, key, hashes_only=True)
    assert [str(problem) for problem in report.findings] == [
        "position 5: was altered, moved or inserted: its seal is not right",
        "the head of size 6 in the database has another root",
    ]


def test_an_event_before_its_predecessor_is_out_of_order(
    nine_events: Journal, database: Database
) -> None:
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        verb = "UPDATE"
        for old, new in ((1, 100), (4, 1), (100, 4)):
            cursor.execute(
                f"{verb} certledger.journal SET position = %s WHERE position = %s", (new, old)
            )
    assert out_of_order(nine_events, 10) == [1]
    found = {problem.what for problem in verify(nine_events).findings}
    assert "a version 1 comes later" in found
    signed = verify(nine_events, SIGNER.verifier.vkey)
    assert "the head of size 3 in the database has another root" in map(str, signed.findings)
    assert signed.first_bad_position == 1
