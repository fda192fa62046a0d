"""The keys of the service as facts of a ledger (启用密钥, 停用密钥)."""

import pytest

from domain import events as e
from domain.decision import AlreadyExists, Decision, KeyInUse, LedgerNotOpen, NotFound
from domain.events import KeyPurpose
from domain.steps.ledger_setup import decide_open_ledger
from domain.steps.service_keys import (
    SIGNING,
    KeyIdDiffers,
    KeyIsSecret,
    KeyNeverReplaced,
    KeyNotSigned,
    OnlyKey,
    key_statement,
)
from tests.support.actors import OPERATOR
from tests.support.commands import introduce_key, open_ledger, retire_key
from tests.support.journeys import an_open_ledger
from tests.support.key_facts import id_of, introduce, introduced, key_named
from tests.support.world import World, given

FIRST, SECOND = "0a1b2c3d", "4e5f6071"
KEY, OTHER, THIRD = map(key_named, ("first", "second", "third"))


def with_keys(*key_ids: str) -> World:
    world = an_open_ledger()
    for key_id in key_ids:
        world.do(introduce_key(key_id))
    return world


def opened_with(*facts: e.KeyIntroduced) -> Decision:
    """The decision to open a ledger whose service has these keys."""
    keys = tuple(
        KeyInUse(fact.purpose, fact.key_id, fact.algorithm, fact.public_key, fact.signature_new)
        for fact in facts
    )
    world = World()
    context = world.context(OPERATOR, world.now)._replace(keys=keys)
    return decide_open_ledger(world, open_ledger(), context)


def test_a_ledger_names_every_key_of_the_service_when_it_opens():
    journal = e.KeyIntroduced(purpose="journal", key_id=FIRST, algorithm="hmac-sha256")
    keys = (journal, introduced(KEY), introduced(OTHER, purpose=KeyPurpose.TOKEN))
    opened, *named = opened_with(*keys).facts
    assert type(opened[1]) is e.LedgerOpened
    assert named == [("ledger", key) for key in keys]


# --- signatures -----------------------------------------------------------------------------------


def after(*facts: e.KeyIntroduced) -> World:
    """An open ledger that names these keys."""
    world = an_open_ledger()
    for fact in facts:
        world.do(introduce(fact))
    return world


def test_both_keys_sign_the_introduction_of_the_second_key():
    second = introduced(OTHER, KEY)
    given(after(introduced(KEY))).when(introduce(second)).then(second)


def test_the_newest_key_of_the_purpose_signs():
    world = after(introduced(KEY), introduced(OTHER, KEY))
    given(world).when(introduce(introduced(THIRD, OTHER))).then(introduced(THIRD, OTHER))
    by_the_oldest = introduce(introduced(THIRD, KEY))
    given(world).when(by_the_oldest).fails(KeyNotSigned, signer=id_of(THIRD))


@pytest.mark.parametrize("purpose", sorted(SIGNING))
@pytest.mark.parametrize(
    "forge",
    [
        lambda fact, purpose: {"signature_new": None},
        lambda fact, purpose: {"signature_new": fact.signature_old},
        lambda fact, purpose: {"signature_new": "AAEC"},
        lambda fact, purpose: {"signature_new": "AAAAA"},
        lambda fact, purpose: {"signature_new": introduced(OTHER, THIRD, purpose).signature_new},
        lambda fact, purpose: {"signature_new": introduced(OTHER, KEY, purpose, "x").signature_new},
        lambda fact, purpose: {"signature_new": introduced(OTHER, None, purpose).signature_new},
        lambda fact, purpose: {"algorithm": "ecdsa-p256"},
        lambda fact, purpose: {"algorithm": "none"},
    ],
    ids=["none", "of the key before", "short", "no base64", "over another old key",
         "for another ledger", "as the first key", "another algorithm", "no algorithm"],
)  # fmt: skip
def test_a_key_without_a_right_signature_of_its_own_is_not_introduced(purpose, forge):
    fact = introduced(OTHER, KEY, purpose)
    wrong = introduce(fact.model_copy(update=forge(fact, purpose)))
    world = after(introduced(KEY, None, purpose))
    given(world).when(wrong).fails(KeyNotSigned, signer=id_of(OTHER, purpose))


