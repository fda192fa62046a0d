"""On the day that was named, nothing opens what was erased; until then it is said to be open.

The attacker has every state that the tables ever had (a dump, the WAL, dead rows and a backup hold
no more), the master key, and whichever files of epochs there still are.

Covers: domain/store/privacy/key_renewal.py, domain/store/privacy/bucket_keys.py,
domain/store/journal/bucket_keys.py
"""

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.store.embedded.server import SUPERUSER
from domain.store.journal.bucket_keys import bucket_of
from domain.store.postgres.connection import connect
from domain.store.privacy.bucket_keys import CACHE_SECONDS
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.key_renewal import REST, KeyRenewal
from tests.store.facts import MASTER_KEYS
from tests.store.wrapped_keys import Attacker, Safe, files_of, same_bucket
from tests.support.keys import SEALER
from tests.support.postgres import Database

DAY = timedelta(days=1)

# --- the day that was named ----------------------------------------------------------------------


def test_on_the_named_day_nothing_opens_what_was_erased(safe: Safe) -> None:
    attacker = Attacker()
    sealed, neighbour = safe.seal("p1"), same_bucket("p1")
    others = {person: safe.seal(person, stream=person) for person in (neighbour, "p2")}
    attacker.dump(safe.journal)
    backup, backed_up_at = files_of(safe.keys), safe.now
    assert attacker.opens(sealed, files_of(safe.keys))

    named = safe.vault().unreadable_from(safe.now)
    safe.erase("p1")
    assert attacker.opens(sealed, files_of(safe.keys)), "until the epoch ends it is open"
    safe.finish(safe.now)  # the bucket's key is renewed
    attacker.dump(safe.journal)
    assert attacker.opens(sealed, files_of(safe.keys)), "until the epoch ends it is open"

    end = safe.end()
    safe.round(end - timedelta(seconds=1))
    assert attacker.opens(sealed, files_of(safe.keys)), "the epoch has not ended"
    safe.round(end)
    attacker.dump(safe.journal)
    safe.finish(end)
    attacker.dump(safe.journal)
    assert not attacker.opens(sealed, files_of(safe.keys))
    # A backup of the directories lasts for so many days.
    assert attacker.opens(sealed, backup)
    assert (backed_up_at + safe.keys.backup_days * DAY).date() <= named
    assert named == date.fromordinal((end + timedelta(hours=8)).date().toordinal() + 35)
    for person, value in others.items():
        assert safe.vault().open(person, 1, "/name", value) == person
        assert attacker.opens(value, files_of(safe.keys))
    assert safe.vault().open("a", 1, "/name", sealed) is None


def test_the_wrapped_key_of_somebody_erased_remains_in_the_files_of_the_database(
    safe: Safe, database: Database
) -> None:
    """Why the epoch's key has to go: nothing else can be destroyed for sure."""
    safe.seal("p1")
    [(wrapped,)] = safe.rows("SELECT wrapped FROM certledger.data_keys")
    safe.erase("p1")
    show = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
    [(folder,)] = database.execute(show, user=SUPERUSER)
    files = [path for path in Path(folder, "pg_wal").iterdir() if path.is_file()]
    half = len(wrapped) // 2
    halves = bytes(wrapped)[:half], bytes(wrapped)[half:]  # the end of a WAL page may part them
    assert any(part in path.read_bytes() for path in files for part in halves)


def test_an_erasure_while_an_epoch_is_over_and_not_ended_yet_waits_for_the_next(
    safe: Safe,
) -> None:
    attacker = Attacker()
    sealed = safe.seal("p1")
    attacker.dump(safe.journal)
    end = safe.end()
    named = safe.vault().unreadable_from(end + timedelta(hours=2))
    safe.finish(end)  # bucket keys are under the next epoch now
    attacker.dump(safe.journal)
    safe.erase("p1")
    assert attacker.opens(sealed, files_of(safe.keys))
    second = safe.end()
    safe.finish(second)
    attacker.dump(safe.journal)
    assert not attacker.opens(sealed, files_of(safe.keys))
    assert named == (second + timedelta(hours=8)).date() + 35 * DAY


