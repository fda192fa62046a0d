"""Which keys a service has, and that it does not start with others than a ledger names.

Covers: api/transparency/service_keys.py
"""

from __future__ import annotations

import base64
import shutil
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from api.app import open_service, secrets_of_ledgers
from api.auth.secrets import load_service_keys
from api.settings import SYMMETRIC_KEYS, Settings, SettingsInvalid
from api.transparency.log_keys import NoLogKey, log_seed, make_log_key
from api.transparency.service_keys import keys_in_use
from domain.decision import KeyInUse
from domain.events import KeyPurpose
from domain.service.ledger import Ledgers
from domain.steps.ledger_setup import SetIssuerUrl
from domain.steps.service_keys import SIGNING, key_statement
from domain.store.errors import WrongEpochKey, WrongServiceKey
from domain.store.keys.key_signatures import is_signature
from domain.store.postgres.migrate import migrate
from domain.store.tlog.signed_note import Signer
from domain.values.key_ids import key_id, symmetric_key_id
from tests.support.actors import OPERATOR
from tests.support.commands import open_ledger
from tests.support.key_facts import introduced
from tests.support.ledgers import SITE_CODE, submit
from tests.support.postgres import Database
from tests.support.service import settings_for

OTHER = base64.b64encode(bytes(range(200, 232))).decode()


def named(settings: Settings, *, opening: bool = True) -> dict[str, KeyInUse]:
    keys = keys_in_use(settings, load_service_keys(settings), "omc", opening=opening)
    assert len({key.purpose for key in keys}) == len(keys)
    return {key.purpose.value: key for key in keys}


def test_every_purpose_in_use_is_named_with_the_id_of_its_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    keys, found = load_service_keys(settings), named(settings)
    assert list(found) == [
        *("journal", "command", "idempotency", "login", "master", "index", "link", "log", "token"),
    ]
    for purpose, secret in (
        ("journal", keys.journal_key), ("master", keys.master_key), ("index", keys.index_key),
        ("command", keys.command_key), ("idempotency", keys.idempotency_key),
        ("login", keys.login_key),
        ("link", keys.link_keys.active),
    ):  # fmt: skip
        assert found[purpose].key_id == symmetric_key_id(purpose, secret)
        assert found[purpose].public_key is None
    public = Signer("x", log_seed(settings, "omc")).verifier.public_key
    assert found["log"].public_key == base64.b64encode(public).decode()
    assert found["log"].key_id == key_id("log", public)
    assert {name: key.algorithm for name, key in found.items()} == {
        "journal": "hmac-sha256",
        "command": "hmac-sha256",
        "idempotency": "hmac-sha256",
        "login": "hmac-sha256",
        "master": "aes-256-gcm",
        "index": "hmac-sha256",
        "link": "hmac-sha256",
        "log": "ed25519",
        "token": "ed25519",
    }


