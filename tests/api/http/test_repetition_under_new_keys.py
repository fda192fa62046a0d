"""A command is recorded once, although every key was replaced between it and its repetition.

Covers: domain/store/keys/command_hashes.py, domain/store/journal/idempotency.py,
api/transparency/service_keys.py
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.app import secrets_of_ledgers
from api.auth.secrets import load_service_keys, new_token_key
from api.auth.tokens import mint_token
from api.settings import SYMMETRIC_KEYS, Settings
from api.transparency.log_keys import make_log_key
from api.transparency.service_keys import keys_in_use, signed, signing_in_use
from domain.actors import Role
from domain.decision import KeyInUse
from domain.events import KeyPurpose
from domain.service.ledger import Ledgers, LedgerSecrets
from domain.steps.service_keys import IntroduceKey, RetireKey, key_statement
from domain.store.errors import CommandKeyMissing, IdempotencyKeyReused
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.store.tlog.audit import verify
from tests.api.server.test_lookup_fast_path import without_fast_path
from tests.support.actors import ASSISTANT, OPERATOR
from tests.support.commands import document_of, name_of, open_ledger, register
from tests.support.ledgers import SITE_CODE, request_of, submit
from tests.support.postgres import Database
from tests.support.service import ISSUER, running, settings_for

REPLACED = [name for name in SYMMETRIC_KEYS if name != "idempotency_key"]
MANY = 6
"""Commands that are executed together, so that the writer does not take the head lock first."""


@dataclass(frozen=True)
class Keys:
    """Settings with one set of keys."""

    settings: Settings

    def secrets(self) -> LedgerSecrets:
        return secrets_of_ledgers(self.settings, load_service_keys(self.settings))

    def in_use(self) -> dict[KeyPurpose, KeyInUse]:
        keys = keys_in_use(self.settings, load_service_keys(self.settings), "omc", opening=True)
        return {key.purpose: key for key in keys}

    def ledgers(self, dsn: str) -> Ledgers:
        keys = load_service_keys(self.settings)
        return Ledgers(dsn, self.secrets(), keys_of=partial(keys_in_use, self.settings, keys))

    def token(self) -> str:
        signer = load_service_keys(self.settings).token_signer
        assert signer is not None
        return mint_token(
            signer, subject=ASSISTANT.subject, role=Role.AGENCY, organisation="enrolment",
            ledgers=["omc"], issuer=ISSUER, audience=ISSUER, lifetime_s=3600,
        )  # fmt: skip


def with_new_keys(old: Settings, dsn: str) -> Settings:
    """Every key that can be replaced is: introduced, then the earlier one retired."""
    new = {name: SecretStr(base64.b64encode(bytes([n]) * 32).decode())
           for n, name in enumerate(REPLACED, 201)}  # fmt: skip
    retired = {
        f"{purpose}_keys_retired": (getattr(old, f"{purpose}_key"),)
        for purpose in ("journal", "command", "login")
    }
    later = old.model_copy(update=new | retired | {"token_key": SecretStr(new_token_key())})
    before, after = Keys(old).in_use(), Keys(later).in_use()
    changed = [purpose for purpose in after if after[purpose].key_id != before[purpose].key_id]
    # The key of the log is replaced with the log; what is found by idempotency keys, never.
    assert set(after) - set(changed) == {KeyPurpose.LOG, KeyPurpose.IDEMPOTENCY}
    with closing(Ledgers(dsn, Keys(old).secrets())) as ledgers:
        for purpose in changed:
            key = after[purpose]
            more = signatures(old, later) if purpose is KeyPurpose.TOKEN else {}
            command = IntroduceKey(
                purpose=purpose, key_id=key.key_id, algorithm=key.algorithm, **more
            )
            submit(ledgers.get("omc"), command, OPERATOR, key=f"introduce {key.key_id}")
    wrap_again(Keys(old).secrets().epoch_keys, Keys(later).secrets().epoch_keys, dsn)
    with closing(Ledgers(dsn, Keys(later).secrets())) as ledgers:
        for purpose in changed:
            retire = RetireKey(purpose=purpose, key_id=before[purpose].key_id, reason="例行更换")
            submit(ledgers.get("omc"), retire, OPERATOR, key=f"retire {before[purpose].key_id}")
    return later


def wrap_again(old: EpochKeys, later: EpochKeys, dsn: str) -> None:
    """Wrap the keys of epochs under the later master key; one setting names both."""
    [before], [(name, after)] = old.master_keys.keys.values(), later.master_keys.keys.items()
    both = replace(later, master_keys=MasterKeys(name, {name: after, "before": before}))
    with closing(connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT epoch, key_id FROM certledger.epochs WHERE destroyed_at IS NULL")
        epochs = cursor.fetchall()
    for epoch, key_id in epochs:
        for path in (path for path in both.files() if path.name == f"epoch_{epoch}_{key_id}"):
            content = json.loads(path.read_bytes())
            path.write_text(json.dumps(content | {"master_key_id": "before"}))
    assert both.mend(epochs) == len(epochs) > 0


def signatures(old: Settings, later: Settings) -> dict[str, str | None]:
    """What a fact says of a new token key, which the key before it signs too."""
    signer, before = (load_service_keys(each).token_signer for each in (later, old))
    assert signer is not None
    assert before is not None
    old_id = Keys(old).in_use()[KeyPurpose.TOKEN].key_id
    key = signing_in_use("omc", KeyPurpose.TOKEN, signer, old_id)
    assert key.public_key is not None
    statement = key_statement("omc", KeyPurpose.TOKEN, old_id, key.key_id, key.public_key)
    return {
        "public_key": key.public_key,
        "signature_new": key.signature,
        "signature_old": signed(before, statement),
    }


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Of a service whose ledger `omc` is open."""
    migrate(database.dsn)
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    with closing(Keys(settings).ledgers(database.dsn)) as ledgers:
        submit(ledgers.create("omc", SITE_CODE), open_ledger(), OPERATOR, key="open")
    return settings


