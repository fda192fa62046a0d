"""The commands and logins of the last events: what is missing or altered, and what may change."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg2.errors
import pytest

from domain.service.ledger import Ledgers
from domain.service.tail_check import TailCheck
from domain.store.errors import LogDiffers
from domain.store.keys.login_keys import LoginKeys
from tests.support import tampering
from tests.support.actors import ASSISTANT, OPERATOR, REGISTRAR, REGULATOR, candidate
from tests.support.commands import (
    confirm_erasure,
    erase,
    fees,
    introduce_key,
    open_ledger,
    propose_erasure,
    register,
)
from tests.support.keys import LOGIN_KEY
from tests.support.ledgers import SECRETS, PostgresWorld, a_real_ledger, request_of, submit
from tests.support.postgres import Database

SET, DROP = "UPDATE", "DELETE FROM"  # apart, because no file may change the journal


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """A ledger with commands of staff and of three candidates with logins of their own."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(fees())
        for n in (1, 2, 3):
            world.do(register(n), candidate(n))
        yield world


@pytest.fixture
def tail(world: PostgresWorld) -> TailCheck:
    """A check that has compared everything once."""
    tail = TailCheck(world.ledger.journal)
    compare(world, tail)
    return tail


def end(world: PostgresWorld) -> int:
    return world.ledger.journal.head().position


def compare(world: PostgresWorld, tail: TailCheck) -> None:
    tail.compare(end(world))


def difference(world: PostgresWorld, tail: TailCheck) -> str:
    with pytest.raises(LogDiffers) as found:
        compare(world, tail)
    return str(found.value)


def pseudonym(world: PostgresWorld, position: int) -> str:
    """Who recorded an event."""
    [event] = world.ledger.journal.read(position - 1, 1)
    return str(event.parsed["actor"]["subject"])


# --- what is found --------------------------------------------------------------------------------

LAST = "(SELECT max(last_position) FROM certledger.commands)"
COMMAND_CASES = {
    "deleted": (f"{DROP} certledger.commands WHERE last_position = {LAST}", "no command recorded"),
    "with another receipt": (
        f"{SET} certledger.commands SET receipt = receipt || ' '::bytea "
        f"WHERE last_position = {LAST}",
        "the seal of the command of event",
    ),
    "with another key": (
        f"{SET} certledger.commands SET key = key || 'x' WHERE last_position = {LAST}",
        "the seal of the command of event",
    ),
    "for other events": (
        f"{SET} certledger.commands SET first_position = first_position - 1 "
        f"WHERE last_position = {LAST}",
        "which is of another one",
    ),
    "for no events": (
        f"{SET} certledger.commands SET first_position = NULL, last_position = NULL "
        f"WHERE last_position = {LAST}",
        "no command recorded",
    ),
}


@pytest.mark.parametrize(("statement", "what"), COMMAND_CASES.values(), ids=COMMAND_CASES)
def test_a_command_is_found(
    database: Database, world: PostgresWorld, tail: TailCheck, statement: str, what: str
) -> None:
    with tampering.superuser(database) as cursor:
        cursor.execute(statement)
    assert what in difference(world, tail)
    assert what in difference(world, TailCheck(world.ledger.journal)), "also by a fresh start"


def test_a_command_that_the_program_itself_could_insert_is_found(
    database: Database, world: PostgresWorld, tail: TailCheck
) -> None:
    with tampering.application_role(database) as cursor:
        cursor.execute(
            "INSERT INTO certledger.commands (ledger, principal, key, request_hash, command_id, "
            "first_position, last_position, receipt, seal, seal_key) SELECT ledger, 'mallory', "
            "key, request_hash, command_id, first_position, last_position, receipt, seal, "
            f"seal_key FROM certledger.commands WHERE last_position = {LAST}"
        )
    assert "the seal of the command" in difference(world, tail)
    assert "the seal of the command" in difference(world, TailCheck(world.ledger.journal))


