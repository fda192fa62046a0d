"""The short way of the public lookups and the framework's answer alike, whatever is asked."""

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
from api.lookup.rate_limit import RateLimiter
from api.routes.lookup import LookupBody
from api.server.connection import HttpConnection
from api.server.lookup_fast_path import LookupFastPath, plainly_typed
from api.server.main import Server
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.commands import document_of
from tests.support.http_journey import ISSUED_AT, certified
from tests.support.lookup_workers import Running
from tests.support.postgres import fresh_database
from tests.support.service import new_book, running, settings_for

NAME, DOCUMENT = "钱一", document_of(1)
TRACED = "4bf92f3577b34da6a3ce929d0e0e4736"
JSON = "application/json"


class ByFramework(HttpConnection):
    """A connection on which every request goes the long way."""

    def _without_framework(self, method: bytes) -> None:
        return None


def without_short_way(server: Server, app: FastAPI) -> None:
    server.config.http = partial(ByFramework, **server.config.http.keywords)  # type: ignore


@dataclass
class Both:
    """One ledger with two certificates, asked by either way.

    tokens: of the links; the first is of a version that was replaced.
    """

    quick: str
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
        quick = closing.enter_context(beginning(known))
        framework = closing.enter_context(running(known, without_short_way))
        client = closing.enter_context(httpx.Client(base_url=quick, timeout=30, trust_env=False))
        book = new_book(client, "2026-03-01T08:00:00+08:00")
        journey, numbers = certified(book)

        def links() -> list[str]:
            head = book.door("regulator").seen("events")["head"]
            registrar = book.door("registrar")
            shown = registrar.seen("applications/A1/certificates", min_position=head)["data"]
            return [each["link"].rpartition("/v/")[2] for each in shown]

        before = links()
        journey.staff("registrar", ISSUED_AT).done(
            f"{journey.application}/certificates/national/reissue", {"reason": "遗失补发"}
        )
        tokens = sorted({*before, *links()}, key=links().__contains__)
        tag = client.get(f"/v/{tokens[-1]}").headers["etag"]
        yield Both(quick, framework, tokens, tag, numbers)


# --- asking and comparing -------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
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


def answer_of(url: str, asked: Asked) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, without what differs from one answer to the next."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(asked.encoded())
        response = HTTPResponse(connection, method=asked.method)
        response.begin()
        body = response.read()
    names = [name.lower() for name, _ in response.getheaders()]
    assert len(names) == len(set(names)), "a header stands twice"
    headers = {name.lower(): value for name, value in response.getheaders()}
    assert headers.pop("date")
    trace = headers.pop("trace-id")
    assert re.fullmatch("[0-9a-f]{32}", trace)
    if trace != TRACED:
        body = body.replace(trace.encode(), b"-" * 32)
        headers["trace-id"] = "a new one"
    return response.status, headers, body


def alike(both: Both, asked: Asked) -> tuple[int, dict[str, str], bytes]:
    quick, framework = answer_of(both.quick, asked), answer_of(both.framework, asked)
    assert quick == framework
    return quick


