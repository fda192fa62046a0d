"""A loss is accepted by two operators, and the log goes on; verifiers can follow.

Covers: api/transparency/recovery.py, domain/service/recovery.py, domain/store/journal/resealing.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.cli.recover import JOURNAL_KEY_TEXTS
from api.settings import Settings
from api.transparency import recovery
from api.transparency.kept_heads import kept_heads, logs_of, vkey_of
from api.transparency.log_keys import log_key_path, log_seed, make_log_key
from api.transparency.recovery import (
    JournalIncomplete,
    JournalKeyNeeded,
    NewJournalKey,
    NoHeadToRestore,
    NothingToRecover,
    UnknownProposal,
)
from domain.events import KeyPurpose
from domain.steps.refund import SecondPersonNeeded
from domain.store.embedded.server import SUPERUSER
from domain.store.errors import SealBroken
from domain.store.postgres.connection import Cursor
from domain.store.tlog.audit import verify
from domain.store.tlog.checkpoints import opened_head
from domain.store.tlog.signed_note import Verifier
from tests.support import tampering
from tests.support.commands import document_of, name_of
from tests.support.key_facts import introduced
from tests.support.postgres import Database
from tests.support.recovery import confirm, propose, recover, stopped, with_new_journal_key
from tests.support.rolled_back import (
    ORIGIN,
    Copy,
    heads,
    open_and_sign,
    problems,
    refusal,
    serving,
    wait_for,
    write,
)
from tests.support.service import FEES, LedgerClient, new_ledger, settings_for
from tests.support.sumdb import judge

NEW_ORIGIN = f"{ORIGIN}/2"
PERSON = {
    "person_id": "P1",
    "document_type": "resident_id",
    "document_number": document_of(1),
    "name": name_of(1),
}
FEES_20 = FEES | {"edition": "fees-again", "valid_from": "2026-09-20"}


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Of a service with a log key."""
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    return settings


@pytest.fixture
def copy(database: Database, settings: Settings) -> Copy:
    """A ledger with signed events; the copy of the database lacks the last three of them."""
    return open_and_sign(settings, database)


def test_after_a_recovery_the_service_writes_and_signs_under_the_new_origin(
    settings: Settings, copy: Copy
) -> None:
    old = heads(settings)
    copy.put_back()
    with serving(settings) as ledger:
        assert refusal(ledger) == "log_not_continued"
    settings = recover(settings)
    with serving(settings) as ledger:
        assert write(ledger, 10, 11) == [201, 201]
        assert wait_for(lambda: heads(settings, NEW_ORIGIN))
        assert problems(ledger) == set()
        assert ledger.client.get("/ready").status_code == 200
    assert heads(settings) == old


@pytest.mark.parametrize("is_old_key_here", [True, False])
def test_the_keys_of_both_logs_sign_the_new_one(
    settings: Settings, copy: Copy, is_old_key_here: bool
) -> None:
    copy.put_back()
    proposal = propose(settings)
    old = log_key(settings, 1)
    if not is_old_key_here:
        log_key_path(settings, "omc", 1).unlink()
    settings = with_new_journal_key(settings)
    confirm(settings, proposal.hash)
    with stopped(settings) as (ledger, _):
        [named] = [k for k in ledger.state("ledger").keys if k.purpose == KeyPurpose.LOG]
    new = log_key(settings, 2)
    assert named == introduced(new, old if is_old_key_here else None)


def test_another_key_in_the_place_of_the_old_one_signs_nothing(
    settings: Settings, copy: Copy
) -> None:
    copy.put_back()
    proposal = propose(settings)
    log_key_path(settings, "omc", 1).unlink()
    make_log_key(settings, "omc")
    with stopped(settings) as (ledger, secrets):
        keys = recovery._new_keys(settings, ledger, secrets)
        assert keys.log == introduced(log_key(settings, 2))
    assert proposal.old_origin == ORIGIN


