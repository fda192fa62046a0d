"""The lookup over HTTP: two fields that agree find a certificate, nothing else does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.commands import document_of
from tests.support.editions import adopt_over_http, no_retention
from tests.support.http_journey import ISSUED_AT, Journey, certified
from tests.support.postgres import fresh_database
from tests.support.service import LedgerClient, new_ledger, running, settings_for

NAME, DOCUMENT = "钱一", document_of(1)


@pytest.fixture(scope="module")
def issued(client: httpx.Client) -> tuple[LedgerClient, Journey, dict[str, str]]:
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(ledger)
    wait_for_registry(ledger)
    return ledger, journey, numbers


def wait_for_registry(ledger: LedgerClient) -> None:
    """Wait until the registry has applied the last event."""
    head = ledger.caller("regulator").read("events")["head"]
    ledger.caller("registrar").read("statistics/talent", min_position=head)


def look_up(ledger: LedgerClient, **body: str) -> httpx.Response:
    return ledger.client.post("/lookup", json=body)


def found(ledger: LedgerClient, **body: str) -> list[dict[str, Any]]:
    answer = look_up(ledger, **body)
    assert answer.status_code == 200, answer.text
    return [c for c in answer.json()["certificates"] if c["ledger"] == ledger.name]


def test_any_two_of_the_three_find_a_certificate(issued):
    ledger, _, numbers = issued
    number = numbers["national"]
    by_pairs = [
        found(ledger, certificate_number=number, name=NAME),
        found(ledger, certificate_number=number, document_number=DOCUMENT),
        found(ledger, certificate_number=number, name=NAME, document_number=DOCUMENT),
    ]
    assert all(pair == by_pairs[0] for pair in by_pairs)
    [certificate] = by_pairs[0]
    assert certificate["number"] == number
    assert certificate["standing"] == "valid"
    assert (certificate["theory"], certificate["practical"]) == ("78", "81.5")
    assert certificate["level_name"] == "四级/中级工"
    assert (certificate["masked_name"], certificate["issued_on"]) == ("钱*", "2026-10-15")
    both = found(ledger, name=NAME, document_number=DOCUMENT)
    assert {c["number"] for c in both} == set(numbers.values())


def test_typing_is_forgiven(issued):
    ledger, _, numbers = issued
    spaced = " ".join(numbers["national"]).lower()
    assert found(ledger, certificate_number=spaced, name=" 钱 一 ")
    assert found(ledger, certificate_number=numbers["omc"].replace("-", ""), name=NAME)
    full_width = DOCUMENT.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"})
    assert found(ledger, name=NAME, document_number=full_width)


def test_no_match_and_a_wrong_pair_read_the_same(issued):
    ledger, _, numbers = issued
    unknown = numbers["national"][:-3] + "999"
    answers = [
        look_up(ledger, certificate_number=numbers["national"], name="李四"),
        look_up(ledger, certificate_number=unknown, name=NAME),
        look_up(ledger, certificate_number=unknown, name="李四"),
        look_up(ledger, certificate_number=numbers["national"], document_number=document_of(77)),
        look_up(ledger, name="李四", document_number=DOCUMENT),
    ]
    assert {(a.status_code, a.content) for a in answers} == {
        (200, b'{"certificates":[],"hint":null}')
    }


def test_one_field_alone_is_refused(issued):
    ledger, _, numbers = issued
    for body in ({"certificate_number": numbers["national"]}, {"name": NAME}, {}):
        answer = look_up(ledger, **body)
        assert (answer.status_code, answer.json()["code"]) == (422, "lookup_needs_two")


def test_a_number_of_another_kind_gets_a_hint_by_its_form_alone(issued):
    ledger, _, _ = issued
    hints = {
        "1010003003400001": "qualification",
        "0104000123456": "qualification_shanghai",
        "RGN12345678901234567": "obsolete_draft",
        "what is this": "unknown",
        "S000033000123264000001": None,
    }
    for number, hint in hints.items():
        answer = look_up(ledger, certificate_number=number, name="李四")
        assert answer.json() == {"certificates": [], "hint": hint}


def test_a_lookup_by_query_parameters_is_refused(issued):
    ledger, _, _ = issued
    answer = ledger.client.get("/lookup", params={"name": NAME})
    assert answer.status_code == 405


def test_a_link_shows_its_certificate_and_whether_it_was_replaced(issued):
    ledger, journey, numbers = issued
    token = link_of(ledger, numbers["national"])
    answer = ledger.client.get(f"/v/{token}")
    assert answer.json()["number"] == numbers["national"]
    assert answer.json()["replaced"] is False
    again = ledger.client.get(f"/v/{token}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    journey.staff("registrar", ISSUED_AT).write(
        f"{journey.application}/certificates/national/reissue", {"reason": "遗失补发"}
    )
    wait_for_registry(ledger)
    replaced = ledger.client.get(f"/v/{token}", headers={"If-None-Match": answer.headers["etag"]})
    assert replaced.json()["replaced"] is True
    assert replaced.json()["version"] == 2
    assert link_of(ledger, numbers["national"]) != token


def link_of(ledger: LedgerClient, number: str) -> str:
    """The token of the link that is printed on a certificate."""
    shown = ledger.caller("registrar").read("applications/A1/certificates")["data"]
    [link] = [each["link"] for each in shown if each["number"] == number]
    return str(link).rpartition("/v/")[2]


def test_an_unknown_link_is_404_and_its_token_is_not_repeated(client: httpx.Client):
    token = "omc-aa" + "0" * 32
    answer = client.get(f"/v/{token}")
    assert answer.status_code == 404
    assert token not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/v/nonsense").status_code == 422


def test_a_suspension_and_a_revocation_are_visible_with_the_next_lookup(client: httpx.Client):
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(ledger)
    registrar = journey.staff("registrar", ISSUED_AT)
    steps = [
        ("suspension", {"reason": "核查"}, "suspended"),
        ("reinstatement", {"reason": "无误"}, "valid"),
        ("revocation", {"reason_class": "false_documents", "reason": "不实"}, "revoked"),
    ]
    for step, body, standing in steps:
        registrar.write(f"{journey.application}/certificates/national/{step}", body)
        wait_for_registry(ledger)
        [certificate] = found(ledger, certificate_number=numbers["national"], name=NAME)
        assert certificate["standing"] == standing
    assert certificate["reason_class"] == "false_documents"
    assert "不实" not in str(certificate)


def test_a_certificate_in_force_is_found_although_its_holder_was_erased(client: httpx.Client):
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(ledger)
    journey.erase(ISSUED_AT)
    wait_for_registry(ledger)
    [certificate] = found(ledger, certificate_number=numbers["national"], name=NAME)
    assert certificate["standing"] == "valid"


def test_an_erased_person_is_found_by_link_only(client: httpx.Client):
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(ledger)
    wait_for_registry(ledger)
    token = link_of(ledger, numbers["national"])
    adopt_over_http(ledger, no_retention())
    registrar = journey.staff("registrar", ISSUED_AT)
    revocation = {"reason_class": "holder_request", "reason": "本人申请"}
    for kind in numbers:
        registrar.write(f"{journey.application}/certificates/{kind}/revocation", revocation)
    journey.erase("2026-10-16T10:00:00+08:00")
    wait_for_registry(ledger)
    assert found(ledger, certificate_number=numbers["national"], name=NAME) == []
    shown = ledger.client.get(f"/v/{token}").json()
    assert (shown["masked_name"], shown["standing"]) == ("已删除", "revoked")
    assert ledger.caller("registrar").get("persons/P1").status_code == 410


def test_guessing_is_rate_limited_and_staff_searches_are_not(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    guess = {"certificate_number": "S000033000123264000001", "name": "李四"}
    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, tmp_path, lookup_limit=True)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        answers = [client.post("/lookup", json=guess) for _ in range(20)]
        refused = [a for a in answers if a.status_code == 429]
        assert 2 < len(refused) < 18
        assert answers[0].status_code == 200
        assert refused[0].json()["code"] == "lookups_too_fast"
        ledger = new_ledger(client)
        wanted = {
            "document_type": "passport",
            "document_country": "CHN",
            "document_number": "E10000001",
        }
        asked = wanted | {"name": "张三"}
        searches = {
            role: [
                ledger.caller(role).ask("POST", "persons/search", json=asked).status_code
                for _ in range(20)
            ]
            for role in ("candidate", "agency")
        }
        assert set(searches["agency"]) == {404}
        assert searches["candidate"][-1] == 429
        assert int(refused[0].headers["retry-after"]) >= 1
        assert client.get("/health").status_code == 200


def test_a_registry_under_rebuild_answers_503_until_the_swap(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    """As after an upgrade: until the swap the old tables lack a column that the query reads."""
    link, body = (
        "/v/omc-aa" + "0" * 32,
        {"certificate_number": "S000033000123264000001", "name": NAME},
    )
    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, tmp_path)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
        closing(psycopg2.connect(database.dsn)) as connection,
    ):
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("ALTER VIEW views.certificates RENAME COLUMN answer TO later")
        for answer in (client.get(link), client.post("/lookup", json=body)):
            assert (answer.status_code, answer.json()["code"]) == (503, "view_being_made")
            assert int(answer.headers["Retry-After"]) > 0
        page = client.post("/lookup", data={"number": body["certificate_number"], "name": NAME},
                           headers={"Accept": "text/html"})  # fmt: skip
        assert page.status_code == 503
        assert "重建" in page.text
        cursor.execute("ALTER VIEW views.certificates RENAME COLUMN later TO answer")
        assert client.get(link).status_code == 404
        assert client.post("/lookup", json=body).json()["certificates"] == []
