"""Two persons adopt rules, and decisions follow them from their first day on."""

from datetime import date, timedelta

import pytest

from domain import events as e
from domain.decision import AlreadyExists, LedgerNotOpen, NotFound
from domain.documents.materials import MaterialKind
from domain.editions.edition import EditionKind, MalformedEdition
from domain.eligibility.rule_sets import LevelNotInRuleSet
from domain.steps.edition_adoption import AdoptEdition
from domain.steps.payment import NoFeeSchedule
from domain.steps.refund import SecondPersonNeeded
from domain.steps.review import DocumentFaulty
from domain.values.primitives import Level
from tests.support.actors import CERTIFIER, FINANCE, OPERATOR, candidate, staff
from tests.support.commands import (
    OCCUPATION,
    adopt,
    adopt_edition,
    apply_for,
    fees,
    hand_in,
    open_ledger,
    pay,
    set_fees,
)
from tests.support.editions import calendar_2027, changed, packaged_content
from tests.support.journeys import (
    a_paid_application,
    a_registered_person,
    an_eligible_application,
    an_open_ledger,
)
from tests.support.world import given

TODAY = date(2026, 3, 2)


def test_one_person_proposes_and_another_adopts():
    proposal = calendar_2027()
    digest = adopt(proposal).sha256
    facts = dict(
        kind=proposal.kind,
        edition=proposal.edition,
        valid_from=proposal.valid_from,
        content=proposal.content,
        sha256=digest,
    )
    proposed = given(an_open_ledger()).when(proposal).returns(sha256=digest)
    world = proposed.then(e.EditionProposed(**facts))
    after = given(world).when(adopt(proposal), by=CERTIFIER).then(e.EditionAdopted(**facts))
    assert [each.edition for each in after.editions(EditionKind.CALENDAR).adopted] == ["cn-2027.1"]
    assert after.editions(EditionKind.CALENDAR).proposals == {}


@pytest.mark.parametrize("login", ["operator-1", "OPERATOR-1", " operator-1 ", "ｏperator-1"])
def test_nobody_adopts_what_they_proposed_however_they_are_spelled(login):
    world = an_open_ledger()
    world.do(calendar_2027(), by=OPERATOR)
    same = staff(login, CERTIFIER.role, "omc")
    given(world).when(adopt(calendar_2027()), by=same).fails(SecondPersonNeeded)


def test_a_hash_that_nobody_proposed_is_not_adopted():
    command = AdoptEdition(kind=EditionKind.CALENDAR, sha256="0" * 64)
    given(an_open_ledger()).when(command, by=CERTIFIER).fails(NotFound, what="proposed edition")


def test_rules_are_proposed_only_in_an_open_ledger():
    given().when(fees()).fails(LedgerNotOpen)


def test_a_name_is_given_once():
    world = an_open_ledger()
    same_name = fees(certification_fee_fen=1)
    given(world).when(same_name).fails(AlreadyExists, what="edition", id="fees-1")
    packaged = changed(EditionKind.CALENDAR, "cn-2026.1")
    given(world).when(packaged).fails(AlreadyExists, what="edition", id="cn-2026.1")


def test_the_same_proposal_is_made_once_and_another_one_under_its_name_stands_by():
    world = an_open_ledger()
    first, second = fees("fees-2"), fees("fees-2", certification_fee_fen=1)
    world.do(first)
    given(world).when(first, by=CERTIFIER).fails(AlreadyExists, what="proposed edition")
    world.do(second)
    world.do(adopt(second), by=CERTIFIER)
    given(world).when(adopt(first), by=CERTIFIER).fails(NotFound, what="proposed edition")


def test_a_faulty_content_is_refused_when_it_is_proposed():
    faulty = changed(EditionKind.CALENDAR, "cn-2027.1", known_through="2027-12-31")
    error = given(an_open_ledger()).when(faulty).fails(MalformedEdition, place="content")
    assert "2027-01-01" in str(error)


def test_one_code_names_the_rules_of_one_occupation():
    content = packaged_content(EditionKind.ELIGIBILITY)
    proposal = changed(
        EditionKind.ELIGIBILITY,
        "4-13-04-01-2021.1",
        occupation="4-13-04-01",
        aliases=[content["aliases"][0]],
    )
    given(an_open_ledger()).when(proposal).fails(MalformedEdition, place="content.aliases")


# --- decisions follow -----------------------------------------------------------------------------


