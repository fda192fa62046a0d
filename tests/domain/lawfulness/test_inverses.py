"""Every command can be found again from its facts, and every fact belongs to a command.

Covers: domain/lawfulness/inverses.py
"""

from domain import events as e
from domain.commands import SPECS
from domain.lawfulness.inverses import BY_FIRST, INVERSES
from tests.domain.test_command_spec import REFUSED, HistoryRun, run_every_command
from tests.support.recorded_histories import RecordingWorld

FOLLOWING = {
    e.LoginAssigned,
    e.ActorNamed,
    e.EligibilityConfirmed,
    e.EligibilityRefused,
    e.RefundEntitled,
    e.AdmissionTicketIssued,
    e.ResultPublished,
    e.ObjectorNamed,
    e.CertificateNumbered,
    e.CertificateReported,
}
"""Facts that only follow another one of the same command."""


def test_every_command_has_exactly_one_inverse() -> None:
    assert sorted(each.spec.command.__name__ for each in INVERSES) == sorted(
        spec.command.__name__ for spec in SPECS
    )


def test_every_fact_begins_a_command_or_follows_in_one() -> None:
    assert BY_FIRST.keys() | FOLLOWING == {*e.CATALOGUE.values()}
    assert not BY_FIRST.keys() & FOLLOWING


def test_the_command_that_is_found_is_of_the_kind_that_was_sent() -> None:
    run = HistoryRun(RecordingWorld())
    run_every_command(run)
    world: RecordingWorld = run.world
    for sent, recorded in zip(run.succeeded, world.commands, strict=True):
        kind = e.CATALOGUE[recorded[0]["topic"]]
        assert sent in {each.spec.command for each in BY_FIRST[kind]}
    assert {*run.succeeded} == {spec.command for spec in SPECS} - REFUSED
