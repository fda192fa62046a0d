"""One policy for every lookup: JSON by either path and the page agree, whatever is typed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors.request import LookupNeedsTwo
from api.lookup.criteria import (
    FIELD_CHARS_MAX,
    Hint,
    InvalidLookup,
    LookupBody,
    LookupCriteria,
)
from api.lookup.rate_limit import RateLimiter
from api.server.main import Server
from api.web.i18n import text
from api.web.lookup import HINTS
from api.web.page_route import FORM
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.index_ciphers import StoredIndexes
from domain.values.identity_documents import DocumentType, InvalidIdentityDocument, Refusal
from tests.api.web.conftest import HTML
from tests.support.commands import document_of
from tests.support.epochs import GivenEpochs
from tests.support.http_journey import certified
from tests.support.postgres import fresh_database
from tests.support.service import LedgerClient, new_ledger, running, settings_for

NAME, DOCUMENT = "钱一", document_of(1)
WRONG_CHECK = DOCUMENT[:-1] + ("0" if DOCUMENT[-1] != "0" else "1")
NATIONAL = "S000033000123264000001"
FIELDS = {
    "number": "certificate_number",
    "name": "name",
    "document_number": "document_number",
}
"""Field of the form -> field of the JSON body."""

Verdict = tuple[str, Any]
Typed = dict[str, str]


# --- three ways to the same lookup ----------------------------------------------------------------


@dataclass
class Ways:
    """A service with the two certificates of one person, and a client for each way in.

    limited: the same service, but lookups are limited and its clock does not move.
    """

    numbers: dict[str, str]
    client: httpx.Client
    limited: httpx.Client

    def verdicts(self, typed: Typed) -> dict[str, Verdict]:
        return {
            name: way(self.client, typed)
            for name, way in (("fast", by_fast_path), ("json", by_framework), ("page", by_page))
        }


def by_fast_path(client: httpx.Client, typed: Typed, **headers: str) -> Verdict:
    sent = {"Content-Type": "application/json"} | headers
    return json_verdict(client.post("/lookup", content=json_of(typed), headers=sent))


def by_framework(client: httpx.Client, typed: Typed, **headers: str) -> Verdict:
    """A chunked body: the fast path leaves it to the framework."""
    sent = {"Content-Type": "application/json"} | headers
    return json_verdict(client.post("/lookup", content=iter([json_of(typed)]), headers=sent))


def by_page(client: httpx.Client, typed: Typed, **headers: str) -> Verdict:
    sent = {"Accept": HTML, "Content-Type": FORM} | headers
    page = client.post("/lookup", content=urlencode(typed), headers=sent)
    if page.status_code in (400, 422):
        return "refused", None
    if page.status_code == 429:
        return "limited", None
    assert page.status_code == 200, page.text
    found = re.findall(r'<article class="certificate[^>]* aria-labelledby="certificate-([^"]+)"',
                       page.text)  # fmt: skip
    if found:
        return "found", sorted(found)
    hint = re.search(
        r'role="status">\s*<h2>[^<]*</h2>\s*<p><a href="#(\w+)">([^<]*)</a>', page.text
    )
    if hint is not None:
        return "hint", (hint[1], hint[2])
    assert "没有查到相符的证书" in page.text
    return "not found", None


def json_of(typed: Typed) -> bytes:
    body = {FIELDS[name]: value for name, value in typed.items()}
    return json.dumps(body, ensure_ascii=False).encode()


def json_verdict(answer: httpx.Response) -> Verdict:
    if answer.status_code in (400, 422):
        return "refused", None
    if answer.status_code == 429:
        return "limited", None
    assert answer.status_code == 200, answer.text
    result = answer.json()
    if result["certificates"]:
        assert result["hint"] is None
        return "found", sorted(each["number"] for each in result["certificates"])
    if result["hint"] is not None:
        field, key = HINTS[Hint(result["hint"])]
        return "hint", (field, text("zh", key))
    return "not found", None


@pytest.fixture(scope="module")
def ways(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    def stop_clock(server: Server, app: FastAPI) -> None:
        app.state.lookup_limit = RateLimiter(lambda: 0.0)

    folder: Path = tmp_path_factory.mktemp("ways")
    with ExitStack() as closing:
        database = closing.enter_context(fresh_database(postgres))
        known = settings_for(database.dsn, folder)
        client, limited = (
            closing.enter_context(
                httpx.Client(
                    base_url=closing.enter_context(running(known, prepare)),
                    headers={"Accept-Language": "zh"},
                    timeout=30,
                    trust_env=False,
                )
            )
            for prepare in (None, stop_clock)
        )
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        _, numbers = certified(ledger)
        wait_for_registry(ledger)
        yield Ways(numbers, client, limited)


def wait_for_registry(ledger: LedgerClient) -> None:
    head = ledger.caller("regulator").read("events")["head"]
    ledger.caller("registrar").read("statistics/talent", min_position=head)


# --- the property ---------------------------------------------------------------------------------


def altered(value: str) -> st.SearchStrategy[str]:
    """The value as people mistype it, or spell it differently."""
    full_width = value.translate({n: n + 0xFEE0 for n in range(0x21, 0x7F)})
    spelled = [
        value,
        value,
        value.lower(),
        " ".join(value),
        f"\t{value}\n",
        value + " " * 90,
        full_width,
    ]
    cut = st.integers(0, len(value)).map(lambda place: value[:place] + value[place + 1 :])
    replaced = st.builds(
        lambda place, char: value[:place] + char + value[place + 1 :],
        st.integers(0, len(value) - 1),
        st.sampled_from("0129XOI-·张 \x7f\x85\u200b"),
    )
    return st.one_of(st.sampled_from(spelled), cut, replaced)


def blank_or_any() -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(["", " ", "\t \u3000", "\u200b", "x" * 80, "1" * 81, " 7" * 60]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=90),
    )


NUMBERS = st.sampled_from(
    [NATIONAL, "1133000001234567", "0104000123456", "RGN12345678901234567", "ABC", "-",
     "JL2026-03-000001-7", "AB12345678901234567890", "OMC-2026-4-0000001-X", "OMC"]
)  # fmt: skip
NAMES = st.sampled_from(["李四", "钱 一", "买买提·艾力", "Jr.", "1234", "·", "长" * 61])
DOCUMENTS = st.sampled_from(
    [WRONG_CHECK, document_of(7), "E12345678", "33", "330106900101123", "810000199001010000",
     "ABC123456789012", "南字第1234号", "H1234567890", "A123456(3)", "?", "1" * 21]
)  # fmt: skip


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_way_gives_the_same_verdict(ways: Ways, data: st.DataObject) -> None:
    own = st.sampled_from(sorted(ways.numbers.values()))
    number = st.one_of(own.flatmap(altered), own, NUMBERS, blank_or_any())
    name = st.one_of(altered(NAME), st.just(NAME), NAMES, blank_or_any())
    document = st.one_of(altered(DOCUMENT), st.just(DOCUMENT), DOCUMENTS, blank_or_any())
    typed: Typed = data.draw(
        st.fixed_dictionaries(
            {}, optional={"number": number, "name": name, "document_number": document}
        )
    )
    verdicts = ways.verdicts(typed)
    assert verdicts["fast"] == verdicts["json"] == verdicts["page"], typed


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        ({"number": "{national}", "name": NAME}, "found"),
        ({"number": "{omc}", "document_number": DOCUMENT}, "found"),
        ({"name": NAME, "document_number": f" {DOCUMENT} "}, "found"),
        ({"number": " ", "name": NAME, "document_number": DOCUMENT}, "found"),
        ({"number": "{national}", "name": "", "document_number": DOCUMENT}, "found"),
        ({"number": NATIONAL, "name": NAME}, "not found"),
        ({"number": "{national}", "name": "李四"}, "not found"),
        ({"name": NAME, "document_number": "E12345678"}, "not found"),
        ({"number": "1133000001234567", "name": NAME}, "hint"),
        ({"number": "ABC", "name": NAME, "document_number": DOCUMENT}, "hint"),
        ({"number": "JL2026-03-000001-7", "name": NAME}, "hint"),
        ({"number": "OMC-2026-4-0000001-X", "name": NAME}, "hint"),
        ({"name": NAME, "document_number": WRONG_CHECK}, "hint"),
        ({"name": NAME, "document_number": "330106900101123"}, "hint"),
        ({"name": NAME}, "refused"),
        ({"number": "", "name": NAME}, "refused"),
        ({"name": NAME, "document_number": "33"}, "refused"),
        ({"name": "1", "document_number": DOCUMENT}, "refused"),
        ({"name": NAME, "number": "S" * 81}, "refused"),
        ({"name": NAME, "document_number": "\x1f" + DOCUMENT}, "refused"),
    ],
)
def test_each_verdict_is_reached_by_every_way(ways: Ways, typed: Typed, verdict: str) -> None:
    typed = {name: value.format(**ways.numbers) for name, value in typed.items()}
    assert {way: given[0] for way, given in ways.verdicts(typed).items()} == dict.fromkeys(
        ("fast", "json", "page"), verdict
    )


@pytest.mark.parametrize(
    ("way", "client_address"),
    [(by_fast_path, "203.0.113.1"), (by_framework, "203.0.113.2"), (by_page, "203.0.113.3")],
)
def test_only_lookups_that_search_the_registry_can_use_the_budget_up(
    ways: Ways, way: Any, client_address: str
) -> None:
    address = {"X-Forwarded-For": client_address}

    def repeat(times: int, **typed: str) -> set[str]:
        return {way(ways.limited, typed, **address)[0] for _ in range(times)}

    assert repeat(70, name="1", document_number="33") == {"refused"}, "free of charge"
    assert repeat(20, number="ABC", name=NAME) == {"hint"}, "one token each"
    assert repeat(8, number=NATIONAL, name=NAME) == {"not found"}, "five tokens each"
    assert repeat(1, number=NATIONAL, name=NAME) == {"limited"}


# --- the parser -----------------------------------------------------------------------------------

TOKENS = StoredIndexes(BlindIndexes(bytes(32)), GivenEpochs().ciphers()).search_tokens


def parse(**typed: Any) -> LookupCriteria:
    fields = dict.fromkeys(("number", "name", "document_number")) | typed
    return LookupCriteria.parse(TOKENS, **fields)


def texts_of(criteria: LookupCriteria) -> set[str]:
    """The texts of documents that are searched for."""
    assert criteria.documents is not None
    return {reading.value for reading in criteria.documents.readings}


def test_a_document_without_a_type_is_searched_as_every_class_that_accepts_it() -> None:
    assert texts_of(parse(name=NAME, document_number="E12345678")) == {
        "passport:E12345678",
        "military_id:E12345678",
        "hangzhou_social_card:E12345678",
        "residence_permit:E12345678",
    }
    assert texts_of(parse(name=NAME, document_number=DOCUMENT)) == {f"cn18:{DOCUMENT}"}


def test_a_document_with_a_type_is_searched_as_that_type_only() -> None:
    criteria = parse(name=NAME, document_number="E12345678", document_type=DocumentType.PASSPORT)
    assert texts_of(criteria) == {"passport:E12345678"}


def test_a_document_with_a_country_is_that_countrys_passport() -> None:
    of_china = {"document_number": "E12345678", "document_country": "chn"}
    assert texts_of(parse(name=NAME, **of_china)) == {"passport:CHN:E12345678"}
    assert texts_of(parse(name=NAME, **of_china | {"document_country": " "})) > {
        "passport:E12345678"
    }
    for kind, country in ((DocumentType.RESIDENT_ID, "CHN"), (DocumentType.PASSPORT, "ZZZ")):
        with pytest.raises(InvalidLookup) as refused:
            parse(**of_china | {"document_type": kind, "document_country": country}, name=NAME)
        assert list(refused.value.faults) == ["document_number"]


def test_a_document_is_refused_by_the_rule_of_its_type() -> None:
    with pytest.raises(InvalidLookup) as refused:
        parse(name=NAME, document_number=WRONG_CHECK, document_type=DocumentType.RESIDENT_ID)
    [fault] = refused.value.faults.values()
    assert isinstance(fault, InvalidIdentityDocument)
    assert fault.fields["reason"] == Refusal.WRONG_CHECK_CHARACTER


def test_every_fault_is_reported_and_too_few_fields_come_first() -> None:
    with pytest.raises(InvalidLookup) as refused:
        parse(number="S" * 81, name="1", document_number="33")
    assert list(refused.value.faults) == ["number", "name", "document_number"]
    assert not refused.value.too_few
    with pytest.raises(InvalidLookup) as refused:
        parse(name="1")
    assert refused.value.too_few
    assert isinstance(refused.value.refusal, LookupNeedsTwo)


def test_a_number_that_cannot_be_ours_is_not_searched_even_with_two_other_fields() -> None:
    criteria = parse(number="ABC", name=NAME, document_number=DOCUMENT)
    assert (criteria.keys, criteria.hint) == ((), Hint.UNKNOWN)
    assert not criteria.is_miss([])


def test_a_citizens_number_with_a_slip_is_searched_and_gets_a_hint() -> None:
    criteria = parse(name=NAME, document_number=WRONG_CHECK)
    assert criteria.keys
    assert criteria.hint is Hint.DOCUMENT_NUMBER
    assert json.loads(criteria.result([])) == {"certificates": [], "hint": "document_number"}
    assert parse(name=NAME, document_number=DOCUMENT).hint is None
    assert parse(name=NAME, document_number="E12345678").hint is None


def test_criteria_show_no_personal_data() -> None:
    shown = repr(parse(number=NATIONAL, name=NAME, document_number=DOCUMENT))
    assert NAME not in shown
    assert DOCUMENT not in shown


def test_the_limits_of_the_body_are_those_of_the_parser() -> None:
    limits = {
        name: field.metadata[0].max_length
        for name, field in LookupBody.model_fields.items()
        if field.metadata
    }
    assert limits == dict.fromkeys(FIELDS.values(), FIELD_CHARS_MAX) | {"document_country": 10}
