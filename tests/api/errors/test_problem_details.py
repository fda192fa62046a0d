"""Error responses: each error has a status, a code and texts in two languages, no internals.

Covers: api/errors/problem_details.py, api/errors/request.py, api/errors/validation.py,
api/http/exception_handlers.py
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import string
from pathlib import Path

import httpx
import pytest

import api
import domain
import projections
from api.errors.problem_details import (
    STATUS,
    Problem,
    is_retryable,
    problem_of,
    status_of,
    texts,
    title_and_detail,
)
from api.errors.request import InternalError, InvalidRequest, LedgerNotInToken, MalformedJson
from api.http.strict_json import parse_json
from domain import claims
from domain.decision import AlreadyExists, NotFound, NotYourOwn
from domain.errors import LedgerError
from domain.steps.certificate import CertificateOutOfOrder
from domain.steps.enrolment import RegistrationClosed
from domain.steps.payment import WrongAmount
from domain.steps.review import RegistrationUnsettled, ReviewOutOfOrder
from domain.store.errors import BlobDamaged, Overloaded
from tests.support.service import Caller, LedgerClient

HAN = re.compile(r"[\u4e00-\u9fff]")


def refusals() -> list[type[LedgerError]]:
    """Every class of refusal in the three rooms."""
    for room in (domain, projections, api):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    found, waiting = [], [LedgerError]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls.__module__.split(".")[0] in ("domain", "projections", "api"):
            found.append(cls)
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


ALL = refusals()


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def template_of(cls: type[LedgerError]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def test_the_error_classes_of_the_whole_service_are_found():
    assert len(ALL) > 150


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_class_has_a_status(cls: type[LedgerError]):
    assert cls.code in STATUS


def test_no_status_or_text_belongs_to_a_removed_error():
    codes = {cls.code for cls in ALL}
    assert set(STATUS) == codes
    assert set(texts()["problems"]) == codes


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_has_a_chinese_and_an_english_text(cls: type[LedgerError]):
    entry = texts()["problems"][cls.code]
    own = template_of(cls)
    zh_title, zh_detail = entry["zh"]
    en_title, en_detail = entry["en"]
    assert HAN.search(zh_title)
    assert HAN.search(zh_detail or own)
    assert not HAN.search(en_title)
    assert not HAN.search(en_detail or own)
    # Nothing is said that the refusal does not know; a missing document also knows its kind.
    known = places(own) | {"kind"}
    assert places(zh_detail or own) <= known
    assert places(en_detail or own) <= known


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_becomes_a_problem(cls: type[LedgerError]):
    error = cls(**dict.fromkeys(places(template_of(cls)) | {"kind"}, "x"))
    for language in ("zh", "en"):
        body = problem_of(error, language, "0" * 32)
        Problem.model_validate(body)
        assert body["status"] == STATUS[cls.code]
        assert "{" not in body["detail"]


def test_an_error_without_a_row_has_the_status_of_its_parent():
    class Odd(WrongAmount):
        """Odd {component} {expected_fen} {given_fen}."""

        code = "odd"

    odd = Odd(component="x", expected_fen=1, given_fen=2)
    try:
        assert status_of(odd) == 422
        assert title_and_detail(odd, "en")[1] == "Odd x 1 2."
    finally:
        # The other tests look at every class there is.
        Odd.__module__ = "tests"


def test_values_with_a_chinese_word_are_translated():
    error = WrongAmount(component="certification_fee", expected_fen=30_000, given_fen=1)
    assert title_and_detail(error, "zh")[1] == "认证费用应为30000分,而不是1分。"
    assert title_and_detail(error, "en")[1] == "certification_fee costs 30000 fen, not 1 fen."


def test_an_id_is_never_translated():
    text = title_and_detail(LedgerNotInToken(ledger="omc"), "zh")[1]
    assert text == "该令牌不能用于账本omc。"
    text = title_and_detail(NotFound(what="ticket", id="paid"), "zh")[1]
    assert text == "本账本没有准考证 paid。"


def test_everything_that_a_refusal_names_has_a_chinese_word():
    named = [
        (path, keyword.value.value)
        for package in (api, domain)
        for path in Path(package.__path__[0]).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in _NAMING
        for keyword in call.keywords
        if keyword.arg == "what" and isinstance(keyword.value, ast.Constant)
    ]
    assert len(named) > 30
    for path, what in named:
        text = title_and_detail(NotFound(what=what, id="X1"), "zh")[1]
        assert what not in text, f"{path}: {what}"


_NAMING = {each.__name__ for each in (NotFound, AlreadyExists, NotYourOwn)}


def test_an_out_of_order_error_names_the_current_state():
    review = ReviewOutOfOrder(stage="initial", status="paid", due="none")
    assert title_and_detail(review, "zh")[1] == (
        "初审现在不该进行:报考处于“已缴费”,应进行的审核:无。"
    )
    certificate = CertificateOutOfOrder(
        kind="national", progress="not_numbered", standing="not_issued"
    )
    assert "“未编号、未颁发”" in title_and_detail(certificate, "zh")[1]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (RegistrationClosed(registration="joined"), "该登记已结束:已并入。"),
        (RegistrationClosed(registration="rejected"), "该登记已结束:未通过。"),
        (
            RegistrationUnsettled(registration="rejected"),
            "报考人的登记为“未通过”,审核不能通过;存疑登记须先并入、驳回或更正。",
        ),
    ],
)
def test_the_state_of_a_registration_is_a_chinese_sentence(error: LedgerError, detail: str):
    assert problem_of(error, "zh", "0" * 32)["detail"] == detail


def test_every_kind_of_claim_has_a_word():
    source = Path(claims.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'(?:return |\()"(\w+)", ', source))
    assert {"provider_refund", "live_application", "refund"} <= named
    assert named <= set(texts()["words"])


def test_an_internal_error_exposes_no_details():
    body = problem_of(BlobDamaged(sha256="ab" * 32), "en", "0" * 32)
    assert body["code"] == "blob_damaged"
    assert "fields" not in body
    assert body["detail"] == title_and_detail(InternalError(), "en")[1]


def test_retryable_errors_are_marked():
    assert is_retryable(Overloaded(ledger="omc", waiting=1))
    assert not is_retryable(InvalidRequest(count=1))


# --- on the wire ----------------------------------------------------------------------------------


def is_problem(answer: httpx.Response, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    Problem.model_validate(body)
    assert body["code"] == code
    assert body["status"] == status
    assert answer.headers["trace-id"] == body["trace_id"]
    assert answer.headers["cache-control"] == "no-store"
    return body


def test_an_unknown_address_is_404(client: httpx.Client):
    is_problem(client.get("/nowhere"), 404, "route_not_found")


def test_a_wrong_method_is_405_and_lists_the_allowed_ones(client: httpx.Client):
    answer = client.delete("/ledgers")
    is_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_body_of_another_type_is_415(module_ledger: LedgerClient):
    caller = module_ledger.caller("agency")
    answer = caller.send("persons", headers={"Content-Type": "text/xml"}, content=b"<a/>")
    is_problem(answer, 415, "media_type_unsupported")


def test_a_body_without_a_type_is_415(module_ledger: LedgerClient):
    answer = module_ledger.caller("agency").send("persons", content=b"{}")
    is_problem(answer, 415, "media_type_unsupported")


@pytest.mark.parametrize("body", [b"{", b"nul", b"", b"\xff\xfe", b'{"a":"\xff"}'])
def test_a_body_that_is_not_json_is_400(module_ledger: LedgerClient, body: bytes):
    answer = module_ledger.caller("agency").send(
        "persons", content=body, headers={"Content-Type": "application/json"}
    )
    # An empty body is JSON of nothing: every field is missing.
    if body:
        is_problem(answer, 400, "malformed_json")
    else:
        is_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"name":"LI SI","name":"LI WU"}', "#/name"),
        (b'{"name":"LI SI","n\\u0061me":"LI SI"}', "#/name"),
        (b'{"a/b":[1,{"c":{"d":1,"d":1}}]}', "#/a~1b/1/c/d"),
        (b'{"\\ud800":1,"\\ud800":1}', "#/?"),
    ],
)
def test_a_repeated_json_key_is_named(module_ledger: LedgerClient, body: bytes, pointer: str):
    typed = {"Content-Type": "application/json"}
    callers = module_ledger.caller("agency"), Caller(module_ledger.client, "x", None)
    for caller, path in zip(callers, ("persons", "/lookup"), strict=True):
        answer = caller.send(path, content=body, headers=typed)
        problem = is_problem(answer, 400, "json_key_twice")
        assert problem["fields"] == {"pointer": pointer}
        assert pointer in problem["detail"]


def test_a_repeated_key_in_malformed_json_is_malformed_json():
    assert parse_json(b'[{"a":1},{"a":1}]') == [{"a": 1}, {"a": 1}]
    with pytest.raises(MalformedJson):
        parse_json(b'{"b":{"a":1,"a":2}')


def test_every_wrong_value_has_a_pointer_and_none_is_repeated(module_ledger: LedgerClient):
    secret = "330106199503151275"
    body = {
        "document_type": "library_card",
        "document_number": [secret],
        "name": "",
        "nickname": secret,
    }
    answer = module_ledger.caller("agency").send("persons", body)
    problem = is_problem(answer, 422, "invalid_request")
    found = {fault["pointer"]: fault["code"] for fault in problem["errors"]}
    assert found == {
        "#/document_type": "enum",
        "#/document_number": "string_type",
        "#/name": "string_too_short",
        "#/nickname": "extra_forbidden",
    }
    assert secret not in answer.text
    assert all(HAN.search(fault["detail"]) for fault in problem["errors"])


def test_faults_of_a_payment_are_in_one_language_without_a_false_one(module_ledger: LedgerClient):
    body = {
        "provider": "wechat",
        "provider_transaction_id": "1",
        "merchant_order_no": "1",
        "paid_at": "2026-13-01T10:00:00Z",
        "lines": [{"component": "certification_fee", "amount_fen": -1}],
    }
    finance = module_ledger.caller("finance")
    problem = is_problem(finance.send("applications/A1/payments", body), 422, "invalid_request")
    found = {fault["pointer"]: fault["code"] for fault in problem["errors"]}
    assert found == {
        "#/paid_at": "not_an_instant",
        "#/lines/0/amount_fen": "greater_than_equal",
    }
    assert problem["errors"][0]["detail"].startswith("应为带时区的")
    answer = finance.send("applications/A1/payments", body | {"lines": []})
    assert "too_short" in {f["code"] for f in is_problem(answer, 422, "invalid_request")["errors"]}


def test_wrong_values_are_explained_in_english_too(module_ledger: LedgerClient):
    answer = module_ledger.caller("agency").send("persons", {}, headers={"Accept-Language": "en"})
    problem = is_problem(answer, 422, "invalid_request")
    assert answer.headers["content-language"] == "en"
    assert {fault["detail"] for fault in problem["errors"]} == {"is missing"}


def test_a_wrong_query_parameter_has_a_pointer(module_ledger: LedgerClient):
    answer = module_ledger.caller("regulator").get("events", limit=0)
    problem = is_problem(answer, 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "query/limit"


@pytest.mark.parametrize("amount", [1.5, "30000", True, -1, 2**53])
def test_an_amount_that_is_not_whole_fen_is_refused(module_ledger: LedgerClient, amount: object):
    body = {
        "provider": "wechat",
        "provider_transaction_id": "4200000000202603020000000001",
        "merchant_order_no": "ORDER-1",
        "paid_at": "2026-03-02T09:00:00+08:00",
        "lines": [{"component": "certification_fee", "amount_fen": amount}],
    }
    answer = module_ledger.caller("finance").send("applications/a1/payments", body)
    problem = is_problem(answer, 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "#/lines/0/amount_fen"


def test_nobody_is_registered_under_a_name_of_the_service(module_ledger: LedgerClient):
    """Names of the service are recorded as they are, and this one would hold a phone number."""
    body = {"document_type": "resident_id", "name": "张三", "subject": "certledger/13800000000"}
    answer = module_ledger.caller("agency").send(
        "persons", body | {"document_number": "330106199503151275"}
    )
    [fault] = is_problem(answer, 422, "invalid_request")["errors"]
    assert (fault["pointer"], fault["code"]) == ("#/subject", "not_a_login")
    assert "13800000000" not in answer.text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_id_that_could_tell_who_it_is_is_refused_in_words(
    module_ledger: LedgerClient, language: str
):
    body = {"person_id": "zhang-san", "document_type": "resident_id", "name": "张三"}
    answer = module_ledger.caller("agency").send(
        "persons",
        body | {"document_number": "330106199503151275"},
        headers={"Accept-Language": language},
    )
    [fault] = is_problem(answer, 422, "invalid_request")["errors"]
    assert (fault["pointer"], fault["code"]) == ("#/person_id", "not_an_opaque_id")
    words = {
        "zh": "应为1至4个大写字母加1至10位数字",
        "en": "one to four capitals and one to ten digits",
    }
    assert words[language] in fault["detail"]
    assert "zhang-san" not in answer.text


def test_an_unknown_thing_is_404(module_ledger: LedgerClient):
    answer = module_ledger.caller("regulator").get("applications/nobody")
    is_problem(answer, 404, "not_found")


def test_a_broken_rule_is_422_with_its_values(module_ledger: LedgerClient):
    body = {
        "document_type": "resident_id",
        "document_number": "330106199503151276",
        "name": "张三",
    }
    answer = module_ledger.caller("agency").send("persons", body)
    problem = is_problem(answer, 422, "invalid_identity_document")
    assert problem["fields"] == {
        "document_type": "resident_id",
        "reason": "wrong_check_character",
    }
    assert "校验码不符" in problem["detail"]
    assert "330106199503151276" not in answer.text


def test_a_conflict_with_the_state_is_409(module_ledger: LedgerClient):
    body = {
        "document_type": "resident_id",
        "document_number": "330106199503151275",
        "name": "张三",
    }
    agency = module_ledger.caller("agency")
    agency.write("persons", body | {"person_id": "P2"})
    answer = agency.send("persons", body | {"person_id": "P2"})
    is_problem(answer, 409, "already_exists")
    assert "330106199503151275" not in answer.text


def test_the_trace_id_of_the_caller_is_used(client: httpx.Client):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert client.get("/nowhere", headers=headers).json()["trace_id"] == trace
    for bad in ("00-xyz-1-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
        answer = client.get("/nowhere", headers={"traceparent": bad})
        assert re.fullmatch("[0-9a-f]{32}", answer.json()["trace_id"])
        assert answer.json()["trace_id"] not in bad
