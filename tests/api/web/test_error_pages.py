"""Refusals: a page for browsers, the problem for API clients, the same status for both."""

import asyncio
from typing import Any

import httpx
import pytest

from api.errors.request import ServerBusy
from api.http.middleware import RequestMiddleware
from api.web.error_pages import render_error
from tests.api.web.conftest import HTML
from tests.api.web.example_history import History
from tests.support.service import settings_for

JSON = {"Accept": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing-here", 404),
        ("GET", "/ledgers/none/scores", 404),
        ("GET", "/ledgers/NONE/scores", 404),
        ("GET", "/ledgers/none/scores/N1", 404),
        ("DELETE", "/lookup", 405),
        ("POST", "/", 405),
    ],
)
def test_a_browser_gets_a_page_and_a_client_a_problem(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    page = http.request(method, path)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>" in page.text
    assert page.headers["trace-id"] in page.text
    problem = http.request(method, path, headers=JSON)
    assert problem.status_code == status or path.startswith("/ledgers/NONE")
    assert problem.headers["content-type"] == "application/problem+json"


def test_error_pages_speak_both_languages(http: httpx.Client) -> None:
    assert "请检查网址是否完整" in http.get("/nothing-here").text
    english = http.get("/nothing-here?lang=en")
    assert '<html lang="en">' in english.text
    assert "Check that the address is complete" in english.text


def test_a_form_that_is_too_large_is_refused_with_a_page(http: httpx.Client) -> None:
    answer = http.post("/lookup", data={"name": "张" * 400_000})
    assert answer.status_code == 413
    assert "<h1>" in answer.text


def test_a_form_of_another_media_type_is_refused_with_a_page(http: httpx.Client) -> None:
    answer = http.post("/lookup", files={"name": ("a.txt", b"x", "text/plain")})
    assert answer.status_code == 415
    assert "<h1>" in answer.text
    assert http.post("/lookup", data={"name": "a\x00b"}).status_code == 400


def test_an_invalid_cursor_is_refused_with_a_page(http: httpx.Client, history: History) -> None:
    for path in (
        f"/ledgers/{history.ledger_name}/scores",
        f"/ledgers/{history.ledger_name}/scores/N2",
    ):
        answer = http.get(f"{path}?after=nonsense")
        assert answer.status_code == 400
        assert "<h1>" in answer.text


async def answered(app: Any, accept: str, settings: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/lookup",
        "query_string": b"lang=en",
        "headers": [(b"accept", accept.encode()), (b"host", b"example.cn")],
        "scheme": "http",
        "server": ("example.cn", 80),
    }
    await RequestMiddleware(app, settings, render_error)(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.mark.parametrize(
    ("fault", "status", "expected"),
    [
        (RuntimeError("王小明 330106199001011234"), 500, b"the trace number below"),
        (ServerBusy(), 503, b"try again shortly"),
    ],
    ids=["a fault of ours", "too much to do"],
)
def test_faults_and_overload_are_pages_without_internal_details(
    tmp_path: Any, fault: Exception, status: int, expected: bytes
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise fault

    settings = settings_for("postgresql://nobody@localhost/none", tmp_path)
    for accept in (HTML, "application/json"):
        got, headers, body = asyncio.run(answered(broken, accept, settings))
        assert got == status
        assert "王小明".encode() not in body
        if accept == HTML:
            assert headers[b"content-type"].startswith(b"text/html")
            assert expected in body
            assert b"default-src 'none'" in headers[b"content-security-policy"]
        else:
            assert headers[b"content-type"] == b"application/problem+json"
        if status == 503:
            assert headers[b"retry-after"] == b"1"
