"""Settings and keys: read once, missing ones are named, no secret has a default.

Covers: api/settings.py, api/auth/secrets.py
"""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import SecretStr

from api.auth.secrets import load_service_keys, new_token_key, read_token_key
from api.settings import (
    PREFIX,
    SYMMETRIC_KEYS,
    Settings,
    SettingsInvalid,
    key_bytes,
    load_settings,
    settings_table,
)

KEY = base64.b64encode(bytes(32)).decode()
SECRETS = (*SYMMETRIC_KEYS, "token_key", "database_url")


def pem(key: object) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_without_any_setting_the_service_is_embedded(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path)
    assert settings.embedded
    assert settings.blobs == f"file://{tmp_path / 'blobs'}"


def test_no_secret_has_a_default():
    for name in SECRETS:
        assert Settings.model_fields[name].default is None


def test_an_external_database_requires_every_secret_by_name():
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(database_url="postgresql:///certledger")
    for name in (*SYMMETRIC_KEYS, "token_key"):
        assert PREFIX + name.upper() in str(refused.value)


def test_the_keys_of_an_openid_issuer_replace_the_own_key():
    url = "https://issuer.example/jwks"
    settings = load_settings(
        database_url="postgresql:///x",
        token_jwks_url=url,
        **dict.fromkeys(SYMMETRIC_KEYS, KEY),
    )
    assert load_service_keys(settings).token_checker is None


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CERTLEDGER_PORT", "8123")
    monkeypatch.setenv("CERTLEDGER_TOKEN_ALGORITHMS", '["ES256"]')
    settings = load_settings()
    assert (settings.port, settings.token_algorithms) == (8123, ("ES256",))
    assert load_settings(port=9000).port == 9000


def test_settings_are_immutable(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path)
    with pytest.raises(ValueError):
        settings.port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("master_key", "not base64!"),
        ("index_key", base64.b64encode(bytes(31)).decode()),
        ("journal_key", base64.b64encode(bytes(33)).decode()),
        ("journal_keys_retired", '["c2hvcnQ="]'),
        ("command_key", "c2hvcnQ="),
        ("command_keys_retired", '["c2hvcnQ="]'),
        ("idempotency_key", "c2hvcnQ="),
        ("login_key", base64.b64encode(bytes(31)).decode()),
        ("login_keys_retired", '["c2hvcnQ="]'),
        ("port", "70000"),
        ("crypto", "des"),
        ("public_base_url", "ftp://example.org"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(PREFIX + name.upper(), value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert PREFIX + name.upper() in str(refused.value)
    assert value not in str(refused.value)


def test_secrets_are_never_printed(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path, master_key=KEY, token_key=new_token_key())
    secrets = load_service_keys(settings)
    shown = repr(settings) + repr(secrets) + str(settings)
    assert KEY not in shown
    assert "PRIVATE" not in shown


@pytest.mark.parametrize("purpose", ["journal", "command", "login"])
def test_retired_keys_are_a_list_and_no_secret_is_left_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, purpose: str
):
    monkeypatch.setenv(f"CERTLEDGER_{purpose.upper()}_KEYS_RETIRED", f'["{KEY}"]')
    settings = load_settings(data_dir=tmp_path)
    retired = getattr(load_service_keys(settings), f"{purpose}_keys_retired")
    assert retired == (key_bytes(SecretStr(KEY)),)
    assert KEY not in repr(settings)
    without = settings.without_secrets()
    assert getattr(without, f"{purpose}_keys_retired") == ()
    assert [getattr(without, name) for name in SECRETS] == [None] * len(SECRETS)


def test_every_setting_has_a_description():
    table = settings_table()
    for name, field in Settings.model_fields.items():
        assert field.description
        assert f"`{PREFIX}{name.upper()}`" in table


# --- the demo's keys ------------------------------------------------------------------------------


def test_keys_are_generated_once_and_readable_by_their_owner_only(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path)
    first, second = load_service_keys(settings), load_service_keys(settings)
    assert first.master_key == second.master_key
    assert first.index_key == second.index_key
    files = list((tmp_path / "keys").iterdir())
    assert first.journal_key == second.journal_key
    assert first.command_key == second.command_key
    assert first.idempotency_key == second.idempotency_key
    assert first.login_key == second.login_key
    symmetric = [getattr(first, name) for name in SYMMETRIC_KEYS]
    assert len(set(symmetric)) == len(symmetric)
    names = {
        "master_key",
        "index_key",
        "journal",
        "command",
        "idempotency",
        "login",
        "link",
        "token_key",
    }
    assert {file.name for file in files} == names
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_file_readable_by_others_stops_the_start(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path)
    load_service_keys(settings)
    (tmp_path / "keys" / "index_key").chmod(0o644)
    with pytest.raises(SettingsInvalid, match="open to others"):
        load_service_keys(settings)


def test_a_damaged_key_file_stops_the_start(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path)
    load_service_keys(settings)
    (tmp_path / "keys" / "master_key").write_text("short")
    with pytest.raises(SettingsInvalid, match="master_key"):
        load_service_keys(settings)


def test_the_cursor_key_differs_from_the_index_and_master_key(tmp_path: Path):
    secrets = load_service_keys(load_settings(data_dir=tmp_path))
    assert secrets.cursor_key not in (secrets.index_key, secrets.master_key)


def test_a_public_key_checks_tokens_and_signs_none():
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signer, checker = read_token_key(public.decode())
    assert signer is None
    assert checker.public_bytes_raw() == key.public_key().public_bytes_raw()


def test_a_p256_key_with_escaped_line_breaks_signs():
    text = pem(ec.generate_private_key(ec.SECP256R1()))
    signer, _ = read_token_key(text.replace("\n", "\\n"))
    assert isinstance(signer, ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize(
    "text",
    [
        "no key at all",
        pem(rsa.generate_private_key(65537, 2048)),
        pem(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["text", "rsa", "p384"],
)
def test_other_kinds_of_token_key_are_refused(text: str):
    with pytest.raises(SettingsInvalid, match="CERTLEDGER_TOKEN_KEY"):
        read_token_key(text)
