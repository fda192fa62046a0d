"""Attacks on the journal: the database refuses those of the program and of the owner, and the audit
detects those of a superuser.

Covers: domain/store/postgres/migrations/0001_journal.sql, domain/store/tlog/audit.py
"""

from collections.abc import Iterator

import psycopg2
import pytest

from domain.store.embedded.server import OWNER, SUPERUSER
from domain.store.journal import envelope
from domain.store.journal.journal import Journal
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.tlog.audit import AuditReport, KeptHead, verify
from domain.store.tlog.checkpoints import CheckpointSigner
from domain.store.tlog.signed_note import Signer
from tests.store.drafts import append, command, data_key
from tests.support.keys import add_buckets, journal_of
from tests.support.postgres import Database

SIGNER = Signer("certledger.example/omc", b"k" * 32)
VKEY = SIGNER.verifier.vkey

ATTACKS = [
    "UPDATE certledger.journal SET topic = 'fee_refunded.v1' WHERE position = 2",
    "DELETE FROM certledger.journal WHERE position = 2",
    "TRUNCATE certledger.journal",
    "UPDATE certledger.commands SET receipt = 'other'",
    "DELETE FROM certledger.commands",
    "TRUNCATE certledger.commands",
    "UPDATE certledger.checkpoints SET note = 'other'",
    "DELETE FROM certledger.checkpoints",
    "TRUNCATE certledger.checkpoints",
    "UPDATE certledger.claims SET key = 'other'",
    "UPDATE certledger.claims SET released_position = NULL WHERE key = 'old'",
    "DELETE FROM certledger.claims",
    "TRUNCATE certledger.claims",
    "UPDATE certledger.ledgers SET position = 1",
    "UPDATE certledger.ledgers SET recorded_at = '2000-01-01'",
    "UPDATE certledger.ledgers SET ledger = 'other'",
    "UPDATE certledger.ledgers SET site_code = 'S000000000002'",
    "DELETE FROM certledger.ledgers",
    "TRUNCATE certledger.ledgers",
    "UPDATE certledger.data_keys SET wrapped = 'x', destroyed_at = NULL WHERE destroyed_at < now()",
    "UPDATE certledger.data_keys SET owner = 'person/other'",
    "UPDATE certledger.data_keys SET class = 'contact'",
    "UPDATE certledger.data_keys SET generation = 2",
    "DELETE FROM certledger.data_keys",
    "TRUNCATE certledger.data_keys",
    "UPDATE certledger.data_keys SET bucket = 1 - least(bucket, 1)",
    "TRUNCATE certledger.bucket_keys CASCADE",
    "DELETE FROM certledger.epochs",
    "TRUNCATE certledger.epochs CASCADE",
]


def fill(journal: Journal) -> None:
    """Seven events, a checkpoint over the first five, and something in every table."""
    journal.create_ledger("S000000000001")
    add_buckets(journal)
    keys = tuple(data_key(person) for person in ("wang", "gone"))
    with journal.transaction() as transaction:
        transaction.append(
            [
                append("a", 1, 2, command=command("k"), claims=(("number", "old"),)),
                append("b", 1, claims=(("number", "1"),), fresh_keys=keys),
                append("b", 2, releases=(("number", "old"),)),
            ]
        )
    with journal.transaction() as transaction:
        transaction.append([append("c", 1, destroy_keys=(("person/gone", "identity"),))])
    CheckpointSigner(journal, SIGNER).sign()
    with journal.transaction() as transaction:
        transaction.append([append("c", 2, 3)])


@pytest.fixture
def written(journal: Journal) -> Journal:
    """A journal to be tampered with."""
    fill(journal)
    return journal


@pytest.fixture(scope="module")
def protected(module_database: Database) -> Iterator[Journal]:
    """One journal for all attacks that fail."""
    migrate(module_database.dsn)
    journal = journal_of(module_database.dsn, "omc")
    fill(journal)
    yield journal
    journal.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_application_role_cannot_change_recorded_rows(protected: Journal, attack: str) -> None:
    connection = connect(protected.dsn)
    with connection.cursor() as cursor, pytest.raises(psycopg2.Error) as refusal:
        cursor.execute(attack)
    connection.close()
    allowed = (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.RestrictViolation)
    assert isinstance(refusal.value, allowed)
    assert verify(protected, VKEY).is_good


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_owner_cannot_change_recorded_rows_by_mistake(
    protected: Journal, module_database: Database, attack: str, user: str
) -> None:
    with pytest.raises(psycopg2.errors.RestrictViolation):
        module_database.execute(attack, user=user)
    assert verify(protected, VKEY).is_good


def test_the_refusal_hints_at_the_right_way(written: Journal, database: Database) -> None:
    with pytest.raises(psycopg2.Error) as refusal:
        database.execute(ATTACKS[0])
    assert "certledger.journal is append-only: UPDATE is not allowed" in str(refusal.value)
    assert refusal.value.diag.message_hint == "Record a new event that puts the old one right."


