"""Requests generated from the OpenAPI document: no 500, and every response is documented.

Covers: api/openapi.py, api/app.py
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.auth.permissions import PUBLIC
from api.routes.routers import ACCESS
from api.settings import load_settings
from tests.support.http_journey import certified
from tests.support.service import LedgerClient, new_ledger, token

SCHEMA = schemathesis.openapi.from_dict(create_app(load_settings()).openapi())
OPERATIONS = {
    found.ok().definition.raw["operationId"]: found.ok() for found in SCHEMA.get_all_operations()
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
KNOWN = {
    "person_id": "P1", "application_id": "A1", "session_id": "S1", "notice_id": "N1",
    "kind": None, "stage": None, "refund_no": "RPAY1-1", "report_id": "R1",
    "objection_id": "O1", "token": "omc-aa" + "0" * 32,
}  # fmt: skip
"""Ids that exist, so that a made-up request gets past the first "not found"."""

EXAMPLES = 12

TAKE_NOTHING = {"health", "ready", "list_ledgers"}
"""Operations that take nothing that could be wrong."""

RUNS = [
    pytest.param(operation, mode, id=f"{operation}-{mode.value}")
    for operation in sorted(OPERATIONS)
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation not in TAKE_NOTHING
]


@pytest.fixture(scope="module")
def used_ledger(client: Any) -> LedgerClient:
    """A ledger with one candidate who completed every step."""
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    certified(ledger)
    return ledger


def prepare(case: Any, operation: str, ledger: LedgerClient) -> None:
    """Point a made-up request at what is there, under a token that may."""
    for name, value in KNOWN.items():
        if name in (case.path_parameters or {}) and value is not None:
            case.path_parameters[name] = value
    if "ledger" in (case.path_parameters or {}):
        case.path_parameters["ledger"] = ledger.name
    # Waiting for a position that never comes is right, and takes five seconds.
    (case.query or {}).pop("min_position", None)
    roles = ACCESS[operation]
    headers = dict(case.headers or {})
    headers.pop("Occurred-At", None)
    if roles is not PUBLIC:
        headers["Authorization"] = f"Bearer {token(sorted(roles)[0])}"
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = uuid.uuid4().hex
    case.headers = headers


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "mode"), RUNS)
def test_generated_requests_get_documented_responses(
    operation: str, mode: GenerationMode, used_ledger: LedgerClient
):
    found = OPERATIONS[operation]
    answers = []

    @seed(20261123)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=found.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        prepare(case, operation, used_ledger)
        answer = case.call(base_url=str(used_ledger.client.base_url))
        case.validate_response(answer, checks=CHECKS)
        answers.append(answer.status_code)

    ask()
    assert answers
    assert all(status < 500 for status in answers)
