"""The page of the API renders the OpenAPI document, in one language at a time."""

import re

import httpx

from api.web.api_docs import one_language
from api.web.i18n import has_text
from domain.actors import Role


def test_every_operation_is_on_the_page(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    page = http.get("/docs").text
    operations = [
        f"<code>{method.upper()} {path}</code>"
        for path, item in document["paths"].items()
        for method in item
    ]
    assert len(operations) > 40
    assert [each for each in operations if each not in page] == []
    assert page.count("<code>") == len(operations)


def test_the_page_speaks_one_language_at_a_time(http: httpx.Client) -> None:
    english = http.get("/docs?lang=en").text
    rows = re.findall(r'<th role="rowheader" scope="row">([^<]+)', english)
    assert rows
    assert [row for row in rows if re.search(r"[\u4e00-\u9fff]", row)] == []
    assert "任何人" in http.get("/docs?lang=zh").text


def test_every_role_has_a_word() -> None:
    assert all(has_text(f"role.{role.value}") for role in Role)


def test_a_text_in_both_languages_is_split_at_its_middle_dot() -> None:
    assert one_language("查看账本 · Show a ledger", "zh") == "查看账本"
    assert one_language("查看账本 · Show a ledger", "en") == "Show a ledger"
    assert one_language("公示各行(工作人员)· Rows for staff", "en") == "Rows for staff"
    assert one_language("Health", "en") == "Health"
