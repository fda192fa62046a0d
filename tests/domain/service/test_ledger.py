"""The ledger on PostgreSQL: commands become facts once and in order."""

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import pytest
from eventsourcing.persistence import IntegrityError

from domain.decision import NotFound
from domain.events import Item
from domain.service.command_execution import OccurredTooEarly
from domain.service.ledger import Ledgers, OccurredInFuture, command_id_of
from domain.service.receipt import Receipt
from domain.service.snapshot_store import project
from domain.service.snapshots import INTERVAL
from domain.steps import enrolment, payment
from domain.store.errors import ClaimTaken, IdempotencyKeyReused
from domain.store.mapper import Entry
from tests.support import journeys
from tests.support.actors import ASSISTANT, OPERATOR, candidate
from tests.support.commands import apply_for, correct_person, fees, open_book, register, use
from tests.support.ledgers import SECRETS, RealWorld, a_real_ledger, digest, open_ledgers, submit
from tests.support.postgres import Database


@pytest.fixture
def world(database: Database) -> Iterator[RealWorld]:
    """A ledger whose book is open, with fees."""
    with a_real_ledger(database) as world:
        world.do(open_book())
        world.do(fees())
        yield world


def test_the_receipt_tells_where_the_facts_stand(world: RealWorld) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    recorded = world.ledger.journal.read(receipt.first_position - 1, 10)
    assert [r.topic for r in recorded] == list(receipt.topics) == ["person_registered.v1"]
    assert (receipt.stream, receipt.version) == ("person-P1", 1)


def test_the_same_request_again_gets_the_same_receipt_and_records_nothing(
    world: RealWorld,
) -> None:
    first = submit(world.ledger, register(1), ASSISTANT, key="once")
    again = submit(world.ledger, register(1), ASSISTANT, key="once")
    assert again.replayed
    assert not first.replayed
    assert again.to_bytes() == first.to_bytes()
    assert world.ledger.journal.head().position == first.last_position


def test_the_same_key_with_another_request_is_refused(world: RealWorld) -> None:
    submit(world.ledger, register(1), ASSISTANT, key="once")
    with pytest.raises(IdempotencyKeyReused):
        submit(world.ledger, register(2), ASSISTANT, key="once")


def test_a_refused_command_beside_accepted_ones_harms_none_of_them(world: RealWorld) -> None:
    commands = [register(n) for n in (1, 2, 1, 3)]
    answers: list[Future[Receipt]] = [
        world.ledger.submit(c, ASSISTANT, key=f"b{i}", request_hash=digest(c))
        for i, c in enumerate(commands)
    ]
    errors = [answer.exception(timeout=20) for answer in answers]
    assert [error is None for error in errors] == [True, True, False, True]
    assert world.ledger.journal.head().position == 5


def test_a_person_is_registered_once_even_under_another_id(world: RealWorld) -> None:
    world.do(register(1), by=ASSISTANT)
    with pytest.raises(ClaimTaken):
        world.do(register(1, person_id="P-other"), by=ASSISTANT)


def test_a_whole_journey_leaves_the_same_states_as_in_memory(database: Database) -> None:
    with a_real_ledger(database) as real:
        pattern = journeys.a_held_session(2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journeys, "World", lambda: real)
            journeys.a_held_session(2)
        for stream, state in pattern.states.items():
            kind, _, key = stream.partition("-")
            assert real.ledger.state(kind, key or None) == _as_indexed(real, kind, key, state)


def _as_indexed(real: RealWorld, kind: str, key: str, state: object) -> object:
    # The blind indexes are keyed otherwise in memory; everything else has to be equal.
    return real.ledger.state(kind, key) if kind == "person" else state


def test_what_happened_earlier_can_be_recorded_later_but_not_out_of_order(
    world: RealWorld,
) -> None:
    noon = datetime(2026, 5, 1, 4, 0, tzinfo=UTC)
    world.do(register(1), by=ASSISTANT, at=noon)
    with pytest.raises(OccurredTooEarly):
        world.do(correct_person(1), at=noon - timedelta(days=1))
    entry = world.ledger.history("person-P1")[0]
    assert entry.occurred_at == noon
    assert entry.recorded_at is not None
    assert entry.recorded_at > noon


