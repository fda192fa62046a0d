"""The pages of the certificate lookup over HTTP: what they show, and what they never show.

Covers: api/web/lookup.py, api/web/queries.py, api/web/certificate_card.py
"""

import logging
import re

import httpx
import pytest

from tests.api.web.example_history import History


def look_up(http: httpx.Client, **typed: str) -> httpx.Response:
    return http.post("/lookup", data=typed)


def without_typed_values(page: str) -> str:
    return re.sub(r' value="[^"]*"', "", page)


def test_a_name_and_a_document_find_both_certificates_in_sections_of_their_own(
    http: httpx.Client, history: History
) -> None:
    page = look_up(http, name=history.name(1), document_number=history.document(1)).text
    assert "查到 2 张证书" in page
    national, omc = page.index("section-national"), page.index("section-omc")
    numbers = history.numbers[1]
    shown = page.replace("<wbr>", "")
    assert national < shown.index(numbers["national"])
    assert omc < page.index(numbers["omc"])
    assert page.count('class="standing good"') == 2


@pytest.mark.parametrize(
    "pair",
    [("number", "name"), ("number", "document_number"), ("name", "document_number")],
    ids=" and ".join,
)
def test_any_two_of_the_three_are_enough(
    http: httpx.Client, history: History, pair: tuple[str, str]
) -> None:
    all_three = {
        "number": history.numbers[1]["national"],
        "name": history.name(1),
        "document_number": history.document(1),
    }
    page = look_up(http, **{name: all_three[name] for name in pair}).text
    assert history.numbers[1]["national"] in page.replace("<wbr>", "")


def test_spaces_and_case_do_not_matter(http: httpx.Client, history: History) -> None:
    spread = " ".join(history.numbers[1]["national"].lower())
    document = history.document(1).lower()
    page = look_up(http, number=spread, document_number=f" {document} ").text
    assert "查到 1 张证书" in page


def test_names_and_documents_are_shown_masked_only(http: httpx.Client, history: History) -> None:
    name, document = history.name(1), history.document(1)
    page = look_up(http, number=history.numbers[1]["national"], name=name).text
    shown = without_typed_values(page)
    assert f"{name[0]}*" in shown
    assert name not in shown
    assert document not in shown
    assert f"{document[:3]}*************{document[-2:]}" in shown


def test_marks_are_on_the_page_of_the_link_only(http: httpx.Client, history: History) -> None:
    found = look_up(http, name=history.name(1), document_number=history.document(1)).text
    assert "81.5" not in found
    assert "81.5" in http.get(f"/v/{history.links[1][0]}").text


def test_a_wrong_pair_gets_the_same_page_as_an_unknown_number(
    http: httpx.Client, history: History
) -> None:
    number = history.numbers[1]["national"]
    wrong_pair = look_up(http, number=number, name="不存在")
    no_such = look_up(http, number=f"{number[:-6]}999999", name="不存在")
    wrong_document = look_up(http, number=number, document_number=history.document(2))
    pages = [without_typed_values(page.text) for page in (wrong_pair, no_such, wrong_document)]
    assert pages[0] == pages[1] == pages[2]
    assert wrong_pair.status_code == no_such.status_code == 200
    assert dict(wrong_pair.headers).keys() == dict(no_such.headers).keys()
    assert "没有查到相符的证书" in pages[0]
    assert "全国网较晚" in pages[0]


def test_a_revoked_certificate_says_so_with_the_class_of_its_reason(
    http: httpx.Client, history: History
) -> None:
    page = look_up(http, number=history.numbers[2]["national"], name=history.name(2)).text
    assert "已撤销" in page
    assert "考试作弊" in page
    assert "替考" not in page, "the words of the reason are not for the public"


def test_a_suspended_and_a_reissued_certificate_say_so(
    http: httpx.Client, history: History
) -> None:
    suspended = look_up(http, number=history.numbers[3]["national"], name=history.name(3)).text
    assert "暂停使用" in suspended
    reissued = look_up(http, number=history.numbers[4]["national"], name=history.name(4)).text
    assert "第 2 版" in reissued
    assert "遗失" not in reissued


def test_the_steps_of_the_report_are_shown_in_order(http: httpx.Client, history: History) -> None:
    reported = look_up(http, number=history.numbers[1]["national"], name=history.name(1)).text
    marks = re.findall(r'<li class="(done|waiting|failed)"><b>([^<]+)', reported)
    assert marks == [
        ("done", "发证"),
        ("done", "已上报"),
        ("waiting", "已受理"),
        ("waiting", "省网可查"),
        ("waiting", "全国网可查"),
    ]


def test_every_certificate_names_the_position_of_its_data(
    http: httpx.Client, history: History
) -> None:
    page = look_up(http, number=history.numbers[1]["national"], name=history.name(1)).text
    assert re.search(rf"数据截至账本 {history.ledger_name} 第 [\d,]+ 条记录，记录于<time", page)
    assert "（北京时间）" in page


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ({"name": "张三"}, "请至少填写两项"),
        ({"number": "", "name": " ", "document_number": ""}, "请至少填写两项"),
        ({"number": "S" * 81, "name": "张三"}, "这不是证书编号的写法"),
        ({"name": "<b>1</b>", "document_number": "330106199001011234"}, "姓名只能包含"),
        ({"name": "张三", "document_number": "33"}, "这不是证件号码的写法"),
    ],
)
def test_a_malformed_field_is_named_with_its_fault(
    http: httpx.Client, typed: dict[str, str], fault: str
) -> None:
    answer = look_up(http, **typed)
    assert answer.status_code == 422
    assert fault in answer.text
    assert "<b>1</b>" not in answer.text