@pytest.mark.parametrize("purpose", sorted(SIGNING))
@pytest.mark.parametrize("by", [None, "third", "itself"])
def test_a_key_without_a_right_signature_of_the_one_before_is_not_introduced(purpose, by):
    fact = introduced(OTHER, KEY, purpose)
    made = {None: None, "third": introduced(OTHER, THIRD, purpose).signature_old}
    made["itself"] = fact.signature_new
    wrong = introduce(fact.model_copy(update={"signature_old": made[by]}))
    world = after(introduced(KEY, None, purpose))
    given(world).when(wrong).fails(KeyNotSigned, signer=id_of(KEY, purpose))


def test_the_first_key_has_nobody_before_it_who_could_sign():
    superfluous = introduced(KEY).model_copy(update={"signature_old": "AAEC"})
    given(an_open_ledger()).when(introduce(superfluous)).fails(NotFound, what="key before")


@pytest.mark.parametrize(
    "changed", [{"key_id": FIRST}, {"public_key": None}, {"public_key": "AAEC"}]
)
def test_the_id_of_a_key_that_signs_is_that_of_its_public_key(changed):
    wrong = introduced(KEY).model_copy(update=changed)
    given(an_open_ledger()).when(introduce(wrong)).fails(KeyIdDiffers, purpose="log")


@pytest.mark.parametrize("name", ["public_key", "signature_old", "signature_new"])
def test_of_a_key_that_signs_nothing_only_the_id_is_named(name):
    for purpose in sorted({*KeyPurpose} - SIGNING):
        command = introduce_key(purpose=purpose, **{name: "AAEC"})
        given(an_open_ledger()).when(command).fails(KeyIsSecret, purpose=purpose.value)


@pytest.mark.parametrize("purpose", sorted(SIGNING))
def test_a_ledger_does_not_open_with_a_key_that_did_not_sign(purpose):
    right = introduced(KEY, None, purpose)
    assert len(opened_with(right).facts) == 2
    with pytest.raises(KeyNotSigned):
        opened_with(right.model_copy(update={"signature_new": None}))
    with pytest.raises(KeyNotSigned):
        opened_with(introduced(KEY, None, purpose, "another"))


def test_the_statement_is_canonical_json():
    statement = key_statement("omc", KeyPurpose.LOG, FIRST, SECOND, "AAEC")
    assert statement == (
        b'certledger key v1\0{"ledger":"omc","new_id":"4e5f6071","old_id":"0a1b2c3d",'
        b'"public_key":"AAEC","purpose":"log"}'
    )


# --- one key after another ------------------------------------------------------------------------


def test_a_key_in_use_is_not_introduced_again():
    given(with_keys(FIRST)).when(introduce_key(FIRST)).fails(AlreadyExists, what="key")


def test_the_same_digits_may_be_the_id_of_keys_of_two_purposes():
    world = with_keys(FIRST)
    world.do(introduce_key(FIRST, purpose="master"))
    assert world.ledger().keys_for(KeyPurpose.MASTER) == (FIRST,)


def test_the_key_that_commands_are_found_by_is_never_replaced():
    first, second = (introduce_key(each, purpose="idempotency") for each in (FIRST, SECOND))
    world = an_open_ledger()
    world.do(first)
    given(world).when(second).fails(KeyNeverReplaced, purpose="idempotency")
    given(world).when(retire_key(FIRST, purpose="idempotency")).fails(OnlyKey)


def test_keys_are_named_in_an_open_ledger_only():
    given().when(introduce_key()).fails(LedgerNotOpen)
    given().when(retire_key()).fails(LedgerNotOpen)


def test_a_key_is_retired_after_another_one_came():
    world = with_keys(FIRST, SECOND)
    given(world).when(retire_key(FIRST)).then(
        e.KeyRetired(purpose="index", key_id=FIRST, reason="例行更换")
    )
    world.do(retire_key(FIRST))
    assert world.ledger().keys_for(KeyPurpose.INDEX) == (SECOND,)


def test_the_last_key_of_a_purpose_is_not_retired():
    given(with_keys(FIRST)).when(retire_key(FIRST)).fails(OnlyKey, key_id=FIRST)


@pytest.mark.parametrize("key_id", ["ffffffff", FIRST])
def test_a_key_that_is_not_in_use_cannot_be_retired(key_id):
    world = with_keys(FIRST, SECOND)
    world.do(retire_key(FIRST))
    given(world).when(retire_key(key_id)).fails(NotFound, what="key")


def test_a_retired_key_may_come_back():
    world = with_keys(FIRST, SECOND)
    world.do(retire_key(FIRST))
    world.do(introduce_key(FIRST))
    assert world.ledger().keys_for(KeyPurpose.INDEX) == (SECOND, FIRST)