@pytest.mark.parametrize("erased_first", [False, True])
def test_a_bucket_that_is_stale_when_its_epoch_ends_is_never_wrapped_by_the_next(
    safe: Safe, erased_first: bool
) -> None:
    """Whether or not a round came between erasure and end."""
    attacker = Attacker()
    sealed, neighbour = safe.seal("p1"), same_bucket("p1")
    kept = safe.seal(neighbour, stream="b")
    attacker.dump(safe.journal)
    safe.erase("p1")
    if erased_first:
        safe.round(safe.end() - 10 * DAY)
    end = safe.end()
    for hours in range(3):
        safe.round(end + timedelta(hours=hours))
        attacker.dump(safe.journal)
    assert not attacker.opens(sealed, files_of(safe.keys))
    assert safe.vault().open("b", 1, "/name", kept) == neighbour


def test_the_answer_counts_on_the_next_epoch_shortly_before_that_begins(safe: Safe) -> None:
    safe.seal("p1")
    end, vault = safe.end(), safe.vault()
    day = (end + timedelta(hours=8)).date()
    begins = end - DAY  # of the next one
    assert vault.unreadable_from(begins - timedelta(hours=1, seconds=1)) == day + 35 * DAY
    for late in (timedelta(hours=1), timedelta(0), -timedelta(days=29, hours=22)):
        assert vault.unreadable_from(begins - late) == day + 65 * DAY
    assert vault.unreadable_from(begins + timedelta(days=30)) == day + 95 * DAY


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 366),
    st.integers(0, 5_000),
)
def test_an_epoch_ends_at_midnight_in_shanghai_of_a_day_in_its_row(
    begin: datetime, days: int, later: int
) -> None:
    keys = EpochKeys(MASTER_KEYS, (Path("none"),), days)
    first = keys.end_after(None, begin)
    here = first + timedelta(hours=8)
    assert (here.hour, here.minute, here.second, here.microsecond) == (0, 0, 0, 0)
    assert timedelta(0) < first - begin <= days * DAY
    now = begin + later * timedelta(hours=7)
    second = keys.end_after(first, now)
    assert second > now
    assert (second - first) % (days * DAY) == timedelta(0)
    assert second == first or second - days * DAY <= now


# --- bucket keys ---------------------------------------------------------------------------------


def test_a_ledger_has_its_buckets_before_the_first_key_and_the_same_afterwards(safe: Safe) -> None:
    vaults = [safe.vault() for _ in range(2)]
    for vault in vaults:
        safe.seal(f"p{id(vault)}", vault)
    count = "SELECT count(*), count(DISTINCT bucket), max(generation) FROM certledger.bucket_keys"
    assert safe.rows(count) == [(1024, 1024, 1)]
    assert safe.rows("SELECT epoch, destroyed_at FROM certledger.epochs") == [(1, None)]


def test_owners_are_spread_over_the_buckets() -> None:
    counts = [0] * 1024
    for n in range(20_480):
        counts[bucket_of(f"person/{n:032x}")] += 1
    assert min(counts) >= 1
    assert max(counts) <= 60


def test_a_process_that_knows_an_older_generation_only_loses_nothing(safe: Safe) -> None:
    slow = safe.vault(cache_seconds=3600.0)
    neighbour = same_bucket("p1")
    sealed = {"p1": safe.seal("p1", slow)}
    safe.erase("p1")
    safe.round()  # the next generation
    sealed[neighbour] = safe.seal(neighbour, slow, neighbour)
    generations = "SELECT bucket_generation FROM certledger.data_keys WHERE wrapped IS NOT NULL"
    assert safe.rows(generations) == [(1,)]
    safe.round()
    assert safe.rows(generations) == [(2,)]
    safe.finish(safe.now)  # deletes the former one
    third = next(
        f"r{n}" for n in range(100_000) if bucket_of(f"person/r{n}") == bucket_of("person/p1")
    )
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        safe.seal(third, slow, third)
    slow.forget()
    sealed[third] = safe.seal(third, slow, third)
    for person in (neighbour, third):
        assert safe.vault().open(person, 1, "/name", sealed[person]) == person
    assert timedelta(seconds=CACHE_SECONDS) * 2 < REST


