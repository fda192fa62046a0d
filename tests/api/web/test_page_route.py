"""The language of a page, and which forms are read."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from api.errors.request import BadRequest, ControlCharacter, MediaTypeUnsupported
from api.web.page_route import form_of, is_same_origin
from api.web.rendering import language_of, switch_of


def asked(
    path: str = "/", query: str = "", body: bytes = b"", method: str = "GET", **headers: str
) -> Request:
    given = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"host", b"cert.example.cn"), *given],
        "scheme": "https",
        "server": ("cert.example.cn", 443),
    }
    return Request(scope, receive)


def test_a_choice_wins_over_the_cookie_and_the_cookie_over_the_browser() -> None:
    assert language_of(asked()) == "zh"
    assert language_of(asked(accept_language="en-GB,en;q=0.9")) == "en"
    assert language_of(asked(accept_language="fr,de;q=0.5")) == "zh"
    assert language_of(asked(accept_language="en", cookie="lang=zh")) == "zh"
    assert language_of(asked(query="lang=en", cookie="lang=zh")) == "en"
    assert language_of(asked(query="lang=xx", cookie="lang=en")) == "en"


def test_the_other_language_keeps_the_rest_of_the_address() -> None:
    request = asked("/finance/omc/refunds", "state=ordered&lang=en")
    assert switch_of(request, "en").href == "/finance/omc/refunds?state=ordered&lang=zh"


def test_the_other_language_never_leads_to_another_host() -> None:
    assert switch_of(asked("//evil.example/x"), "zh").href == "/evil.example/x?lang=en"


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "cross-site", "origin": "https://cert.example.cn"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"origin": "https://cert.example.cn"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_a_form_is_accepted_from_our_own_pages_only(headers: dict[str, str], ours: bool) -> None:
    assert is_same_origin(asked(method="POST", **headers)) is ours


FORM = "application/x-www-form-urlencoded"


def read(body: bytes, content_type: str = FORM) -> dict[str, str]:
    return asyncio.run(form_of(asked(method="POST", body=body, content_type=content_type)))


def test_a_form_is_read_as_utf8_text() -> None:
    assert read(b"name=%E5%BC%A0%E4%B8%89&number=") == {"name": "张三", "number": ""}


@pytest.mark.parametrize("body", [b"name=%FF", b"name=\xe5", b"&".join([b"a=1"] * 11)])
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read(body)


@pytest.mark.parametrize("body", [b"name=%00", b"name=a%1Fb"])
def test_a_control_character_in_a_form_is_refused_as_in_json(body: bytes) -> None:
    with pytest.raises(ControlCharacter):
        read(body)


def test_tabs_and_line_breaks_in_a_form_are_accepted() -> None:
    assert read(b"name=a%09%0D%0Ab") == {"name": "a\t\r\nb"}


def test_only_a_plain_form_is_read() -> None:
    with pytest.raises(MediaTypeUnsupported):
        read(b"{}", "application/json")
