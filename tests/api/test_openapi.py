"""The OpenAPI document: complete, valid, bilingual, and with valid examples.

Covers: api/openapi.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis

from api.app import create_app
from api.auth.permissions import PUBLIC
from api.http.routing import READ_VIA_POST, AuthorizedRoute
from api.routes.routers import ACCESS
from api.settings import load_settings
from tests.support.service import LedgerClient

HAN = re.compile(r"[\u4e00-\u9fff]")
ASCII_WORD = re.compile(r"[A-Za-z]{3,}")


@pytest.fixture(scope="module")
def app() -> Any:
    return create_app(load_settings())


@pytest.fixture(scope="module")
def document(app: Any) -> dict[str, Any]:
    return json.loads(json.dumps(app.openapi()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_the_document_is_valid_openapi(document: dict[str, Any]):
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    assert document["openapi"].startswith("3.1")
    assert len(list(schema.get_all_operations())) == len(list(operations(document)))


def test_every_authorized_route_is_in_the_document(app: Any, document: dict[str, Any]):
    routes = {r.operation for r in app.router.routes if isinstance(r, AuthorizedRoute)}
    assert {o["operationId"] for _, _, o in operations(document)} == routes == set(ACCESS)


def test_every_operation_is_described_in_chinese_and_english(document: dict[str, Any]):
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        for part in ("summary", "description"):
            assert HAN.search(operation[part]), where
            assert ASCII_WORD.search(operation[part]), where
        assert operation["tags"], where
    assert {t for _, _, o in operations(document) for t in o["tags"]} == {
        tag["name"] for tag in document["tags"]
    }


def test_every_operation_names_its_roles(document: dict[str, Any]):
    for _, _, operation in operations(document):
        roles = ACCESS[operation["operationId"]]
        if roles is PUBLIC:
            assert operation["security"] == []
        else:
            assert operation["security"] == [{"bearer": []}]
            assert operation["x-roles"] == sorted(role.value for role in roles)
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]):
    for path, method, operation in operations(document):
        refusals = {s: r for s, r in operation["responses"].items() if s >= "400"}
        assert {"500", "503"} <= set(refusals), path
        for status, response in refusals.items():
            assert set(response["content"]) == {"application/problem+json"}, f"{path} {status}"
        if operation["security"]:
            assert {"401", "403"} <= set(refusals), path
        if method in ("post", "put") and operation["operationId"] not in READ_VIA_POST:
            assert {"400", "409", "413", "415", "422"} <= set(refusals), path


def test_every_write_requires_an_idempotency_key(document: dict[str, Any]):
    for path, method, operation in operations(document):
        names = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "header"}
        writes = method in ("post", "put") and operation["operationId"] not in READ_VIA_POST
        assert ("Idempotency-Key" in names) is writes, path


def test_every_example_matches_its_schema(document: dict[str, Any]):
    schemas = document["components"]["schemas"]
    checked = 0
    for name, schema in schemas.items():
        if "example" not in schema:
            continue
        whole = {**schema, "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(schema["example"])
        checked += 1
        assert name
    assert checked > 25


def test_every_body_has_an_example(document: dict[str, Any]):
    for path, _, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert "example" in document["components"]["schemas"][name], path


def test_bodies_forbid_unknown_fields(document: dict[str, Any]):
    for path, _, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            schema = document["components"]["schemas"][name]
            assert schema.get("additionalProperties") is False, path


def test_every_schema_is_referenced(document: dict[str, Any]):
    text = json.dumps(document)
    wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert wanted <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in text


def test_the_document_is_served(ledger: LedgerClient):
    served = ledger.client.get("/openapi.json")
    assert served.status_code == 200
    assert served.json()["info"]["title"] == "certledger"