def test_replica_mode_does_not_disable_the_triggers(written: Journal, database: Database) -> None:
    with (
        database.connect(SUPERUSER) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.RestrictViolation),
    ):
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(ATTACKS[0])
    assert verify(written, VKEY).is_good


def test_the_program_keeps_its_restricted_role_with_the_owners_login(
    written: Journal, database: Database
) -> None:
    connection = connect(database.dsn)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DROP TABLE certledger.journal")
        cursor.execute("CREATE TABLE views.of_the_program (n int)")
    connection.close()


# --- a superuser, with the triggers disabled -----------------------------------------------------


def tamper(database: Database, *statements: tuple[str, tuple]) -> None:
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        tables = ("journal", "ledgers", "checkpoints")
        for table in tables:
            cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER ALL")
        for sql, arguments in statements:
            cursor.execute(sql, arguments)
        for table in tables:
            cursor.execute(f"ALTER TABLE certledger.{table} ENABLE TRIGGER ALL")


def altered(journal: Journal, position: int) -> bytes:
    stored = journal.read(position - 1, 1)[0].envelope
    return stored.replace(b'"amount_fen":', b'"amount_fen":9')


SET_ENVELOPE = "UPDATE certledger.journal SET envelope = %s WHERE position = %s"
SET_BOTH = "UPDATE certledger.journal SET envelope = %s, leaf_hash = %s WHERE position = %s"
SET_SEALED = (
    "UPDATE certledger.journal SET envelope = %s, leaf_hash = %s, seal = %s WHERE position = %s"
)


def sealed(journal: Journal, forged: bytes, position: int) -> tuple[str, tuple]:
    """The statement of somebody who has the journal key too."""
    assert journal.sealer is not None
    leaf = envelope.leaf_hash(forged)
    return SET_SEALED, (forged, leaf, journal.sealer.event(position, leaf), position)


def findings_of(report: AuditReport) -> str:
    return "; ".join(map(str, report.findings))


@pytest.mark.parametrize("position", [1, 4, 7])
def test_a_flipped_byte_is_found_and_named(
    written: Journal, database: Database, position: int
) -> None:
    tamper(database, (SET_ENVELOPE, (altered(written, position), position)))
    report = verify(written, VKEY)
    assert report.first_bad_position == position
    assert "does not have the stored hash" in findings_of(report)


def test_an_edit_with_a_corrected_hash_is_named_by_its_seal(
    written: Journal, database: Database
) -> None:
    forged = altered(written, 3)
    tamper(database, (SET_BOTH, (forged, envelope.leaf_hash(forged), 3)))
    report = verify(written, VKEY)
    assert report.first_bad_position == 3
    assert findings_of(report) == (
        "position 3: was altered, moved or inserted: its seal is not right; "
        "the head of size 5 in the database has another root"
    )


def test_a_rewritten_tail_is_one_finding(written: Journal, database: Database) -> None:
    forged = [altered(written, position) for position in (5, 6, 7)]
    each = zip(forged, (5, 6, 7), strict=True)
    tamper(database, *((SET_BOTH, (one, envelope.leaf_hash(one), at)) for one, at in each))
    what = "the events from 5 to 7 were altered, moved or inserted: their seals are not right"
    assert what in findings_of(verify(written, VKEY))


def test_an_edit_with_the_journal_key_contradicts_the_checkpoint(
    written: Journal, database: Database
) -> None:
    tamper(database, sealed(written, altered(written, 3), 3))
    assert verify(written).first_bad_position == 1
    report = verify(written, VKEY)
    assert "the events from 1 to 5 are not those that were signed" in findings_of(report)


def test_an_edit_is_narrowed_down_between_two_checkpoints(
    written: Journal, database: Database
) -> None:
    CheckpointSigner(written, SIGNER).sign()
    tamper(database, sealed(written, altered(written, 7), 7))
    report = verify(written, VKEY)
    assert report.first_bad_position == 6
    assert "the events from 6 to 7 are not those that were signed" in findings_of(report)


def test_an_edit_with_forged_checkpoints_contradicts_an_external_checkpoint(
    written: Journal, database: Database
) -> None:
    kept = written.query("SELECT note FROM certledger.checkpoints")[0][0]
    tamper(
        database,
        sealed(written, altered(written, 3), 3),
        ("DELETE FROM certledger.checkpoints", ()),
    )
    assert verify(written, VKEY).is_good
    report = verify(written, VKEY, [kept])
    assert "the events from 1 to 5 are not those that were signed" in findings_of(report)


def test_a_checkpoint_signed_with_another_key_is_refused(
    written: Journal, database: Database
) -> None:
    forger = Signer(SIGNER.verifier.name, b"f" * 32)
    tamper(database, ("DELETE FROM certledger.checkpoints", ()))
    CheckpointSigner(written, forger).sign()
    report = verify(written, VKEY)
    assert "no trusted key has signed it" in findings_of(report)


