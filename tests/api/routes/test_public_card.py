"""The public card over HTTP: by a link, with the salt under which the log has its hash.

Covers: api/routes/lookup.py, domain/service/public_cards.py
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest

from tests.support.commands import document_of
from tests.support.editions import adopt_over_http, no_retention
from tests.support.http_journey import ISSUED_AT, Journey, certified
from tests.support.service import LedgerClient, new_ledger

NAME, CORRECTED = "钱一", "钱壹"


@pytest.fixture
def ledger(client: httpx.Client) -> LedgerClient:
    return new_ledger(client, "2026-03-01T08:00:00+08:00")


def wait_for_registry(ledger: LedgerClient) -> None:
    head = ledger.caller("regulator").read("events")["head"]
    ledger.caller("registrar").read("statistics/talent", min_position=head)


def link_of(ledger: LedgerClient, number: str) -> str:
    shown = ledger.caller("registrar").read("applications/A1/certificates")["data"]
    [link] = [each["link"] for each in shown if each["number"] == number]
    return str(link).rpartition("/v/")[2]


def card_of(ledger: LedgerClient, token: str) -> dict[str, Any]:
    wait_for_registry(ledger)  # just after a change it is a 503 that may be repeated
    answer = ledger.client.get(f"/v/{token}/card")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    # RFC 8785 for what has ASCII names and no fractions, from the standard library alone.
    shown: dict[str, Any] = json.loads(answer.content)
    again = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == answer.content
    return shown


def hash_of(shown: dict[str, Any]) -> str:
    """The hash of an answer, by the text of its description."""
    card = json.dumps(shown["card"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    salted = b"certledger card v1" + b"\0" + bytes.fromhex(shown["salt"]) + card.encode()
    return hashlib.sha256(salted).hexdigest()


def recorded(ledger: LedgerClient, position: int) -> dict[str, Any]:
    """An event as the log has it."""
    after = {"after": position - 1, "limit": 1}
    [event] = ledger.caller("regulator").read("events", **after)["data"]
    envelope: dict[str, Any] = event["envelope"]
    return envelope


def test_the_card_of_a_link_has_the_hash_that_the_log_has(ledger: LedgerClient):
    """Source: source-document 5.2, 5.3."""
    _, numbers = certified(ledger)
    wait_for_registry(ledger)
    salts = set()
    for kind, number in numbers.items():
        shown = card_of(ledger, link_of(ledger, number))
        assert hash_of(shown) == shown["card_sha256"]
        event = recorded(ledger, shown["position"])
        assert event["topic"] == "certificate_issued.v1"
        assert event["data"]["card_sha256"] == shown["card_sha256"]
        salts.add(shown["salt"])
        card = shown["card"]
        assert (card["ledger"], card["kind"], card["number"]) == (ledger.name, kind, number)
        assert (card["name"], card["document_tail"]) == (NAME, document_of(1)[-4:])
        assert (card["theory"], card["practical"]) == ("78", "81.5")
        assert (shown["standing"], shown["replaced"]) == ("valid", False)
    assert len(salts) == len(numbers)


def test_the_salt_is_sealed_under_the_holders_key_of_class_certificate(ledger: LedgerClient):
    _, numbers = certified(ledger)
    wait_for_registry(ledger)
    shown = card_of(ledger, link_of(ledger, numbers["national"]))
    salt = recorded(ledger, shown["position"])["data"]["card_salt"]
    assert salt["key"] == "person/P1/certificate/1"
    assert shown["salt"] not in str(salt)


def test_each_version_has_its_own_card_with_the_name_of_its_day(ledger: LedgerClient):
    """Source: source-document 3.2(3), 5.3."""
    journey, numbers = certified(ledger)
    wait_for_registry(ledger)
    first = link_of(ledger, numbers["national"])
    before = card_of(ledger, first)
    registrar = journey.staff("registrar", ISSUED_AT)
    named = {"document_type": "resident_id", "document_number": document_of(1), "name": CORRECTED}
    registrar.write("persons/P1/corrections", named | {"reason": "姓名录入有误"})
    assert card_of(ledger, first)["card"]["name"] == NAME
    path = f"{journey.application}/certificates/national"
    registrar.write(f"{path}/correction", {"reason": "姓名录入有误"})
    registrar.write(f"{path}/suspension", {"reason": "核查"})
    wait_for_registry(ledger)
    old, new = card_of(ledger, first), card_of(ledger, link_of(ledger, numbers["national"]))
    assert old == before | {"replaced": True, "standing": "suspended"}
    assert (new["card"]["name"], new["card"]["version"], new["replaced"]) == (CORRECTED, 2, False)
    assert hash_of(new) == new["card_sha256"] != old["card_sha256"]
    assert recorded(ledger, new["position"])["topic"] == "certificate_corrected.v1"


def test_a_card_is_gone_with_the_class_certificate_and_not_before(ledger: LedgerClient):
    journey, numbers = certified(ledger)
    wait_for_registry(ledger)
    links = [link_of(ledger, number) for number in numbers.values()]
    journey.erase(ISSUED_AT)
    wait_for_registry(ledger)
    for link in links:  # kept while the certificate is in force
        shown = card_of(ledger, link)
        assert hash_of(shown) == shown["card_sha256"]

    other = new_ledger(ledger.client, "2026-03-01T08:00:00+08:00")
    erased, numbers = certified(other)
    wait_for_registry(other)
    links = [link_of(other, number) for number in numbers.values()]
    revoke_and_erase(other, erased, numbers)
    for link in links:
        answer = other.client.get(f"/v/{link}/card")
        assert (answer.status_code, answer.json()["code"]) == (410, "person_erased")
        assert NAME not in answer.text
        assert other.client.get(f"/v/{link}").status_code == 200


def revoke_and_erase(ledger: LedgerClient, journey: Journey, numbers: dict[str, str]) -> None:
    adopt_over_http(ledger, no_retention())
    registrar = journey.staff("registrar", ISSUED_AT)
    revocation = {"reason_class": "holder_request", "reason": "本人申请"}
    for kind in numbers:
        registrar.write(f"{journey.application}/certificates/{kind}/revocation", revocation)
    journey.erase("2026-10-16T10:00:00+08:00")
    wait_for_registry(ledger)


def test_an_unknown_link_opens_no_card_and_is_not_repeated(client: httpx.Client):
    token = "omc-aa" + "0" * 32
    answer = client.get(f"/v/{token}/card")
    assert answer.status_code == 404
    assert token not in answer.text
    assert client.get("/v/nonsense/card").status_code == 422
