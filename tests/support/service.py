"""The service as its callers meet it: a real server on a free port, tokens, and helpful hands.

A `Door` is one caller with a token; `Book` is a ledger of its own with a door for every role, so
that tests on one server do not meet.
"""

from __future__ import annotations

import base64
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from domain.actors import Role

ISSUER = "certledger"
TOKEN_KEY = new_token_key()
_SIGNER = read_token_key(TOKEN_KEY)[0]
_sites = itertools.count(1)


def settings_for(dsn: str, folder: Path, **given: Any) -> Settings:
    """Settings of a service on a database of a test."""
    key = base64.b64encode(bytes(range(32))).decode()
    return load_settings(
        database_url=dsn,
        data_dir=folder,
        master_key=key,
        index_key=key,
        token_key=TOKEN_KEY,
        port=0,
        **({"lookup_limit": False, "lookup_processes": 0} | given),
    )


def token(role: Role | str, subject: str | None = None, **given: Any) -> str:
    """A token as `certledger token` mints it."""
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
    """The service on a thread; gives its address. prepare: changes it before it starts."""
    told: list[str] = []
    ready = threading.Event()

    def say(url: str) -> None:
        told.append(url)
        ready.set()

    listening = listen("127.0.0.1", 0)
    app = create_app(settings)
    server = Server(app, say)
    if prepare is not None:
        prepare(server, app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        assert ready.wait(30), "the service did not start"
        yield told[0]
    finally:
        server.should_exit = True
        thread.join(40)
        listening.close()
        assert not thread.is_alive(), "the service did not stop"


@dataclass
class Door:
    """One caller: their token, and the ledger they work on."""

    client: httpx.Client
    ledger: str
    token: str | None
    headers: dict[str, str] = field(default_factory=dict)

    def at(self, moment: datetime | str) -> Door:
        """The same caller saying when it occurred."""
        text = moment if isinstance(moment, str) else moment.isoformat()
        return Door(self.client, self.ledger, self.token, self.headers | {"Occurred-At": text})

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Any request; a path without a leading slash is within the ledger."""
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
        """Write, under a fresh key unless one is given."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex} | given.pop("headers", {})
        if body is not None:
            given["json"] = body
        return self.ask(given.pop("method", "POST"), path, headers=headers, **given)

    def done(self, path: str, body: Any = None, **given: Any) -> dict[str, Any]:
        """Write, and insist that it was recorded."""
        answer = self.send(path, body, **given)
        assert answer.status_code in (200, 201), f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def seen(self, path: str, **params: Any) -> dict[str, Any]:
        """Read, and insist that there is an answer."""
        answer = self.get(path, **params)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())


@dataclass
class Book:
    """A ledger of its own, open, with a fee schedule."""

    client: httpx.Client
    ledger: str
    site_code: str

    def door(self, role: Role | str, subject: str | None = None, **given: Any) -> Door:
        """Somebody in a role."""
        return Door(self.client, self.ledger, token(role, subject, **given))

    @property
    def stranger(self) -> Door:
        """Somebody without a token."""
        return Door(self.client, self.ledger, None)

    def backdated(self, role: Role | str, subject: str | None = None) -> Door:
        """Somebody in a role who may say when something occurred."""
        return self.door(role, subject, backfill=True)


def new_book(client: httpx.Client, opened_at: str | None = None) -> Book:
    """Open a ledger that no other test works on."""
    number = next(_sites)
    name = f"t{uuid.uuid4().hex[:10]}"
    book = Book(client, name, f"S000033{number:06d}")
    operator, finance = book.door("operator", backfill=True), book.door("finance", backfill=True)
    if opened_at is not None:
        operator, finance = operator.at(opened_at), finance.at(opened_at)
    operator.done("", opening(book.site_code, name), method="PUT")
    finance.done("fee-schedules", FEES)
    return book


def opening(site_code: str, name: str) -> dict[str, str]:
    """What a ledger is opened with."""
    return {
        "organisation_name": "浙江今日头条科技有限公司",
        "issuer_name": "浙江今日头条科技有限公司",
        "unified_social_credit_code": "91330100MA00000000",
        "site_code": site_code,
        "log_origin": f"example.org/{name}",
    }


OCCUPATION = "4-01-02-07"
FEES = {
    "occupation": OCCUPATION,
    "level": 4,
    "certification_fee_fen": 30_000,
    "study_material_fee_fen": 18_000,
    "valid_from": "2026-01-01",
}
