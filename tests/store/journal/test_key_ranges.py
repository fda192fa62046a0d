"""A journal key is good for the positions that the ledger's own facts give it.

Covers: domain/store/journal/key_ranges.py
"""

from collections.abc import Iterator

import pytest

from domain import events as e
from domain.store.errors import SealBroken, WrongServiceKey
from domain.store.journal.journal import Journal
from domain.store.journal.key_ranges import KEY_INTRODUCED, KEY_RETIRED
from domain.store.journal.records import AppendRequest
from domain.store.keys.seals import Sealer, SealRange, seal_key
from tests.store.drafts import append, draft
from tests.support import tampering
from tests.support.postgres import Database

OLD, NEW = seal_key(bytes(range(32))), seal_key(bytes(range(100, 132)))


def under(dsn: str, *keys) -> Journal:
    """A journal whose first key seals."""
    return Journal(dsn, "omc", Sealer(keys[0], keys[1:]).of("omc"))


def write(journal: Journal, *requests: AppendRequest) -> None:
    with journal.transaction() as transaction:
        transaction.append(list(requests))


def introduced(key, version: int) -> AppendRequest:
    data = {"purpose": "journal", "key_id": key.id, "algorithm": "hmac-sha256"}
    return AppendRequest((draft("ledger", version, KEY_INTRODUCED, **data),))


def retired(key, version: int) -> AppendRequest:
    data = {"purpose": "journal", "key_id": key.id, "reason": "rotation"}
    return AppendRequest((draft("ledger", version, KEY_RETIRED, **data),))


@pytest.fixture
def rotated(journal: Journal) -> Iterator[str]:
    """Opened at 1 under OLD, which names itself at 2; NEW from 4 on, OLD retired at 6, then 7."""
    dsn = journal.dsn
    opened = AppendRequest((draft("ledger", 1, "ledger_opened.v1"),))
    before = under(dsn, OLD)
    write(before, opened, introduced(OLD, 2))
    write(before, append("a", 1))
    write(before, introduced(NEW, 3))
    before.close()
    after = under(dsn, NEW, OLD)
    write(after, append("a", 2))
    write(after, retired(OLD, 4))
    write(after, append("a", 3))
    after.close()
    yield dsn


def test_the_topics_are_those_of_the_catalogue() -> None:
    assert (e.KeyIntroduced.TOPIC, e.KeyRetired.TOPIC) == (KEY_INTRODUCED, KEY_RETIRED)
    assert e.KeyIntroduced.STREAM == e.KeyRetired.STREAM == "ledger"
    assert e.KeyPurpose.JOURNAL == "journal"


def test_a_key_holds_from_its_introduction_up_to_its_retirement(rotated: str) -> None:
    journal = under(rotated, NEW, OLD)
    assert [event.seal_key for event in journal.events()] == [OLD.id] * 4 + [NEW.id] * 3
    assert journal.sealer is not None
    assert journal.sealer.ranges == (SealRange(OLD.id, 1, 6), SealRange(NEW.id, 4, None))
    journal.close()


def test_without_the_retired_key_what_it_sealed_cannot_be_read(rotated: str) -> None:
    journal = under(rotated, NEW)
    with pytest.raises(SealBroken, match="position 1 "):
        journal.read(0, 10)
    journal.close()


def test_a_retired_key_seals_nothing_more(rotated: str) -> None:
    journal = under(rotated, OLD, NEW)
    with pytest.raises(WrongServiceKey, match=f"wrong_key:journal.*{NEW.id}.*{OLD.id}"):
        write(journal, append("a", 4))
    journal.close()


def test_a_service_that_runs_on_with_the_old_key_stops_when_it_is_retired(
    journal: Journal,
) -> None:
    running = under(journal.dsn, OLD, NEW)
    write(running, AppendRequest((draft("ledger", 1, "ledger_opened.v1"),)), introduced(OLD, 2))
    write(running, introduced(NEW, 3))
    write(running, append("a", 1))
    write(running, retired(OLD, 4))
    with pytest.raises(WrongServiceKey):
        write(running, append("a", 2))
    running.close()


def test_a_seal_under_a_retired_key_is_good_up_to_the_retirement_only(
    rotated: str, database: Database
) -> None:
    leaf = bytes(
        database.execute("SELECT leaf_hash FROM certledger.journal WHERE position = 7")[0][0]
    )
    old = Sealer(OLD).of("omc")
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.journal SET seal = %s, seal_key = %s WHERE position = 7",
            (old.event(7, leaf), OLD.id),
        )
    journal = under(rotated, NEW, OLD)
    assert len(journal.read(0, 6)) == 6
    with pytest.raises(SealBroken, match="position 7 "):
        journal.read(0, 10)
    journal.close()


def test_a_reader_learns_of_a_retirement_from_the_events_it_reads(journal: Journal) -> None:
    writer, reader = under(journal.dsn, OLD, NEW), under(journal.dsn, NEW, OLD)
    write(writer, AppendRequest((draft("ledger", 1, "ledger_opened.v1"),)), introduced(OLD, 2))
    write(writer, introduced(NEW, 3))
    assert len(reader.read(0, 10)) == 3
    assert reader.sealer is not None
    assert reader.sealer.ranges == (SealRange(OLD.id, 1, None), SealRange(NEW.id, 3, None))
    write(writer, retired(OLD, 4))
    assert len(reader.read(3, 10)) == 1
    assert reader.sealer.ranges == (SealRange(OLD.id, 1, 4), SealRange(NEW.id, 3, None))
    writer.close()
    reader.close()


@pytest.mark.parametrize("position", [2, 4, 6])
def test_a_forged_fact_about_keys_gives_no_ranges(
    rotated: str, database: Database, position: int
) -> None:
    with tampering.superuser(database) as cursor:
        tampering.alter(cursor, position, key_id="00000000")
    journal = under(rotated, NEW, OLD)
    with pytest.raises(SealBroken, match=f"position {position} "):
        _ = journal.sealer
    journal.close()


def test_a_removed_retirement_is_noticed(rotated: str, database: Database) -> None:
    write(under(rotated, NEW, OLD), AppendRequest((draft("ledger", 5, "edition_adopted.v1"),)))
    with tampering.superuser(database) as cursor:
        tampering.delete(cursor, 6)
    journal = under(rotated, NEW, OLD)
    with pytest.raises(SealBroken):
        _ = journal.sealer
    journal.close()


def test_a_ledger_without_facts_about_keys_accepts_every_known_key(journal: Journal) -> None:
    before, after = under(journal.dsn, OLD), under(journal.dsn, NEW, OLD)
    write(before, append("a", 1))
    write(after, append("a", 2))
    assert [event.seal_key for event in after.events()] == [OLD.id, NEW.id]
    assert after.sealer is not None
    assert after.sealer.ranges is None
    before.close()
    after.close()