def test_a_bucket_is_wrapped_again_a_page_at_a_time(safe: Safe) -> None:
    bucket, people = bucket_of("person/p1"), ["p1"]
    number = 0
    while len(people) < 8:
        number += 1
        if bucket_of(f"person/q{number}") == bucket:
            people.append(f"q{number}")
    vault = safe.vault()
    sealed = {person: safe.seal(person, vault, person) for person in people}
    safe.erase("p1")
    assert not safe.round(renewal=KeyRenewal(safe.keys, "sm4-gcm", SEALER, page=2))
    moved = "SELECT DISTINCT bucket_generation FROM certledger.data_keys WHERE wrapped IS NOT NULL"
    assert safe.rows(moved) == [(2,)]
    for person in people[1:]:
        assert safe.vault().open(person, 1, "/name", sealed[person]) == person
        assert vault.open(person, 1, "/name", sealed[person]) == person


def test_a_vault_that_read_the_rows_before_an_epoch_ended_opens_afterwards(safe: Safe) -> None:
    vault = safe.vault(cache_seconds=3600.0)
    safe.seal("p1", vault)
    sealed = safe.seal("p2", stream="b")
    vault._buckets._keyed.clear()
    vault._buckets._keys.clear()
    vault._buckets._opened.clear()  # the rows are known, and no key was opened
    safe.finish(safe.end())
    assert vault.open("b", 1, "/name", sealed) == "p2"


class Interrupted(Exception):
    """The process was killed here."""


def interrupted(connection: Any, after: int) -> Any:
    """A connection of which every cursor fails after so many statements, before or after one."""

    left = count(after, -1)

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, *given: Any) -> None:
            if next(left) == 0:
                self.connection.close()
                raise Interrupted
            super().execute(*given)

    connection.cursor_factory = Cursor
    return connection


def test_a_round_that_is_interrupted_anywhere_loses_nothing(safe: Safe) -> None:
    attacker, neighbour = Attacker(), same_bucket("p1")
    sealed, kept = safe.seal("p1"), safe.seal(neighbour, stream="b")
    attacker.dump(safe.journal)
    safe.erase("p1")
    end, steps = safe.end(), 0
    for now in (end, end + 2 * REST):
        done = False
        while not done:
            connection = interrupted(connect(safe.journal.dsn, name="test"), steps % 40)
            with closing(connection):
                try:
                    safe.renewal.round(connection, now)
                    done = True
                except Interrupted:
                    steps += 1
            attacker.dump(safe.journal)
            assert safe.vault().open("b", 1, "/name", kept) == neighbour
    assert steps > 10
    assert safe.round(end + 3 * REST)
    assert not attacker.opens(sealed, files_of(safe.keys))
    [(number, key_id)] = safe.rows("SELECT epoch, key_id FROM certledger.epochs WHERE epoch = 2")
    assert f"epoch_{number}_{key_id}" in files_of(safe.keys)
    assert not [name for name in files_of(safe.keys) if name.startswith("epoch_1_")]


def test_of_two_processes_one_renews(safe: Safe) -> None:
    safe.seal("p1")
    safe.erase("p1")
    with closing(connect(safe.journal.dsn, name="test")) as first:
        assert not safe.renewal.round(first, safe.now)
        assert safe.round(safe.now + 2 * REST), "another process sees to it"
        assert safe.rows("SELECT count(*) FROM certledger.bucket_keys WHERE stale") == [(1,)]
        assert safe.renewal.round(first, safe.now + 2 * REST)
    assert safe.rows("SELECT count(*) FROM certledger.bucket_keys WHERE stale") == [(0,)]


def test_a_database_without_sealed_values_has_no_epoch(safe: Safe) -> None:
    assert safe.round()
    assert safe.rows("SELECT * FROM certledger.epochs") == []
    assert files_of(safe.keys) == {}
