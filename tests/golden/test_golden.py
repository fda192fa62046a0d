"""Stored events stay readable: one frozen file of data for each topic and version.

Covers: domain/events.py, domain/store/mapper.py
"""

from __future__ import annotations

import orjson
import pytest

from domain.events import CATALOGUE
from domain.store.journal.envelope import canonical_json
from domain.store.mapper import Catalogue
from tests.support.golden import GOLDEN

FILES = sorted(GOLDEN.glob("*.jsonl"))
LINES = [
    pytest.param(path.stem, line, id=f"{path.stem}-{n}")
    for path in FILES
    for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
]


def test_every_topic_has_its_golden_lines():
    """For a new topic run `python -m tests.support.golden` and review what it wrote."""
    missing = set(CATALOGUE) - {path.stem for path in FILES}
    assert not missing, f"no golden file for {sorted(missing)}"


def test_no_golden_file_is_empty():
    assert all(path.read_text(encoding="utf-8").strip() for path in FILES)


@pytest.mark.parametrize(("topic", "line"), LINES)
def test_every_stored_line_is_still_readable(topic, line):
    fact = Catalogue(CATALOGUE).read(topic, orjson.loads(line), where=f"golden {topic}")
    assert fact.TOPIC in CATALOGUE


@pytest.mark.parametrize(("topic", "line"), LINES)
def test_a_line_of_a_current_topic_round_trips_byte_for_byte(topic, line):
    if topic not in CATALOGUE:
        pytest.skip("an older version is only read, never written")
    fact = CATALOGUE[topic].model_validate_json(line)
    assert canonical_json(fact.model_dump(mode="json")).decode() == line


@pytest.mark.parametrize(("topic", "line"), LINES)
def test_every_line_has_exactly_the_fields_of_its_topic(topic, line):
    """Dropping or renaming a field needs a new version of the topic."""
    if topic not in CATALOGUE:
        pytest.skip("only its upcaster knows the fields of an older version")
    fields = {info.alias or name for name, info in CATALOGUE[topic].model_fields.items()}
    assert orjson.loads(line).keys() == fields