def test_the_future_is_not_recorded(world: RealWorld) -> None:
    with pytest.raises(OccurredInFuture):
        world.do(register(1), by=ASSISTANT, at=datetime.now(UTC) + timedelta(hours=1))


def test_personal_data_is_sealed_in_the_journal_and_open_to_the_ledger(world: RealWorld) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    recorded = world.ledger.journal.read(receipt.first_position - 1, 1)[0]
    name = world.ledger.identity("P1").name
    assert name.encode() not in recorded.envelope
    assert set(recorded.data["name"]) == {"sealed"}


def test_erasure_ends_the_reading_and_keeps_the_bytes(world: RealWorld) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    before = world.ledger.journal.read(receipt.first_position - 1, 1)[0]
    world.do(enrolment.ErasePersonalData(person_id="P1", reason="本人申请"))
    with pytest.raises(NotFound):
        world.ledger.identity("P1")
    after = world.ledger.journal.read(receipt.first_position - 1, 1)[0]
    assert (after.envelope, after.leaf_hash) == (before.envelope, before.leaf_hash)


def test_a_ledger_opened_anew_knows_what_the_last_one_recorded(database: Database) -> None:
    with a_real_ledger(database) as world:
        journeys.an_eligible_application(1, _opened(world))
        before = world.ledger.state("application", "A1")
    with open_ledgers(database) as ledgers:
        assert ledgers.get("omc").state("application", "A1") == before


def _opened(world: RealWorld) -> RealWorld:
    world.do(open_book())
    world.do(fees())
    return world


def test_two_ledgers_open_at_once_see_each_others_facts(database: Database) -> None:
    with a_real_ledger(database) as world:
        journeys.a_paid_application(1, _opened(world))
        other = Ledgers(database.dsn, SECRETS)
        try:
            second = other.get("omc")
            submit(second, use(Item.HANDBOOK, 1), candidate(1), key="elsewhere")
            with pytest.raises(payment.ItemUsedUp):
                world.do(use(Item.HANDBOOK, 1), by=candidate(1), at=datetime.now(UTC))
        finally:
            other.close()


def test_a_long_stream_is_read_from_its_last_snapshot(world: RealWorld, database: Database) -> None:
    for n in range(INTERVAL):
        submit(world.ledger, fees(certification_fee_fen=n), OPERATOR, key=f"fee{n}")
    world.ledger.close()
    rows = database.execute("SELECT stream, version FROM certledger.snapshots")
    assert rows == [("ledger", INTERVAL)]
    with pytest.MonkeyPatch.context() as patch:
        reread = Ledgers(world.ledger.journal.dsn, SECRETS)
        ledger = reread.get("omc")
        asked: list[int | None] = []
        stream = ledger.journal.stream

        def spy(name: str, gt: int | None = None, *rest: object, **named: object) -> object:
            asked.append(gt)
            return stream(name, gt, *rest, **named)  # type: ignore[arg-type]

        patch.setattr(ledger.journal, "stream", spy)
        assert ledger.state("ledger").version == INTERVAL + 2
        assert asked == [INTERVAL]
        reread.close()


def test_the_stock_application_saves_and_reads_entries(world: RealWorld) -> None:
    receipt = world.do(register(1), by=ASSISTANT)
    entry = world.ledger.history("person-P1")[0]
    with pytest.raises(IntegrityError):
        world.ledger.save(entry)
    notifications = world.ledger.notification_log.select(receipt.first_position, 1)
    assert notifications[0].topic == "person_registered.v1"
    read = world.ledger.mapper.to_domain_event(notifications[0])
    assert isinstance(read, Entry)
    assert read.fact == entry.fact
    state = world.ledger.repository.get("person-P1", projector_func=project)
    assert state == world.ledger.state("person", "P1")


def test_an_application_nobody_opened_is_not_found(world: RealWorld) -> None:
    with pytest.raises(NotFound):
        world.ledger.state("application", "A404")
    with pytest.raises(NotFound):
        world.do(apply_for(1, person_id="P404"), by=candidate(1))


def test_no_two_principals_share_the_id_of_a_command() -> None:
    assert command_id_of("omc", "auth0|1", "K") == command_id_of("omc", "auth0|1", "K")
    assert command_id_of("omc", "auth0|1", "K") != command_id_of("omc", "auth0", "1|K")
    assert command_id_of("omc", "li", "K") != command_id_of("other", "li", "K")
