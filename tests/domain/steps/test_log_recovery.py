"""A loss is accepted by two persons, and the log goes on under the next origin."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from domain.decision import AlreadyExists, LedgerNotOpen
from domain.events import KeyIntroduced, KeyPurpose, LogContinuedElsewhere
from domain.steps.log_recovery import OtherOrigin, next_origin
from domain.steps.refund import SecondPersonNeeded
from domain.steps.service_keys import KeyNotSigned
from domain.values.sealed_fields import blanked
from tests.support.commands import continue_log, introduce_key, open_ledger
from tests.support.journeys import an_open_ledger
from tests.support.key_facts import id_of, introduce, introduced, key_named
from tests.support.world import World, given

ORIGIN = "example.org/omc"


def test_the_log_goes_on_under_the_next_origin_each_time():
    world = World()
    world.do(open_ledger())
    for number, old in ((2, ORIGIN), (3, f"{ORIGIN}/2"), (4, f"{ORIGIN}/3")):
        world.do(continue_log(old_origin=old))
        state = world.ledger()
        assert (state.log_origin, state.log_number) == (f"{ORIGIN}/{number}", number)


def test_an_origin_that_ends_in_a_number_keeps_it():
    assert next_origin("example.org/2026/2", 2) == "example.org/2026/2/2"
    assert next_origin("example.org/2026/2/2", 3) == "example.org/2026/2/3"


def test_the_keys_of_the_old_log_are_in_use_no_more():
    world = World()
    world.do(open_ledger())
    world.do(introduce_key("0a1b2c3d", purpose="journal"))
    world.do(introduce_key("1b2c3d4e", purpose="index"))
    command = continue_log()
    world.do(command)
    state = world.ledger()
    assert state.keys_for(KeyPurpose.JOURNAL) == (command.journal_key.key_id,)
    assert state.keys_for(KeyPurpose.LOG) == (command.log_key.key_id,)
    assert state.keys_for(KeyPurpose.INDEX) == ("1b2c3d4e",)


OLD, NEW = key_named("old"), key_named("new")


def a_log_of_the_old_key() -> World:
    world = an_open_ledger()
    world.do(introduce(introduced(OLD)))
    return world


def test_the_old_key_signs_the_new_one_unless_it_was_lost():
    for key in (introduced(NEW, OLD), introduced(NEW)):
        world = a_log_of_the_old_key()
        world.do(continue_log(log_key=key))
        assert world.ledger().keys_for(KeyPurpose.LOG) == (id_of(NEW),)


@pytest.mark.parametrize(
    ("key", "signer"),
    [
        (introduced(NEW, key_named("third")), NEW),
        (introduced(NEW, OLD, ledger="another"), NEW),
        (introduced(NEW, OLD).model_copy(update={"signature_old": "AAEC"}), OLD),
        (introduced(NEW, OLD).model_copy(update={"signature_new": None}), NEW),
    ],
    ids=["over another old key", "for another ledger", "not by the old key", "not by itself"],
)
def test_a_new_log_key_with_a_wrong_signature_is_refused(key: KeyIntroduced, signer: Any):
    command = continue_log(log_key=key)
    given(a_log_of_the_old_key()).when(command).fails(KeyNotSigned, signer=id_of(signer))


def test_the_keys_of_the_new_log_are_new():
    world = a_log_of_the_old_key()
    again = continue_log(log_key=introduced(OLD))
    given(world).when(again).fails(AlreadyExists, what="key", id=id_of(OLD))


def test_each_key_is_for_its_purpose():
    for wrong in ({"log_key": continue_log().journal_key}, {"journal_key": introduced(NEW)}):
        with pytest.raises(ValidationError):
            continue_log(**wrong)


@pytest.mark.parametrize("second", ["operator-1", "Operator-1", " operator-1 ", "operator-1"])
def test_one_person_is_never_both(second: str):
    given(an_open_ledger()).when(continue_log(confirmed_by=second)).fails(SecondPersonNeeded)


def test_another_log_is_not_continued():
    given(an_open_ledger()).when(continue_log(old_origin="other.example/omc")).fails(
        OtherOrigin, given="other.example/omc"
    )


def test_a_ledger_that_is_not_open_has_no_log():
    given().when(continue_log()).fails(LedgerNotOpen)


def test_the_fact_names_the_old_head_and_both_persons():
    world = World()
    world.do(open_ledger())
    world.do(continue_log())
    [fact] = world.facts(LogContinuedElsewhere)
    assert isinstance(fact, LogContinuedElsewhere)
    assert world.ledger().continuations == (blanked(fact),)
    assert (fact.old_head_size, fact.first_position, fact.positions_gone) == (6, 1, 5)
    assert (fact.proposed_by, fact.confirmed_by) == ("operator-1", "operator-2")
