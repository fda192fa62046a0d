"""The finance pages over HTTP: sign-in and access, the sums, the export.

Covers: api/web/finance.py, api/files/csv_export.py
"""

import csv
import io
import re
import time
from http.cookies import SimpleCookie

import httpx
import pytest

from api.web.finance import COOKIE
from tests.api.web.example_history import EVIL_ORDER, History


def sign_in(http: httpx.Client, token: str, **headers: str) -> httpx.Response:
    return http.post("/sign-in", data={"token": token}, headers=headers)


@pytest.fixture
def finance(http: httpx.Client, history: History) -> httpx.Client:
    """The client, signed in."""
    answer = sign_in(http, history.token())
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/finance"
    return http


def test_the_token_cookie_is_out_of_reach_of_scripts_and_other_sites(
    http: httpx.Client, history: History
) -> None:
    answer = sign_in(http, history.token())
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == "/finance"
    assert 0 < int(cookie["max-age"]) <= 3700
    assert not cookie["secure"], "this service is reached by http"
    assert answer.headers["cache-control"] == "no-store"


def test_the_cookie_is_for_https_only_where_the_service_is(
    http: httpx.Client, history: History
) -> None:
    answer = sign_in(http, history.token(), **{"X-Forwarded-Proto": "https"})
    assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["secure"]


def test_a_sign_in_from_another_site_is_refused(http: httpx.Client, history: History) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
    ):
        answer = sign_in(http, history.token(), **headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", "请粘贴令牌"),
        ("nonsense", "令牌无效或已过期"),
        ("x" * 4000, "令牌过长"),
    ],
)
def test_an_invalid_token_is_refused_and_not_repeated(
    http: httpx.Client, token: str, expected: str
) -> None:
    answer = sign_in(http, token)
    assert answer.status_code == 422
    assert expected in answer.text
    assert "set-cookie" not in answer.headers
    assert not token or token not in answer.text


def test_an_expired_token_is_refused(http: httpx.Client, history: History) -> None:
    old = history.token(now_s=int(time.time()) - 7200, lifetime_s=60)
    assert "令牌无效或已过期" in sign_in(http, old).text


@pytest.mark.parametrize("role", ["candidate", "registrar", "province"])
def test_other_roles_are_refused_with_the_reason(
    http: httpx.Client, history: History, role: str
) -> None:
    answer = sign_in(http, history.token(role))
    assert answer.status_code == 403
    assert "其角色不能查看退费台账" in answer.text
    forced = {"Cookie": f"{COOKIE}={history.token(role)}"}
    page = http.get(f"/finance/{history.ledger_name}/refunds", headers=forced)
    assert page.status_code == 403
    assert "<h1>" in page.text
    assert "¥" not in page.text


def test_a_regulator_may_read_the_list(http: httpx.Client, history: History) -> None:
    assert sign_in(http, history.token("regulator")).status_code == 303
    assert http.get(f"/finance/{history.ledger_name}/refunds").status_code == 200


def test_without_a_session_every_page_redirects_to_the_sign_in(
    http: httpx.Client, history: History
) -> None:
    for path in ("", f"/{history.ledger_name}/refunds", f"/{history.ledger_name}/refunds.csv"):
        answer = http.get(f"/finance{path}")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/sign-in"


def test_a_token_is_good_for_its_ledgers_only(finance: httpx.Client, history: History) -> None:
    assert finance.get(f"/finance/{history.other.name}/refunds").status_code == 403
    only = finance.get("/finance")
    assert only.status_code == 303
    assert only.headers["location"] == f"/finance/{history.ledger_name}/refunds"


def test_signing_out_forgets_the_token(finance: httpx.Client, history: History) -> None:
    assert finance.post("/finance/sign-out", headers={"Origin": "https://evil"}).status_code == 403
    assert finance.get(f"/finance/{history.ledger_name}/refunds").status_code == 200
    answer = finance.post("/finance/sign-out")
    assert answer.status_code == 303
    assert finance.get(f"/finance/{history.ledger_name}/refunds").status_code == 303
    assert "您已退出" in finance.get(answer.headers["location"]).text


