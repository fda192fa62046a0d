"""The keys of the service: from the settings, or generated once for the embedded database.

Generated keys are files in `<data>/keys`, readable by their owner only. They are created
exclusively, so that two processes that start at the same time use the same key.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import SecretStr

from api.settings import KEY_BYTES, PREFIX, Settings, SettingsInvalid, key_bytes
from domain.values.certificate_links import LinkKeys

RETIRED_JOURNAL_KEYS = "journal_retired"
"""File of the journal keys that a recovery replaced, in base64, one a line."""

SigningKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
CheckingKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class ServiceKeys:
    """Keys in the form in which they are used; none of them is ever printed.

    journal_keys_retired: for checking what they sealed. command_keys_retired: for comparing a
    repeated request with the one that was recorded.
    login_key, login_keys_retired: find the pseudonym of a login.
    link_keys: of links on certificates.
    token_signer: None if only the public key is known, or an OpenID Connect issuer signs.
    token_checker: None if tokens are checked with the keys of a JWKS.
    """

    master_key: bytes = field(repr=False)
    index_key: bytes = field(repr=False)
    journal_key: bytes = field(repr=False)
    journal_keys_retired: tuple[bytes, ...] = field(repr=False)
    command_key: bytes = field(repr=False)
    command_keys_retired: tuple[bytes, ...] = field(repr=False)
    idempotency_key: bytes = field(repr=False)
    login_key: bytes = field(repr=False)
    login_keys_retired: tuple[bytes, ...] = field(repr=False)
    link_keys: LinkKeys = field(repr=False)
    token_signer: SigningKey | None = field(repr=False)
    token_checker: CheckingKey | None = field(repr=False)

    @property
    def link_key(self) -> bytes:
        """The key that makes links."""
        return self.link_keys.active

    @property
    def cursor_key(self) -> bytes:
        """Key that signs cursors; derived, so that it needs no setting of its own."""
        return HKDF(SHA256(), 32, salt=None, info=b"certledger cursor v1").derive(self.index_key)


def load_service_keys(settings: Settings) -> ServiceKeys:
    """Every key of a service; generates missing ones with the embedded database.

    Raises: SettingsInvalid if a key can't be read, or a key file is accessible to others.
    """
    signer, checker = _token_keys(settings)
    return ServiceKeys(
        master_key=_symmetric(settings, "master_key", settings.master_key),
        index_key=_symmetric(settings, "index_key", settings.index_key),
        journal_key=_symmetric(settings, "journal_key", settings.journal_key, file="journal"),
        journal_keys_retired=_retired_journal_keys(settings),
        command_key=_symmetric(settings, "command_key", settings.command_key, file="command"),
        command_keys_retired=tuple(map(key_bytes, settings.command_keys_retired)),
        idempotency_key=_symmetric(
            settings, "idempotency_key", settings.idempotency_key, file="idempotency"
        ),
        login_key=_symmetric(settings, "login_key", settings.login_key, file="login"),
        login_keys_retired=tuple(map(key_bytes, settings.login_keys_retired)),
        link_keys=_link_keys(settings),
        token_signer=signer,
        token_checker=checker,
    )


def _symmetric(
    settings: Settings, name: str, given: SecretStr | None, *, file: str | None = None
) -> bytes:
    """A secret key. file: its name in the folder of keys, `name` by default."""
    if given is not None:
        return key_bytes(given)

    def make() -> str:
        return base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n"

    try:
        return key_bytes(SecretStr(_load_or_create_key(settings, file or name, make).strip()))
    except ValueError as wrong:
        raise SettingsInvalid(reason=f"{name} in {_folder(settings)}: {wrong}") from None


def _link_keys(settings: Settings) -> LinkKeys:
    active = _symmetric(settings, "link_key", settings.link_key, file="link")
    try:
        return LinkKeys(active, tuple(map(key_bytes, settings.link_keys_retired)))
    except ValueError as wrong:
        raise SettingsInvalid(reason=f"{PREFIX}LINK_KEYS_RETIRED: {wrong}") from None


def _retired_journal_keys(settings: Settings) -> tuple[bytes, ...]:
    """Those of the settings, and those that a recovery replaced in the folder of keys."""
    given = tuple(map(key_bytes, settings.journal_keys_retired))
    path = _folder(settings) / RETIRED_JOURNAL_KEYS
    if settings.journal_key is not None or not path.exists():
        return given
    lines = _load_or_create_key(settings, RETIRED_JOURNAL_KEYS, str).split()
    return given + tuple(key_bytes(SecretStr(line)) for line in lines)


def replace_journal_key(settings: Settings) -> bytes:
    """Make a new journal key in the folder of keys; the old one is kept there as a retired one.

    Returns: the new key. Raises: OSError.
    """
    folder = _folder(settings)
    old = (folder / "journal").read_text().strip()
    retired = folder / RETIRED_JOURNAL_KEYS
    lines = retired.read_text() if retired.exists() else ""
    new = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    # The retired one first: if this is interrupted, both files hold the same key.
    _replace(retired, f"{lines}{old}\n")
    _replace(folder / "journal", f"{new}\n")
    return key_bytes(SecretStr(new))


def _replace(path: Path, text: str) -> None:
    """Replace a private file at once and durably."""
    draft = path.parent / f".{path.name}.{os.getpid()}"
    with open(draft, "w", opener=_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _token_keys(settings: Settings) -> tuple[SigningKey | None, CheckingKey | None]:
    """The key that signs tokens, if it is known, and the key that checks them."""
    if settings.token_jwks_url is not None:
        return None, None
    if settings.token_key is not None:
        pem = settings.token_key.get_secret_value()
    else:
        pem = _load_or_create_key(settings, "token_key", new_token_key)
    return read_token_key(pem)


def new_token_key() -> str:
    """A new Ed25519 private key in PEM."""
    return (
        ed25519.Ed25519PrivateKey.generate()
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    )


def read_token_key(pem: str) -> tuple[SigningKey | None, CheckingKey]:
    """The private key of a PEM, if it holds one, and the public key.

    Raises: SettingsInvalid for anything but Ed25519 and P-256.
    """
    data = pem.replace("\\n", "\n").encode()
    reason = f"{PREFIX}TOKEN_KEY is no PEM of an Ed25519 or P-256 key"
    try:
        if b"PRIVATE" in data:
            private = load_pem_private_key(data, password=None)
            if not isinstance(private, SigningKey):
                raise SettingsInvalid(reason=reason)
            signer: SigningKey | None = private
            public: object = private.public_key()
        else:
            signer, public = None, load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsInvalid(reason=reason) from None
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name != "secp256r1":
        raise SettingsInvalid(reason=reason)
    if not isinstance(public, CheckingKey):
        raise SettingsInvalid(reason=reason)
    return signer, public


def _folder(settings: Settings) -> Path:
    return settings.data_dir.expanduser().absolute() / "keys"


def _load_or_create_key(settings: Settings, name: str, make: Callable[[], str]) -> str:
    """The content of a key file, which is created at the first start.

    The file is written under another name and linked into place, so that a concurrent start finds
    either no file or a complete one.
    """
    folder = _folder(settings)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / name
        if not path.exists():
            draft = folder / f".{name}.{os.getpid()}"
            with open(draft, "w", opener=_private) as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SettingsInvalid(reason=f"{path} is open to others ({mode:04o}); chmod it to 0600")
        return path.read_text()
    except OSError as error:
        raise SettingsInvalid(reason=f"{error.filename}: {error.strerror}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