@pytest.mark.parametrize("keep_head", [True, False])
def test_a_deleted_tail_is_found(written: Journal, database: Database, keep_head: bool) -> None:
    CheckpointSigner(written, SIGNER).sign()
    cut = ("DELETE FROM certledger.journal WHERE position > 4", ())
    back = ("UPDATE certledger.ledgers SET position = 4", ())
    tamper(database, *((cut,) if keep_head else (cut, back)))
    report = verify(written, VKEY)
    assert report.first_bad_position == 5
    assert "position 5: is missing; a head of size 7 was signed (the database)" in (
        findings_of(report)
    )


def test_a_missing_event_is_named(written: Journal, database: Database) -> None:
    tamper(database, ("DELETE FROM certledger.journal WHERE position = 4", ()))
    report = verify(written, VKEY)
    assert report.first_bad_position == 4
    assert "position 4: is missing; the next event is 5" in findings_of(report)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("topic = 'fee_refunded.v1'", "column topic differs"),
        ("stream = 'z'", "column stream differs"),
        ("version = 9", "column version differs"),
        ("event_id = gen_random_uuid()", "column event_id differs"),
        ("occurred_at = occurred_at + interval '1 day'", "column occurred_at differs"),
        ("recorded_at = recorded_at + interval '1 day'", "column recorded_at differs"),
        ("recorded_at = recorded_at - interval '1 day'", "recorded_at runs backwards"),
        ("version = 9", "b has no version 8"),
    ],
)
def test_a_changed_column_is_found(
    written: Journal, database: Database, change: str, what: str
) -> None:
    tamper(database, (f"UPDATE certledger.journal SET {change} WHERE position = 4", ()))
    report = verify(written, VKEY)
    assert report.first_bad_position == 4
    assert what in findings_of(report)


def test_two_events_that_changed_places_are_found(written: Journal, database: Database) -> None:
    swap = "UPDATE certledger.journal SET position = %s WHERE position = %s"
    tamper(database, (swap, (100, 1)), (swap, (1, 2)), (swap, (2, 100)))
    report = verify(written, VKEY)
    assert report.first_bad_position == 1
    assert "a version 1 comes later" in findings_of(report)


@pytest.mark.parametrize("junk", [b"", b"\xff", b"[]", b'{"data":{}}'])
def test_an_envelope_that_is_not_json_is_found(
    written: Journal, database: Database, junk: bytes
) -> None:
    tamper(database, (SET_BOTH, (junk, envelope.leaf_hash(junk), 6)))
    assert verify(written, VKEY).first_bad_position == 6


def test_a_non_canonical_envelope_is_found(written: Journal, database: Database) -> None:
    spelled = written.read(5, 1)[0].envelope.replace(b'":', b'": ', 1)
    tamper(database, (SET_BOTH, (spelled, envelope.leaf_hash(spelled), 6)))
    assert "not in canonical form" in findings_of(verify(written, VKEY))


def test_an_event_inserted_beyond_the_head_is_found(written: Journal, database: Database) -> None:
    slip = (
        "INSERT INTO certledger.journal SELECT ledger, 8, stream, 4, gen_random_uuid(), topic, "
        "envelope, leaf_hash, occurred_at, recorded_at, seal, seal_key "
        "FROM certledger.journal WHERE position = 7"
    )
    database.execute(slip, user=SUPERUSER)
    assert "lies beyond the head of the ledger at 7" in findings_of(verify(written, VKEY))
    tamper(database, ("UPDATE certledger.ledgers SET position = 8", ()))
    found = findings_of(verify(written, VKEY))
    assert "position 8: was altered, moved or inserted: its seal is not right" in found
    assert "the head of the ledger, at 8, was altered: its seal is not right" in found


def test_heads_of_two_places_are_compared_each_with_its_own_range(
    written: Journal, database: Database
) -> None:
    """The range of a fork begins after the last head that this very place agrees with."""
    CheckpointSigner(written, SIGNER).sign()
    first, last = (row[0] for row in written.query(
        "SELECT note FROM certledger.checkpoints ORDER BY size"))  # fmt: skip
    tamper(
        database,
        sealed(written, altered(written, 7), 7),
        ("DELETE FROM certledger.checkpoints WHERE size > 5", ()),
    )
    report = verify(written, VKEY, [KeptHead("there", first), KeptHead("there", last)])
    assert report.heads == {"the database": 1, "there": 2}
    assert "the events from 6 to 7 are not those that were signed (there)" in findings_of(report)
    alone = verify(written, VKEY, [KeptHead("there", last)])
    assert "the events from 1 to 7 are not those that were signed (there)" in findings_of(alone)


def test_a_head_under_the_name_of_another_size_is_named(written: Journal) -> None:
    CheckpointSigner(written, SIGNER).sign()
    [(first, size)] = written.query(
        "SELECT note, size FROM certledger.checkpoints ORDER BY size LIMIT 1"
    )
    assert verify(written, VKEY, [KeptHead("there", first, size)]).is_good
    report = verify(written, VKEY, [KeptHead("there", first, 99)])
    assert f"the head of size 99 in there says {size}" in findings_of(report)


def test_without_the_journal_key_the_report_says_that_no_seal_was_checked(written: Journal) -> None:
    assert verify(written, VKEY).seals
    assert not verify(Journal(written.dsn, "omc", None), VKEY).seals
