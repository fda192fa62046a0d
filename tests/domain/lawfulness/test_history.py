"""States and claims folded from facts are those that the decisions left behind.

Covers: domain/lawfulness/history.py
"""

import pytest

from domain.actors import Actor
from domain.decision import NotFound
from domain.events import CATALOGUE, Fact
from domain.lawfulness.history import PHOTO_IDENTITY, History, RecordedCommand, RecordedFact
from tests.domain.test_command_spec import HistoryRun, run_every_command
from tests.support.actors import ASSISTANT, FINANCE
from tests.support.commands import erase, register
from tests.support.journeys import a_rejected_application
from tests.support.recorded_histories import Envelope, RecordingWorld, blind_index, judged


def test_claims_and_states_are_those_of_the_decisions() -> None:
    world = RecordingWorld(names_staff=True)
    run_every_command(HistoryRun(world))
    history = judged(world.commands, names_staff=True).history
    assert history.claims == {*world.claims}
    assert history.states == world.states


def test_a_fact_that_does_not_fold_changes_nothing() -> None:
    history = History(blind_index)
    fact = CATALOGUE["refund_approved.v1"](application_id="A1", person_id="P1", refund_no="RPAY1-1")
    _fold(history, "application-A1", fact)
    assert history == History(blind_index)


def test_a_fact_in_the_stream_of_something_else_changes_nothing() -> None:
    world = a_rejected_application()
    fact = world.entries[0].fact
    history = History(blind_index)
    _fold(history, "person-P1", fact)
    assert history == History(blind_index)
    _fold(history, "ledger", fact)
    assert history.exists("ledger")


def test_the_identity_that_a_photo_is_compared_with_ends_with_the_erasure() -> None:
    world = RecordingWorld(names_staff=True)
    run_every_command(HistoryRun(world))
    world.do(register(9), by=ASSISTANT)
    erase(world, 9)
    history = judged(world.commands, names_staff=True).history
    assert history.identity("P1") == PHOTO_IDENTITY
    with pytest.raises(NotFound):
        history.identity("P9")


def _fold(history: History, stream: str, fact: Fact, by: Actor = FINANCE) -> None:
    data: Envelope = fact.model_dump(mode="json")
    at = "2026-03-02T01:00:00.000000Z"
    recorded = RecordedFact(1, stream, 1, fact.TOPIC, by, data, fact, at)
    history.fold(RecordedCommand(by, at, at, [recorded]))
