"""The keys of the service as facts of a ledger (启用密钥, 停用密钥)."""

import pytest

from domain import events as e
from domain.decision import AlreadyExists, KeyInUse, NotFound
from domain.events import KeyPurpose
from domain.steps.ledger_setup import decide_open_ledger
from domain.steps.service_keys import OnlyKey
from tests.support.actors import OPERATOR
from tests.support.commands import introduce_key, open_ledger, retire_key
from tests.support.journeys import an_open_ledger
from tests.support.world import World, given

FIRST, SECOND = "0a1b2c3d", "4e5f6071"


def with_keys(*key_ids: str) -> World:
    world = an_open_ledger()
    for key_id in key_ids:
        world.do(introduce_key(key_id))
    return world


def test_a_ledger_names_every_key_of_the_service_when_it_opens():
    keys = (
        KeyInUse(KeyPurpose.JOURNAL, FIRST, "hmac-sha256"),
        KeyInUse(KeyPurpose.LOG, SECOND, "ed25519", "AAEC"),
    )
    world = World()
    context = world.context(OPERATOR, world.now)._replace(keys=keys)
    decision = decide_open_ledger(world, open_ledger(), context)
    opened, *named = decision.facts
    assert type(opened[1]) is e.LedgerOpened
    assert named == [
        (
            "ledger",
            e.KeyIntroduced(purpose="journal", key_id=FIRST, algorithm="hmac-sha256"),
        ),
        (
            "ledger",
            e.KeyIntroduced(purpose="log", key_id=SECOND, algorithm="ed25519", public_key="AAEC"),
        ),
    ]


def test_a_key_is_introduced_with_what_both_keys_signed():
    command = introduce_key(purpose="log", signature_old="AAEC", signature_new="AwQF")
    given(an_open_ledger()).when(command).then(e.KeyIntroduced(**command.model_dump()))


def test_a_key_in_use_is_not_introduced_again():
    given(with_keys(FIRST)).when(introduce_key(FIRST)).fails(AlreadyExists, what="key")


def test_the_same_digits_may_be_the_id_of_keys_of_two_purposes():
    world = with_keys(FIRST)
    world.do(introduce_key(FIRST, purpose="token"))
    assert world.ledger().keys_for(KeyPurpose.TOKEN) == (FIRST,)


def test_keys_are_named_in_an_open_ledger_only():
    given().when(introduce_key()).fails(NotFound, what="book")
    given().when(retire_key()).fails(NotFound, what="book")


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