def test_a_form_lists_every_fault_and_a_hint_about_the_number(http: httpx.Client) -> None:
    page = look_up(http, name="1").text
    summary = page.split('role="alert"', 1)[1].split("</ul>", 1)[0]
    assert re.findall(r'href="#(\w+)"', summary) == ["number", "name"]
    page = look_up(http, number="ABC", name="1").text
    summary = page.split('role="alert"', 1)[1].split("</ul>", 1)[0]
    assert re.findall(r'href="#(\w+)"', summary) == ["number", "name"]
    assert "这不是证书编号的写法" in summary


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        ("S00003", "这不是证书编号的写法"),
        ("1234567890123456", "这是旧版国家职业资格证书"),
        ("0104000123456", "这是旧版国家职业资格证书"),
        ("OMC-2026-4-0000001-X", "这不是证书编号的写法"),
    ],
)
def test_a_number_that_cannot_be_ours_gets_a_hint_in_place_of_the_checklist(
    http: httpx.Client, number: str, hint: str
) -> None:
    answer = look_up(http, number=number, name="张三")
    assert answer.status_code == 200
    assert f'<a href="#number">{hint}' in answer.text
    assert "没有查到相符的证书" in answer.text
    assert "可以这样检查" not in answer.text
    assert f'value="{number}"' in answer.text


def test_a_document_with_a_wrong_check_character_is_a_miss_with_a_hint(
    http: httpx.Client, history: History
) -> None:
    number = history.document(1)
    wrong = number[:-1] + ("0" if number[-1] != "0" else "1")
    answer = look_up(http, name=history.name(1), document_number=wrong)
    assert answer.status_code == 200
    assert "没有查到相符的证书" in answer.text
    assert '<a href="#document_number">这个证件号码像身份证号码' in answer.text
    assert "可以这样检查" in answer.text


def test_a_blank_field_counts_as_not_filled_in(http: httpx.Client, history: History) -> None:
    page = look_up(http, number=" ", name=history.name(1), document_number=history.document(1)).text
    assert "查到 2 张证书" in page


def test_a_link_shows_its_certificate_with_a_qr_code_to_print(
    http: httpx.Client, history: History
) -> None:
    token = history.links[1][0]
    answer = http.get(f"/v/{token}")
    assert answer.status_code == 200
    assert history.numbers[1]["national"] in answer.text.replace("<wbr>", "")
    assert history.numbers[1]["omc"] not in answer.text
    assert f"/v/{token}" in answer.text
    assert "<svg" in answer.text.split('class="code', 1)[1]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_link_of_an_older_version_says_that_it_was_replaced(
    http: httpx.Client, history: History
) -> None:
    old, new = history.links[4]
    assert "已由第 2 版替换" in http.get(f"/v/{old}").text
    assert "已由第 2 版替换" not in http.get(f"/v/{new}").text


@pytest.mark.parametrize("token", ["omc-aa" + "0" * 32, "0" * 32, "abc", "%3Cscript%3E"])
def test_an_unknown_link_has_a_page_of_its_own(http: httpx.Client, token: str) -> None:
    answer = http.get(f"/v/{token}")
    assert answer.status_code == 404
    assert "没有这个核验链接" in answer.text
    assert "<script" not in answer.text


def test_api_clients_get_json_at_the_same_addresses(history: History, http: httpx.Client) -> None:
    headers = {"Accept": "application/json"}
    found = http.get(f"/v/{history.links[1][0]}", headers=headers)
    assert found.headers["content-type"] == "application/json"
    asked = {"certificate_number": history.numbers[1]["national"], "name": history.name(1)}
    found = http.post("/lookup", json=asked, headers=headers)
    assert len(found.json()["certificates"]) == 1


def test_nothing_personal_reaches_an_address_or_a_log(
    http: httpx.Client, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = history.links[1][0]
    name, document = history.name(1), history.document(1)
    found = look_up(http, name=name, document_number=document)
    look_up(http, name="x1", document_number=document)
    http.get(f"/v/{token}", headers={"Accept": "text/html"})
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("certledger", "api"))]
    assert any('"/lookup"' in line for line in ours)
    for secret in (name, document, document[6:14], token):
        assert not any(secret in line for line in ours)
    assert str(found.url) == f"{history.url}/lookup"
    assert found.headers["cache-control"] == "no-store"


def test_a_rate_limited_lookup_says_how_long_to_wait_and_repeats_the_fields(
    http: httpx.Client, history: History
) -> None:
    wrong = {"number": history.numbers[1]["national"], "name": "不对"}
    answers = [http.post("/lookup", data=wrong) for _ in range(14)]
    assert answers[0].status_code == 200
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "查询过于频繁" in refused.text
    assert 'value="不对"' in refused.text
