"""The keys that this service uses for a ledger, as the ledger's facts name them.

Of a secret key only its id is named, of a signing key also the public key (the raw 32 bytes of
Ed25519, the uncompressed point of P-256) and its own signature.
"""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.auth.secrets import ServiceKeys
from api.settings import Settings
from api.transparency.log_keys import log_key_path, log_seed
from domain.decision import KeyInUse
from domain.events import KeyPurpose
from domain.steps.service_keys import key_statement
from domain.store.keys.key_signatures import ECDSA_P256, ED25519, SigningKey, sign
from domain.store.privacy.cipher_suites import AES, SM4
from domain.values.key_ids import key_id, symmetric_key_id

HMAC_SHA256 = "hmac-sha256"


def keys_in_use(
    settings: Settings, keys: ServiceKeys, ledger: str, *, opening: bool, log_number: int = 1
) -> tuple[KeyInUse, ...]:
    """The keys of the service for one ledger.

    opening: the log key is needed; made if missing, with the embedded database. Otherwise it is
        left out where it is not: of several services one signs.
    log_number: of its log, one more after each recovery.
    Raises: NoLogKey, LogKeyUnusable.
    """
    suite = AES if settings.crypto == "aes" else SM4
    found = [
        secret_in_use(KeyPurpose.JOURNAL, keys.journal_key, HMAC_SHA256),
        secret_in_use(KeyPurpose.COMMAND, keys.command_key, HMAC_SHA256),
        secret_in_use(KeyPurpose.IDEMPOTENCY, keys.idempotency_key, HMAC_SHA256),
        secret_in_use(KeyPurpose.LOGIN, keys.login_key, HMAC_SHA256),
        secret_in_use(KeyPurpose.MASTER, keys.master_key, suite.name),
        secret_in_use(KeyPurpose.INDEX, keys.index_key, suite.index_name),
        secret_in_use(KeyPurpose.LINK, keys.link_keys.active, HMAC_SHA256),
    ]
    makes_key = opening or (settings.embedded and log_number == 1)
    if makes_key or log_key_path(settings, ledger, log_number).exists():
        seed = log_seed(settings, ledger, log_number)
        log_key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        found.append(signing_in_use(ledger, KeyPurpose.LOG, log_key))
    if keys.token_signer is not None:
        found.append(signing_in_use(ledger, KeyPurpose.TOKEN, keys.token_signer))
    return tuple(found)


def secret_in_use(purpose: KeyPurpose, key: bytes, algorithm: str) -> KeyInUse:
    """A symmetric key, of which only the id is named."""
    return KeyInUse(purpose, symmetric_key_id(purpose, key), algorithm)


def signing_in_use(
    ledger: str, purpose: KeyPurpose, key: SigningKey, old_id: str | None = None
) -> KeyInUse:
    """A signing key, named with its public key and its signature over the introduction.

    old_id: of the key before it, see `key_statement`.
    """
    public = key.public_key()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm, raw = ED25519, public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        algorithm = ECDSA_P256
        raw = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    new_id, named = key_id(purpose, raw), base64.b64encode(raw).decode()
    statement = key_statement(ledger, purpose, old_id, new_id, named)
    return KeyInUse(purpose, new_id, algorithm, named, signed(key, statement))


def signed(key: SigningKey, statement: bytes) -> str:
    """A signature as a fact holds it: base64."""
    return base64.b64encode(sign(key, statement)).decode()
