"""The middleware: limits, security headers, and an access log without personal data.

Covers: api/http/middleware.py, api/http/strict_json.py
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from typing import Any

import httpx
import pytest

from api.errors.request import ControlCharacter, JsonTooDeep
from api.http.middleware import RequestMiddleware, check_json
from api.settings import load_settings
from api.web.error_pages import render_error
from tests.support.http_journey import Journey
from tests.support.service import LedgerClient

TYPED = {"Content-Type": "application/json"}


def test_a_too_large_body_is_413_with_and_without_content_length(module_ledger: LedgerClient):
    agency = module_ledger.caller("agency")
    large = b'{"name":"' + b"x" * 1_100_000 + b'"}'
    announced = agency.send("persons", content=large, headers=TYPED)
    streamed = agency.send("persons", content=iter([large[:600_000], large[600_000:]]),
                           headers=TYPED)  # fmt: skip
    for answer in (announced, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_too_deeply_nested_body_is_400(module_ledger: LedgerClient):
    deep = b"[" * 40 + b"]" * 40
    answer = module_ledger.caller("agency").send("persons", content=deep, headers=TYPED)
    assert (answer.status_code, answer.json()["code"]) == (400, "json_too_deep")


def test_depth_counts_brackets_outside_of_strings_only():
    check_json(b'{"a":"' + b"[" * 1000 + b'"}', 5)
    check_json(b"[" + b"[],[]," * 500 + b"[]]", 2)
    check_json(rb'{"a":"\"[[[[[[[[[["}', 5)
    for body in (b"[[[[[[", b'{"a":[[[[[', b'"\\\\" [[[[[['):
        with pytest.raises(JsonTooDeep):
            check_json(body, 5)


def test_the_depth_check_takes_linear_time():
    began = time.perf_counter()
    check_json(b"[" * 6 + b'"\\' * 500_000, 100)
    check_json(b'"' * 1_000_000 + b"[" * 50, 100)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "body",
    [b'{"name":"\\u0000"}', b'{"name":"\x00"}', b'{"name":"\\u001B[2J"}', b'{"name":"\\b"}'],
)
def test_control_characters_are_refused_because_records_are_printed(
    module_ledger: LedgerClient, body: bytes
):
    answer = module_ledger.caller("agency").send("persons", content=body, headers=TYPED)
    assert (answer.status_code, answer.json()["code"]) == (400, "control_character")
    check_json(rb'{"a":"\t\n\r\u000a\u4e00 \\b"}', 5)


def test_an_unknown_query_parameter_is_refused(module_ledger: LedgerClient):
    answer = module_ledger.caller("agency").get("applications", stauts="paid")
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")
    fields = answer.json()["fields"]
    assert fields["name"] == "stauts"
    assert "status" in fields["allowed"].split(", ")


def test_an_escaped_backslash_before_u0000_is_accepted():
    check_json(rb'{"a":"\\u0000"}', 5)
    with pytest.raises(ControlCharacter):
        check_json(rb'{"a":"\\\u0000"}', 5)


def test_every_response_has_the_security_headers(client: httpx.Client):
    for path in ("/health", "/nowhere", "/ledgers"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"]
        assert "server" not in headers


# --- the middleware alone -------------------------------------------------------------------------


async def through(
    middleware: RequestMiddleware, messages: list[dict[str, Any]], **scope: Any
) -> list[Any]:
    """Send messages through a middleware. Returns: the messages that it sent."""
    sent: list[Any] = []
    given = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(given)

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "POST", "headers": [], "path": "/", "query_string": b"",
             **scope}  # fmt: skip
    await middleware(whole, receive, send)
    return sent


def body_of(sent: list[Any]) -> dict[str, Any]:
    return dict(json.loads(b"".join(m["body"] for m in sent if m["type"] == "http.response.body")))


REQUEST = [{"type": "http.request", "body": b"", "more_body": False}]


def test_an_unexpected_error_is_500_with_a_trace_id_and_no_details(
    caplog: pytest.LogCaptureFixture,
):
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("张三 330106199503151275")

    with caplog.at_level(logging.INFO):
        sent = asyncio.run(
            through(RequestMiddleware(broken, load_settings(), render_error), REQUEST)
        )
    body = body_of(sent)
    assert (sent[0]["status"], body["code"]) == (500, "internal_error")
    assert "fields" not in body
    assert body["trace_id"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "张三" not in caplog.text + json.dumps(body, ensure_ascii=False)
    assert "330106199503151275" not in caplog.text


def test_requests_above_the_concurrency_limit_are_503_at_once():
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def concurrent_clients() -> tuple[list[Any], list[Any]]:
        middleware = RequestMiddleware(slow, load_settings(requests_max=1), render_error)
        first = asyncio.create_task(through(middleware, REQUEST))
        await asyncio.sleep(0.01)
        second = await through(middleware, REQUEST)
        release.set()
        return await first, second

    first, second = asyncio.run(concurrent_clients())
    assert first[0]["status"] == 200
    assert second[0]["status"] == 503
    assert body_of(second)["code"] == "server_busy"
    assert (b"retry-after", b"1") in second[0]["headers"]


def test_a_client_that_disconnects_gets_no_response():
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("half a request was handed on")

    half = [{"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"}]  # fmt: skip
    assert asyncio.run(through(RequestMiddleware(never, load_settings(), render_error), half)) == []


def test_a_slow_body_does_not_delay_other_requests(client: httpx.Client):
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port)) as slow:
        slow.sendall(
            b"POST /lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        began = time.perf_counter()
        assert client.get("/health").status_code == 200
        assert time.perf_counter() - began < 2


# --- what the log does not say --------------------------------------------------------------------


def test_the_log_contains_no_name_number_token_or_query(
    ledger: LedgerClient, caplog: pytest.LogCaptureFixture
):
    journey = Journey(ledger)
    with caplog.at_level(logging.INFO):
        journey.register()
        journey.apply()
        journey.pay()
        journey.hand_in()
        ledger.client.post(
            "/lookup", json={"name": "钱一", "certificate_number": "S000033000001264000001"}
        )
        ledger.client.get("/v/0f1e2d3c4b5a69788796a5b4c3d2e1f0")
        ledger.caller("agency").ask("POST", "persons/search", json={
            "document_type": "resident_id", "document_number": "330106199503151275"})  # fmt: skip
        ledger.client.get("/ledgers", params={"name": "钱一"})
        ledger.caller("agency").get("applications", status="钱一")
        ledger.caller("regulator").get("events")
    requests = [r.getMessage() for r in caplog.records if r.name == "certledger.requests"]
    assert len(requests) > 8
    for line in requests:
        assert set(json.loads(line)) == {"trace_id", "method", "route", "status", "ms", "role"}
    said = caplog.text
    for private in ("钱一", "330106", "S000033000001264000001", "0f1e2d3c", "eyJ", "P1", "A1",
                    "4200", "candidate-1"):  # fmt: skip
        assert private not in "\n".join(requests), private
    assert "钱一" not in said
    assert "330106199503151275" not in said
