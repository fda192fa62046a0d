"""docs/events.md and the JSON Schemas match `domain.events`.

Covers: scripts/export_schemas.py, scripts/documents/schemas.py
"""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from domain.editions.edition import EditionKind
from domain.editions.packaged import packaged_editions
from domain.events import CATALOGUE
from domain.values.sealed_fields import sealed_fields
from scripts.export_schemas import ROOT, pages

DOCS = ROOT / "docs"
GOLDEN = ROOT / "tests/golden"
PAGES = pages()


def validator(topic: str) -> Draft202012Validator:
    """Validates data by the written schema, including the formats of days and instants."""
    schema = json.loads((DOCS / f"schemas/{topic}.json").read_text("utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def golden(topic: str) -> list[dict]:
    """Stored samples of a topic."""
    text = (GOLDEN / f"{topic}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("path", PAGES)
def test_the_page_is_up_to_date(path):
    assert (DOCS / path).read_text("utf-8") == PAGES[path], "run scripts/export_schemas.py"


def test_no_schema_file_is_left_over():
    written = {path.stem for path in (DOCS / "schemas").iterdir()}
    assert written == set(CATALOGUE) | {f"edition-{kind.value}" for kind in EditionKind}


@pytest.mark.parametrize("kind", list(EditionKind))
def test_the_packaged_editions_validate_against_the_schema_of_their_kind(kind):
    schema = json.loads((DOCS / "schemas" / f"edition-{kind.value}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    for edition in packaged_editions(kind):
        assert list(Draft202012Validator(schema).iter_errors(edition.content)) == []


@pytest.mark.parametrize("topic", CATALOGUE)
def test_stored_samples_validate_against_the_schema(topic):
    checker = validator(topic)
    checker.check_schema(checker.schema)
    samples = golden(topic)
    assert samples
    for sample in samples:
        checker.validate(sample)


@pytest.mark.parametrize("topic", CATALOGUE)
def test_an_unknown_field_is_refused(topic):
    assert not validator(topic).is_valid(golden(topic)[0] | {"unknown": 1})


@pytest.mark.parametrize("topic", [t for t, fact in CATALOGUE.items() if sealed_fields(fact)])
def test_sealed_fields_may_be_sealed_opened_or_erased(topic):
    checker = validator(topic)
    for name, _ in sealed_fields(CATALOGUE[topic]):
        sealed = {"key": "person/P1/remarks/1", "sealed": "aes-256-gcm:AAAA"}
        for value in (sealed, "opened", None):
            checker.validate(golden(topic)[0] | {name: value})
        assert not checker.is_valid(golden(topic)[0] | {name: {"sealed": sealed["sealed"]}})
        assert not checker.is_valid(golden(topic)[0] | {name: {"clear": "opened"}})


def test_the_catalogue_page_lists_every_fact():
    text = Path(DOCS / "events.md").read_text("utf-8")
    for topic, fact in CATALOGUE.items():
        assert f"### {topic}\n" in text
        assert f"`{fact.__name__}`" in text
