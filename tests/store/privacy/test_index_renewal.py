"""Stored indexes and logins come under the next epoch, and the last one ends without them.

Covers: domain/store/privacy/index_renewal.py, domain/store/privacy/live_epochs.py,
domain/store/postgres/migrations/0018_renew_logins.sql
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from domain.store.errors import WrongEpochKey
from domain.store.journal.logins import LoginRow, sealed_row
from domain.store.keys.login_keys import LoginKeys
from domain.store.postgres.connection import connect
from domain.store.privacy.bucket_keys import add_epoch
from domain.store.privacy.index_ciphers import IndexCipher, LiveIndexCiphers, StoredIndexes
from domain.store.privacy.key_renewal import REST, KeyRenewal
from domain.store.privacy.live_epochs import SETTLED_SECONDS, LiveEpochs, live_epochs_of
from tests.store.drafts import append
from tests.store.wrapped_keys import Safe, files_of
from tests.support import tampering
from tests.support.keys import LOGIN_KEY, SEALER
from tests.support.postgres import Database
from tests.support.waiting import wait_until

DAY = timedelta(days=1)
ROWS = "SELECT kind, index, person_id FROM certledger.person_claims ORDER BY kind, person_id"
LOGINS = "SELECT key_id, mac, pseudonym, seal, seal_key FROM certledger.logins ORDER BY pseudonym"
KEYS = LoginKeys(LOGIN_KEY)
PSEUDONYMS = {"li": "1" * 32, "wu": "2" * 32}


def epochs_of(safe: Safe) -> LiveEpochs:
    return live_epochs_of(safe.journal.dsn, safe.keys)


def indexes_of(safe: Safe) -> StoredIndexes:
    return StoredIndexes(safe.vault(), LiveIndexCiphers(epochs_of(safe)))


def text(n: int) -> str:
    return f"cn18:{n}"


def fill(safe: Safe, persons: int = 5, *, is_sealed: bool = True) -> None:
    """Persons with documents, and two logins; each under the epoch to write under."""
    if is_sealed:
        safe.seal("p1")
    indexes, vault = indexes_of(safe), safe.vault()
    with safe.journal.transaction() as transaction:
        claims = tuple(
            (f"P{n}", (("document", indexes.stored(vault.blind_index("document", text(n)))),))
            for n in range(persons)
        )
        logins = tuple(login_row(indexes, login) for login in PSEUDONYMS)
        transaction.append([append("people", 1, person_claims=claims, fresh_logins=logins)])


def login_row(indexes: StoredIndexes, login: str) -> LoginRow:
    [name, *_] = indexes.logins(KEYS.names("omc", login))
    return sealed_row(name, PSEUDONYMS[login], SEALER.of("omc"))


def settle(database: Database, seconds: float = 3600) -> None:
    """Let the database think that every epoch began so many seconds ago."""
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.epochs SET made_at = clock_timestamp() - %s",
            (timedelta(seconds=seconds),),
        )


def found(safe: Safe) -> list[str | None]:
    """Whose each document and each login is."""
    indexes, vault, journal = indexes_of(safe), safe.vault(), safe.journal
    people: list[str | None] = []
    for n in range(5):
        forms = indexes.forms(vault.blind_index("document", text(n)))
        sql = "SELECT person_id FROM certledger.person_claims WHERE index = ANY(%s)"
        people += [person for (person,) in journal.query(sql, (list(forms),))]
    for login in PSEUDONYMS:
        rows = journal.logins(indexes.logins(KEYS.names("omc", login)))
        people += [row.pseudonym for row in rows]
    return people


EVERYBODY = [f"P{n}" for n in range(5)] + list(PSEUDONYMS.values())


def under(safe: Safe) -> set[str]:
    """The epochs that rows are under."""
    rows = [index.partition(":")[0] for _, index, _ in safe.rows(ROWS)]
    return {form.partition(".")[2] for form in (*rows, *(row[0] for row in safe.rows(LOGINS)))}


def test_everything_comes_under_the_next_epoch_before_the_last_one_ends(
    safe: Safe, database: Database
) -> None:
    fill(safe)
    end, before = safe.end(), safe.rows(ROWS)
    safe.round(end - DAY)
    assert under(safe) == {"1"}, "not before every process knows of it"
    settle(database)
    safe.round(end - DAY + REST)
    assert under(safe) == {"2"}
    assert found(safe) == EVERYBODY
    assert not {index for _, index, _ in before} & {index for _, index, _ in safe.rows(ROWS)}
    assert len(files_of(safe.keys)) == 2, "requests are still compared under the last one"
    safe.round(end)
    assert [name[:8] for name in files_of(safe.keys)] == ["epoch_2_"]
    assert found(safe) == EVERYBODY


def test_while_there_are_two_epochs_both_are_found(safe: Safe, database: Database) -> None:
    fill(safe)
    safe.round(safe.end() - DAY)
    assert found(safe) == EVERYBODY
    settle(database)
    with safe.journal.transaction() as transaction:
        vault, indexes = safe.vault(), indexes_of(safe)
        claims = (("P9", (("document", indexes.stored(vault.blind_index("document", "x"))),)),)
        transaction.append([append("later", 1, person_claims=claims)])
    assert under(safe) == {"1", "2"}
    assert found(safe) == EVERYBODY


def test_a_ledger_without_sealed_values_comes_under_the_next_epoch_too(
    safe: Safe, database: Database
) -> None:
    fill(safe, is_sealed=False)
    assert safe.rows("SELECT FROM certledger.bucket_keys") == []
    end = safe.end()
    safe.round(end - DAY)
    settle(database)
    assert safe.round(end)
    assert under(safe) == {"2"}
    assert [name[:8] for name in files_of(safe.keys)] == ["epoch_2_"]


def test_it_goes_on_where_it_was_interrupted(safe: Safe, database: Database) -> None:
    fill(safe)
    safe.round(safe.end() - DAY)
    settle(database)
    renewal = KeyRenewal(safe.keys, "aes-256-gcm", SEALER, page=2)
    taken = 0

    class Interrupted(Exception):
        pass

    def interrupt(self: IndexCipher, index: str) -> str:
        nonlocal taken
        taken += 1
        if taken == 4:
            raise Interrupted
        return encrypt(self, index)

    encrypt = IndexCipher.encrypt
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(IndexCipher, "encrypt", interrupt)
        safe.round(safe.end() - 30 * DAY, renewal)
    assert under(safe) == {"1", "2"}, "a page was renewed"
    assert found(safe) == EVERYBODY
    safe.round(safe.end() - 30 * DAY, renewal)
    assert under(safe) == {"2"}
    assert found(safe) == EVERYBODY


def test_an_epoch_that_a_view_is_under_is_not_ended(safe: Safe, database: Database) -> None:
    fill(safe)
    end = safe.end()
    in_use = {1}
    renewal = KeyRenewal(safe.keys, "aes-256-gcm", SEALER, in_use=lambda cursor: in_use)
    safe.round(end - DAY, renewal)
    settle(database)
    assert not safe.round(end, renewal), "something is left to be done"
    assert len(files_of(safe.keys)) == 2
    in_use.clear()
    assert safe.round(end, renewal)
    assert len(files_of(safe.keys)) == 1


def test_a_login_without_a_right_seal_stays_and_holds_its_epoch(
    safe: Safe, database: Database
) -> None:
    fill(safe)
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.logins SET seal = sha256(seal) WHERE pseudonym = %s",
            (PSEUDONYMS["wu"],),
        )
    end = safe.end()
    safe.round(end - DAY)
    settle(database)
    assert not safe.round(end)
    assert [row[0].partition(".")[2] for row in safe.rows(LOGINS)] == ["2", "1"]
    assert len(files_of(safe.keys)) == 2


def test_a_login_takes_no_place_of_another_pseudonym(safe: Safe, database: Database) -> None:
    """One of the two would be gone, and nobody could tell whose it was."""
    fill(safe)
    end = safe.end()
    safe.round(end - DAY)
    settle(database)
    with safe.journal.transaction() as transaction:
        name = login_row(indexes_of(safe), "li").name
        other = sealed_row(name, "9" * 32, SEALER.of("omc"))
        transaction.append([append("again", 1, fresh_logins=(other,))])
    assert not safe.round(end)
    assert [(row[0].partition(".")[2], row[2][0]) for row in safe.rows(LOGINS)] == [
        ("1", "1"),
        ("2", "2"),
        ("2", "9"),
    ]


@pytest.mark.parametrize(
    ("new_ids", "new_macs"),
    [
        (["{key}.1", "{key}.1"], [b"x", b"y"]),
        (["00000000.2", "00000000.2"], [b"x", b"y"]),
        (["{key}.2", "{key}.2"], [b"x", b"x"]),
    ],
)
def test_who_has_the_database_gives_no_login_another_name_or_the_same_as_another(
    safe: Safe, database: Database, new_ids: list[str], new_macs: list[bytes]
) -> None:
    fill(safe)
    safe.round(safe.end() - DAY)
    rows = safe.rows(LOGINS)
    key = rows[0][0].partition(".")[0]
    ids, macs, _, seals, _ = map(list, zip(*rows, strict=True))
    new_ids = [each.format(key=key) for each in new_ids]
    with (
        tampering.application_role(database) as cursor,
        pytest.raises(psycopg2.errors.RestrictViolation),
    ):
        cursor.execute(
            "SELECT certledger.renew_logins('omc', %s::text[], %s::bytea[], %s::text[], "
            "%s::bytea[], %s::bytea[], '00000000')",
            (ids, macs, new_ids, [each * 32 for each in new_macs], seals),
        )
    assert safe.rows(LOGINS) == rows


def mark_destroyed(database: Database) -> None:
    """What the application role may do to an epoch."""
    with tampering.application_role(database) as cursor:
        cursor.execute("UPDATE certledger.epochs SET destroyed_at = now() WHERE epoch = 1")


def test_who_has_the_database_cannot_have_a_key_destroyed_before_its_time(
    safe: Safe, database: Database
) -> None:
    """Afterwards no copy of the database would open anything."""
    fill(safe, is_sealed=False)
    end = safe.end()
    safe.round(end - DAY)
    with tampering.superuser(database) as cursor:
        cursor.execute("DELETE FROM certledger.logins")
    mark_destroyed(database)
    safe.round(end - DAY + REST)
    assert len(files_of(safe.keys)) == 2
    safe.round(end)
    assert [name[:8] for name in files_of(safe.keys)] == ["epoch_2_"]


def test_a_key_that_logins_are_under_is_not_destroyed(safe: Safe, database: Database) -> None:
    """Nobody has their texts, so that nothing brings them back."""
    fill(safe, is_sealed=False)
    end = safe.end()
    safe.round(end - DAY)
    mark_destroyed(database)
    safe.round(end)
    assert len(files_of(safe.keys)) == 2


def test_a_row_that_is_there_already_is_not_doubled(safe: Safe, database: Database) -> None:
    fill(safe)
    safe.round(safe.end() - DAY)
    settle(database)
    with safe.journal.transaction() as transaction:
        row = login_row(indexes_of(safe), "li")
        transaction.append([append("again", 1, fresh_logins=(row,))])
    assert len(safe.rows(LOGINS)) == 3
    safe.round(safe.end() - 29 * DAY)
    assert len(safe.rows(LOGINS)) == 2
    assert found(safe) == EVERYBODY


def test_nothing_is_written_under_an_epoch_that_is_over(safe: Safe, database: Database) -> None:
    """A process that was stopped meanwhile: nobody else would find its rows."""
    fill(safe)
    end, old = safe.end(), indexes_of(safe)
    index = safe.vault().blind_index("document", "late")
    late_login, late = login_row(old, "li"), old.stored(index)
    safe.round(end - DAY)
    settle(database)
    safe.round(end)
    for change in (
        {"person_claims": (("P9", (("document", late),)),)},
        {"fresh_logins": (late_login._replace(pseudonym="9" * 32),)},
    ):
        with (
            pytest.raises(psycopg2.errors.RestrictViolation, match="over"),
            safe.journal.transaction() as transaction,
        ):
            transaction.append([append("late", 1, **change)])


def test_an_epoch_does_not_end_while_somebody_writes_under_it(
    safe: Safe, database: Database
) -> None:
    fill(safe)
    end = safe.end()
    safe.round(end - DAY)
    settle(database)
    late = indexes_of(safe).forms(safe.vault().blind_index("document", "late"))[-1]
    safe.round(end - DAY)
    with (
        closing(connect(safe.journal.dsn, name="test")) as connection,
        connection.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        cursor.execute("BEGIN")
        cursor.execute(
            "INSERT INTO certledger.person_claims VALUES ('omc', 'document', %s, 'P9')", (late,)
        )
        ending = pool.submit(safe.round, end)
        wait_until(
            lambda: safe.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        )
        assert not ending.done()
        cursor.execute("COMMIT")
        assert ending.result(20)
    assert under(safe) == {"2"}
    assert "P9" in {person for _, _, person in safe.rows(ROWS)}, "it was brought over"
    assert len(files_of(safe.keys)) == 1


# --- which epochs there are ----------------------------------------------------------------------


def test_the_first_epoch_begins_when_it_is_first_needed(safe: Safe, database: Database) -> None:
    epochs = epochs_of(safe)
    assert epochs.writing.name.number == 1
    assert [name[:8] for name in files_of(safe.keys)] == ["epoch_1_"]
    assert epochs_of(safe).writing == epochs.writing


def test_a_new_epoch_is_written_under_when_every_process_knows_it(
    safe: Safe, database: Database
) -> None:
    fill(safe)
    safe.round(safe.end() - DAY)
    assert [epoch.name.number for epoch in epochs_of(safe).all] == [2, 1]
    for age, number in ((SETTLED_SECONDS - 5, 1), (SETTLED_SECONDS + 5, 2)):
        with tampering.superuser(database) as cursor:
            cursor.execute(
                "UPDATE certledger.epochs SET made_at = clock_timestamp() - %s WHERE epoch = 2",
                (timedelta(seconds=age),),
            )
        assert epochs_of(safe).writing.name.number == number


def test_a_clock_that_is_behind_makes_no_epoch_older(safe: Safe) -> None:
    """Others would write under it before every process knows it."""
    fill(safe)
    behind = datetime.now(UTC) - timedelta(hours=1)
    with closing(connect(safe.journal.dsn, name="test")) as connection:
        cursor = connection.cursor()
        add_epoch(cursor, safe.keys, epochs_of(safe).writing, behind)
    assert [epoch.name.number for epoch in epochs_of(safe).all] == [2, 1]
    assert epochs_of(safe).writing.name.number == 1


def test_an_epoch_whose_key_is_gone_is_none(safe: Safe, database: Database) -> None:
    fill(safe)
    safe.round(safe.end() - DAY)
    settle(database)
    for path in safe.keys.files():
        if path.name.startswith("epoch_1_"):
            path.unlink()
    epochs = epochs_of(safe)
    assert [epoch.name.number for epoch in epochs.all] == [2]
    assert epochs.key_of(1) is None
    for path in safe.keys.files():
        path.unlink()
    with pytest.raises(WrongEpochKey):
        _ = epochs_of(safe).all


def test_while_somebody_watches_nobody_else_waits_for_the_database(
    safe: Safe, database: Database
) -> None:
    fill(safe)
    asked = []

    def read() -> list[tuple[int, str, bool]]:
        asked.append(1)
        return safe.rows("SELECT epoch, key_id, true FROM certledger.epochs")  # type: ignore

    epochs = LiveEpochs(read, safe.keys)
    with epochs.watched():
        epochs._until = 0.0
        assert epochs.writing.name.number == 1
        assert len(asked) == 1
    assert epochs.writing.name.number == 1
    assert len(asked) == 2


def test_what_is_known_of_epochs_is_used_while_the_database_does_not_answer(safe: Safe) -> None:
    fill(safe)
    rows = safe.rows("SELECT epoch, key_id, true FROM certledger.epochs")
    answers: list[Any] = [rows]

    def read() -> list[tuple[int, str, bool]]:
        answer = answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    epochs = LiveEpochs(read, safe.keys)
    answers[0] = psycopg2.OperationalError("the server closed the connection")
    with pytest.raises(psycopg2.OperationalError):
        _ = epochs.writing
    answers[0] = rows
    assert epochs.writing.name.number == 1
    answers[0] = psycopg2.OperationalError("the server closed the connection")
    epochs._until = 0.0
    assert epochs.writing.name.number == 1
    with pytest.raises(psycopg2.OperationalError):
        epochs.refresh()
