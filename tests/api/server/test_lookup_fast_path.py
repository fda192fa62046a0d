"""The fast path of lookups answers every request with the same bytes as the framework."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.http.middleware import check_json
from api.http.strict_json import parse_json
from api.lookup.criteria import LookupBody, parse_plain_body
from api.lookup.rate_limit import RateLimiter
from api.server.connection import HttpConnection
from api.server.lookup_fast_path import LookupFastPath
from api.server.main import Server
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.commands import document_of
from tests.support.http_journey import ISSUED_AT, certified
from tests.support.lookup_workers import Running
from tests.support.postgres import fresh_database
from tests.support.service import new_ledger, running, settings_for

NAME, DOCUMENT = "钱一", document_of(1)
TRACED = "4bf92f3577b34da6a3ce929d0e0e4736"
JSON = "application/json"


class ByFramework(HttpConnection):
    """A connection that leaves every request to the framework."""

    def _without_framework(self, method: bytes) -> None:
        return None


def without_fast_path(server: Server, app: FastAPI) -> None:
    server.config.http = partial(ByFramework, **server.config.http.keywords)  # type: ignore


@dataclass
class Both:
    """A ledger with two certificates, served with the fast path and without it.

    tokens: of the links; the first is of a version that was replaced.
    """

    fast: str
    framework: str
    tokens: list[str]
    tag: str
    numbers: dict[str, str]


@pytest.fixture(scope="module")
def both(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, beginning: Running
) -> Iterator[Both]:
    folder: Path = tmp_path_factory.mktemp("both")
    with ExitStack() as closing:
        database = closing.enter_context(fresh_database(postgres))
        known = settings_for(database.dsn, folder)
        fast = closing.enter_context(beginning(known))
        framework = closing.enter_context(running(known, without_fast_path))
        client = closing.enter_context(httpx.Client(base_url=fast, timeout=30, trust_env=False))
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        journey, numbers = certified(ledger)

        def links() -> list[str]:
            head = ledger.caller("regulator").read("events")["head"]
            registrar = ledger.caller("registrar")
            shown = registrar.read("applications/A1/certificates", min_position=head)["data"]
            return [each["link"].rpartition("/v/")[2] for each in shown]

        before = links()
        journey.staff("registrar", ISSUED_AT).write(
            f"{journey.application}/certificates/national/reissue", {"reason": "遗失补发"}
        )
        tokens = sorted({*before, *links()}, key=links().__contains__)
        tag = client.get(f"/v/{tokens[-1]}").headers["etag"]
        yield Both(fast, framework, tokens, tag, numbers)


# --- requests and responses -----------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request, byte for byte as it travels."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    version: str = "1.1"

    def encoded(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/{self.version}", "Host: example"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


def response_to(url: str, asked: Request) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, without what differs from one answer to the next."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(asked.encoded())
        response = HTTPResponse(connection, method=asked.method)
        response.begin()
        body = response.read()
    names = [name.lower() for name, _ in response.getheaders()]
    assert len(names) == len(set(names)), "a header is repeated"
    headers = {name.lower(): value for name, value in response.getheaders()}
    assert headers.pop("date")
    trace = headers.pop("trace-id")
    assert re.fullmatch("[0-9a-f]{32}", trace)
    if trace != TRACED:
        body = body.replace(trace.encode(), b"-" * 32)
        headers["trace-id"] = "a new one"
    return response.status, headers, body


def same_by_both(both: Both, asked: Request) -> tuple[int, dict[str, str], bytes]:
    fast, framework = response_to(both.fast, asked), response_to(both.framework, asked)
    assert fast == framework
    return fast


def headers_of(*kinds: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[Any]:
    """Some of these headers, now and then one of them repeated."""
    return st.lists(st.one_of(*kinds), max_size=4).map(tuple)


def header(name: str, *values: str) -> st.SearchStrategy[tuple[str, str]]:
    return st.sampled_from([(name, value) for value in values])


ACCEPT = header(
    "Accept",
    *("*/*", JSON, "application/problem+json", "text/html", "text/html;q=0.5, application/json"),
    *("application/xhtml+xml", "", "nonsense", "text/html;q=0", "*/*" + ";q=0.1" * 50),
)
LANGUAGE = header(
    "Accept-Language", "en", "zh", "en-GB,zh;q=0.2", "fr", "", "zh;q=x, en", "en," * 100
)
TRACE = header(
    *("traceparent", f"00-{TRACED}-00f067aa0ba902b7-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"),
    *("nonsense", f"00-{TRACED.upper()}-00f067aa0ba902b7-01"),
)
OTHER = st.sampled_from(
    [
        *[("Connection", "close"), ("Connection", "keep-alive"), ("Cookie", "lang=en")],
        *[("Authorization", "Bearer stale"), ("X-Forwarded-For", "192.0.2.7")],
        *[("Expect", "100-continue"), ("Upgrade", "h2c"), ("Range", "bytes=0-3")],
    ]
)
PATIENT = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# --- by link --------------------------------------------------------------------------------------


@PATIENT
@given(data=st.data())
def test_a_link_gets_the_same_response_on_both_paths(both: Both, data: st.DataObject):
    token = data.draw(
        st.sampled_from([*both.tokens, "omc-aa" + "0" * 32, "f" * 31, both.tokens[0].upper()])
    )
    path = data.draw(
        st.sampled_from(
            ["/v/{}", "/v/{}", "/v/{}?lang=en", "/v/{}?", "/v/{}/", "/v/%30{}", "//v/{}"]
        )
    ).format(token)
    tags = ("", both.tag, f'"x", {both.tag}', f"W/{both.tag}", "*", both.tag.strip('"'))
    given_headers = data.draw(
        headers_of(ACCEPT, LANGUAGE, TRACE, OTHER, header("If-None-Match", *tags))
    )
    method = data.draw(st.sampled_from(["GET", "GET", "GET", "HEAD", "PUT", "OPTIONS"]))
    version = data.draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    same_by_both(both, Request(method, path, given_headers, version=version))


def test_a_link_is_current_replaced_not_modified_or_unknown(both: Both):
    old, *_, new = both.tokens
    found = same_by_both(both, Request("GET", f"/v/{new}"))
    assert (found[0], json.loads(found[2])["replaced"]) == (200, False)
    assert json.loads(same_by_both(both, Request("GET", f"/v/{old}"))[2])["replaced"] is True
    unchanged = same_by_both(both, Request("GET", f"/v/{new}", (("If-None-Match", both.tag),)))
    assert (unchanged[0], unchanged[2], unchanged[1]["etag"]) == (304, b"", both.tag)
    nowhere = same_by_both(
        both, Request("GET", "/v/omc-aa" + "0" * 32, (("Accept-Language", "en"),))
    )
    assert (nowhere[0], nowhere[1]["content-language"]) == (404, "en")


# --- by criteria ----------------------------------------------------------------------------------

BROKEN = (
    b"", b"{", b"[]", b"null", b'{"name":"a","name":"b"}', b'{"name":"\\u0000"}', b"\xff\xfe",
    b"[" * 50, b'{"name":"' + b"x" * 5000 + b'"}', b'{"nobody":1}',
)  # fmt: skip


@PATIENT
@given(data=st.data())
def test_a_lookup_gets_the_same_response_on_both_paths(both: Both, data: st.DataObject):
    facts = {
        "certificate_number": [
            *both.numbers.values(), both.numbers["omc"].replace("-", ""), "S000033000123264000001",
            "1010003003400001", "?", "", 7,
        ],
        "name": [NAME, f" {NAME} ", "李四", "1234", "", None, "x" * 81],
        "document_number": [DOCUMENT, DOCUMENT[:-1], document_of(7), "E12345678", ""],
        "document_type": ["resident_id", "passport", "nonsense"],
        "document_country": ["CHN", "ZZZ", "", 7],
        "more": [1],
    }  # fmt: skip
    names = data.draw(st.lists(st.sampled_from([*facts][:3] * 3 + [*facts][3:]), max_size=4))
    body = json.dumps({name: data.draw(st.sampled_from(facts[name])) for name in names}).encode()
    body = data.draw(st.sampled_from([body] * 5 + [data.draw(st.sampled_from(BROKEN))]))
    kinds = (JSON, "application/json; charset=utf-8", "Application/JSON", "text/plain", "")
    kind = data.draw(header("Content-Type", *kinds))
    given_headers = (kind, *data.draw(headers_of(ACCEPT, LANGUAGE, TRACE, OTHER)))
    path = data.draw(
        st.sampled_from(["/lookup", "/lookup", "/lookup", "/lookup?name=a", "/lookup/"])
    )
    if data.draw(st.integers(0, 9)):
        given_headers += (("Content-Length", str(len(body))),)
    else:
        given_headers += (("Transfer-Encoding", "chunked"),)
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    if ("Expect", "100-continue") not in given_headers:  # its answer has two heads
        same_by_both(both, Request("POST", path, given_headers, body))


MORE = (b"}", b'"', b"\\", b"\\u0041", b"\\ud800", b"\xff", b"\n", b" ")
NAMES_TYPED = st.text(st.characters(), max_size=82) | st.text("张三·aZ 'é\\\"/", max_size=82)
NUMBERS_TYPED = st.text("S0123456789-aZ", max_size=62) | st.text(max_size=5)


@PATIENT
@given(
    number=NUMBERS_TYPED,
    name=NAMES_TYPED,
    ascii=st.booleans(),
    apart=st.booleans(),
    at=st.integers(0, 80),
    more=st.sampled_from([b"", b"", *MORE]),
)
def test_a_plain_body_is_read_as_the_json_parser_reads_it(
    number: str, name: str, ascii: bool, apart: bool, at: int, more: bytes
):
    said = {"certificate_number": number, "name": name}
    separators = None if apart else (",", ":")
    body = json.dumps(said, ensure_ascii=ascii, separators=separators).encode(
        "utf-8", "surrogatepass"
    )
    body = body[:at] + more + body[at:]
    typed = parse_plain_body(body)
    if typed is not None:
        check_json(body, 8)
        assert LookupBody.model_validate(parse_json(body)) == LookupBody(**typed._asdict())


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_a_body_of_a_number_and_a_name_is_plain(ascii: bool, separators: Any):
    said = {"certificate_number": "S000033000123264000001", "name": "买买提·艾力 Ali"}
    body = json.dumps(said, ensure_ascii=ascii, separators=separators).encode()
    typed = parse_plain_body(body)
    assert typed is not None
    assert typed[:2] == tuple(said.values())


def lookup_of(**facts: str) -> Request:
    body = json.dumps(facts).encode()
    return Request(
        "POST", "/lookup", (("Content-Type", JSON), ("Content-Length", str(len(body)))), body
    )


def test_any_two_fields_find_the_same_on_both_paths(both: Both):
    number = both.numbers["national"]
    for facts in (
        {"certificate_number": number, "name": NAME},
        {"certificate_number": number, "document_number": DOCUMENT},
        {"name": NAME, "document_number": DOCUMENT},
    ):
        status, _, body = same_by_both(both, lookup_of(**facts))
        assert status == 200
        assert number in [each["number"] for each in json.loads(body)["certificates"]]


def test_guessing_is_rate_limited_alike_on_both_paths(postgres: EmbeddedPostgres, tmp_path: Path):
    def stop_clock(server: Server, app: FastAPI) -> None:
        app.state.lookup_limit = RateLimiter(lambda: 0.0)

    def stop_clock_without(server: Server, app: FastAPI) -> None:
        stop_clock(server, app)
        without_fast_path(server, app)

    guess = lookup_of(certificate_number="S000033000123264000001", name="李四")
    faulty = lookup_of(document_number="123", name="李四")
    with fresh_database(postgres) as database:
        known = settings_for(database.dsn, tmp_path)
        with running(known, stop_clock) as fast, running(known, stop_clock_without) as framework:
            responses = [
                [response_to(url, asked) for asked in [guess, faulty] * 13]
                for url in (fast, framework)
            ]
    assert responses[0] == responses[1]
    assert {status for status, _, _ in responses[0]} == {200, 422, 429}


def test_the_plainest_requests_are_answered_by_the_fast_path(
    both: Both, beginning: Running, monkeypatch: pytest.MonkeyPatch
):
    """Otherwise the tests above would compare the framework with itself."""
    taken: list[str] = []
    try_accept = LookupFastPath.try_accept

    def watched(self: LookupFastPath, connection: Any, method: bytes) -> Any:
        exchange = try_accept(self, connection, method)
        if exchange is not None:
            taken.append(exchange.route)
        return exchange

    monkeypatch.setattr(LookupFastPath, "try_accept", watched)
    browser = (("Accept", "*/*"), ("Accept-Language", "zh-CN,zh;q=0.9"), ("X-Real-IP", "::1"))
    assert response_to(both.fast, Request("GET", f"/v/{both.tokens[0]}", browser))[0] == 200
    assert response_to(both.fast, lookup_of(name=NAME, document_number=DOCUMENT))[0] == 200
    assert taken == (["/v/{token}", "/lookup"] if beginning is running else [])
