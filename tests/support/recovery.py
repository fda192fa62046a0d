"""A loss that is accepted as `certledger recover` accepts it, on the database of a test."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from api.app import secrets_of_ledgers
from api.auth.secrets import load_service_keys
from api.settings import Settings
from api.transparency import recovery
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.service.recovery import Proposal


def with_new_journal_key(settings: Settings, byte: int = 7) -> Settings:
    """The settings after the operator has changed the journal key."""
    assert settings.journal_key is not None
    key = base64.b64encode(bytes([byte] * 32)).decode()
    retired = (*settings.journal_keys_retired, settings.journal_key)
    update = {"journal_key": SecretStr(key), "journal_keys_retired": retired}
    return settings.model_copy(update=update)


@contextmanager
def stopped(settings: Settings) -> Iterator[tuple[Ledger, LedgerSecrets]]:
    """The ledger as `certledger recover` opens it."""
    assert settings.database_url is not None
    secrets = secrets_of_ledgers(settings, load_service_keys(settings))
    ledgers = Ledgers(settings.database_url.get_secret_value(), secrets)
    try:
        yield ledgers.get("omc"), secrets
    finally:
        ledgers.close()


def propose(settings: Settings, person: str = "li") -> Proposal:
    with stopped(settings) as (ledger, _):
        return recovery.propose(settings, ledger, person)


def confirm(settings: Settings, digest: str, person: str = "wang") -> recovery.Recovery:
    with stopped(settings) as (ledger, secrets):
        return recovery.confirm(settings, ledger, secrets, digest, person)


def recover(settings: Settings, byte: int = 7) -> Settings:
    """Accept what was lost. Returns: the settings with the new key."""
    proposal = propose(settings)
    settings = with_new_journal_key(settings, byte)
    confirm(settings, proposal.hash)
    return settings
