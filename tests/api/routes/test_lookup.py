"""The nationwide lookup: two facts that agree, one answer for everything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from api.errors.request import DatabaseUnreachable, ReadTimeout, ServerBusy
from api.lookup import coalescing as together_module
from api.lookup.coalescing import RequestCoalescer
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.commands import document_of
from tests.support.http_journey import ISSUED_AT, Journey, certified
from tests.support.postgres import fresh_database
from tests.support.service import Book, new_book, running, settings_for

NAME, DOCUMENT = "钱一", document_of(1)


@pytest.fixture(scope="module")
def issued(client: httpx.Client) -> tuple[Book, Journey, dict[str, str]]:
    book = new_book(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(book)
    seen(book)
    return book, journey, numbers


def seen(book: Book) -> None:
    """Wait until the registry has come to the last position."""
    head = book.door("regulator").seen("events")["head"]
    book.door("registrar").seen("statistics/talent", min_position=head)


def look_up(book: Book, **body: str) -> httpx.Response:
    return book.client.post("/lookup", json=body)


def found(book: Book, **body: str) -> list[dict[str, Any]]:
    answer = look_up(book, **body)
    assert answer.status_code == 200, answer.text
    return [c for c in answer.json()["certificates"] if c["ledger"] == book.ledger]


def test_any_two_of_the_three_find_a_certificate(issued):
    book, _, numbers = issued
    number = numbers["national"]
    by_pairs = [
        found(book, certificate_number=number, name=NAME),
        found(book, certificate_number=number, document_number=DOCUMENT),
        found(book, certificate_number=number, name=NAME, document_number=DOCUMENT),
    ]
    assert all(pair == by_pairs[0] for pair in by_pairs)
    [certificate] = by_pairs[0]
    assert certificate["number"] == number
    assert certificate["standing"] == "valid"
    assert (certificate["theory"], certificate["practical"]) == ("78", "81.5")
    assert certificate["level_name"] == "四级/中级工"
    assert (certificate["masked_name"], certificate["issued_on"]) == ("钱*", "2026-10-15")
    both = found(book, name=NAME, document_number=DOCUMENT)
    assert {c["number"] for c in both} == set(numbers.values())


def test_typing_is_forgiven(issued):
    book, _, numbers = issued
    spaced = " ".join(numbers["national"]).lower()
    assert found(book, certificate_number=spaced, name=" 钱 一 ")
    assert found(book, certificate_number=numbers["omc"].replace("-", ""), name=NAME)
    full_width = DOCUMENT.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"})
    assert found(book, name=NAME, document_number=full_width)


def test_no_match_and_a_wrong_pair_read_the_same(issued):
    book, _, numbers = issued
    unknown = numbers["national"][:-3] + "999"
    answers = [
        look_up(book, certificate_number=numbers["national"], name="李四"),
        look_up(book, certificate_number=unknown, name=NAME),
        look_up(book, certificate_number=unknown, name="李四"),
        look_up(book, certificate_number=numbers["national"], document_number=document_of(77)),
        look_up(book, name="李四", document_number=DOCUMENT),
    ]
    assert {(a.status_code, a.content) for a in answers} == {
        (200, b'{"certificates":[],"hint":null}')
    }


def test_one_fact_alone_is_not_enough(issued):
    book, _, numbers = issued
    for body in ({"certificate_number": numbers["national"]}, {"name": NAME}, {}):
        answer = look_up(book, **body)
        assert (answer.status_code, answer.json()["code"]) == (422, "lookup_needs_two")


def test_a_number_of_another_kind_gets_a_hint_from_its_form_alone(issued):
    book, _, _ = issued
    hints = {
        "1010003003400001": "qualification",
        "0104000123456": "qualification_shanghai",
        "RGN12345678901234567": "obsolete_draft",
        "what is this": "unknown",
        "S000033000123264000001": None,
    }
    for number, hint in hints.items():
        answer = look_up(book, certificate_number=number, name="李四")
        assert answer.json() == {"certificates": [], "hint": hint}


def test_personal_data_in_an_address_are_not_looked_at(issued):
    book, _, _ = issued
    answer = book.client.get("/lookup", params={"name": NAME})
    assert answer.status_code == 405


def test_the_link_of_a_certificate_leads_to_it_and_its_version_counts(issued):
    book, journey, numbers = issued
    token = link_of(book, numbers["national"])
    answer = book.client.get(f"/v/{token}")
    assert answer.json()["number"] == numbers["national"]
    assert answer.json()["replaced"] is False
    again = book.client.get(f"/v/{token}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    journey.staff("registrar", ISSUED_AT).done(
        f"{journey.application}/certificates/national/reissue", {"reason": "遗失补发"}
    )
    seen(book)
    replaced = book.client.get(f"/v/{token}", headers={"If-None-Match": answer.headers["etag"]})
    assert replaced.json()["replaced"] is True
    assert replaced.json()["version"] == 2
    assert link_of(book, numbers["national"]) != token


def link_of(book: Book, number: str) -> str:
    """The secret part of a certificate's link, as it is printed on it."""
    shown = book.door("registrar").seen("applications/A1/certificates")["data"]
    [link] = [each["link"] for each in shown if each["number"] == number]
    return str(link).rpartition("/v/")[2]


