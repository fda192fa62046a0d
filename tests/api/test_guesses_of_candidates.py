"""Who registers learns from no answer whether a document number is registered.

A thousand candidates guess, each with a login of their own; some numbers are registered. Every
answer is the same but for ids, moments and positions, which count on by one.
Covers: api/routes/persons.py, api/routes/stream_listing.py, api/http/dependencies.py
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.postgres import fresh_database
from tests.support.service import (
    OCCUPATION,
    Caller,
    LedgerClient,
    new_ledger,
    running,
    settings_for,
)
from tests.support.synthetic_identity import with_check

pytestmark = pytest.mark.slow

GUESSES, REGISTERED, FOLLOWED = 1000, 25, 20
SEED = 20261129
NAME = "王小明"
DRAWN = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}")


def numbers() -> list[str]:
    """Numbers of one birthday and district, in random order."""
    found = [with_check(f"33010619950315{n:03d}") for n in range(GUESSES)]
    random.Random(SEED).shuffle(found)
    return found


def application(person: str) -> dict[str, Any]:
    work = {"started_on": "2021-01-01", "ended_on": None, "relation": "own"}
    return {
        "person_id": person, "occupation": OCCUPATION, "edition": "2021", "level": 4,
        "qualifications": {"work_periods": [work]},
    }  # fmt: skip


def as_document(number: str) -> dict[str, str]:
    return {"document_type": "resident_id", "document_number": number}


@dataclass
class Guessed:
    """The answers to every guess, and who guessed. taken: the numbers that are registered."""

    ledger: LedgerClient
    taken: set[str]
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)

    def some(self) -> Iterator[tuple[str, str]]:
        """Numbers and person ids: of taken numbers and of free ones."""
        free = [each for each in self.answers if each not in self.taken]
        for number in [*sorted(self.taken)[:FOLLOWED], *free[:FOLLOWED]]:
            yield number, self.answers[number].json()["outcome"]["person_id"]


@pytest.fixture(scope="module")
def guessed(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guessed]:
    folder: Path = tmp_path_factory.mktemp("guesses")
    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, folder)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        ledger, all_numbers = new_ledger(client), numbers()
        made = Guessed(ledger, set(all_numbers[:REGISTERED]))
        for number in sorted(made.taken):
            ledger.caller("agency").write("persons", as_document(number) | {"name": "张三"})
        random.Random(SEED + 1).shuffle(all_numbers)
        for n, number in enumerate(all_numbers):
            caller = made.callers[number] = ledger.caller("candidate", f"guess-{n}")
            made.answers[number] = caller.send("persons", as_document(number) | {"name": NAME})
        yield made


def shape(answer: httpx.Response, *own: str) -> tuple[Any, ...]:
    """An answer without what is drawn, the moment, the position, and the caller's own words."""
    text = answer.text
    for word in own:
        text = text.replace(word, "own")
    body = json.loads(DRAWN.sub("-", text))
    for name in ("recorded_at", "first_position", "last_position", "trace_id"):
        body.pop(name, None)
    headers = {k: DRAWN.sub("-", v) for k, v in answer.headers.items() if k != "date"}
    for counted in ("content-length", "traceparent"):  # the length of a position, a random id
        headers.pop(counted, None)
    return answer.status_code, json.dumps(body, sort_keys=True), json.dumps(headers)


def test_a_thousand_guesses_get_one_answer(guessed: Guessed) -> None:
    """Source: source-document 3.1(1)."""
    assert len(guessed.answers) == GUESSES
    assert {answer.status_code for answer in guessed.answers.values()} == {202}
    assert len({shape(answer) for answer in guessed.answers.values()}) == 1
    [said] = {tuple(answer.json()["topics"]) for answer in guessed.answers.values()}
    assert said == ("person_registered.v1",)


def test_positions_count_on_by_one_whatever_was_guessed(guessed: Guessed) -> None:
    receipts = [answer.json() for answer in guessed.answers.values()]
    first = receipts[0]["first_position"]
    expected = [(n, n) for n in range(first, first + GUESSES)]
    assert [(r["first_position"], r["last_position"]) for r in receipts] == expected


def test_the_events_tell_a_regulator_which_were_contested(guessed: Guessed) -> None:
    regulator, found, after = guessed.ledger.caller("regulator"), 0, 0
    while (page := regulator.read("events", after=after))["data"]:
        found += sum("registration_contested.v1" in json.dumps(each) for each in page["data"])
        after = page["next_after"]
    assert found == REGISTERED


def test_what_follows_a_registration_tells_no_more(guessed: Guessed) -> None:
    shown, searched, other, applied = set(), set(), set(), set()
    for number, person in guessed.some():
        caller = guessed.callers[number]
        shown.add(shape(caller.get(f"persons/{person}"), number))
        own = caller.ask("POST", "persons/search", json=as_document(number))
        searched.add(shape(own, number))
        assert own.json()["person_id"] == person
        unknown = next(each for each in guessed.taken if each != number)
        other.add(shape(caller.ask("POST", "persons/search", json=as_document(unknown))))
        applied.add(shape(caller.send("applications", application(person))))
    assert [len(each) for each in (shown, searched, other, applied)] == [1, 1, 1, 1]
    assert {status for status, *_ in other} == {404}


def test_the_registration_is_repeated_with_the_same_answer(guessed: Guessed) -> None:
    number = min(guessed.taken)
    caller, key = guessed.ledger.caller("candidate", "somebody-new"), "the same"
    first, again = (
        caller.send("persons", as_document(number) | {"name": NAME}, key=key) for _ in range(2)
    )
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)


def test_an_agency_learns_the_id_with_the_right_name_only(guessed: Guessed) -> None:
    """Source: source-document 3.1(1)."""
    number = min(guessed.taken)
    agency = guessed.ledger.caller("agency", "agency-2", organisation="another agency")
    free = with_check("33010619950416000")
    first = agency.write("persons", as_document(with_check("33010619950417000")) | {"name": "王五"})
    assert first["topics"][-1] == "actor_named.v1"
    wrong, unknown = (
        agency.send("persons", as_document(each) | {"name": "李四"}) for each in (number, free)
    )
    assert shape(wrong) == shape(unknown)
    right = agency.write("persons", as_document(number) | {"name": "张三"})
    assert right["topics"] == ["person_recognised.v1"]
    person = right["outcome"]["person_id"]
    corrected = as_document(number) | {"name": "张叁", "reason": "更名"}
    refused = agency.send(f"persons/{person}/corrections", corrected)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_your_own")
