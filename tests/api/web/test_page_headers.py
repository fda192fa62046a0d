"""The headers of pages: security, language, caching.

Covers: api/web/rendering.py
"""

import re

import httpx
import pytest

from tests.api.web.example_history import History

PAGES = ["/", "/lookup", "/scores", "/docs", "/sign-in", "/nothing-here", "/v/unknown"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_protected(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy, "not even our own scripts: there are none"
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] in ("same-origin", "no-referrer")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert re.fullmatch(r"[0-9a-f]{32}", headers["trace-id"])
    assert {"Accept", "Accept-Language", "Cookie"} <= set(re.split(r",\s*", headers["vary"]))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_another_host(http: httpx.Client, path: str) -> None:
    page = http.get(path).text
    addresses = re.findall(r"""(?:href|src|action|formaction)=["']([^"']*)""", page)
    assert addresses
    assert all(re.match(r"/(?!/)|#|\?", address) for address in addresses)
    assert "<script" not in page
    assert " style=" not in page


def test_a_page_is_revalidated_by_its_entity_tag(http: httpx.Client, history: History) -> None:
    for path in ("/lookup", f"/ledgers/{history.ledger_name}/scores", "/docs"):
        first = http.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""
        english = {"If-None-Match": first.headers["etag"], "Accept-Language": "en"}
        assert http.get(path, headers=english).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in", "/v/unknown", "/nothing-here"])
def test_personal_and_transient_pages_are_not_cached(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert "etag" not in headers


def test_the_style_sheet_is_cached_forever_at_its_versioned_address(
    http: httpx.Client,
) -> None:
    page = http.get("/").text
    address = re.findall(r'href="(/static/site\.css\?v=[0-9a-f]{16})"', page)[0]
    sheet = http.get(address)
    assert "immutable" in sheet.headers["cache-control"]
    assert sheet.headers["content-type"] == "text/css; charset=utf-8"
    assert "url(" not in sheet.text
    assert "@import" not in sheet.text
    old = http.get("/static/site.css?v=0")
    assert old.headers["cache-control"] == "no-cache"
    again = http.get(address, headers={"If-None-Match": sheet.headers["etag"]})
    assert again.status_code == 304
    assert http.get("/static/..%2fweb.py").status_code == 404


def test_the_language_is_the_browsers_until_one_is_chosen(http: httpx.Client) -> None:
    assert '<html lang="zh-CN">' in http.get("/").text
    english = http.get("/", headers={"Accept-Language": "en-US,en;q=0.9,zh;q=0.1"})
    assert '<html lang="en">' in english.text
    assert english.headers["content-language"] == "en"


def test_a_chosen_language_overrides_the_browsers(http: httpx.Client) -> None:
    chosen = http.get("/?lang=en")
    cookie = chosen.headers["set-cookie"]
    assert cookie.startswith("lang=en;")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert '<html lang="en">' in http.get("/lookup").text
    http.get("/?lang=zh")
    page = http.get("/lookup", headers={"Accept-Language": "en"})
    assert '<html lang="zh-CN">' in page.text
    assert "set-cookie" not in http.get("/?lang=xx").headers


@pytest.mark.parametrize(
    ("path", "indexed"), [("/", True), ("/lookup", True), ("/sign-in", False), ("/v/x", False)]
)
def test_only_public_pages_are_open_to_search_engines(
    http: httpx.Client, path: str, indexed: bool
) -> None:
    robots = re.findall(r'<meta name="robots" content="([^"]+)"', http.get(path).text)
    assert robots == (["index"] if indexed else ["noindex, nofollow"])
