"""A request sent twice: replayed, refused as another request, or refused while in progress."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors.request import IdempotencyKeyMalformed, IdempotencyKeyMissing, MalformedJson
from api.http.canonical_request import (
    canonical_form,
    canonical_request,
    canonical_value,
    idempotency_key,
)
from api.http.strict_json import parse_json
from tests.support.http_journey import Journey
from tests.support.service import LedgerClient

PERSON = {
    "document_type": "passport",
    "document_country": "CHN",
    "document_number": "E12345678",
    "name": "ZHANG SAN",
}


def person(number: int) -> dict[str, str]:
    return PERSON | {"document_number": f"E{number:08d}"}


def same(first: httpx.Response, second: httpx.Response) -> bool:
    """Status, body and the headers that belong to the answer."""
    headers = ("etag", "location", "content-type")
    return (first.status_code, first.content, [first.headers.get(h) for h in headers]) == (
        second.status_code,
        second.content,
        [second.headers.get(h) for h in headers],
    )


def test_the_same_request_again_gives_the_same_answer_and_says_so(ledger: LedgerClient):
    agency = ledger.caller("agency")
    key = uuid.uuid4().hex
    first = agency.send("persons", person(1), key=key)
    again = agency.send("persons", person(1), key=key)
    assert first.status_code == 202
    assert same(first, again)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert ledger.caller("regulator").read("events")["head"] == first.json()["last_position"]


def test_spelling_makes_no_other_request_of_it(ledger: LedgerClient):
    agency = ledger.caller("agency")
    key = uuid.uuid4().hex
    typed = {"Content-Type": "application/json"}
    first = agency.send(
        "persons", key=key, headers=typed,
        content=b'{"name":"\\u674e\\u56db","document_type":"passport",'
        b'"document_country":"CHN","document_number":"E87654321","phone":null}',
    )  # fmt: skip
    again = agency.send(
        "persons", key=f'"{key}"', headers=typed,
        content='{ "phone" : null, "document_number": "E87654321",\n'
        '"document_type": "passport", "document_country": "CHN", "name": "李四"}'.encode(),
    )  # fmt: skip
    assert first.status_code == 202
    assert same(first, again)


def test_the_same_key_for_another_body_is_422(ledger: LedgerClient):
    agency = ledger.caller("agency")
    key = uuid.uuid4().hex
    agency.write("persons", person(2), key=key)
    answer = agency.send("persons", person(3), key=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_the_same_key_at_another_address_is_422(ledger: LedgerClient):
    journey = Journey(ledger)
    journey.register()
    agency = ledger.caller("agency")
    key = uuid.uuid4().hex
    agency.write("persons", person(4), key=key)
    body = {"reason": "r", **PERSON, "document_number": "E00000099"}
    answer = agency.send("persons/P1/corrections", body, key=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_is_its_callers_own(ledger: LedgerClient):
    key = uuid.uuid4().hex
    first = ledger.caller("agency", "one").write("persons", person(5), key=key)
    second = ledger.caller("agency", "two").write("persons", person(6), key=key)
    assert first["command_id"] != second["command_id"]


def test_a_refused_request_may_be_put_right_under_its_key(ledger: LedgerClient):
    agency = ledger.caller("agency")
    key = uuid.uuid4().hex
    assert agency.send("persons", person(7) | {"document_number": "1"}, key=key).is_error
    assert agency.send("persons", person(7), key=key).status_code == 202


def test_many_senders_of_one_request_record_it_once(ledger: LedgerClient):
    """Concurrent repetitions get 409 or the same answer; nothing is recorded twice."""
    agency = ledger.caller("agency")
    key = uuid.uuid4().hex
    begin = threading.Barrier(20)

    def send(_: int) -> httpx.Response:
        with httpx.Client(base_url=ledger.client.base_url, timeout=30, trust_env=False) as client:
            begin.wait()
            return type(agency)(client, ledger.name, agency.token).send(
                "persons", person(8), key=key
            )

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))
    recorded = [a for a in answers if a.status_code == 202]
    waiting = [a for a in answers if a.status_code == 409]
    assert len(recorded) + len(waiting) == 20
    assert {a.json()["code"] for a in waiting} <= {"request_in_progress"}
    assert all(a.json()["retryable"] and a.headers["retry-after"] for a in waiting)
    assert len({a.content for a in recorded}) == 1
    assert agency.send("persons", person(8), key=key).headers["idempotency-replayed"] == "true"
    topics = [e["envelope"]["topic"] for e in ledger.caller("regulator").read("events")["data"]]
    assert topics.count("person_registered.v1") == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\tinside"])
def test_a_key_that_is_no_key_is_400(ledger: LedgerClient, key: str):
    answer = ledger.caller("agency").send(
        "persons", person(9), headers={"Idempotency-Key": key.encode()}
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "idempotency_key_malformed"


def test_a_write_without_a_key_is_400(ledger: LedgerClient):
    answer = ledger.caller("agency").ask("POST", "persons", json=person(10))
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


def test_asking_by_post_needs_no_key(ledger: LedgerClient):
    answer = ledger.caller("agency").ask(
        "POST", "persons/search",
        json={
            "document_type": "passport",
            "document_country": "CHN",
            "document_number": "E55555555",
            "name": "张三",
        },
    )  # fmt: skip
    assert answer.status_code == 404


def test_a_form_is_known_by_its_fields_and_its_files(ledger: LedgerClient):
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.pay()
    caller = journey.candidate("2026-03-03T09:00:00+08:00")
    key = uuid.uuid4().hex

    def upload(data: bytes) -> httpx.Response:
        return caller.send(
            "applications/A1/documents",
            key=key,
            data={"kind": "work_history"},
            files={"file": ("w.pdf", data, "application/pdf")},
        )

    first, again, other = upload(PDF), upload(PDF), upload(PDF + b" ")
    assert first.status_code == 201, first.text
    assert same(first, again)
    assert again.headers["idempotency-replayed"] == "true"
    assert other.json()["code"] == "idempotency_key_reused"


PDF = (
    b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\nxref\n0 2\n0000000000 65535 f \n"
    b"0000000009 00000 n \ntrailer << /Root 1 0 R /Size 2 >>\nstartxref\n45\n%%EOF"
)

# --- saying when it occurred ----------------------------------------------------------------------


def test_only_a_backfill_token_says_when_something_occurred(ledger: LedgerClient):
    body = person(11)
    plain = ledger.caller("agency").at("2026-04-01T09:00:00+08:00")
    answer = plain.send("persons", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "backfill_not_allowed")
    ledger.backdated("agency").at("2026-04-01T09:00:00+08:00").write("persons", body)
    events = ledger.caller("regulator").read("events", limit=200)["data"]
    assert events[-1]["envelope"]["occurred_at"] == "2026-04-01T01:00:00.000000Z"


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("2999-01-01T00:00:00Z", "occurred_in_future"),
        ("2026-04-01", "occurred_at_malformed"),
        ("2026-04-01T09:00:00", "occurred_at_malformed"),
        ("yesterday", "occurred_at_malformed"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(ledger: LedgerClient, moment: str, code: str):
    answer = ledger.backdated("agency").at(moment).send("persons", person(12))
    assert answer.json()["code"] == code


# --- the parts ------------------------------------------------------------------------------------


def test_a_key_may_stand_in_quotes():
    assert idempotency_key('"a b"') == idempotency_key(" a b ") == "a b"
    assert idempotency_key('"a\\"b"') == 'a"b'


def test_missing_and_malformed_keys_are_different_errors():
    with pytest.raises(IdempotencyKeyMissing):
        idempotency_key(None)
    for bad in ("", '""', "x" * 201, "ü"):
        with pytest.raises(IdempotencyKeyMalformed):
            idempotency_key(bad)


def test_the_canonical_spelling_ignores_order_space_and_escapes():
    body = parse_json(b'{"b": [1, 2], "a": "\\u4e2d"}')
    assert canonical_value(body) == '{"a":"中","b":[1,2]}'.encode()


def test_half_a_surrogate_pair_has_no_canonical_spelling():
    with pytest.raises(MalformedJson):
        canonical_value(parse_json(b'"\\ud800"'))


LETTERS = st.text("ab/", max_size=3)
PARTS = st.tuples(LETTERS, LETTERS, LETTERS, LETTERS.map(str.encode))


@given(one=PARTS, other=PARTS)
def test_two_requests_are_spelt_alike_if_they_are_the_same(one, other):
    assert (canonical_request(*one) == canonical_request(*other)) == (one == other)


def test_a_canonical_form_does_not_know_the_order_of_its_parts():
    one = canonical_form({"a": "1", "b": "2"}, [("f", "n", b"x"), ("g", "m", b"y")])
    two = canonical_form({"b": "2", "a": "1"}, [("g", "m", b"y"), ("f", "n", b"x")])
    assert one == two
    assert one != canonical_form({"a": "1", "b": "2"}, [("f", "n", b"z"), ("g", "m", b"y")])
