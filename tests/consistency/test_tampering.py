"""Everything that somebody with the database can do to a ledger, and what `verify` says to it.

Each case is done to a copy of one database: with the rights of a superuser whose triggers are off,
or with those of the application. The journal's readers refuse such rows while they run
(`tests/store/journal/test_tampering.py`); here the audit names them.
Covers: domain/audit/full.py, domain/audit/results.py, domain/audit/events.py,
domain/audit/claims_check.py, domain/audit/commands_check.py, domain/audit/persons_check.py,
domain/audit/snapshots_check.py, domain/audit/attachments_check.py, domain/audit/logins_check.py,
domain/audit/person_claims_check.py, domain/audit/lawfulness_check.py, domain/store/tlog/audit.py,
domain/store/tlog/findings.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

from domain.actors import Actor, Role
from domain.audit import full
from domain.audit.full import FullReport
from domain.events import CertificateKind, CertificateReinstated, CertificateRevoked
from domain.store.embedded.server import OWNER, SUPERUSER
from domain.store.journal.records import AppendRequest
from domain.store.mapper import JournalEntry
from projections.catalogue import VIEWS
from projections.rebuild import rebuild
from tests.support.honest import Copy, Honest


def said(report: FullReport) -> list[str]:
    return [f"{finding.check}: {finding}" for finding in report.findings]


# The verb is separate: no file may hold a statement that changes the journal.
SET, DROP = "UPDATE", "DELETE FROM"
FLIP = f"{SET} certledger.journal SET envelope = set_byte(envelope, 60, get_byte(envelope, 60) # 1)"
REWRITE = (
    f"{SET} certledger.journal SET envelope = "
    "convert_to(replace(convert_from(envelope, 'UTF8'), '\"role\":\"', '\"role\":\"x'), 'UTF8')"
)
REHASH = f"{SET} certledger.journal SET leaf_hash = sha256('\\x00'::bytea || envelope)"
AGAIN = (
    "INSERT INTO certledger.journal (ledger, position, stream, version, event_id, topic, envelope, "
    "leaf_hash, occurred_at, recorded_at, seal, seal_key) SELECT ledger, position + 1, stream, "
    "version + 1, gen_random_uuid(), topic, envelope, leaf_hash, occurred_at, recorded_at, seal, "
    "seal_key FROM certledger.journal WHERE position = (SELECT position FROM certledger.ledgers)"
)
SECOND_COMMAND = "(SELECT min(first_position) FROM certledger.commands WHERE first_position > 1)"
MOVE_HEAD = f"{SET} certledger.ledgers SET position = position + 1"
SWAP = f"{SET} certledger.journal SET position = {{}} WHERE position = {{}}"
IDENTITY = "certledger.data_keys WHERE wrapped IS NOT NULL AND class = 'identity'"
ONE_OWNER = f"class = 'identity' AND owner = (SELECT min(owner) FROM {IDENTITY})"
OTHER_KEY = f"(SELECT wrapped FROM {IDENTITY} ORDER BY owner DESC LIMIT 1)"


@dataclass(frozen=True)
class Case:
    """One tampering. says: texts that the findings must hold, with {size} for the events."""

    statements: tuple[str, ...]
    says: tuple[str, ...]
    first: int | None = None
    as_application: bool = False


SUPERUSER_CASES = {
    "a byte flipped in an envelope": Case(
        (f"{FLIP} WHERE position = 3000",),
        ("events: position 3000: the envelope does not have the stored hash",),
        3000,
    ),
    "envelope and leaf hash rewritten": Case(
        (f"{REWRITE} WHERE position = 3000", f"{REHASH} WHERE position = 3000"),
        ("events: position 3000: was altered, moved or inserted: its seal is not right",),
        3000,
    ),
    "the opening of the ledger altered": Case(
        (f"{REWRITE} WHERE position = 1", f"{REHASH} WHERE position = 1"),
        (
            "events: the facts about keys are not as they were written",
            "events: position 1: was altered, moved or inserted: its seal is not right",
        ),
        1,
    ),
    "a row deleted": Case(
        (f"{DROP} certledger.journal WHERE position = 3000",),
        ("events: position 3000: is missing; the next event is 3001",),
        3000,
    ),
    "the last row deleted": Case(
        (f"{DROP} certledger.journal WHERE position = {{size}}",),
        (
            "events: position {size}: is missing; the head of the ledger is at {size}",
            "position {size}: is missing; a head of size {size} was signed (the database)",
        ),
    ),
    "a row inserted beyond the head": Case(
        (AGAIN,), ("lies beyond the head of the ledger at {size}",)
    ),
    "two positions swapped": Case(
        (SWAP.format(100_000, 50), SWAP.format(50, 51), SWAP.format(51, 100_000)),
        ("the events from 50 to 51 were altered, moved or inserted",),
        50,
    ),
    "the tail rewritten with leaf hashes": Case(
        (f"{REWRITE} WHERE position > 6000", f"{REHASH} WHERE position > 6000"),
        (
            "events: position 6001: the events from 6001 to {size} were altered",
            "the head of size {size} in the database has another root",
        ),
        6001,
    ),
    "the tail rewritten, stored heads deleted": Case(
        (
            f"{REWRITE} WHERE position > 6000",
            f"{REHASH} WHERE position > 6000",
            f"{DROP} certledger.checkpoints",
        ),
        ("events: position 6001: the events from 6001 to {size} were altered",),
        6001,
    ),
    "the head row altered": Case(
        (f"{SET} certledger.ledgers SET seal = repeat('x', 32)::bytea",),
        ("the head of the ledger, at {size}, was altered: its seal is not right",),
    ),
    "receipts rewritten": Case(
        (
            f"{SET} certledger.commands SET receipt = convert_to(replace(convert_from(receipt, "
            "'UTF8'), '\"outcome\":{{', '\"outcome\":{{\"x\":1,'), 'UTF8') "
            f"WHERE first_position = {SECOND_COMMAND}",
        ),
        ("commands: position ", ", command ", "its seal is not right"),
    ),
    "a receipt deleted": Case(
        (f"{DROP} certledger.commands WHERE first_position = {SECOND_COMMAND}",),
        (": no command recorded this event",),
    ),
    "all commands deleted": Case(
        (f"{DROP} certledger.commands",),
        ("commands: position 1: no command recorded the events from 1 to {size}",),
        1,
    ),
    "a refund's claim deleted": Case(
        (
            f"{DROP} certledger.claims WHERE (kind, key) = (SELECT kind, min(key) FROM "
            "certledger.claims WHERE kind = 'refund' GROUP BY kind)",
        ),
        ("claim refund R", "is missing; this event took it"),
    ),
    "all claims deleted": Case(
        (f"{DROP} certledger.claims",),
        (", claim person_login ", ": is missing; this event took it"),
    ),
    "a claim that no event took": Case(
        ("INSERT INTO certledger.claims VALUES ('omc', 'certificate_number', 'S1', 40, NULL)",),
        ("claims: position 40, claim certificate_number S1: no event took it",),
        40,
    ),
    "a released claim taken back": Case(
        (
            f"{SET} certledger.claims c SET released_position = NULL WHERE c.ctid = "
            "(SELECT min(ctid) FROM certledger.claims WHERE released_position IS NOT NULL)",
        ),
        ("is not released; this event released it",),
    ),
    "the blind index of a person deleted": Case(
        (
            f"{DROP} certledger.person_claims WHERE person_id = (SELECT min(person_id) FROM "
            "certledger.person_claims)",
        ),
        ("person claims: position ", "has no blind index that its event gives"),
    ),
    "the document of one person given to another": Case(
        (
            "UPDATE certledger.person_claims SET person_id = (SELECT max(person_id) FROM "
            "certledger.person_claims) WHERE kind = 'document' AND person_id = (SELECT "
            "min(person_id) FROM certledger.person_claims)",
        ),
        ("has a blind index of kind document that no event gives",),
    ),
    "all data keys destroyed": Case(
        (f"{SET} certledger.data_keys SET wrapped = NULL, destroyed_at = now()",),
        ("keys: position ", "was destroyed, and no event erased what it sealed"),
    ),
    "a data key deleted": Case(
        (f"{DROP} certledger.data_keys WHERE {ONE_OWNER}",), ("is missing",)
    ),
    "a stored head altered": Case(
        (f"{SET} certledger.checkpoints SET note = replace(note, 'A', 'B')",),
        ("events: stored checkpoint of size ",),
    ),
    "a snapshot altered": Case(
        (f"{SET} certledger.snapshots SET state = state || ' '::bytea",),
        ("snapshots: position ", "its seal is not right"),
    ),
}

APPLICATION_CASES = {
    "an event inserted and the head moved": Case(
        (AGAIN, MOVE_HEAD),
        (
            "was altered, moved or inserted: its seal is not right",
            "was altered: its seal is not right",
        ),
        as_application=True,
    ),
    "a snapshot planted": Case(
        (
            "INSERT INTO certledger.snapshots SELECT ledger, 'session-S1', 1, 'state_kept.v1', "
            "'{{}}'::bytea, 1, leaf_hash, seal, seal_key FROM certledger.journal "
            "WHERE position = 1",
        ),
        ("snapshots: position 1, snapshot of session-S1 at version 1: its seal is not right",),
        as_application=True,
    ),
    "a claim released": Case(
        (
            f"{SET} certledger.claims SET released_position = position "
            "WHERE kind = 'refund' AND released_position IS NULL",
        ),
        ("is released; no event at position ", "claim refund R"),
        as_application=True,
    ),
    "the key of a person overwritten by another's": Case(
        (f"{SET} certledger.data_keys SET wrapped = {OTHER_KEY} WHERE {ONE_OWNER}",),
        ("does not open what was sealed under it",),
        as_application=True,
    ),
    "the key of a person destroyed": Case(
        (f"{SET} certledger.data_keys SET wrapped = NULL, destroyed_at = now() WHERE {ONE_OWNER}",),
        ("was destroyed, and no event erased what it sealed",),
        as_application=True,
    ),
}

ERASED = (
    "(SELECT convert_from(envelope, 'UTF8')::json -> 'data' ->> 'person_id' "
    "FROM certledger.journal WHERE topic = 'erasure_confirmed.v1')"
)
APPLICATION_CASES |= {
    "the blind index of somebody who was erased": Case(
        (
            "INSERT INTO certledger.person_claims SELECT ledger, kind, index, "
            f"{ERASED} FROM certledger.person_claims WHERE kind = 'named_document' LIMIT 1",
        ),
        ("person claims: position ", "was erased, and their blind index of kind"),
        as_application=True,
    ),
}

EXCHANGED = "(SELECT {}(pseudonym) FROM certledger.logins)"
SUPERUSER_CASES |= {
    "logins exchanged": Case(
        (
            f"{SET} certledger.logins SET pseudonym = repeat('f', 32) "
            f"WHERE pseudonym = {EXCHANGED.format('min')}",
        ),
        ("logins: login of ffffffffffffffffffffffffffffffff: its seal is not right",),
    ),
    "the logins of candidates deleted": Case(
        (f"{DROP} certledger.logins",), ("logins: position ", "has a login, whose row is missing")
    ),
    "the login of somebody who was erased": Case(
        (
            "INSERT INTO certledger.logins SELECT ledger, key_id, sha256('x'), "
            "convert_from(envelope, 'UTF8')::json -> 'data' ->> 'subject', l.seal, l.seal_key "
            "FROM certledger.journal j JOIN certledger.logins l USING (ledger) WHERE j.topic = "
            "'person_registered.v1' AND convert_from(envelope, 'UTF8')::json -> 'data' ->> "
            f"'person_id' IN {ERASED} "
            "AND l.pseudonym = (SELECT min(pseudonym) FROM certledger.logins) LIMIT 1",
        ),
        ("logins: position ", "was erased, and their login is still there"),
    ),
}

CASES = SUPERUSER_CASES | APPLICATION_CASES


def test_the_honest_database_is_good_and_every_check_compared_something(copy: Copy) -> None:
    report = copy.audit()
    assert said(report) == []
    assert report.log.seals
    folder = copy.settings.data_dir
    assert report.log.heads == {
        "the database": 3,
        str(folder / "heads"): 3,
        str(folder / "keys" / "log_omc@signed"): 1,
    }
    counted = {check.check: check.counts for check in report.checks}
    names = ("commands", "claims", "bucket keys", "keys", "logins", "snapshots", "lawfulness")
    for check in (*names, "attachments"):
        assert counted[check], check
        assert next(iter(counted[check].values())) > 0, check


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_verify_names_what_was_done_to_the_database(copy: Copy, honest: Honest, case: Case) -> None:
    run = copy.as_application if case.as_application else copy.as_superuser
    run(*(statement.format(size=honest.size) for statement in case.statements))
    report = copy.audit()
    found = "\n".join(said(report))
    for text in case.says:
        assert text.format(size=honest.size) in found
    if case.first is not None:
        assert report.first_bad_position == case.first


def test_several_processes_judge_a_long_ledger_with_the_same_result(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = copy.store.ledgers.get("omc")
    revoked = ledger.journal.read(0, 1, [CertificateRevoked.TOPIC])[0]
    _append_unlawfully(ledger, revoked)
    alone = copy.audit()
    monkeypatch.setattr(full, "PARALLEL_EVENTS", 1)
    monkeypatch.setattr(full.os, "cpu_count", lambda: 2)
    together = copy.audit()
    assert said(together) == said(alone) != []
    [judged] = [check for check in together.checks if check.check == "lawfulness"]
    [before] = [check for check in alone.checks if check.check == "lawfulness"]
    assert judged == before


# --- heads ----------------------------------------------------------------------------------------


def test_a_stored_head_that_a_place_has_too_is_missed(copy: Copy, honest: Honest) -> None:
    heads = copy.settings.data_dir / "heads"
    first = honest.size // 3
    copy.as_superuser(f"{DROP} certledger.checkpoints WHERE size = {first}")
    what = f"heads: the database lacks the head of size {first} that {heads} has"
    assert said(copy.audit()) == [what]
    copy.as_superuser(f"{DROP} certledger.checkpoints")
    what = f"heads: the database lacks 2 heads that {heads} has, the first of size {first}"
    assert said(copy.audit()) == [what]


def test_the_newest_head_may_be_on_its_way_into_the_database(copy: Copy, honest: Honest) -> None:
    """A signer writes it to its own place first, and may be interrupted then."""
    copy.as_superuser(f"{DROP} certledger.checkpoints WHERE size = {honest.size}")
    assert said(copy.audit()) == []


def test_a_machine_that_signs_and_has_no_head_is_named(copy: Copy, honest: Honest) -> None:
    heads = copy.settings.data_dir / "heads"
    shutil.rmtree(heads)
    what = f"heads: {heads} has no head, but the database has one of size {honest.size}"
    assert said(copy.audit()) == [what]
    copy.as_superuser(f"{DROP} certledger.checkpoints")
    by_key = newest_head(copy)
    what = f"heads: {heads} has no head, but {by_key} has one of size {honest.size}"
    assert said(copy.audit()) == [what]


def newest_head(copy: Copy) -> Path:
    return copy.settings.data_dir / "keys" / "log_omc@signed"


def test_a_copy_without_the_log_key_needs_no_head(copy: Copy) -> None:
    shutil.rmtree(copy.settings.data_dir / "heads")
    for file in (copy.settings.data_dir / "keys").iterdir():
        file.unlink()
    assert said(copy.audit()) == []


def test_without_any_head_nothing_was_compared(copy: Copy) -> None:
    """Who can remove the head next to the key has the key, and could sign another history."""
    copy.as_superuser(f"{DROP} certledger.checkpoints")
    shutil.rmtree(copy.settings.data_dir / "heads")
    newest_head(copy).unlink()
    report = copy.audit()
    assert report.is_good
    assert report.log.checkpoints == 0


# --- attachments, keys, lawfulness, views ---------------------------------------------------------


@pytest.mark.parametrize("change", ["flipped", "deleted"])
def test_an_attachment_that_was_changed_is_named(copy: Copy, change: str) -> None:
    folder = copy.settings.data_dir / "blobs"
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    if change == "deleted":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[0] ^= 1
        file.write_bytes(content)
    found = said(copy.audit())
    words = {"flipped": "is not what was stored", "deleted": "is missing"}[change]
    assert len(found) == 1
    assert found[0].startswith("attachments: position ")
    assert found[0].endswith(f"attachment {file.name}: {words}")


def test_a_key_that_an_erased_person_has_again_is_named(copy: Copy) -> None:
    copy.as_superuser(
        f"{SET} certledger.data_keys SET destroyed_at = NULL, wrapped = {OTHER_KEY}, "
        "bucket_generation = 1 WHERE wrapped IS NULL"
    )
    assert "is there although its owner was erased" in "\n".join(said(copy.audit()))


def test_a_forged_event_of_somebody_who_has_every_key_is_not_lawful(copy: Copy) -> None:
    """A revoked certificate is reinstated with a right seal; no decision could have done it."""
    ledger = copy.store.ledgers.get("omc")
    revoked = ledger.journal.read(0, 1, [CertificateRevoked.TOPIC])[0]
    _append_unlawfully(ledger, revoked)
    report = copy.audit()
    assert report.log.is_good
    position = ledger.journal.head().position
    [finding] = [each for each in report.findings if each.check == "lawfulness"]
    assert finding.position == position
    assert "certificate_reinstated.v1 could not have been decided (3.2(3))" in str(finding)


def _append_unlawfully(ledger: Any, revoked: Any) -> None:
    """Append a reinstatement without a decision, with the writer of the journal."""
    data = revoked.data
    fact = CertificateReinstated(
        application_id=data["application_id"],
        person_id=data["person_id"],
        kind=CertificateKind(data["kind"]),
        number=data["number"],
        version=data["version"],
        reason="none",
    )
    last = ledger.journal.stream(revoked.stream, desc=True, limit=1)[0]
    actor = Actor(subject="registrar-1", role=Role.REGISTRAR, organisation="org")
    entry = JournalEntry(
        originator_id=revoked.stream,
        originator_version=last.version + 1,
        event_id=uuid4(),
        occurred_at=last.recorded_at,
        recorded_at=None,
        actor=actor.to_envelope(),
        command_id=uuid4(),
        correlation_id=uuid4(),
        causation_id=None,
        fact=fact,
    )
    with ledger.journal.transaction() as transaction:
        encryptor = ledger.vault.encryptor(transaction.batch)
        event = ledger.mapper.new_event(entry, encryptor)
        transaction.append([AppendRequest((event,), fresh_keys=encryptor.fresh_keys)])


VIEW_CHANGES = {
    "a revoked certificate made valid": (
        "certificates",
        f"{SET} {{table}} SET standing = 'valid' WHERE standing = 'revoked'",
        "live standing=valid",
    ),
    "a certificate planted": (
        "certificates",
        "INSERT INTO {table} SELECT (jsonb_populate_record(c, jsonb_build_object('number', "
        "'S000033000123264999999'))).* FROM {table} c WHERE standing = 'valid' LIMIT 1",
        "S000033000123264999999",
    ),
    "a certificate deleted": (
        "certificates",
        f"{DROP} {{table}} WHERE number = (SELECT min(number) FROM {{table}})",
        "certificates",
    ),
    "the amount of a refund changed": (
        "refund_lines",
        f"{SET} {{table}} SET paid_fen = paid_fen + 1 WHERE payment_id = "
        "(SELECT min(payment_id) FROM {table})",
        "live paid_fen=",
    ),
    "the amounts of a voucher changed": (
        "postings",
        f"{SET} {{table}} SET debit_fen = debit_fen * 2, credit_fen = credit_fen * 2 "
        "WHERE entry_no = (SELECT min(entry_no) FROM {table})",
        "postings",
    ),
    "a voucher deleted": (
        "postings",
        f"{DROP} {{table}} WHERE entry_no = (SELECT min(entry_no) FROM {{table}})",
        "postings",
    ),
    "a mark changed": (
        "score_board_rows",
        f"{SET} {{table}} SET theory = '100' WHERE application_id = "
        "(SELECT min(application_id) FROM {table})",
        "live theory=100",
    ),
}


@pytest.mark.parametrize(
    ("table", "change", "says"), VIEW_CHANGES.values(), ids=VIEW_CHANGES.keys()
)
def test_a_changed_view_differs_from_a_rebuild(
    copy: Copy, table: str, change: str, says: str
) -> None:
    name = f"views.{table}"
    with copy.database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT generation FROM views.made WHERE name = '{table}'")
        physical = f"{name}_g{cursor.fetchone()[0]}"
        cursor.execute(f"ALTER TABLE {physical} DISABLE TRIGGER ALL")
        cursor.execute(change.format(table=physical))
        assert cursor.rowcount > 0
        cursor.execute(f"ALTER TABLE {physical} ENABLE TRIGGER ALL")
    audits: dict[str, Callable[[], list[str]]] = {
        "at once": lambda: _checked_at_once(copy),
        "piece by piece": lambda: [
            str(found)
            for found in rebuild.audit(
                copy.database.dsn, copy.store.secrets, VIEWS, lambda position: None
            )
        ],
    }
    for way, audit in audits.items():
        found = audit()
        assert found, way
        assert says in found[0], way


def _checked_at_once(copy: Copy) -> list[str]:
    found: list[str] = []
    rebuild.check(
        copy.database.dsn,
        copy.store.secrets,
        VIEWS,
        processes=1,
        on_difference=lambda one: found.append(str(one)),
    )
    return found


def test_the_owner_of_the_database_has_no_more_rights_than_the_superuser(copy: Copy) -> None:
    """What the triggers refuse, they refuse to the owner too, as long as they are on."""
    with pytest.raises(psycopg2.Error), copy.database.connect(OWNER) as connection:
        connection.cursor().execute(f"{DROP} certledger.claims")
