"""The ledger of an evaluation organisation (评价机构备案)."""

from datetime import date

import pytest

from domain import events as e
from domain.decision import LedgerAlreadyOpen, TooEarly
from domain.steps.ledger_setup import IssuerUrlUnchanged, SetIssuerUrl
from domain.values.certificate_numbers import InvalidCertificateNumber
from tests.support.commands import open_ledger
from tests.support.journeys import an_open_ledger
from tests.support.world import given


def test_a_ledger_opens_with_the_name_on_the_seal():
    """Source: source-document 0.1, 0.2, 5.3."""
    command = open_ledger()
    given().when(command).then(e.LedgerOpened(**command.model_dump()))


def test_a_ledger_opens_once():
    given(an_open_ledger()).when(open_ledger()).fails(LedgerAlreadyOpen)


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


# --- the issuer's address -------------------------------------------------------------------------

URL = "https://cert.example.cn"


def test_the_newest_address_that_has_begun_is_printed():
    """Source: source-document 5.3."""
    world = an_open_ledger()
    assert world.ledger().issuer_url_on(world.now.date()) is None
    given(world).when(SetIssuerUrl(url=URL)).then(
        e.IssuerUrlSet.model_validate({"url": URL, "from": date(2026, 3, 2)})
    )
    world.do(SetIssuerUrl(url=URL))
    world.do(SetIssuerUrl(url=f"{URL}/omc", valid_from=date(2026, 7, 1)))
    ledger = world.ledger()
    assert ledger.issuer_url_on(date(2026, 6, 30)) == URL
    assert ledger.issuer_url_on(date(2026, 7, 1)) == f"{URL}/omc"


def test_an_address_is_stored_with_the_day_from_which_it_holds():
    world = an_open_ledger()
    world.do(SetIssuerUrl(url=URL, valid_from=date(2026, 7, 1)))
    [fact] = world.facts(e.IssuerUrlSet)
    assert fact.model_dump(mode="json") == {"url": URL, "from": "2026-07-01"}


def test_an_address_follows_the_one_before_it():
    world = an_open_ledger()
    world.do(SetIssuerUrl(url=URL, valid_from=date(2026, 7, 1)))
    given(world).when(SetIssuerUrl(url=URL)).fails(IssuerUrlUnchanged, url=URL)
    early = SetIssuerUrl(url="https://other.example.cn", valid_from=date(2026, 6, 30))
    given(world).when(early).fails(TooEarly, earliest="2026-07-01")


@pytest.mark.parametrize(
    "url", ["", "cert.example.cn", "https://a.cn/", "https://a.cn?x", "ftp://a"]
)
def test_an_address_of_another_form_is_refused(url):
    with pytest.raises(ValueError, match="url"):
        SetIssuerUrl(url=url)