def test_a_key_on_p256_is_named_by_its_uncompressed_point(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    token = named(Settings(data_dir=tmp_path, token_key=pem))["token"]
    assert token.algorithm == "ecdsa-p256"
    assert token.public_key is not None
    point = base64.b64decode(token.public_key)
    assert (len(point), point[0]) == (65, 4)
    assert token.key_id == key_id("token", point)
    assert token.signature is not None
    statement = key_statement("omc", token.purpose, None, token.key_id, token.public_key)
    signature = base64.b64decode(token.signature)
    assert is_signature("ecdsa-p256", point, statement, signature)


def test_a_key_that_signs_is_named_with_its_own_signature(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    found = named(settings)
    key = Ed25519PrivateKey.from_private_bytes(log_seed(settings, "omc"))
    assert found["log"].signature == introduced(key).signature_new
    signed = {name for name, key in found.items() if key.signature is not None}
    assert signed == {purpose.value for purpose in SIGNING}


def test_the_token_key_of_another_issuer_is_not_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, token_jwks_url="https://issuer.example/jwks")
    assert "token" not in named(settings)


def test_with_an_external_database_nobody_makes_the_log_key_but_the_operator(
    tmp_path: Path,
) -> None:
    settings = settings_for("postgresql:///nobody", tmp_path)
    assert "log" not in named(settings, opening=False)
    with pytest.raises(NoLogKey, match="certledger keys --make --ledger omc"):
        named(settings)
    make_log_key(settings, "omc")
    assert "log" in named(settings)


# --- the start -----------------------------------------------------------------------------------


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Of a service whose ledger `omc` is open."""
    migrate(database.dsn)
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    with ledgers_of(settings) as ledgers:
        receipt = submit(ledgers.create("omc", SITE_CODE), open_ledger(), OPERATOR, key="open")
    assert receipt.topics == ("ledger_opened.v1", *("key_introduced.v1",) * 9, "actor_named.v1")
    return settings


def ledgers_of(settings: Settings) -> closing[Ledgers]:
    """The ledgers as a service with these settings opens them."""
    assert settings.database_url is not None
    keys = load_service_keys(settings)
    dsn, secrets = settings.database_url.get_secret_value(), secrets_of_ledgers(settings, keys)
    return closing(Ledgers(dsn, secrets, keys_of=partial(keys_in_use, settings, keys)))


def start(settings: Settings) -> None:
    with ExitStack() as closing:
        open_service(settings, closing)


@pytest.mark.parametrize("name", SYMMETRIC_KEYS)
def test_a_service_with_another_key_does_not_start(settings: Settings, name: str) -> None:
    other = settings.model_copy(update={name: type(settings.master_key)(OTHER)})
    purpose = name.removesuffix("_key")
    with pytest.raises(WrongServiceKey, match=f"^wrong_key:{purpose}: ledger omc names "):
        start(other)


def test_a_service_that_would_print_another_address_does_not_start(settings: Settings) -> None:
    """Source: source-document 5.3."""
    url = "https://cert.example.cn"
    with ledgers_of(settings) as ledgers:
        submit(ledgers.get("omc"), SetIssuerUrl(url=url), OPERATOR, key="address")
    with pytest.raises(SettingsInvalid, match=f"newest address of ledger omc is {url}"):
        start(settings)
    start(settings.model_copy(update={"public_base_url": url}))


def test_a_service_with_another_log_key_does_not_start(settings: Settings) -> None:
    (settings.data_dir / "keys" / "log_omc").unlink()
    make_log_key(settings, "omc")
    with pytest.raises(WrongServiceKey, match=r"^wrong_key:log: ledger omc names "):
        start(settings)


def test_a_service_without_the_log_key_starts_and_signs_nothing(settings: Settings) -> None:
    (settings.data_dir / "keys" / "log_omc").unlink()
    start(settings)


def test_a_service_without_the_key_of_an_epoch_does_not_start(
    settings: Settings, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    [stored] = settings.key_directories
    here.mkdir(), shutil.copytree(stored, there)
    settings = settings.model_copy(update={"key_dir": f"{here},{there}"})
    start(settings)
    start(settings.model_copy(update={"key_dir": str(there)}))
    [epoch] = [path for path in there.iterdir() if (here / path.name).exists()]
    for path in (here / epoch.name, epoch):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WrongEpochKey, match=r"^wrong_key:epoch: epoch_1_.* is damaged"):
        start(settings)
    for path in (*here.iterdir(), *there.iterdir()):
        path.unlink()
    with pytest.raises(WrongEpochKey, match=r"^wrong_key:epoch: the key of epoch 1 is not in "):
        start(settings)
    with (
        ledgers_of(settings) as ledgers,
        pytest.raises(WrongEpochKey, match=r"^wrong_key:epoch: the key of epoch 1 is not in "),
    ):
        ledgers.get("omc")  # as a command that writes opens it


def test_every_purpose_of_the_service_is_one_a_fact_can_name() -> None:
    assert {purpose.value for purpose in KeyPurpose} == {
        *("log", "journal", "command", "idempotency", "login", "master", "index", "link", "token")
    }
