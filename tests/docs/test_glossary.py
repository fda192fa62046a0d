"""The glossary and the map of the domain room leave nothing out."""

import re

import pytest

import domain
from domain.actors import Role
from domain.events import CATALOGUE
from scripts.export_schemas import ROOT

TEXT = (ROOT / "docs/glossary.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| (\w+) \| `([a-z_.0-9]+)` \|$", TEXT, re.MULTILINE)
MAP = domain.__doc__ or ""


@pytest.mark.parametrize("topic", CATALOGUE)
def test_every_fact_has_its_chinese_word_its_name_and_its_topic(topic):
    rows = [row for row in ROWS if row[2] == topic]
    assert len(rows) == 1
    assert rows[0][1] == CATALOGUE[topic].__name__
    assert re.search(r"[\u4e00-\u9fff]", rows[0][0])


def test_no_fact_is_told_that_is_not_there():
    assert {topic for _, _, topic in ROWS} == set(CATALOGUE)


def test_no_two_facts_have_the_same_word():
    words = [word for word, _, _ in ROWS]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("role", Role)
def test_every_role_is_told(role):
    assert f"`{role.value}`" in TEXT


def test_the_map_names_every_file_of_the_room():
    files = {path.name for path in (ROOT / "domain").glob("*.py")} - {"__init__.py"}
    assert files == {word for word in re.findall(r"[a-z_]+\.py", MAP) if word in files}


def test_the_map_names_no_file_that_is_gone():
    for name in re.findall(r"[a-z_]+\.py", MAP):
        assert (ROOT / "domain" / name).exists(), name


def test_the_map_names_every_fact():
    named = set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]+\b", MAP))
    assert {fact.__name__ for fact in CATALOGUE.values()} <= named