def test_a_link_that_leads_nowhere_is_404_and_is_not_repeated(client: httpx.Client):
    token = "0" * 32
    answer = client.get(f"/v/{token}")
    assert answer.status_code == 404
    assert token not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/v/nonsense").status_code == 422


def test_a_suspension_and_a_revocation_are_seen_at_once(client: httpx.Client):
    book = new_book(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(book)
    registrar = journey.staff("registrar", ISSUED_AT)
    steps = [
        ("suspension", {"reason": "核查"}, "suspended"),
        ("reinstatement", {"reason": "无误"}, "valid"),
        ("revocation", {"reason_class": "false_documents", "reason": "不实"}, "revoked"),
    ]
    for step, body, standing in steps:
        registrar.done(f"{journey.application}/certificates/national/{step}", body)
        seen(book)
        [certificate] = found(book, certificate_number=numbers["national"], name=NAME)
        assert certificate["standing"] == standing
    assert certificate["reason_class"] == "false_documents"
    assert "不实" not in str(certificate)


def test_an_erased_person_is_found_by_link_only(client: httpx.Client):
    book = new_book(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(book)
    seen(book)
    token = link_of(book, numbers["national"])
    journey.staff("registrar", ISSUED_AT).done("persons/P1/erasure", {"reason": "本人申请"})
    seen(book)
    assert found(book, certificate_number=numbers["national"], name=NAME) == []
    shown = book.client.get(f"/v/{token}").json()
    assert (shown["masked_name"], shown["standing"]) == ("已删除", "valid")
    person = book.door("registrar").seen("persons/P1")
    assert (person["name"], person["erased"]) == ("已删除", True)


def test_who_guesses_has_to_slow_down_and_who_holds_a_certificate_does_not(
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
        book = new_book(client)
        wanted = {"document_type": "passport", "document_number": "E10000001"}
        searches = {
            role: [
                book.door(role).ask("POST", "persons/search", json=wanted).status_code
                for _ in range(20)
            ]
            for role in ("candidate", "agency")
        }
        assert set(searches["agency"]) == {404}
        assert searches["candidate"][-1] == 429
        assert int(refused[0].headers["retry-after"]) >= 1
        assert client.get("/health").status_code == 200


# --- many at once ---------------------------------------------------------------------------------


def together(query: Any, deadline_s: float = 5) -> RequestCoalescer:
    return RequestCoalescer(query, at_once=1, deadline_s=deadline_s)


def test_questions_that_come_together_share_queries():
    asked: list[list[str]] = []

    async def query(keys: Sequence[str], until: float) -> list[tuple[str, ...]]:
        await asyncio.sleep(0.01)
        asked.append(list(keys))
        return [(key,) for key in keys if key != "none"]

    async def crowd() -> list[Any]:
        questions = together(query)
        keys = ["a", "b", "none", "a", *(f"k{n}" for n in range(50))]
        return await asyncio.gather(*(questions.ask(key) for key in keys))

    answers = asyncio.run(crowd())
    assert answers[0] == answers[3] == [("a",)]
    assert answers[2] == []
    assert all(len(rows) == 1 for rows in answers[4:])
    assert len(asked) <= 2


def test_a_query_that_fails_as_a_whole_is_asked_key_by_key_and_each_has_its_own_answer():
    async def query(keys: Sequence[str], until: float) -> list[tuple[str, ...]]:
        if "bad" in keys:
            raise ValueError("bad")
        return [(key,) for key in keys]

    async def crowd() -> list[Any]:
        questions = together(query)
        keys = ("a", "bad", "b")
        return await asyncio.gather(*(questions.ask(key) for key in keys), return_exceptions=True)

    first, bad, last = asyncio.run(crowd())
    assert (first, last) == ([("a",)], [("b",)])
    assert isinstance(bad, ValueError)


def test_a_database_that_is_away_is_told_to_all_who_asked_and_the_next_is_asked_anew():
    calls = 0

    async def query(keys: Sequence[str], until: float) -> list[tuple[str, ...]]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise psycopg2.OperationalError("the server closed the connection")
        return [(key,) for key in keys]

    async def twice() -> tuple[list[Any], list[Any]]:
        questions = together(query)
        first = await asyncio.gather(questions.ask("a"), questions.ask("b"), return_exceptions=True)
        return first, await questions.ask("a")

    first, second = asyncio.run(twice())
    assert all(isinstance(error, DatabaseUnreachable) for error in first)
    assert second == [("a",)]
    assert calls == 2


def test_who_gave_up_asking_does_not_disturb_the_others():
    async def query(keys: Sequence[str], until: float) -> list[tuple[str, ...]]:
        await asyncio.sleep(0.02)
        return [(key,) for key in keys]

    async def one_leaves() -> list[Any]:
        questions = together(query)
        leaving = asyncio.create_task(questions.ask("a"))
        staying = asyncio.create_task(questions.ask("a"))
        await asyncio.sleep(0.005)
        leaving.cancel()
        return await staying

    assert asyncio.run(one_leaves()) == [("a",)]


def test_a_question_has_one_deadline_however_many_queries_it_waits_for():
    async def query(keys: Sequence[str], until: float) -> list[tuple[str, ...]]:
        async with asyncio.timeout_at(until):
            await asyncio.sleep(60)
        return []

    async def ask() -> list[float]:
        questions = together(query, deadline_s=0.2)

        async def took(key: str) -> float:
            begun = time.perf_counter()
            with pytest.raises(ReadTimeout):
                await questions.ask(key)
            return time.perf_counter() - begun

        first = asyncio.create_task(took("a"))
        await asyncio.sleep(0.1)
        return [await took("b"), await first]

    assert all(0.15 < seconds < 0.35 for seconds in asyncio.run(ask()))


def test_more_questions_than_can_wait_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(together_module, "WAITING_MAX", 2)
    release = asyncio.Event()

    async def query(keys: Sequence[str], until: float) -> list[tuple[str, ...]]:
        await release.wait()
        return [(key,) for key in keys]

    async def crowd() -> list[Any]:
        questions = together(query)
        first = asyncio.create_task(questions.ask("under way"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(questions.ask(key)) for key in ("a", "b", "a")]
        await asyncio.sleep(0)
        with pytest.raises(ServerBusy):
            await questions.ask("c")
        release.set()
        return await asyncio.gather(first, *waiting)

    assert asyncio.run(crowd()) == [[("under way",)], [("a",)], [("b",)], [("a",)]]


def test_a_registry_that_is_being_made_anew_is_not_there_for_a_while(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    """As after an upgrade: until the swap the tables of the old version lack what is asked for."""
    link, body = "/v/" + "0" * 32, {"certificate_number": "S000033000123264000001", "name": NAME}
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
