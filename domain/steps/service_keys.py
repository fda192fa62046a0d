"""The keys of the service as facts of a ledger: introduced, retired (启用密钥, 停用密钥).

A ledger names every key in use from its opening on, so that anybody can tell later which key was
good when. The secret keys themselves are never in a fact. A key that signs is introduced by its own
signature, which shows that the service had it, and by that of the key before it.
Reading order: key_statement, ensure_introduced, the decisions.
"""

from __future__ import annotations

import base64
import binascii
import json

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import AlreadyExists, Command, Context, Decision, KeyInUse, NotFound, States
from domain.errors import LedgerError
from domain.states.folds import LedgerState
from domain.values.key_ids import key_id

SIGNING = frozenset((e.KeyPurpose.LOG, e.KeyPurpose.TOKEN))
"""The purposes whose keys sign. Of a key for another one, a fact names the id only."""

_STATEMENT = b"certledger key v1\0"


class OnlyKey(LedgerError):
    """Key {key_id} is the only one for {purpose}; introduce another one first."""

    code = "only_key"


class KeyIsSecret(LedgerError):
    """A key for {purpose} signs nothing: it is named without a public key and signatures."""

    code = "key_is_secret"


class KeyIdDiffers(LedgerError):
    """{key_id} is not the id of the public key that is named for {purpose}."""

    code = "key_id_differs"


class KeyNotSigned(LedgerError):
    """The introduction of key {key_id} for {purpose} has no right signature of key {signer}."""

    code = "key_not_signed"


class KeyNeverReplaced(LedgerError):
    """The key for {purpose} is never replaced: what is recorded is found by it."""

    code = "key_never_replaced"


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


def key_statement(
    ledger: str, purpose: e.KeyPurpose, old_id: str | None, new_id: str, public_key: str
) -> bytes:
    """What both keys sign when a key that signs is introduced.

    old_id: of the key before it; None for the first one, and after the one before it was lost.
    public_key: base64, as in the fact.
    """
    named = {
        "ledger": ledger,
        "purpose": purpose.value,
        "old_id": old_id,
        "new_id": new_id,
        "public_key": public_key,
    }
    # Canonical JSON (RFC 8785), for all of these are ASCII.
    return _STATEMENT + json.dumps(named, sort_keys=True, separators=(",", ":")).encode()


def introduction_of(key: KeyInUse, signature_old: str | None = None) -> e.KeyIntroduced:
    """The fact that names a key of the service. signature_old: of the key before it, base64."""
    return e.KeyIntroduced(
        purpose=key.purpose,
        key_id=key.key_id,
        algorithm=key.algorithm,
        public_key=key.public_key,
        signature_old=signature_old,
        signature_new=key.signature,
    )


def newest_key(state: LedgerState, purpose: e.KeyPurpose) -> e.KeyIntroduced | None:
    """The newest key of a purpose that is in use; None if there is none."""
    return next((key for key in reversed(state.keys) if key.purpose == purpose), None)


def ensure_introduced(
    fact: e.KeyIntroduced, before: e.KeyIntroduced | None, context: Context
) -> None:
    """Check what a fact says of a key. before: the key that signs it too; None if there is none.

    Raises: KeyIsSecret, KeyIdDiffers, KeyNotSigned; NotFound for a signature of no key before it.
    """
    if fact.purpose not in SIGNING:
        if (fact.public_key, fact.signature_old, fact.signature_new) != (None, None, None):
            raise KeyIsSecret(purpose=fact.purpose.value)
        return
    public_key = fact.public_key or ""
    if fact.key_id != key_id(fact.purpose.value, _decoded(public_key)):
        raise KeyIdDiffers(key_id=fact.key_id, purpose=fact.purpose.value)
    old_id = None if before is None else before.key_id
    statement = key_statement(context.ledger, fact.purpose, old_id, fact.key_id, public_key)
    _ensure_signed(fact, fact, fact.signature_new, statement, context)
    if before is not None:
        _ensure_signed(fact, before, fact.signature_old, statement, context)
    elif fact.signature_old is not None:
        raise NotFound(what="key before", id=fact.key_id)


def _ensure_signed(
    fact: e.KeyIntroduced,
    signer: e.KeyIntroduced,
    signature: str | None,
    statement: bytes,
    context: Context,
) -> None:
    """Raises: KeyNotSigned."""
    public = _decoded(signer.public_key or "")
    if not context.is_signature(signer.algorithm, public, statement, _decoded(signature or "")):
        raise KeyNotSigned(key_id=fact.key_id, purpose=fact.purpose.value, signer=signer.key_id)


def _decoded(text: str) -> bytes:
    """The bytes of base64; none for a text that is no base64, which then signs nothing."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def decide_introduce_key(world: States, command: IntroduceKey, context: Context) -> Decision:
    """A key is introduced once; the one before it stays good until it is retired.

    One that signs is signed by itself and by the key before it.
    Raises: LedgerNotOpen, AlreadyExists, KeyNeverReplaced, KeyIsSecret,
        KeyIdDiffers, KeyNotSigned.
    Source: docs/production.md, keys in the log.
    """
    state = world.ledger()
    in_use = state.keys_for(command.purpose)
    if command.key_id in in_use:
        raise AlreadyExists(what="key", id=command.key_id)
    if in_use and command.purpose is e.KeyPurpose.IDEMPOTENCY:
        raise KeyNeverReplaced(purpose=command.purpose.value)
    fact = e.KeyIntroduced(
        purpose=command.purpose,
        key_id=command.key_id,
        algorithm=command.algorithm,
        public_key=command.public_key,
        signature_old=command.signature_old,
        signature_new=command.signature_new,
    )
    ensure_introduced(fact, newest_key(state, command.purpose), context)
    return Decision(facts=(("ledger", fact),))


def decide_retire_key(world: States, command: RetireKey, context: Context) -> Decision:
    """A key in use is retired, unless it is the last one of its purpose.

    Raises: LedgerNotOpen, NotFound for a key that is not in use, OnlyKey.
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
    return ReadSet(("ledger",), matters=("ledger",))


INTRODUCE_KEY = CommandSpec(
    IntroduceKey, decide_introduce_key, _reads_ledger, roles=frozenset({Role.OPERATOR})
)
RETIRE_KEY = CommandSpec(
    RetireKey, decide_retire_key, _reads_ledger, roles=frozenset({Role.OPERATOR})
)

SPECS = (INTRODUCE_KEY, RETIRE_KEY)
