"""The use cases on PostgreSQL: each command is recorded once and in order."""

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import pytest

from domain.decision import NotFound
from domain.events import Item
from domain.service.command_execution import OccurredTooEarly
from domain.service.ledger import Ledgers, OccurredInFuture
from domain.service.receipt import Receipt
from domain.service.snapshots import INTERVAL
from domain.steps import payment
from domain.store.errors import IdempotencyKeyReused, InvalidLedgerName, ReservedLedgerName
from domain.values.primitives import RESERVED_LEDGERS
from tests.support import journeys
from tests.support.actors import ASSISTANT, OPERATOR, candidate
from tests.support.commands import (
    apply_for,
    correct_person,
    erase,
    introduce_key,
    open_ledger,
    register,
    set_fees,
    use,
)
from tests.support.ledgers import (
    SECRETS,
    SITE_CODE,
    PostgresWorld,
    a_real_ledger,
    in_pseudonyms,
    open_ledgers,
    request_of,
    submit,
)
from tests.support.postgres import Database


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """A ledger that is set up, with a fee schedule."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        set_fees(world)
        yield world


@pytest.mark.parametrize("name", sorted(RESERVED_LEDGERS))
def test_no_ledger_of_an_organisation_has_a_reserved_name(database: Database, name: str) -> None:
    with open_ledgers(database) as ledgers, pytest.raises(ReservedLedgerName):
        ledgers.create(name, SITE_CODE)


@pytest.mark.parametrize("name", ["o", "omc_2", "omc.2", "2omc", "a" * 32, "omc\n", "Omc"])
def test_a_ledger_that_no_address_and_no_link_could_name_is_not_made(
    database: Database, name: str
) -> None:
    with open_ledgers(database) as ledgers:
        with pytest.raises(InvalidLedgerName):
            ledgers.create(name, SITE_CODE)
        assert not ledgers.names()


def test_a_receipt_names_the_positions_of_its_facts(world: PostgresWorld) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    recorded = world.ledger.journal.read(receipt.first_position - 1, 10)
    assert [r.topic for r in recorded] == list(receipt.topics)
    assert receipt.topics == ("person_registered.v1", "actor_named.v1")
    assert (receipt.stream, receipt.version) == ("person-P1", 1)


def test_a_repeated_request_gets_the_first_receipt_and_records_nothing(
    world: PostgresWorld,
) -> None:
    first = submit(world.ledger, register(1), ASSISTANT, key="once")
    again = submit(world.ledger, register(1), ASSISTANT, key="once")
    assert again.replayed
    assert not first.replayed
    assert again.to_bytes() == first.to_bytes()
    assert world.ledger.journal.head().position == first.last_position


def test_the_same_key_with_another_request_is_refused(world: PostgresWorld) -> None:
    submit(world.ledger, register(1), ASSISTANT, key="once")
    with pytest.raises(IdempotencyKeyReused):
        submit(world.ledger, register(2), ASSISTANT, key="once")


def test_a_refused_command_does_not_affect_others_of_its_batch(world: PostgresWorld) -> None:
    commands = [register(n) for n in (1, 2, 1, 3)]
    answers: list[Future[Receipt]] = [
        world.ledger.submit(c, ASSISTANT, key=f"b{i}", request=request_of(c))
        for i, c in enumerate(commands)
    ]
    errors = [answer.exception(timeout=20) for answer in answers]
    assert [error is None for error in errors] == [True, True, False, True]
    recorded = world.ledger.journal.read(0, 20, ("person_registered.v1",))
    assert [event.data["person_id"] for event in recorded] == ["P1", "P2", "P3"]


def test_a_person_is_registered_once_even_under_another_id(world: PostgresWorld) -> None:
    world.do(register(1), by=ASSISTANT)
    again = world.do(register(1, person_id="P2", subject=None), by=ASSISTANT)
    assert (again.topics, again.outcome) == (("person_recognised.v1",), {"person_id": "P1"})


def test_a_whole_journey_ends_in_the_same_states_as_in_memory(database: Database) -> None:
    with a_real_ledger(database) as real:
        pattern = journeys.a_held_session(2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journeys, "World", lambda: real)
            journeys.a_held_session(2)
        for stream, state in pattern.states.items():
            kind, _, key = stream.partition("-")
            assert real.ledger.state(kind, key or None) == _as_named(real, state)


def _as_named(real: PostgresWorld, state: object) -> object:
    # In memory logins have no pseudonyms.
    return in_pseudonyms(real.ledger, state)


def test_an_earlier_occurrence_is_recorded_unless_its_stream_has_a_later_one(
    world: PostgresWorld,
) -> None:
    noon = datetime(2026, 5, 1, 4, 0, tzinfo=UTC)
    world.do(register(1), by=ASSISTANT, at=noon)
    with pytest.raises(OccurredTooEarly):
        world.do(correct_person(1), at=noon - timedelta(days=1))
    entry = world.ledger.history("person-P1")[0]
    assert entry.occurred_at == noon
    assert entry.recorded_at is not None
    assert entry.recorded_at > noon


def test_an_occurrence_in_the_future_is_refused(world: PostgresWorld) -> None:
    with pytest.raises(OccurredInFuture):
        world.do(register(1), by=ASSISTANT, at=datetime.now(UTC) + timedelta(hours=1))


def test_personal_data_is_sealed_in_the_journal_and_open_to_the_ledger(
    world: PostgresWorld,
) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    recorded = world.ledger.journal.read(receipt.first_position - 1, 1)[0]
    name = world.ledger.identity("P1").name
    assert name.encode() not in recorded.envelope
    assert set(recorded.data["name"]) == {"key", "sealed"}


def test_erasure_makes_data_unreadable_and_keeps_the_bytes(world: PostgresWorld) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    before = world.ledger.journal.read(receipt.first_position - 1, 1)[0]
    erase(world)
    with pytest.raises(NotFound):
        world.ledger.identity("P1")
    after = world.ledger.journal.read(receipt.first_position - 1, 1)[0]
    assert (after.envelope, after.leaf_hash) == (before.envelope, before.leaf_hash)


def test_a_reopened_ledger_has_the_states_of_the_last_one(database: Database) -> None:
    with a_real_ledger(database) as world:
        journeys.an_eligible_application(1, _opened(world))
        before = world.ledger.state("application", "A1")
    with open_ledgers(database) as ledgers:
        assert ledgers.get("omc").state("application", "A1") == before


def _opened(world: PostgresWorld) -> PostgresWorld:
    world.do(open_ledger())
    set_fees(world)
    return world


def test_two_processes_with_the_same_ledger_read_each_others_facts(database: Database) -> None:
    with a_real_ledger(database) as world:
        journeys.a_paid_application(1, _opened(world))
        other = Ledgers(database.dsn, SECRETS)
        try:
            second = other.get("omc")
            submit(second, use(Item.HANDBOOK, 1), candidate(1), key="other-process")
            with pytest.raises(payment.ItemUsedUp):
                world.do(use(Item.HANDBOOK, 1), by=candidate(1), at=datetime.now(UTC))
        finally:
            other.close()


def test_a_long_stream_is_read_from_its_last_snapshot(
    world: PostgresWorld, database: Database
) -> None:
    for n in range(INTERVAL):
        submit(world.ledger, introduce_key(f"{n:08x}"), OPERATOR, key=f"key{n}")
    world.ledger.close()
    rows = database.execute("SELECT stream, version FROM certledger.snapshots")
    assert rows == [("ledger", INTERVAL)]
    with pytest.MonkeyPatch.context() as patch:
        reread = Ledgers(world.ledger.journal.dsn, SECRETS)
        ledger = reread.get("omc")
        read_after: list[int | None] = []
        stream = ledger.journal.stream

        def spy(name: str, gt: int | None = None, *rest: object, **named: object) -> object:
            read_after.append(gt)
            return stream(name, gt, *rest, **named)  # type: ignore[arg-type]

        patch.setattr(ledger.journal, "stream", spy)
        assert ledger.state("ledger").version == INTERVAL + 1
        assert read_after == [INTERVAL]
        reread.close()


def test_an_unknown_application_is_not_found(world: PostgresWorld) -> None:
    with pytest.raises(NotFound):
        world.ledger.state("application", "A404")
    with pytest.raises(NotFound):
        world.do(apply_for(1, person_id="P404"), by=candidate(1))