# --- by a client ----------------------------------------------------------------------------------


def registration(n: int) -> dict[str, Any]:
    return {
        "person_id": f"P{n}", "document_type": "resident_id",
        "document_number": document_of(n), "name": name_of(n),
    }  # fmt: skip


def post(url: str, keys: Keys, n: int) -> httpx.Response:
    headers = {"Authorization": f"Bearer {keys.token()}", "Idempotency-Key": f"k{n}"}
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        return client.post("/ledgers/omc/persons", json=registration(n), headers=headers)


def facts(database: Database, stream: str) -> int:
    sql = "SELECT count(*) FROM certledger.journal WHERE stream = %s"
    return int(database.execute(sql, stream)[0][0])


WAYS = {"fast path": None, "framework": without_fast_path}


@pytest.mark.parametrize("second", WAYS.values(), ids=[f"then {way}" for way in WAYS])
@pytest.mark.parametrize("first", WAYS.values(), ids=WAYS.keys())
def test_a_client_that_repeats_a_command_records_one_fact(
    settings: Settings, database: Database, first: Any, second: Any
) -> None:
    with running(settings, first) as url:
        recorded = post(url, Keys(settings), 1)
    assert recorded.status_code == 202
    later = with_new_keys(settings, database.dsn)
    with running(later, second) as url:
        again = post(url, Keys(later), 1)
        stale = httpx.post(
            f"{url}/ledgers/omc/persons", json=registration(2), timeout=30,
            headers={"Authorization": f"Bearer {Keys(settings).token()}", "Idempotency-Key": "k1"},
        )  # fmt: skip
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.content) == (202, recorded.content)
    assert facts(database, "person-P1") == 1
    assert stale.status_code == 401  # with the earlier token key nobody gets as far


# --- by a process of its own ----------------------------------------------------------------------


@dataclass(frozen=True)
class Repeated:
    """What a process did. optimistic: batches that it executed without the head lock."""

    receipts: list[tuple[bytes, bool]]
    optimistic: int


def send(dsn: str, settings: Settings, count: int) -> Repeated:
    """Register persons together, in this process; the first batch waits for all to be queued."""
    queued = threading.Event()
    with closing(Keys(settings).ledgers(dsn)) as ledgers:
        ledger = ledgers.get("omc")
        ledger.guard.require(lambda: None if queued.wait(30) else pytest.fail("not queued"))
        futures = [
            ledger.submit(command, ASSISTANT, key=f"k{n}", request=request_of(command))
            for n, command in ((n, register(n)) for n in range(1, count + 1))
        ]
        queued.set()
        receipts = [future.result(30) for future in futures]
        found = [(receipt.to_bytes(), receipt.replayed) for receipt in receipts]
        return Repeated(found, ledger._committer.stats.optimistic)


@pytest.fixture
def in_another_process() -> Iterator[Callable[..., Repeated]]:
    """Runs `send` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda *given: pool.submit(send, *given).result(120)


@pytest.mark.parametrize("count", [1, MANY], ids=["reading", "optimistic"])
def test_a_process_that_repeats_commands_records_each_once(
    settings: Settings, database: Database, in_another_process: Callable[..., Repeated], count: int
) -> None:
    first = send(database.dsn, settings, count)
    later = with_new_keys(settings, database.dsn)
    again = in_another_process(database.dsn, later, count)
    assert [receipt for receipt, _ in again.receipts] == [receipt for receipt, _ in first.receipts]
    assert [replayed for _, replayed in again.receipts] == [True] * count
    for one in (first, again):
        assert (one.optimistic > 0) == (count > 1)
    for n in range(1, count + 1):
        assert facts(database, f"person-P{n}") == 1
    with closing(Keys(later).ledgers(database.dsn)) as ledgers:
        journal = ledgers.get("omc").journal
        assert verify(journal).is_good


def test_a_recorded_request_is_found_and_another_one_is_refused(
    settings: Settings, database: Database
) -> None:
    [(receipt, _)] = send(database.dsn, settings, 1).receipts
    later = with_new_keys(settings, database.dsn)
    with closing(Keys(later).ledgers(database.dsn)) as ledgers:
        ledger = ledgers.get("omc")
        known = ledger.recorded_command(ASSISTANT.subject, "k1", request_of(register(1)))
        assert known is not None
        assert known.receipt == receipt
        with pytest.raises(IdempotencyKeyReused):
            ledger.recorded_command(ASSISTANT.subject, "k1", request_of(register(2)))
        with pytest.raises(IdempotencyKeyReused):
            submit(ledger, register(2), ASSISTANT, key="k1")


def test_without_the_retired_key_a_repetition_is_neither_answered_nor_recorded(
    settings: Settings, database: Database
) -> None:
    send(database.dsn, settings, 1)
    later = with_new_keys(settings, database.dsn).model_copy(update={"command_keys_retired": ()})
    with closing(Keys(later).ledgers(database.dsn)) as ledgers:
        earlier = Keys(settings).in_use()[KeyPurpose.COMMAND].key_id
        with pytest.raises(CommandKeyMissing, match=earlier):
            submit(ledgers.get("omc"), register(1), ASSISTANT, key="k1")
    assert facts(database, "person-P1") == 1