def test_a_price_that_was_only_proposed_is_not_charged():
    """Source: source-document 2.1."""
    world = an_eligible_application()
    world.do(fees("fees-2", certification_fee_fen=1), by=OPERATOR)
    given(world).when(pay(1, world), by=FINANCE).then_kinds(e.FeePaid)


def test_what_is_not_in_the_table_that_holds_cannot_be_paid_for():
    """Source: source-document 2.1."""
    world = an_eligible_application()
    nothing = changed(EditionKind.FEES, "fees-2", TODAY)
    adopt_edition(world, nothing)
    given(world).when(pay(1, world), by=FINANCE).fails(NoFeeSchedule)


def test_a_table_adopted_later_for_the_same_day_puts_the_earlier_one_right():
    """Source: source-document 2.1."""
    world = an_eligible_application()
    set_fees(world, edition="fees-2", certification_fee_fen=1)
    set_fees(world, edition="fees-3")
    given(world).when(pay(1, world), by=FINANCE).then_kinds(e.FeePaid)


def test_an_application_is_assessed_by_the_rules_of_its_day_and_keeps_them():
    """Source: source-document 1.2."""
    world = a_registered_person(2, an_eligible_application(1))
    five = [
        rules
        for rules in packaged_content(EditionKind.ELIGIBILITY)["levels"]
        if rules["level"] == 5
    ]
    kind = EditionKind.ELIGIBILITY
    proposal = changed(kind, "4-01-02-07-2021.2", TODAY, version=2, levels=five)
    adopt_edition(world, proposal)
    given(world).when(apply_for(2), by=candidate(2)).fails(LevelNotInRuleSet)
    junior = given(world).when(apply_for(2, level=Level.JUNIOR), by=candidate(2))
    fact = junior.decided.facts[1][1]
    assert isinstance(fact, e.EligibilityConfirmed)
    assert fact.rule_set_sha256 == adopt(proposal).sha256
    earlier = world.facts(e.EligibilityConfirmed)[0]
    assert isinstance(earlier, e.EligibilityConfirmed)
    assert earlier.rule_set_sha256 != fact.rule_set_sha256


def test_an_occupation_is_certified_as_soon_as_its_rules_are_adopted():
    world = a_registered_person()
    kind, occupation = EditionKind.ELIGIBILITY, "4-13-04-01"
    proposal = changed(
        kind, f"{occupation}-2021.1", TODAY, occupation=occupation, aliases=[], name="试验员"
    )
    adopt_edition(world, proposal)
    opened = (
        given(world).when(apply_for(occupation=occupation), by=candidate(1)).decided.facts[0][1]
    )
    assert isinstance(opened, e.ApplicationOpened)
    assert (opened.occupation, opened.occupation_name) == (occupation, "试验员")
    given(world).when(apply_for(occupation=OCCUPATION), by=candidate(1)).returns(eligible=True)


def test_a_file_is_judged_by_the_rules_of_documents_of_its_day():
    """Source: source-document 3.1(4)."""
    world = a_paid_application()
    content = packaged_content(EditionKind.DOCUMENTS)
    smaller = [rule | {"bytes_max": 1_000} for rule in content["materials"]]
    adopt_edition(world, changed(EditionKind.DOCUMENTS, "documents-2", TODAY, materials=smaller))
    given(world).when(hand_in(MaterialKind.WORK_HISTORY), by=candidate(1)).fails(DocumentFaulty)
    photo = given(world).when(hand_in(MaterialKind.PHOTO), by=candidate(1)).fails(DocumentFaulty)
    assert [problem["code"] for problem in photo.fields["problems"]] == ["photo_too_large"]


def test_a_photo_may_be_older_where_an_edition_says_so():
    """Source: source-document 3.1(4)."""
    world = a_paid_application()
    later = world.now + timedelta(days=300)
    given(world).when(hand_in(MaterialKind.PHOTO), by=candidate(1), at=later).fails(DocumentFaulty)
    year = changed(EditionKind.DOCUMENTS, "documents-2", TODAY, photo_age_months_max=12)
    adopt_edition(world, year)
    given(world).when(hand_in(MaterialKind.PHOTO), by=candidate(1), at=later).then_kinds(
        e.DocumentSubmitted
    )


def test_the_first_facts_of_a_ledger_may_be_its_rules():
    world = given().when(open_ledger()).then_kinds(e.LedgerOpened)
    set_fees(world)
    assert [each.edition for each in world.editions(EditionKind.FEES).in_force(TODAY)] == ["fees-1"]
