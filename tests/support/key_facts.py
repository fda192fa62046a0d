"""Facts about keys that sign, made by their definition and not by the program."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.events import KeyIntroduced, KeyPurpose
from domain.steps.service_keys import IntroduceKey


def key_named(name: str) -> Ed25519PrivateKey:
    """A key that signs, the same for the same name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def raw(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def id_of(key: Ed25519PrivateKey, purpose: KeyPurpose = KeyPurpose.LOG) -> str:
    """The id of a key."""
    return hashlib.sha256(purpose.value.encode() + b"\0" + raw(key)).hexdigest()[:8]


def introduced(
    key: Ed25519PrivateKey,
    before: Ed25519PrivateKey | None = None,
    purpose: KeyPurpose = KeyPurpose.LOG,
    ledger: str = "omc",
) -> KeyIntroduced:
    """The fact that introduces a key. before: the key before it, which signs it too."""
    public = base64.b64encode(raw(key)).decode()
    old = "null" if before is None else f'"{id_of(before, purpose)}"'
    statement = (
        f'{{"ledger":"{ledger}","new_id":"{id_of(key, purpose)}","old_id":{old},'
        f'"public_key":"{public}","purpose":"{purpose.value}"}}'
    )
    message = b"certledger key v1\0" + statement.encode()
    return KeyIntroduced(
        purpose=purpose,
        key_id=id_of(key, purpose),
        algorithm="ed25519",
        public_key=public,
        signature_old=None if before is None else _signed(before, message),
        signature_new=_signed(key, message),
    )


def introduce(fact: KeyIntroduced) -> IntroduceKey:
    """The command that introduces a key."""
    return IntroduceKey(**fact.model_dump())


def _signed(key: Ed25519PrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message)).decode()
