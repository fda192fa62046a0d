"""The audit's quick eye sees everything that the slow one would, and the same hashes."""

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
def written(journal: Journal) -> Journal:
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


def test_a_flawless_stretch_gives_its_hashes(written: Journal) -> None:
    events = written.read(0, 100)
    stretch = audit_range(written, 2, 9, (5,))
    assert stretch is not None
    assert {n: tree.root() for n, tree in stretch.trees.items()} == {
        5: merkle.root(event.leaf_hash for event in events[2:5]),
        9: merkle.root(event.leaf_hash for event in events[2:9]),
    }
    assert stretch.first == microseconds_of(events[2].recorded_at)
    assert stretch.last == microseconds_of(events[8].recorded_at)
    assert out_of_order(written, 10) == []


def test_a_stretch_that_is_not_all_there_is_not_flawless(written: Journal) -> None:
    assert audit_range(written, 0, 10) is None


# What each changes, beside the hash put right afterwards, so that only what is said is wrong.
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
    "a float beside the data": """envelope = convert_to(
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
    """Change event 4 as a superuser can, and put the hashes right."""
    # The verb by itself: a statement that changes the journal has no place in any program.
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
def test_the_quick_eye_passes_nothing_that_the_slow_one_would_name(
    written: Journal, database: Database, edit: str
) -> None:
    assert verify(written, SIGNER.verifier.vkey).is_good
    tamper(database, edit)
    assert audit_range(written, 0, 9) is None
    report = verify(written)
    assert report.first_bad_position == 4
    assert report.size == 9


def test_several_processes_come_to_the_same_judgement(written: Journal, database: Database) -> None:
    before = verify(written, processes=2)
    assert before.is_good
    assert before.root == verify(written, processes=1).root
    tamper(database, EDITS["a float"])
    assert verify(written, processes=2).findings == verify(written, processes=1).findings


def test_a_changed_byte_is_found_by_hashes_alone(written: Journal, database: Database) -> None:
    key = SIGNER.verifier.vkey
    assert verify(written, key, hashes_only=True).checkpoints == 3
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        verb = "UPDATE"  # see tamper
        cursor.execute(
            f"{verb} certledger.journal SET envelope = set_byte(envelope, 12, 88) "
            "WHERE position = 5"
        )
        assert verify(written, key, hashes_only=True).first_bad_position == 5
        cursor.execute(
            f"{verb} certledger.journal SET leaf_hash = sha256('\\x00'::bytea || envelope)"
        )
    report = verify(written, key, hashes_only=True)
    assert [str(problem) for problem in report.findings] == [
        "position 4: the events from 4 to 6 are not those that were signed"
    ]


def test_an_event_before_its_predecessor_is_out_of_order(
    written: Journal, database: Database
) -> None:
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        verb = "UPDATE"
        for old, new in ((1, 100), (4, 1), (100, 4)):
            cursor.execute(
                f"{verb} certledger.journal SET position = %s WHERE position = %s", (new, old)
            )
    assert out_of_order(written, 10) == [1]
    found = {problem.what for problem in verify(written).findings}
    assert "a version 1 comes later" in found
    signed = verify(written, SIGNER.verifier.vkey)
    assert "the events from 1 to 3 are not those that were signed" in map(str, signed.findings)
    assert signed.first_bad_position == 1
