"""The public score board over plain HTTP."""

import re

import httpx

from tests.api.web.example_history import History


def test_the_boards_of_all_ledgers_are_listed(http: httpx.Client, history: History) -> None:
    page = http.get("/scores").text
    for ledger in (history.ledger, history.other):
        assert f"/ledgers/{ledger.name}/scores" in page


def test_a_notice_shows_its_period_and_that_it_runs(http: httpx.Client, history: History) -> None:
    page = http.get(f"/ledgers/{history.ledger_name}/scores").text
    assert "公示中" in page
    assert "5 个工作日" in page
    assert "考场停电" in page, "why it was published late"
    assert page.index("notice-N2") < page.index("notice-N1"), "the latest first"


def test_a_closed_notice_shows_counts_and_no_people(http: httpx.Client, history: History) -> None:
    board = http.get(f"/ledgers/{history.ledger_name}/scores").text
    page = http.get(f"/ledgers/{history.ledger_name}/scores/N1").text
    for text in (board, page):
        assert "已结束" in text
        assert "最终确定人数" in text
    assert "名单不再公开" in page
    for n in (1, 2, 3, 4):
        assert f"{history.name(n)[0]}*" not in page
        assert f"S1-01-00{n}" not in page
    assert "81.5" not in page


def rows_of(http: httpx.Client, history: History) -> str:
    """The joined pages of notice N2, by following their links."""
    path: str | None = f"/ledgers/{history.ledger_name}/scores/N2"
    pages = []
    while path is not None:
        page = http.get(path).text
        pages.append(page)
        following = re.findall(r'href="([^"]+)" rel="next"', page)
        path = (
            str(httpx.URL(f"http://x{path}").join(following[0]).raw_path.decode())
            if (following)
            else None
        )
    assert len(pages) == 2, "three rows, two a page"
    return "\n".join(pages)


def test_every_row_of_a_running_notice_is_found_page_by_page(
    http: httpx.Client, history: History
) -> None:
    pages = rows_of(http, history)
    tickets = re.findall(r">(S2-01-00\d)<", pages)
    assert tickets == ["S2-01-001", "S2-01-002", "S2-01-003"]


def test_rows_show_masked_people_marks_absence_and_outcome(
    http: httpx.Client, history: History
) -> None:
    pages = rows_of(http, history)
    for n in (5, 6, 7):
        assert f">{history.name(n)[0]}*<" in pages
        assert history.name(n) not in pages
        assert history.document(n) not in pages
    assert ">缺考<" in pages
    for outcome in ("合格", "不合格", "异议核查中"):
        assert f"</span>{outcome}</span>" in pages


def test_a_running_notice_explains_how_to_object_and_until_when(
    http: httpx.Client, history: History
) -> None:
    page = http.get(f"/ledgers/{history.ledger_name}/scores/N2").text
    ends_on = re.findall(r'受理至 <time datetime="(\d{4}-\d\d-\d\d)">', page)
    assert len(ends_on) == 1
    assert "24:00" in page
    assert "实名" in page


def test_an_unknown_notice_is_not_found(http: httpx.Client, history: History) -> None:
    assert http.get(f"/ledgers/{history.ledger_name}/scores/N9").status_code == 404
    assert http.get(f"/ledgers/{history.ledger_name}/scores/%3Cb%3E").status_code == 404


def test_a_ledger_without_notices_says_so(http: httpx.Client, history: History) -> None:
    assert "目前没有公示" in http.get(f"/ledgers/{history.other.name}/scores").text


def test_the_front_page_shows_the_position_of_every_ledger(
    http: httpx.Client, history: History
) -> None:
    page = http.get("/").text
    assert "<dt>已发证书</dt><dd>8</dd>" in page
    assert "<dt>账本</dt><dd>2</dd>" in page
    assert re.search(r'data-label="最新位置">[\d,]+<', page)
    assert "北京时间" in page