def log_key(settings: Settings, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(log_seed(settings, "omc", number))


def test_go_accepts_the_newest_head_of_the_recovered_log_and_its_tree(
    settings: Settings, copy: Copy, tmp_path: Path
) -> None:
    copy.put_back()
    proposal = propose(settings)
    settings = recover(settings)
    with serving(settings) as ledger:
        assert write(ledger, 10, 11) == [201, 201]
    with stopped(settings) as (ledger, _):
        old, new = logs_of(ledger.journal)
        common = proposal.first_position - 1
        vkey = vkey_of(settings, "omc", old)
        assert vkey is not None
        last = opened_head(heads(settings)[common], Verifier.from_vkey(vkey[0]))
        size, note = max(heads(settings, NEW_ORIGIN).items())
        new_vkey = vkey_of(settings, "omc", new)
        assert new_vkey is not None
        envelopes = [event.envelope for event in ledger.journal.events()]
        verdict = judge(tmp_path, new_vkey[0], note, envelopes, last)
        assert verdict == f"{NEW_ORIGIN}: {size} events"
        # The judge can refuse: another key, and an event that was altered.
        assert "note" in judge(tmp_path, vkey[0], note, envelopes)
        envelopes[0] = envelopes[0].replace(b"operator", b"0perator")
        assert "root" in judge(tmp_path, new_vkey[0], note, envelopes)


def test_an_audit_follows_from_one_origin_to_the_next(settings: Settings, copy: Copy) -> None:
    copy.put_back()
    settings = recover(settings)
    with serving(settings) as ledger:
        assert write(ledger, 10) == [201]
    with stopped(settings) as (ledger, _):
        logs = logs_of(ledger.journal)
        assert [log.origin for log in logs] == [ORIGIN, NEW_ORIGIN]
        vkeys = [found[0] for log in logs if (found := vkey_of(settings, "omc", log))]
        kept, _ = kept_heads(settings, "omc", logs)
        ends = {log.origin: log.end for log in logs if log.end is not None}
        report = verify(ledger.journal, vkeys, kept, ends=ends)
        assert report.is_good, report.findings


def test_an_event_of_the_lost_history_is_not_good_in_the_new_one(
    database: Database, settings: Settings, copy: Copy
) -> None:
    lost = database.execute("SELECT * FROM certledger.journal ORDER BY position DESC LIMIT 3")
    position = min(row[1] for row in lost)
    database.execute("CREATE TABLE public.lost AS TABLE certledger.journal", user=SUPERUSER)
    copy.put_back()
    settings = recover(settings)
    with serving(settings) as ledger:
        # Not into the stream of the lost events, where the put back one has its version.
        ledger.caller("agency").write("persons", PERSON)
    with stopped(settings) as (found, _):
        assert len(found.journal.read(0, 1000)) > position
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM certledger.journal WHERE position = %s", (position,))
        cursor.execute(
            "INSERT INTO certledger.journal SELECT * FROM public.lost WHERE position = %s",
            (position,),
        )
    with stopped(settings) as (found, _), pytest.raises(SealBroken):
        found.journal.read(0, 1000)


def test_one_person_cannot_accept_a_loss(settings: Settings, copy: Copy) -> None:
    copy.put_back()
    proposal = propose(settings, "Li Lei")
    for person in ("Li Lei", "lilei", "LI LEI"):
        with pytest.raises(SecondPersonNeeded):
            confirm(with_new_journal_key(settings), proposal.hash, person)


def test_a_ledger_that_continues_its_log_has_nothing_to_accept(
    settings: Settings, copy: Copy
) -> None:
    with pytest.raises(NothingToRecover):
        propose(settings)


def test_a_proposal_names_what_is_gone(settings: Settings, copy: Copy) -> None:
    size, note = max(heads(settings).items())
    copy.put_back()
    proposal = propose(settings)
    assert (proposal.old_head_size, proposal.old_head_note) == (size, note)
    assert proposal.journal_size == size - 3
    assert proposal.first_position == size - 2
    assert proposal.positions_gone == 3
    assert propose(settings).hash == proposal.hash
    assert propose(settings, "zhao").hash != proposal.hash


def test_a_ledger_that_changed_after_the_proposal_needs_another_one(
    settings: Settings, copy: Copy
) -> None:
    copy.put_back()
    proposal = propose(settings)
    unsigned = settings.model_copy(update={"write_unsigned": True})
    with serving(unsigned) as ledger:
        assert write(ledger, 20) == [201]
    with pytest.raises(UnknownProposal):
        confirm(with_new_journal_key(settings), proposal.hash)
    with pytest.raises(UnknownProposal):
        confirm(with_new_journal_key(settings), "0" * 64)


def ways_to_damage(at: int) -> dict[str, Callable[[Cursor], None]]:
    return {
        "deleted": lambda cursor: tampering.delete(cursor, at),
        "altered": lambda cursor: tampering.alter(cursor, at, edition="another"),
    }


@pytest.mark.parametrize("which", ["the last event", "one between others"])
@pytest.mark.parametrize("damage", ["deleted", "altered"])
def test_a_journal_that_is_not_complete_is_no_beginning_of_a_log(
    settings: Settings, copy: Copy, database: Database, which: str, damage: str
) -> None:
    """A log over it would be signed, and never be verified."""
    [(size,)] = database.execute("SELECT position FROM certledger.ledgers")
    at = size if which == "the last event" else size - 2
    with tampering.superuser(database) as cursor:
        ways_to_damage(at)[damage](cursor)
    with pytest.raises(JournalIncomplete) as refused:
        propose(settings)
    assert refused.value.position == at
    assert not list(settings.data_dir.glob("recovery/*"))


def test_a_journal_that_lost_an_event_after_the_proposal_is_refused_too(
    settings: Settings, copy: Copy, database: Database
) -> None:
    copy.put_back()
    proposal = propose(settings)
    with tampering.superuser(database) as cursor:
        tampering.delete(cursor, proposal.journal_size - 1)
    events = "SELECT count(*) FROM certledger.journal"
    assert database.execute(events) == [(proposal.journal_size - 1,)]
    with pytest.raises(JournalIncomplete):
        confirm(with_new_journal_key(settings), proposal.hash)
    assert database.execute(events) == [(proposal.journal_size - 1,)]


def test_services_may_run_while_a_loss_is_accepted(
    settings: Settings, copy: Copy, database: Database, tmp_path: Path
) -> None:
    """One is stopped, one writes unsigned; neither writes or signs under the key of before."""
    copy.put_back()
    old = heads(settings)
    unsigned = settings.model_copy(update={"write_unsigned": True})
    with serving(settings) as stopped_one, serving(unsigned) as writing:
        assert refusal(stopped_one) == "log_not_continued"
        assert write(writing, 20) == [201]
        proposal = propose(settings)
        renewed = with_new_journal_key(settings)
        confirm(renewed, proposal.hash)
        count = "SELECT count(*) FROM certledger.journal"
        size = database.execute(count)
        assert refusal(stopped_one) == "log_not_continued"
        assert refusal(writing) == "seal_broken"
        assert database.execute(count) == size
        for each in (stopped_one, writing):
            events = each.caller("regulator").get(f"events?after={proposal.journal_size - 1}")
            assert (events.status_code, events.json()["code"]) == (503, "seal_broken")
    assert heads(settings) == old
    with serving(renewed) as again:
        assert write(again, 21) == [201]
        assert wait_for(lambda: heads(renewed, NEW_ORIGIN))
        assert wait_for(lambda: not problems(again), 30)


def test_a_proposal_says_where_the_new_journal_key_comes_from(
    settings: Settings, copy: Copy
) -> None:
    copy.put_back()
    for given, expected in (
        (settings, NewJournalKey.NEEDED),
        (with_new_journal_key(settings), NewJournalKey.THERE),
    ):
        with stopped(given) as (ledger, secrets):
            assert recovery.new_journal_key(given, ledger, secrets) is expected
    assert {*NewJournalKey.__members__} == {*JOURNAL_KEY_TEXTS}


def test_events_that_were_written_unsigned_go_into_the_new_log(
    settings: Settings, copy: Copy
) -> None:
    copy.put_back()
    with serving(settings.model_copy(update={"write_unsigned": True})) as ledger:
        assert write(ledger, 20, 21) == [201, 201]
        repeated = ledger.caller("operator").send("editions/fees", FEES_20, key="again")
        assert repeated.status_code == 201
    settings = recover(settings)
    with serving(settings) as ledger:
        again = ledger.caller("operator").send("editions/fees", FEES_20, key="again")
        assert again.json() == repeated.json()
        assert write(ledger, 22) == [201]


def test_a_second_recovery_continues_the_second_log(
    settings: Settings, copy: Copy, database: Database
) -> None:
    copy.put_back()
    settings = recover(settings)
    with serving(settings) as ledger:
        assert write(ledger, 10) == [201]
        assert wait_for(lambda: heads(settings, NEW_ORIGIN))
    database.execute("ALTER SCHEMA old RENAME TO older", user=SUPERUSER)
    second = Copy(database)
    with serving(settings) as ledger:
        assert write(ledger, 11) == [201]
    second.put_back()
    settings = recover(settings, 8)
    with serving(settings) as ledger:
        assert write(ledger, 12) == [201]
        assert wait_for(lambda: heads(settings, f"{ORIGIN}/3"))


def test_the_present_journal_key_has_to_be_changed_first(settings: Settings, copy: Copy) -> None:
    copy.put_back()
    proposal = propose(settings)
    with pytest.raises(JournalKeyNeeded):
        confirm(settings, proposal.hash)


def test_the_other_ledgers_name_the_new_journal_key(settings: Settings, database: Database) -> None:
    with serving(settings) as ledger:
        other = new_ledger(ledger.client)
    copy = open_and_sign(settings, database)
    copy.put_back()
    proposal = propose(settings)
    settings = with_new_journal_key(settings)
    done = confirm(settings, proposal.hash)
    assert (done.others, done.stopped) == ((other.name,), ())
    with serving(settings) as ledger:
        assert write(LedgerClient(ledger.client, other.name, other.site_code), 9) == [201]


def test_heads_that_are_gone_everywhere_are_put_back_from_the_one_next_to_the_key(
    settings: Settings, copy: Copy, database: Database
) -> None:
    newest = max(heads(settings))
    shutil.rmtree(settings.data_dir / "heads")
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.checkpoints DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM certledger.checkpoints")
    with serving(settings) as ledger:
        assert refusal(ledger) == "log_not_continued"
    with stopped(settings) as (ledger, _):
        assert recovery.restore_heads(settings, ledger) == newest
    assert [*heads(settings)] == [newest]
    assert database.execute("SELECT size FROM certledger.checkpoints") == [(newest,)]
    with serving(settings) as ledger:
        assert refusal(ledger) is None


def test_heads_that_the_database_has_lost_are_put_back_from_this_machine(
    settings: Settings, copy: Copy, database: Database
) -> None:
    before = database.execute("SELECT * FROM certledger.checkpoints ORDER BY size")
    assert len(before) > 1
    with stopped(settings) as (ledger, _), pytest.raises(NoHeadToRestore, match="every head that"):
        recovery.restore_heads(settings, ledger)
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.checkpoints DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM certledger.checkpoints")
    with stopped(settings) as (ledger, _):
        assert recovery.restore_heads(settings, ledger) == max(heads(settings))
    assert database.execute("SELECT * FROM certledger.checkpoints ORDER BY size") == before


def test_lost_heads_are_put_back_from_the_database(settings: Settings, copy: Copy) -> None:
    before = heads(settings)
    for size in before:
        next(settings.data_dir.glob(f"heads/*/{size}")).unlink()
    with serving(settings) as ledger:
        assert refusal(ledger) == "log_not_continued"
    with stopped(settings) as (ledger, _):
        assert recovery.restore_heads(settings, ledger) == max(before)
    assert heads(settings) == before
    with serving(settings) as ledger:
        assert refusal(ledger) is None
