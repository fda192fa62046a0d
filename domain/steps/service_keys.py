"""The keys of the service as facts of a ledger: introduced, retired (启用密钥, 停用密钥).

A ledger names every key in use from its opening on, so that anybody can tell later which key was
good when. The secret keys themselves are never in a fact.
"""

from __future__ import annotations

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import AlreadyExists, Command, Context, Decision, KeyInUse, NotFound, States
from domain.errors import LedgerError


class OnlyKey(LedgerError):
    """Key {key_id} is the only one for {purpose}; introduce another one first."""

    code = "only_key"


class IntroduceKey(Command):
    """Say that a key of the service is in use from now on."""

    purpose: e.KeyPurpose
    key_id: e.KeyId
    algorithm: e.ShortText
    public_key: e.Base64 | None = None
    signature_old: e.Base64 | None = None
    signature_new: e.Base64 | None = None


class RetireKey(Command):
    """Say that a key of the service is used no more."""

    purpose: e.KeyPurpose
    key_id: e.KeyId
    reason: e.LongText


def introduction_of(key: KeyInUse) -> e.KeyIntroduced:
    """The fact that names a key of the service at the opening of a ledger."""
    return e.KeyIntroduced(
        purpose=key.purpose,
        key_id=key.key_id,
        algorithm=key.algorithm,
        public_key=key.public_key,
    )


def decide_introduce_key(world: States, command: IntroduceKey, context: Context) -> Decision:
    """A key is introduced once; the one before it stays good until it is retired.

    Raises: NotFound if the ledger is not open, AlreadyExists.
    Source: docs/production.md, keys in the log.
    """
    if command.key_id in world.ledger().keys_for(command.purpose):
        raise AlreadyExists(what="key", id=command.key_id)
    fact = e.KeyIntroduced(
        purpose=command.purpose,
        key_id=command.key_id,
        algorithm=command.algorithm,
        public_key=command.public_key,
        signature_old=command.signature_old,
        signature_new=command.signature_new,
    )
    return Decision(facts=(("ledger", fact),))


def decide_retire_key(world: States, command: RetireKey, context: Context) -> Decision:
    """A key in use is retired, unless it is the last one of its purpose.

    Raises: NotFound if the ledger is not open or the key not in use, OnlyKey.
    Source: docs/production.md, keys in the log.
    """
    in_use = world.ledger().keys_for(command.purpose)
    if command.key_id not in in_use:
        raise NotFound(what="key", id=command.key_id)
    if len(in_use) == 1:
        raise OnlyKey(key_id=command.key_id, purpose=command.purpose)
    fact = e.KeyRetired(purpose=command.purpose, key_id=command.key_id, reason=command.reason)
    return Decision(facts=(("ledger", fact),))


def _reads_ledger(
    cached: StateHint, command: IntroduceKey | RetireKey, context: Context
) -> ReadSet:
    return ReadSet(("ledger",))


INTRODUCE_KEY = CommandSpec(
    IntroduceKey, decide_introduce_key, _reads_ledger, roles=frozenset({Role.OPERATOR})
)
RETIRE_KEY = CommandSpec(
    RetireKey, decide_retire_key, _reads_ledger, roles=frozenset({Role.OPERATOR})
)

SPECS = (INTRODUCE_KEY, RETIRE_KEY)