def test_a_sealed_command_in_the_place_of_another_is_found(
    database: Database, world: PostgresWorld, tail: TailCheck
) -> None:
    size = end(world)
    with tampering.superuser(database) as cursor:
        cursor.execute(f"{DROP} certledger.commands WHERE last_position = {size}")
        cursor.execute(
            f"{SET} certledger.commands SET first_position = {size}, last_position = {size} "
            f"WHERE last_position = {size - 1}"
        )
    assert "which is of another one" in difference(world, tail)


LOGIN_CASES = {
    "deleted": (f"{DROP} certledger.logins WHERE pseudonym = %s", "is missing"),
    "with another mac": (
        f"{SET} certledger.logins SET mac = sha256(mac) WHERE pseudonym = %s",
        "the seal of the login of",
    ),
    "given to another": (
        f"{SET} certledger.logins SET pseudonym = repeat('f', 32) WHERE pseudonym = %s",
        "is missing",
    ),
}


@pytest.mark.parametrize("of", ["staff", "a candidate"])
@pytest.mark.parametrize(("statement", "what"), LOGIN_CASES.values(), ids=LOGIN_CASES)
def test_a_login_is_found(
    database: Database, world: PostgresWorld, tail: TailCheck, statement: str, what: str, of: str
) -> None:
    actor = pseudonym(world, 1 if of == "staff" else end(world))
    with tampering.superuser(database) as cursor:
        cursor.execute(statement, (actor,))
    assert what in difference(world, tail)
    assert what in difference(world, TailCheck(world.ledger.journal)), "also by a fresh start"


def test_a_login_that_the_program_itself_could_insert_is_found(
    database: Database, world: PostgresWorld, tail: TailCheck
) -> None:
    """Another login would act as this member of staff."""
    with tampering.application_role(database) as cursor:
        cursor.execute(
            "INSERT INTO certledger.logins SELECT ledger, '00000000.1', sha256(mac), pseudonym, "
            "seal, seal_key FROM certledger.logins WHERE pseudonym = %s",
            (pseudonym(world, 1),),
        )
    assert "the seal of the login of" in difference(world, tail)


# --- what may change ------------------------------------------------------------------------------


def test_what_is_recorded_meanwhile_is_compared_once_and_then_with_its_hash(
    world: PostgresWorld, tail: TailCheck
) -> None:
    for n in (4, 5):
        world.do(register(n), candidate(n))
        compare(world, tail)
        compare(world, tail)


def test_the_login_of_an_erased_candidate_may_be_gone(
    database: Database, world: PostgresWorld, tail: TailCheck
) -> None:
    erased = pseudonym(world, end(world))
    erase(world, 3)
    assert not database.execute("SELECT FROM certledger.logins WHERE pseudonym = %s", erased)
    compare(world, tail)
    compare(world, tail)
    compare(world, TailCheck(world.ledger.journal))


def test_the_login_of_somebody_else_may_not_go_with_an_erasure(
    database: Database, world: PostgresWorld, tail: TailCheck
) -> None:
    """The claim says that the erasure ended it, and the events do not."""
    other = pseudonym(world, end(world) - 1)
    erase(world, 3)
    with tampering.superuser(database) as cursor:
        cursor.execute("ALTER TABLE certledger.claims DISABLE TRIGGER ALL")
        cursor.execute(
            f"{SET} certledger.claims SET released_position = %s WHERE key = %s",
            (end(world), other),
        )
        cursor.execute(f"{DROP} certledger.logins WHERE pseudonym = %s", (other,))
    assert "is missing" in difference(world, tail)


