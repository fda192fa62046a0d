"""The pages in Chromium, at phone and desktop size, in both languages.

Covers: api/web/routes.py, api/web/rendering.py
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from api.web.finance import COOKIE
from tests.api.web.example_history import History
from tests.api.web.page_driver import DESKTOP, PHONE, PageDriver, page_driver

pytestmark = pytest.mark.browser
SMALLEST = {"width": 320, "height": 600}
"""A page must still fit on it (WCAG 1.4.10)."""
OpenDriver = Callable[..., PageDriver]


@pytest.fixture
def open_driver(browser: Any, history: History, address: str) -> Iterator[OpenDriver]:
    """Opens pages; at the end no page had a console error or asked another host."""
    made: list[PageDriver] = []

    def make(**given: Any) -> PageDriver:
        made.append(page_driver(browser, history, address, **given))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
    assert [error for one in made for error in one.console_errors] == []
    assert [url for one in made for url in one.foreign_requests] == []


def every_page(driver: PageDriver) -> Iterator[str]:
    """Open every kind of page in turn; gives its name."""
    history = driver.history
    board = f"/ledgers/{history.ledger_name}/scores"
    paths = {
        "front page": "/",
        "lookup": "/lookup",
        "link": f"/v/{history.links[1][0]}",
        "replaced link": f"/v/{history.links[4][0]}",
        "unknown link": f"/v/{'0' * 32}",
        "boards": "/scores",
        "board": board,
        "running notice": f"{board}/N2",
        "closed notice": f"{board}/N1",
        "API": "/docs",
        "sign in": "/sign-in",
        "not found": "/nothing-here",
    }
    for name, path in paths.items():
        driver.go(path)
        yield name
    driver.look_up(name=history.name(1), document_number=history.document(1))
    yield "found"
    driver.look_up(number=history.numbers[2]["national"], name=history.name(2))
    yield "revoked"
    driver.look_up(number=history.numbers[2]["national"], name=history.name(1))
    yield "missed"
    driver.look_up(number="1234567890123456", name=history.name(1))
    yield "number of another registry"
    driver.look_up(name=history.name(1), document_number="330106900101123")
    yield "document number with a slip"
    driver.look_up(number="S1", name="1")
    yield "filled in wrongly"
    driver.sign_in("nonsense")
    yield "token refused"
    driver.sign_in(history.token())
    yield "refunds"
    driver.go(f"/finance/{history.ledger_name}/refunds?state=abnormal")
    yield "no refunds"
    driver.go(f"/finance/{history.other.name}/refunds")
    yield "not allowed"


FAULTY = """
<html lang="fr"><title>x</title><body><header class="head"></header><main><h1>A</h1><h3>B</h3>
<p id="p" style="color:#999;background:#fff">pale</p><p id="p">twice</p>
<input><button></button><a href="#none">away</a><table><tr><th>x</th></tr></table>
<div style="width:3000px">wide</div></main><footer></footer></body></html>
"""


def test_the_audit_finds_what_is_wrong(open_driver: OpenDriver) -> None:
    driver = open_driver()
    driver.page.set_content(FAULTY)
    found = " | ".join(driver.audit())
    for wanted in (
        "no language", "heading jumps", "contrast 2.85", "two elements are p",
        "has no name: <input", "has no name: <button", "leads nowhere", "header without scope",
        "pixels too wide",
    ):  # fmt: skip
        assert wanted in found


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(
    ("viewport", "colours"),
    [(PHONE, "light"), (DESKTOP, "light"), (DESKTOP, "dark"), (SMALLEST, "dark")],
    ids=["phone", "desktop", "desktop in the dark", "smallest phone in the dark"],
)
def test_every_page_passes_the_accessibility_audit(
    open_driver: OpenDriver, viewport: dict[str, int], colours: str, lang: str
) -> None:
    driver = open_driver(viewport=viewport, color_scheme=colours)
    driver.go(f"/?lang={lang}")
    problems = {name: driver.audit() for name in every_page(driver)}
    assert len(problems) == 22
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_certificate_is_found_and_shown(
    open_driver: OpenDriver, viewport: dict[str, int]
) -> None:
    driver = open_driver(viewport=viewport)
    history = driver.history
    driver.look_up(name=history.name(1), document_number=history.document(1))
    assert driver.page.locator("article.certificate").count() == 2
    national = driver.page.get_by_role("region", name="职业技能等级证书")
    assert history.numbers[1]["national"] in national.inner_text()
    assert "有效" in national.inner_text()
    omc = driver.page.get_by_role("region", name="巨量认证（OMC）证书")
    assert history.numbers[1]["omc"] in omc.inner_text()
    assert driver.page.url == f"{history.url}/lookup"


def test_a_miss_and_a_wrong_pair_render_the_same_pixels(open_driver: OpenDriver) -> None:
    driver = open_driver()
    number, rendered = driver.history.numbers[1]["national"], []
    for asked in (number, f"{number[:-6]}999999"):
        driver.look_up(number=asked, name="不存在")
        driver.page.fill("#number", "")
        rendered.append((driver.page.title(), driver.text(), driver.page.screenshot()))
    assert rendered[0] == rendered[1], "to the last pixel"


def test_a_revoked_certificate_shows_on_a_phone_without_scrolling_far(
    open_driver: OpenDriver,
) -> None:
    driver = open_driver(viewport=PHONE)
    history = driver.history
    driver.look_up(number=history.numbers[2]["national"], name=history.name(2))
    badge = driver.page.locator("article .standing", has_text="已撤销")
    assert badge.bounding_box()["y"] < PHONE["height"]
    assert "考试作弊" in driver.text()


def test_the_language_is_switched_and_remembered(open_driver: OpenDriver) -> None:
    driver = open_driver()
    driver.go("/lookup")
    assert driver.page.get_attribute("html", "lang") == "zh-CN"
    driver.page.get_by_role("link", name="English").click()
    driver.page.wait_for_url("**lang=en")
    assert driver.page.get_attribute("html", "lang") == "en"
    driver.go("/scores")
    assert driver.page.get_attribute("html", "lang") == "en"
    driver.page.get_by_role("link", name="中文").click()
    driver.page.wait_for_url("**lang=zh")
    driver.go("/")
    assert driver.page.get_attribute("html", "lang") == "zh-CN"


def test_an_answer_is_shown_again_in_the_other_language(open_driver: OpenDriver) -> None:
    driver = open_driver(viewport=PHONE)
    history = driver.history
    driver.look_up(name=history.name(1), document_number=history.document(1))
    with driver.page.expect_navigation():
        driver.page.get_by_role("button", name="English").click()
    assert driver.page.locator("article.certificate").count() == 2
    assert "Certificates found: 2." in driver.text()
    assert driver.page.url == f"{history.url}/lookup?lang=en"


def test_a_lookup_needs_no_mouse(open_driver: OpenDriver) -> None:
    driver = open_driver()
    history, keys = driver.history, driver.page.keyboard
    driver.go("/lookup")
    keys.press("Tab")
    assert driver.page.locator(":focus").inner_text() == "跳到正文"
    assert driver.page.locator(":focus").bounding_box()["y"] >= 0, "it shows once it has focus"
    keys.press("Enter")
    keys.press("Tab")
    assert driver.page.locator(":focus").get_attribute("id") == "number"
    outline = driver.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"
    keys.type(history.numbers[1]["national"])
    keys.press("Tab")
    keys.insert_text(history.name(1))
    with driver.page.expect_navigation():
        keys.press("Enter")
    assert driver.page.locator("article.certificate").count() == 1


def test_faults_are_shown_at_their_fields_and_linked(open_driver: OpenDriver) -> None:
    driver = open_driver(viewport=PHONE)
    driver.look_up(name="1")
    page = driver.page
    assert page.get_attribute("#name", "aria-invalid") == "true"
    described = page.get_attribute("#name", "aria-describedby")
    assert "姓名只能包含" in page.inner_text(f"#{described.split()[-1]}")
    page.get_by_role("alert").get_by_role("link", name="姓名只能包含").click()
    assert page.locator(":focus").get_attribute("id") == "name"
    assert page.input_value("#name") == "1"


def test_everything_works_without_scripts(open_driver: OpenDriver) -> None:
    driver = open_driver(java_script_enabled=False)
    history = driver.history
    driver.look_up(name=history.name(1), document_number=history.document(1))
    assert "查到 2 张证书" in driver.text()
    driver.page.get_by_text("为什么要填两项").click()
    assert "没有校验位" in driver.text()
    driver.sign_in(history.token())
    assert "应退未到账" in driver.text()


def test_the_token_is_sent_to_finance_pages_only_and_hidden_from_scripts(
    open_driver: OpenDriver,
) -> None:
    driver = open_driver()
    driver.sign_in(driver.history.token())
    assert driver.page.url.endswith("/refunds")
    cookie = next(c for c in driver.context.cookies() if c["name"] == COOKIE)
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Strict"
    assert cookie["path"] == "/finance"
    assert COOKIE not in driver.page.evaluate("document.cookie")
    with driver.page.expect_request("**/lookup") as asked:
        driver.go("/lookup")
    assert COOKIE not in asked.value.all_headers().get("cookie", "")
    driver.go("/finance")
    driver.page.get_by_role("button", name="退出").click()
    driver.page.wait_for_url("**/sign-in*")
    assert COOKIE not in {c["name"] for c in driver.context.cookies()}


def test_the_refund_list_is_filtered_paged_and_exported(
    open_driver: OpenDriver, tmp_path: Path
) -> None:
    driver = open_driver()
    page = driver.page
    driver.sign_in(driver.history.token())
    first = page.locator(".cards tbody th").all_inner_texts()
    with page.expect_navigation():
        page.get_by_role("link", name="下一页").click()
    assert page.locator(".cards tbody th").all_inner_texts() != first
    page.select_option("#state", "settled")
    with page.expect_navigation():
        page.get_by_role("button", name="筛选").click()
    assert page.locator(".cards tbody tr").count() == 1
    assert "¥300.00" in page.locator(".cards tbody").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="导出 CSV").click()
    assert download.value.suggested_filename.startswith("refunds-")
    file = tmp_path / "refunds.csv"
    download.value.save_as(file)
    lines = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))
    assert len(lines) == 2
    assert lines[1][3] == "已到账"


def test_a_printed_certificate_has_its_qr_code_and_no_menu(open_driver: OpenDriver) -> None:
    driver = open_driver()
    driver.go(f"/v/{driver.history.links[1][0]}")
    page = driver.page
    code, menu = page.locator(".code svg"), page.locator("header nav")
    assert menu.is_visible()
    assert not code.is_visible()
    page.emulate_media(media="print")
    assert code.is_visible()
    assert not menu.is_visible()
    assert not page.get_by_text("本页可直接打印").is_visible()
    paper = PdfReader(io.BytesIO(page.pdf(format="A4")))
    assert len(paper.pages) == 1


def test_a_notice_is_read_row_by_row_on_a_phone(open_driver: OpenDriver) -> None:
    driver = open_driver(viewport=PHONE)
    driver.go(f"/ledgers/{driver.history.ledger_name}/scores")
    with driver.page.expect_navigation():
        driver.page.get_by_role("link", name="查看公示名单").click()
    table = driver.page.get_by_role("table")
    assert table.get_by_role("row").count() == 3, "its head and two rows, cards or not"
    assert table.get_by_role("columnheader").count() == 6
    with driver.page.expect_navigation():
        driver.page.get_by_role("link", name="下一页").click()
    assert "异议核查中" in driver.text()
