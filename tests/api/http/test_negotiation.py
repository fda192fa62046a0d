"""Accept decides page or data, Accept-Language the language."""

from __future__ import annotations

import pytest

from api.http.negotiation import preferred_language, prefers_page, scope_prefers_page

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROMIUM, True),
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("application/xhtml+xml;q=0.1", True),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.5", False),
        ("application/json;q=0.5, text/html", True),
        ("application/problem+json;q=0.9, text/html;q=0.8", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("text/html;q=nan", False),
        ("text/html;level=1;q=0.3, application/json;q=0.2", True),
        ("", False),
    ],
)
def test_a_page_is_for_requests_that_prefer_html(accept: str, page: bool) -> None:
    assert prefers_page(accept) is page


def test_a_request_without_accept_prefers_data() -> None:
    assert not scope_prefers_page({"headers": [(b"host", b"example.cn")]})
    assert scope_prefers_page({"headers": [(b"accept", CHROMIUM.encode())]})


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("de-DE", "zh"),
        ("fr,de;q=0.5", "zh"),
        ("en", "en"),
        ("EN-gb ; q=0.4", "en"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("zh-CN,en;q=0.9", "zh"),
        ("en;q=0.2,zh;q=0.7", "zh"),
        ("en;q=nonsense", "zh"),
        ("zh;q=x, en", "en"),
        ("en,zh", "en"),
        ("zh,en;q=7", "zh"),
        ("*", "zh"),
        ("en;q=0,zh;q=0", "zh"),
    ],
)
def test_the_language_with_the_greatest_weight_is_preferred(
    header: str | None, language: str
) -> None:
    assert preferred_language(header) == language


def test_only_the_first_entries_of_a_long_header_are_read() -> None:
    assert preferred_language("fr," * 29 + "en") == "en"
    assert preferred_language("fr," * 30 + "en") == "zh"