@pytest.mark.parametrize("sender", [None, "certledger/import"])
def test_the_login_of_staff_may_not_go_with_the_erasure_of_their_own_data(
    database: Database, world: PostgresWorld, tail: TailCheck, sender: str | None
) -> None:
    """Whether they sent their command or it was imported: a fact names them as staff."""
    command = register(4, subject=ASSISTANT.subject)
    world.ledger.submit(
        command,
        ASSISTANT,
        key="own",
        request=request_of(command),
        principal=sender,
        occurred_at=world.now,
    ).result(timeout=20)
    acted = pseudonym(world, end(world))
    erase(world, 4)
    compare(world, tail)
    with tampering.superuser(database) as cursor:
        cursor.execute(f"{DROP} certledger.logins WHERE pseudonym = %s", (acted,))
    assert "is missing" in difference(world, tail)


def test_a_login_gets_another_row_when_its_key_is_changed_and_keeps_the_first(
    database: Database, world: PostgresWorld, tail: TailCheck
) -> None:
    keys = LoginKeys(bytes(32), [LOGIN_KEY])
    ledgers = Ledgers(world.ledger.journal.dsn, replace(SECRETS, login_keys=keys))
    submit(ledgers.get("omc"), introduce_key("0a0b0c0d"), OPERATOR, key="rotated")
    ledgers.close()
    actor = pseudonym(world, 1)
    count = "SELECT count(*) FROM certledger.logins WHERE pseudonym = %s"
    assert database.execute(count, actor) == [(2,)]
    compare(world, tail)
    compare(world, tail)
    with tampering.superuser(database) as cursor:
        cursor.execute(
            f"{DROP} certledger.logins WHERE ctid = "
            "(SELECT min(ctid) FROM certledger.logins WHERE pseudonym = %s)",
            (actor,),
        )
    assert "is missing" in difference(world, tail)


def test_only_the_tail_is_compared(database: Database, world: PostgresWorld) -> None:
    tail = TailCheck(world.ledger.journal, events=2)
    compare(world, tail)
    with tampering.superuser(database) as cursor:
        cursor.execute(f"{DROP} certledger.commands WHERE last_position <= %s", (end(world) - 2,))
        cursor.execute(f"{DROP} certledger.logins WHERE pseudonym = %s", (pseudonym(world, 1),))
    compare(world, tail)
    world.do(register(4), candidate(4))
    compare(world, tail)
    for n in (5, 6, 7):  # more than the tail
        world.do(register(n), candidate(n))
    compare(world, tail)
    with tampering.superuser(database) as cursor:
        cursor.execute(f"{DROP} certledger.commands WHERE last_position = %s", (end(world) - 1,))
    assert "no command recorded event" in difference(world, tail)


def test_a_check_that_was_broken_off_does_not_hinder_the_next(
    database: Database, world: PostgresWorld
) -> None:
    tail = TailCheck(world.ledger.journal, events=2)
    database.execute("REVOKE SELECT ON certledger.logins FROM certledger_app")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        compare(world, tail)
    database.execute("GRANT SELECT ON certledger.logins TO certledger_app")
    for n in (4, 5, 6):  # more than the tail
        world.do(register(n), candidate(n))
    compare(world, tail)
    compare(world, tail)


def test_what_is_being_recorded_and_erased_at_that_moment_is_no_difference(
    world: PostgresWorld,
) -> None:
    """Compared without a pause, while four threads record commands and erase what they recorded."""
    tail = TailCheck(world.ledger.journal, events=12)

    def record(begin: int) -> None:
        for n in range(begin, begin + 15):
            submit(world.ledger, register(n), candidate(n), key=f"r{n}")
            if n % 2:
                submit(world.ledger, propose_erasure(n), REGISTRAR, key=f"p{n}")
                submit(world.ledger, confirm_erasure(n), REGULATOR, key=f"e{n}")

    compared = 0
    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(record, begin) for begin in (100, 200, 300, 400)]
        while not all(each.done() for each in writing):
            compare(world, tail)
            compared += 1
    for each in writing:
        each.result()
    compare(world, tail)
    assert compared > 10
    assert end(world) > 90
