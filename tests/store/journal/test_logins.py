"""The table of logins: rows are sealed, never changed, and deleted by an erasure only.

Covers: domain/store/journal/logins.py, domain/store/keys/login_keys.py
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import psycopg2.errors
import pytest

from domain.store.errors import SealBroken
from domain.store.journal.journal import Journal
from domain.store.journal.logins import LoginRow, new_pseudonym, sealed_row
from domain.store.journal.records import AppendRequest
from domain.store.journal.statements import ReadRequest
from domain.store.keys.login_keys import LoginKeys
from domain.store.postgres.migrate import migrate
from domain.store.privacy.index_ciphers import IndexCipher, index_cipher_key
from domain.values.key_ids import symmetric_key_id
from tests.store.drafts import draft
from tests.support import tampering
from tests.support.epochs import epoch
from tests.support.keys import LOGIN_KEY, SEALER, journal_of
from tests.support.postgres import Database

KEYS = LoginKeys(LOGIN_KEY)


@pytest.fixture
def journal(database: Database) -> Iterator[Journal]:
    migrate(database.dsn)
    journal = journal_of(database.dsn)
    journal.create_ledger()
    journal.change(
        "INSERT INTO certledger.epochs (epoch, key_id, ends_at, made_at) "
        "VALUES (1, '00000000', now(), now())"
    )
    yield journal
    journal.close()


def row(login: str, keys: LoginKeys = KEYS) -> LoginRow:
    [name, *_] = keys.names("omc", login)
    stored = IndexCipher(index_cipher_key(epoch())).login(name)
    return sealed_row(stored, new_pseudonym(), SEALER.of("omc"))


ERASED = "erasure_confirmed.v1"


def append(journal: Journal, version: int, **changes: object) -> None:
    with journal.transaction() as transaction:
        transaction.append([AppendRequest(events=(draft("thing-1", version=version),), **changes)])


def erase(journal: Journal, version: int, login: LoginRow) -> None:
    """Record the erasure of the person of a login."""
    request = AppendRequest(
        events=(draft("thing-1", version=version, topic=ERASED),),
        releases=(("person_login", login.pseudonym),),
        forget_logins=(login.pseudonym,),
    )
    with journal.transaction() as transaction:
        transaction.append([request])


# --- names ----------------------------------------------------------------------------------------


def test_a_name_is_under_one_key_for_one_ledger_and_every_spelling() -> None:
    [name] = KEYS.names("omc", "Li Lei")
    assert name.key_id == symmetric_key_id("login", LOGIN_KEY)
    assert KEYS.names("omc", "lilei") == (name,)
    assert KEYS.names("omc", "lilai") != (name,)
    assert KEYS.names("other", "lilei") != (name,)


def test_the_name_under_the_active_key_comes_first() -> None:
    new = LoginKeys(bytes(32), [LOGIN_KEY])
    names = new.names("omc", "li")
    assert [name.key_id for name in names] == [
        symmetric_key_id("login", key) for key in (bytes(32), LOGIN_KEY)
    ]
    assert names[1] == KEYS.names("omc", "li")[0]


def test_a_key_of_another_length_is_refused_and_none_is_printed() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        LoginKeys(b"short")
    assert LOGIN_KEY.hex() not in repr(KEYS)
    assert str(LOGIN_KEY) not in repr(KEYS)


# --- rows -----------------------------------------------------------------------------------------


def test_a_row_is_recorded_with_its_event_and_read_with_everything_else(journal: Journal) -> None:
    li = row("li")
    append(journal, 1, fresh_logins=(li,))
    assert journal.logins([li.name]) == [li]
    with journal.transaction(ReadRequest(logins=(li.name,))) as transaction:
        assert transaction.login(li.name) == li
        assert transaction.login(row("wu").name) is None


def test_no_row_is_recorded_without_an_event(journal: Journal) -> None:
    with pytest.raises(ValueError, match="with an event"), journal.transaction() as transaction:
        transaction.accept(AppendRequest(fresh_logins=(row("li"),)))


def test_a_later_append_of_the_batch_finds_the_row_of_an_earlier_one(journal: Journal) -> None:
    li = row("li")
    with journal.transaction() as transaction:
        claim = ("person_login", li.pseudonym)
        transaction.accept(
            AppendRequest(
                events=(draft("thing-1", version=1),), fresh_logins=(li,), claims=(claim,)
            )
        )
        assert transaction.batch.login(li.name) == li
        erasure = draft("thing-1", version=2, topic=ERASED)
        transaction.accept(
            AppendRequest(events=(erasure,), releases=(claim,), forget_logins=(li.pseudonym,))
        )
        assert transaction.batch.login(li.name) is None
    assert journal.logins([li.name]) == []


def test_an_optimistic_batch_finds_the_row_of_the_batch_in_flight(journal: Journal) -> None:
    li = row("li")
    with journal.optimistic_batch(ReadRequest(), None) as first:
        first.batch.accept(AppendRequest(events=(draft("thing-1", version=1),), fresh_logins=(li,)))
    with journal.optimistic_batch(ReadRequest(), first.batch) as second:
        assert second.batch.login(li.name) == li


def test_an_erasure_deletes_the_row(journal: Journal) -> None:
    li, wu = row("li"), row("wu")
    append(journal, 1, fresh_logins=(li, wu), claims=(("person_login", li.pseudonym),))
    erase(journal, 2, li)
    assert journal.logins([li.name, wu.name]) == [wu]


FORGED = {
    "another pseudonym": "pseudonym = '" + "f" * 32 + "' WHERE pseudonym = %(li)s",
    "another login": "mac = decode(repeat('ab', 32), 'hex') WHERE pseudonym = %(li)s",
    "another key": "key_id = '00000000.1' WHERE pseudonym = %(li)s",
    "another ledger": "ledger = 'other' WHERE pseudonym = %(li)s",
    "an unknown journal key": "seal_key = '00000000' WHERE pseudonym = %(li)s",
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_row_has_no_right_seal(journal: Journal, database: Database, change: str) -> None:
    li = row("li")
    append(journal, 1, fresh_logins=(li,))
    with tampering.superuser(database) as cursor:
        cursor.execute(f"UPDATE certledger.logins SET {change}", {"li": li.pseudonym})
        cursor.execute("SELECT ledger, key_id, mac FROM certledger.logins")
        ledger, key_id, mac = cursor.fetchone()  # type: ignore[misc]
    name = type(li.name)(key_id, bytes(mac))
    reader = journal_of(database.dsn, ledger)
    reader.create_ledger()
    with pytest.raises(SealBroken, match="login"):
        reader.logins([name])
    with reader.transaction(ReadRequest(logins=(name,))) as transaction:
        with pytest.raises(SealBroken, match="login"):
            transaction.login(name)
        assert transaction.login(row("wu").name) is None, "others are not affected"
    reader.close()


def test_exchanged_pseudonyms_are_refused(journal: Journal, database: Database) -> None:
    li, wu = row("li"), row("wu")
    append(journal, 1, fresh_logins=(li, wu))
    with tampering.superuser(database) as cursor:
        for old, new in ((li, "f" * 32), (wu, li.pseudonym)):
            cursor.execute(
                "UPDATE certledger.logins SET pseudonym = %s WHERE pseudonym = %s",
                (new, old.pseudonym),
            )
    for each in (li, wu):
        with pytest.raises(SealBroken):
            journal.logins([each.name])


# --- rights ---------------------------------------------------------------------------------------

ATTEMPTS = {
    "change": "UPDATE certledger.logins SET pseudonym = repeat('0', 32)",
    "delete": "DELETE FROM certledger.logins",
    "truncate": "TRUNCATE certledger.logins",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_the_application_role_may_insert_and_read_only(
    journal: Journal, database: Database, attempt: str
) -> None:
    append(journal, 1, fresh_logins=(row("li"),))
    with (
        tampering.application_role(database) as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT set_config('certledger.erasing', 'on', false)")
        cursor.execute(attempt)


def test_the_application_role_forgets_nobody_whose_claim_on_their_login_is_live(
    journal: Journal, database: Database
) -> None:
    li = row("li")
    append(journal, 1, fresh_logins=(li,), claims=(("person_login", li.pseudonym),))
    with (
        tampering.application_role(database) as cursor,
        pytest.raises(psycopg2.errors.RestrictViolation, match="was not erased"),
    ):
        cursor.execute("SELECT certledger.forget_logins('omc', %s)", ([li.pseudonym],))
    assert journal.logins([li.name]) == [li]
    erase(journal, 2, li)
    assert journal.logins([li.name]) == []


def test_a_claim_that_no_erasure_released_forgets_nobody(
    journal: Journal, database: Database
) -> None:
    """The application role may release a claim; it may not forget the login by that."""
    li = row("li")
    append(journal, 1, fresh_logins=(li,), claims=(("person_login", li.pseudonym),))
    with tampering.application_role(database) as cursor:
        cursor.execute("UPDATE certledger.claims SET released_position = 1")
        with pytest.raises(psycopg2.errors.RestrictViolation, match="was not erased"):
            cursor.execute("SELECT certledger.forget_logins('omc', %s)", ([li.pseudonym],))
    assert journal.logins([li.name]) == [li]


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_the_owner_is_kept_from_a_slip(journal: Journal, database: Database, attempt: str) -> None:
    append(journal, 1, fresh_logins=(row("li"),))
    with (
        database.connect() as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.RestrictViolation),
    ):
        cursor.execute(attempt)
