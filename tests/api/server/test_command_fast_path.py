"""The fast path of commands and ASGI do the same and answer with the same bytes.

Covers: api/server/command_fast_path.py, api/server/raw_exchange.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.routes.routers import ROUTES
from api.server.command_fast_path import CommandFastPath, plain_json_route
from domain.store.embedded.server import EmbeddedPostgres
from tests.api.server.test_lookup_fast_path import (
    ACCEPT,
    JSON,
    LANGUAGE,
    TRACE,
    Request,
    response_to,
    without_fast_path,
)
from tests.support.commands import document_of
from tests.support.postgres import fresh_database
from tests.support.service import (
    FEES,
    LedgerClient,
    make_log_key_for,
    opening,
    running,
    settings_for,
    token,
)

LEDGER = "twins"
QUALIFIED = {"work_periods": [{"started_on": "2020-01-01", "ended_on": None, "relation": "own"}]}


@dataclass
class Twins:
    """Two services, each on a database of its own, that received the same requests.

    staff: a token; others: of those who may not.
    """

    quick: str
    framework: str
    ledgers: tuple[LedgerClient, LedgerClient]
    staff: str
    others: tuple[str, ...]


@pytest.fixture(scope="module")
def twins(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder: Path = tmp_path_factory.mktemp("twins")
    with ExitStack() as closing:
        urls, ledgers = [], []
        for prepare in (None, without_fast_path):
            database = closing.enter_context(fresh_database(postgres))
            known = settings_for(database.dsn, folder / str(len(urls)))
            urls.append(closing.enter_context(running(known, prepare)))
            client = httpx.Client(base_url=urls[-1], timeout=30, trust_env=False)
            ledgers.append(LedgerClient(closing.enter_context(client), LEDGER, "S000033999999"))
        staff = token("agency", "assistant-1")
        for ledger in ledgers:
            make_log_key_for(ledger.client, LEDGER)
            ledger.caller("operator").write(
                "", opening(ledger.site_code, LEDGER), method="PUT", key="1"
            )
            proposed = ledger.caller("operator").write("editions/fees", FEES, key="2")
            adoption = f"editions/fees/{proposed['outcome']['sha256']}/adoption"
            ledger.caller("certifier").write(adoption, key="1")
        others = "stale", token("finance"), token("candidate"), token("agency", ledgers=["other"])
        twins = Twins(urls[0], urls[1], (ledgers[0], ledgers[1]), staff, others)
        for n in (1, 2, 3):
            alike(twins, command_request(twins, "persons", f"person {n}", registration(n)))
        for n in (1, 2):
            alike(twins, command_request(twins, "applications", f"application {n}", application(n)))
        yield twins


def registration(n: int, **changed: Any) -> dict[str, Any]:
    return {
        "person_id": f"P{n}",
        "document_type": "resident_id",
        "document_number": document_of(n),
        "name": "赵一",
    } | changed


def application(n: int, **changed: Any) -> dict[str, Any]:
    return {
        "application_id": f"A{n}",
        "person_id": f"P{n}",
        "occupation": "4-01-02-07",
        "edition": "2021",
        "level": 4,
        "qualifications": QUALIFIED,
    } | changed


def command_request(
    twins: Twins, path: str, key: str, body: Any, *more: tuple[str, str]
) -> Request:
    data = json.dumps(body).encode()
    headers = (
        ("Authorization", f"Bearer {twins.staff}"),
        ("Content-Type", JSON),
        ("Content-Length", str(len(data))),
        ("Idempotency-Key", key),
    )
    return Request("POST", f"/ledgers/{LEDGER}/{path}", (*headers, *more), data)


def alike(twins: Twins, asked: Request) -> tuple[int, dict[str, str], bytes]:
    """The answer of both, which is the same but for what each draws: the moment and random ids."""
    quick, framework = (
        (
            status,
            {name: MADE_ID.sub("-", value) for name, value in headers.items()},
            DRAWN.sub(b'"-":"-"', body),
        )
        for status, headers, body in (response_to(u, asked) for u in (twins.quick, twins.framework))
    )
    assert quick == framework
    return quick


DRAWN = re.compile(
    rb'"(recorded_at|command_id)":"[^"]*"|"(application_id)":"[0-9a-f]{32}"'
    rb'|"(stream)":"application-[0-9a-f]{32}"'
)
MADE_ID = re.compile(r"(?<=/applications/)[0-9a-f]{32}")


def test_a_command_is_carried_out_refused_and_repeated_alike(twins: Twins) -> None:
    sent = command_request(twins, "persons", "once", registration(4))
    first, again = alike(twins, sent), alike(twins, sent)
    assert (first[0], json.loads(first[2])["outcome"]) == (202, {"person_id": "P4"})
    assert again[1].pop("idempotency-replayed") == "true"
    assert again == first
    reused = alike(twins, command_request(twins, "persons", "once", registration(5)))
    assert json.loads(reused[2])["code"] == "idempotency_key_reused"
    refused = alike(twins, command_request(twins, "persons", "another", registration(4)))
    assert json.loads(refused[2])["code"] == "already_exists"
    unknown = alike(
        twins,
        command_request(twins, "applications", "x", application(9), ("Accept-Language", "en")),
    )
    assert (unknown[0], unknown[1]["content-language"]) == (404, "en")
    pages = [ledger.caller("regulator").read("events")["data"] for ledger in twins.ledgers]
    topics, others = ([event["envelope"]["topic"] for event in page] for page in pages)
    assert topics == others
    streams = [event["envelope"]["stream"] for event in pages[0]]
    assert streams.count("person-P4") == 1, "sent twice, recorded once"


_keys = count(1)
PATIENT = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BODIES: dict[str, list[Any]] = {
    "persons": [registration(4), registration(1, name="1234"), {}, [], {"person_id": 7}],
    "applications": [
        application(3),
        application(3, application_id="A9", qualifications={}),
        application(3, level=9),
        application(1, application_id=None),
        application(9),
        application(3, unheard=1),
    ],
    "applications/A2/withdrawal": [{"reason": "个人原因"}, {"reason": ""}, {}],
    "applications/A%32/withdrawal": [{"reason": "个人原因"}],
    "applications/A9/withdrawal?x=1": [{"reason": "个人原因"}],
    "applications/A1/item-uses": [{"item": "handbook"}, {"item": "nothing"}],
    "applications/.1/item-uses": [{"item": "handbook"}],
    "applications/A1/certificates/national/suspension": [{"reason": "错"}],
    "applications/A1/certificates/paper/suspension": [{"reason": "错"}],
    "applications/A1/submission": [{}],
    "nothing": [{}],
}
BROKEN = (b"", b"{", b'{"reason":"a","reason":"b"}', b'{"reason":"\\u0000"}', b"\xff", b"[" * 50)


@PATIENT
@given(data=st.data())
def test_whatever_is_asked_is_answered_alike_by_either_way(
    twins: Twins, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(BODIES)))
    body = json.dumps(data.draw(st.sampled_from(BODIES[path]))).encode()
    body = data.draw(st.sampled_from([body] * 6 + [data.draw(st.sampled_from(BROKEN))]))
    ledger = data.draw(st.sampled_from([LEDGER] * 6 + ["nowhere", "-"]))
    roles = st.sampled_from([twins.staff] * 6 + [*twins.others])
    headers = [
        ("Authorization", f"{data.draw(st.sampled_from(['Bearer'] * 4 + ['bearer', 'Basic']))} "
         f"{data.draw(roles)}"),
        ("Content-Type", data.draw(st.sampled_from([JSON] * 4 + [f"{JSON}; charset=utf-8", "x"]))),
        ("Idempotency-Key", data.draw(st.sampled_from(
            [f"key {next(_keys)}"] * 4 + ["person 1", '"quoted"', "", "钥", "x" * 201]))),
        ("Content-Length", str(len(body))),
        *data.draw(st.lists(st.one_of(ACCEPT, LANGUAGE, TRACE, OTHER), max_size=3)),
    ]  # fmt: skip
    left_out = data.draw(st.sampled_from(["nothing"] * 8 + [name for name, _ in headers[:3]]))
    kept = tuple(
        (name, value.encode().decode("latin-1")) for name, value in headers if name != left_out
    )
    method = data.draw(st.sampled_from(["POST"] * 6 + ["PUT", "GET"]))
    version = data.draw(st.sampled_from(["1.1"] * 5 + ["1.0"]))
    alike(twins, Request(method, f"/ledgers/{ledger}/{path}", kept, body, version))


OTHER = st.sampled_from(
    [
        *[("Connection", "close"), ("Occurred-At", "2026-01-01T00:00:00Z")],
        *[("Idempotency-Key", "twice"), ("X-Forwarded-For", "192.0.2.7"), ("Cookie", "lang=en")],
    ]
)


def test_every_command_with_one_json_body_takes_the_fast_path() -> None:
    short = {route.operation for route in ROUTES if plain_json_route(route) is not None}
    assert {"open_application", "register_person", "record_payment", "review"} < short
    assert len(short) == 34
    # Files, rows, or no body at all.
    recording = {route.operation for route in ROUTES if route.spec is not None}
    assert recording - short == {
        *("adopt_edition", "submit_document", "submit_documents", "approve_refund"),
        *("record_scores", "verify_session_scores", "extend_notice", "close_notice"),
        *("import_numbers", "answer_report", "join_registration"),
    }


def test_the_plainest_commands_do_go_the_short_way(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    try_accept = CommandFastPath.try_accept

    def watched(self: CommandFastPath, connection: Any, method: bytes) -> Any:
        exchange = try_accept(self, connection, method)
        if exchange is not None:
            taken.append(exchange.route)
        return exchange

    monkeypatch.setattr(CommandFastPath, "try_accept", watched)
    browser = (("Accept", "*/*"), ("Accept-Language", "zh-CN,zh;q=0.9"))
    response_to(
        twins.quick,
        command_request(twins, "applications", "application 1", application(1), *browser),
    )
    response_to(
        twins.quick, command_request(twins, "applications/A2/withdrawal", "w", {"reason": "错"})
    )
    assert taken == [
        "/ledgers/{ledger}/applications",
        "/ledgers/{ledger}/applications/{application_id}/withdrawal",
    ]
