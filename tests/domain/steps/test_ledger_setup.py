"""The ledger of an evaluation organisation (评价机构备案)."""

import pytest

from domain import events as e
from domain.decision import AlreadyExists
from domain.values.certificate_numbers import InvalidCertificateNumber
from tests.support.commands import open_ledger
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
