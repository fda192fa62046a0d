"""The service as its callers meet it: a real server on a free port, tokens, and clients.

A `Caller` is one client with a token. A `LedgerClient` is a ledger of a single test with a caller
for every role, so that tests on one server do not interfere.
"""

from __future__ import annotations

import base64
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from api.auth.secrets import new_token_key, read_token_key
from api.auth.tokens import mint_token
from api.server.main import Server, listen
from api.settings import Settings, load_settings
from api.transparency.log_keys import LogKeyExists, make_log_key
from domain.actors import Role
from tests.support.keys import (
    COMMAND_KEY,
    EPOCH_DIRECTORY,
    IDEMPOTENCY_KEY,
    LOGIN_KEY,
    SEALER,
    text_of,
)

ISSUER = "certledger"
TOKEN_KEY = new_token_key()
_SIGNER = read_token_key(TOKEN_KEY)[0]
_sites = itertools.count(1)
_running: dict[str, Settings] = {}
"""Address of a running service -> its settings."""


def settings_for(dsn: str, folder: Path, **given: Any) -> Settings:
    """Settings of a service on a database of a test."""
    key = base64.b64encode(bytes(range(32))).decode()
    return load_settings(
        database_url=dsn,
        data_dir=folder,
        master_key=key,
        key_dir=str(EPOCH_DIRECTORY),
        index_key=key,
        journal_key=SEALER.active.text,
        command_key=text_of(COMMAND_KEY),
        idempotency_key=text_of(IDEMPOTENCY_KEY),
        login_key=text_of(LOGIN_KEY),
        link_key=key,
        token_key=TOKEN_KEY,
        port=0,
        **({"lookup_limit": False, "lookup_processes": 0, "background_audit": False} | given),
    )


def token(role: Role | str, subject: str | None = None, **given: Any) -> str:
    """A token as `certledger token` issues it."""
    role = Role(role)
    claims: dict[str, Any] = {
        "subject": subject or f"{role.value}-1",
        "role": role,
        "organisation": given.pop("organisation", f"org of {role.value}"),
        "ledgers": ["*"],
        "issuer": ISSUER,
        "audience": ISSUER,
        "lifetime_s": 3600,
    }
    assert _SIGNER is not None
    return mint_token(_SIGNER, **(claims | given))


@contextmanager
def running(
    settings: Settings, prepare: Callable[[Server, FastAPI], None] | None = None
) -> Iterator[str]:
    """Runs the service in a thread; yields its address. prepare: changes it before the start."""
    addresses: list[str] = []
    ready = threading.Event()

    def on_ready(url: str) -> None:
        addresses.append(url)
        ready.set()

    listening = listen("127.0.0.1", 0)
    app = create_app(settings)
    server = Server(app, on_ready)
    if prepare is not None:
        prepare(server, app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        assert ready.wait(30), "the service did not start"
        _running[addresses[0]] = settings
        yield addresses[0]
    finally:
        for address in addresses:
            _running.pop(address, None)
        server.should_exit = True
        thread.join(40)
        listening.close()
        assert not thread.is_alive(), "the service did not stop"


@dataclass
class Caller:
    """One client: its token, and the ledger it works on."""

    client: httpx.Client
    ledger: str
    token: str | None
    headers: dict[str, str] = field(default_factory=dict)

    def at(self, moment: datetime | str) -> Caller:
        """The same caller, stating when it occurred."""
        text = moment if isinstance(moment, str) else moment.isoformat()
        return Caller(self.client, self.ledger, self.token, self.headers | {"Occurred-At": text})

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Any request; a path without a leading slash is below the ledger."""
        url = path if path.startswith("/") else f"/ledgers/{self.ledger}/{path}".rstrip("/")
        headers = dict(self.headers) | given.pop("headers", {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return self.client.request(method, url, headers=headers, **given)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """Read."""
        headers = params.pop("headers", {})
        return self.ask("GET", path, params=params or None, headers=headers)

    def send(
        self, path: str, body: Any = None, *, key: str | None = None, **given: Any
    ) -> httpx.Response:
        """Send a command, under a fresh idempotency key unless one is given."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex} | given.pop("headers", {})
        if body is not None:
            given["json"] = body
        return self.ask(given.pop("method", "POST"), path, headers=headers, **given)

    def write(self, path: str, body: Any = None, **given: Any) -> dict[str, Any]:
        """Send a command and assert that it was recorded. Returns: the body."""
        answer = self.send(path, body, **given)
        assert answer.status_code in (200, 201, 202), f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def read(self, path: str, **params: Any) -> dict[str, Any]:
        """Read and assert success, once the view has reached `min_position`. Returns: the body."""
        answer = self.get(path, **params)
        deadline = time.monotonic() + 30
        while answer.status_code == 503 and time.monotonic() < deadline:
            if answer.json()["code"] != "view_behind":
                break
            answer = self.get(path, **params)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())


@dataclass
class LedgerClient:
    """An open ledger with a fee schedule, for one test."""

    client: httpx.Client
    name: str
    site_code: str

    def caller(self, role: Role | str, subject: str | None = None, **given: Any) -> Caller:
        """A caller in a role."""
        return Caller(self.client, self.name, token(role, subject, **given))

    @property
    def stranger(self) -> Caller:
        """A caller without a token."""
        return Caller(self.client, self.name, None)

    def backdated(self, role: Role | str, subject: str | None = None) -> Caller:
        """A caller in a role who may state when something occurred."""
        return self.caller(role, subject, backfill=True)


def make_log_key_for(client: httpx.Client, ledger: str) -> None:
    """Make the log key of a ledger where a service of `running` has its keys, as an operator does.

    With an external database it has to be there before the ledger is opened.
    """
    settings = _running.get(str(client.base_url).rstrip("/"))
    if settings is not None:
        with suppress(LogKeyExists):
            make_log_key(settings, ledger)


def new_ledger(client: httpx.Client, opened_at: str | None = None) -> LedgerClient:
    """Open a ledger that no other test uses."""
    number = next(_sites)
    name = f"t{uuid.uuid4().hex[:10]}"
    ledger = LedgerClient(client, name, f"S000033{number:06d}")
    operator, certifier = (
        ledger.caller("operator", backfill=True),
        ledger.caller("certifier", backfill=True),
    )
    if opened_at is not None:
        operator, certifier = operator.at(opened_at), certifier.at(opened_at)
    make_log_key_for(client, name)
    operator.write("", opening(ledger.site_code, name), method="PUT")
    adopt_fees(operator, certifier)
    return ledger


def adopt_fees(operator: Caller, certifier: Caller) -> None:
    """Two persons adopt a table of fees."""
    proposed = operator.write("editions/fees", FEES)
    certifier.write(f"editions/fees/{proposed['outcome']['sha256']}/adoption")


def opening(site_code: str, name: str) -> dict[str, str]:
    """Body that opens a ledger."""
    return {
        "organisation_name": "浙江今日头条科技有限公司",
        "issuer_name": "浙江今日头条科技有限公司",
        "unified_social_credit_code": "91330100MA00000000",
        "site_code": site_code,
        "log_origin": f"example.org/{name}",
    }


OCCUPATION = "4-01-02-07"
FEES: dict[str, Any] = {
    "edition": "fees-1",
    "valid_from": "2026-01-01",
    "content": {
        "source": "收费公示",
        "fees": [
            {
                "occupation": OCCUPATION,
                "level": 4,
                "certification_fee_fen": 30_000,
                "study_material_fee_fen": 18_000,
            }
        ],
    },
}
