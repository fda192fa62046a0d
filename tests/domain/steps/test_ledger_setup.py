"""The ledger of an evaluation organisation and what it charges (评价机构备案, 报考费用)."""

from datetime import date

import pytest

from domain import events as e
from domain.decision import AlreadyExists, NotFound
from domain.values.certificate_numbers import InvalidCertificateNumber
from domain.values.primitives import Level
from tests.support.commands import OCCUPATION, fees, open_ledger
from tests.support.journeys import an_open_ledger
from tests.support.world import given


def test_a_ledger_opens_with_the_name_on_the_seal():
    """Source: source-document 0.1, 0.2, 5.3."""
    command = open_ledger()
    given().when(command).then(e.LedgerOpened(**command.model_dump()))


def test_a_ledger_opens_once():
    given(an_open_ledger()).when(open_ledger()).fails(AlreadyExists, what="book")


@pytest.mark.parametrize(
    "site_code",
    [
        pytest.param("X000033000123", id="no category of the rule"),
        pytest.param("S00003300012", id="a digit too few"),
        pytest.param("S000099000123", id="no such province"),
    ],
)
def test_a_site_code_that_no_certificate_number_can_begin_with_is_refused(site_code):
    """Source: source-document 5.3."""
    given().when(open_ledger(site_code=site_code)).fails(InvalidCertificateNumber)


def test_a_fee_schedule_names_both_components():
    """Source: source-document 2.1, 2.2, 2.3."""
    command = fees(valid_from=date(2026, 7, 1))
    given(an_open_ledger()).when(command).then(e.FeeScheduleSet(**command.model_dump()))


def test_fees_are_set_only_in_an_open_ledger():
    given().when(fees()).fails(NotFound, what="book")


def test_the_fee_of_a_day_is_the_latest_schedule_that_began_by_then():
    """Source: source-document 2.1."""
    world = an_open_ledger()
    world.do(fees(valid_from=date(2026, 7, 1), certification_fee_fen=35_000))
    ledger = world.ledger()
    level = Level.INTERMEDIATE
    assert ledger.fees_on(OCCUPATION, level, date(2026, 6, 30)).certification_fee_fen == 30_000
    assert ledger.fees_on(OCCUPATION, level, date(2026, 7, 1)).certification_fee_fen == 35_000


def test_before_the_first_schedule_and_for_another_level_no_fee_is_set():
    ledger = an_open_ledger().ledger()
    assert ledger.fees_on(OCCUPATION, Level.INTERMEDIATE, date(2025, 12, 31)) is None
    assert ledger.fees_on(OCCUPATION, Level.SENIOR, date(2026, 12, 31)) is None
    assert ledger.fees_on("4-13-04-01", Level.INTERMEDIATE, date(2026, 12, 31)) is None


def test_a_schedule_set_later_for_the_same_day_puts_the_earlier_one_right():
    """Source: source-document 2.1."""
    world = an_open_ledger()
    world.do(fees(certification_fee_fen=31_000))
    day = date(2026, 1, 1)
    assert (
        world.ledger().fees_on(OCCUPATION, Level.INTERMEDIATE, day).certification_fee_fen == 31_000
    )