def headers_of(*kinds: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[Any]:
    """Some of these headers, now and then one of them twice."""
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
def test_a_link_is_answered_alike_by_either_way(both: Both, data: st.DataObject):
    token = data.draw(st.sampled_from([*both.tokens, "0" * 32, "f" * 31, both.tokens[0].upper()]))
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
    alike(both, Asked(method, path, given_headers, version=version))


def test_a_link_is_found_replaced_kept_or_nowhere(both: Both):
    old, *_, new = both.tokens
    found = alike(both, Asked("GET", f"/v/{new}"))
    assert (found[0], json.loads(found[2])["replaced"]) == (200, False)
    assert json.loads(alike(both, Asked("GET", f"/v/{old}"))[2])["replaced"] is True
    kept = alike(both, Asked("GET", f"/v/{new}", (("If-None-Match", both.tag),)))
    assert (kept[0], kept[2], kept[1]["etag"]) == (304, b"", both.tag)
    nowhere = alike(both, Asked("GET", "/v/" + "0" * 32, (("Accept-Language", "en"),)))
    assert (nowhere[0], nowhere[1]["content-language"]) == (404, "en")


# --- by facts -------------------------------------------------------------------------------------

BROKEN = (
    b"", b"{", b"[]", b"null", b'{"name":"a","name":"b"}', b'{"name":"\\u0000"}', b"\xff\xfe",
    b"[" * 50, b'{"name":"' + b"x" * 5000 + b'"}', b'{"nobody":1}',
)  # fmt: skip


@PATIENT
@given(data=st.data())
def test_facts_are_answered_alike_by_either_way(both: Both, data: st.DataObject):
    facts = {
        "certificate_number": [
            *both.numbers.values(), both.numbers["omc"].replace("-", ""), "S000033000123264000001",
            "1010003003400001", "?", "", 7,
        ],
        "name": [NAME, f" {NAME} ", "李四", "1234", "", None, "x" * 81],
        "document_number": [DOCUMENT, DOCUMENT[:-1], document_of(7), "E12345678", ""],
        "document_type": ["resident_id", "passport", "nonsense"],
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
        alike(both, Asked("POST", path, given_headers, body))


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
def test_what_is_read_without_a_parser_is_what_the_parser_reads(
    number: str, name: str, ascii: bool, apart: bool, at: int, more: bytes
):
    said = {"certificate_number": number, "name": name}
    separators = None if apart else (",", ":")
    body = json.dumps(said, ensure_ascii=ascii, separators=separators).encode(
        "utf-8", "surrogatepass"
    )
    body = body[:at] + more + body[at:]
    typed = plainly_typed(body)
    if typed is not None:
        check_json(body, 8)
        assert LookupBody.model_validate(parse_json(body)) == LookupBody(**typed._asdict())


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_a_number_and_a_name_are_read_without_a_parser(ascii: bool, separators: Any):
    said = {"certificate_number": "S000033000123264000001", "name": "买买提·艾力 Ali"}
    body = json.dumps(said, ensure_ascii=ascii, separators=separators).encode()
    typed = plainly_typed(body)
    assert typed is not None
    assert typed[:2] == tuple(said.values())


def lookup_of(**facts: str) -> Asked:
    body = json.dumps(facts).encode()
    return Asked(
        "POST", "/lookup", (("Content-Type", JSON), ("Content-Length", str(len(body)))), body
    )


def test_any_two_facts_find_the_same_by_either_way(both: Both):
    number = both.numbers["national"]
    for facts in (
        {"certificate_number": number, "name": NAME},
        {"certificate_number": number, "document_number": DOCUMENT},
        {"name": NAME, "document_number": DOCUMENT},
    ):
        status, _, body = alike(both, lookup_of(**facts))
        assert status == 200
        assert number in [each["number"] for each in json.loads(body)["certificates"]]


def test_who_guesses_is_slowed_down_alike_by_either_way(postgres: EmbeddedPostgres, tmp_path: Path):
    def still(server: Server, app: FastAPI) -> None:
        app.state.lookup_limit = RateLimiter(lambda: 0.0)

    def still_without(server: Server, app: FastAPI) -> None:
        still(server, app)
        without_short_way(server, app)

    guess = lookup_of(certificate_number="S000033000123264000001", name="李四")
    faulty = lookup_of(document_number="123", name="李四")
    with fresh_database(postgres) as database:
        known = settings_for(database.dsn, tmp_path)
        with running(known, still) as quick, running(known, still_without) as framework:
            ways = [
                [answer_of(url, asked) for asked in [*[guess, faulty] * 9, guess, guess, guess]]
                for url in (quick, framework)
            ]
    assert ways[0] == ways[1]
    assert {status for status, _, _ in ways[0]} == {200, 422, 429}


def test_the_plainest_requests_do_go_the_short_way(
    both: Both, beginning: Running, monkeypatch: pytest.MonkeyPatch
):
    """Or else the tests above would compare the framework with itself, and one process, too."""
    taken: list[str] = []
    take_on = LookupFastPath.take_on

    def watched(self: LookupFastPath, connection: Any, method: bytes) -> Any:
        exchange = take_on(self, connection, method)
        if exchange is not None:
            taken.append(exchange.route)
        return exchange

    monkeypatch.setattr(LookupFastPath, "take_on", watched)
    browser = (("Accept", "*/*"), ("Accept-Language", "zh-CN,zh;q=0.9"), ("X-Real-IP", "::1"))
    assert answer_of(both.quick, Asked("GET", f"/v/{both.tokens[0]}", browser))[0] == 200
    assert answer_of(both.quick, lookup_of(name=NAME, document_number=DOCUMENT))[0] == 200
    assert taken == (["/v/{token}", "/lookup"] if beginning is running else [])