def test_the_sums_agree_with_the_history_to_the_fen(
    finance: httpx.Client, history: History
) -> None:
    page = finance.get(f"/finance/{history.ledger_name}/refunds").text
    total = re.findall(r"<tfoot>.*?</tfoot>", page, re.DOTALL)[0]
    # Nine people paid 480 yuan; two were rejected; 300 yuan went back.
    assert re.findall(r">([¥\d,.]+)</td>", total) == [
        "18", "¥4,320.00", "¥960.00", "¥300.00", "¥300.00",
    ]  # fmt: skip
    assert "应退未到账合计 ¥660.00" in page
    assert page.count("<dt") == 0
    assert (
        finance.get(f"/finance/{history.ledger_name}/refunds").headers["cache-control"]
        == "no-store"
    )


def lines_of(finance: httpx.Client, path: str) -> list[tuple[str, str]]:
    """(application, component) of every line of the list, page by page."""
    found = []
    url: httpx.URL | None = httpx.URL(path)
    while url is not None:
        page = finance.get(url).text
        found += re.findall(
            r'data-label="报考编号">(\w+)</th>\s*<td[^>]*data-label="费用项目">([^<]+)', page
        )
        following = re.findall(r'href="([^"]+)" rel="next"', page)
        url = url.join(following[0].replace("&amp;", "&")) if following else None
    return found


def test_the_list_is_complete_page_by_page(finance: httpx.Client, history: History) -> None:
    found = lines_of(finance, f"/finance/{history.ledger_name}/refunds")
    assert len(found) == 18
    assert len(set(found)) == 18


def test_the_list_is_filtered_by_state(finance: httpx.Client, history: History) -> None:
    path = f"/finance/{history.ledger_name}/refunds"
    assert lines_of(finance, f"{path}?state=settled") == [("A8", "认证费用")]
    assert lines_of(finance, f"{path}?state=open") == [
        ("A8", "学员资料"),
        ("A9", "认证费用"),
        ("A9", "学员资料"),
    ]
    assert "没有符合条件的明细" in finance.get(f"{path}?state=abnormal").text
    assert len(lines_of(finance, f"{path}?state=nonsense")) == 18


def exported(finance: httpx.Client, path: str) -> tuple[httpx.Response, list[list[str]]]:
    answer = finance.get(path)
    text = answer.content.decode("utf-8")
    assert text.startswith("\ufeff")
    return answer, list(csv.reader(io.StringIO(text[1:], newline="")))


def test_the_export_contains_the_whole_list(finance: httpx.Client, history: History) -> None:
    answer, lines = exported(finance, f"/finance/{history.ledger_name}/refunds.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        rf'attachment; filename="refunds-{history.ledger_name}-\d+\.csv"',
        answer.headers["content-disposition"],
    )
    assert answer.headers["cache-control"] == "no-store"
    assert lines[0][:5] == ["报考编号", "付款编号", "费用项目", "状态", "实收"]
    assert len(lines) == 19
    settled = next(line for line in lines if line[3] == "已到账")
    assert settled[:8] == ["A8", "PAY8", "认证费用", "已到账", "300.00", "300.00", "300.00",
                           "300.00"]  # fmt: skip


def test_a_cell_of_the_export_cannot_run_in_a_spreadsheet(
    finance: httpx.Client, history: History
) -> None:
    _, lines = exported(finance, f"/finance/{history.ledger_name}/refunds.csv?state=open")
    assert len(lines) == 4
    orders = {line[0]: line[10] for line in lines[1:]}
    assert orders["A9"] == f"'{EVIL_ORDER}"
    transactions = {line[11] for line in lines[1:]}
    assert all(re.fullmatch(r"\d{28}\t", number) for number in transactions)


def test_the_export_speaks_the_language_of_the_page(
    finance: httpx.Client, history: History
) -> None:
    _, lines = exported(finance, f"/finance/{history.ledger_name}/refunds.csv?lang=en")
    assert lines[0][:3] == ["Application", "Payment", "Fee"]
