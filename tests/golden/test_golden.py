"""What was stored once is read for ever: one frozen file of data for each topic and version."""

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
    """A new topic: `python -m tests.support.golden`, and look at what it wrote."""
    missing = set(CATALOGUE) - {path.stem for path in FILES}
    assert not missing, f"no golden file for {sorted(missing)}"


def test_no_golden_file_is_empty():
    assert all(path.read_text(encoding="utf-8").strip() for path in FILES)


@pytest.mark.parametrize(("topic", "line"), LINES)
def test_every_line_ever_stored_is_still_read(topic, line):
    fact = Catalogue(CATALOGUE).read(topic, orjson.loads(line), where=f"golden {topic}")
    assert fact.TOPIC in CATALOGUE


@pytest.mark.parametrize(("topic", "line"), LINES)
def test_a_line_of_a_present_topic_is_written_again_exactly_as_it_stands(topic, line):
    if topic not in CATALOGUE:
        pytest.skip("an older version is read, and never written again")
    fact = CATALOGUE[topic].model_validate_json(line)
    assert canonical_json(fact.model_dump(mode="json")).decode() == line


@pytest.mark.parametrize(("topic", "line"), LINES)
def test_every_line_has_exactly_the_fields_of_its_topic(topic, line):
    """A field that was dropped or renamed would need a new version of the topic."""
    if topic not in CATALOGUE:
        pytest.skip("the fields of an older version are known to its upcaster only")
    assert orjson.loads(line).keys() == CATALOGUE[topic].model_fields.keys()
