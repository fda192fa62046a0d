"""The glossary and the map of the domain package are complete and name existing modules.

Covers: docs/glossary.md, domain/__init__.py
"""

import re

import pytest

import domain
from domain.actors import Role
from domain.events import CATALOGUE
from scripts.export_schemas import ROOT

TEXT = (ROOT / "docs/glossary.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| (\w+) \| `([a-z_.0-9]+)` \|$", TEXT, re.MULTILINE)
MAP = domain.__doc__ or ""
DOMAIN = ROOT / "domain"
MODULES = re.findall(r"`([\w/]+\.py)`", TEXT)
INDEX = TEXT.partition("## Technical terms")[2]
TERMS = {
    term.strip()
    for row in re.findall(r"^\| ([^|]+) \| [^|]+ \| `[\w/]+\.py` \|$", INDEX, re.MULTILINE)
    for term in row.split(",")
}
REQUIRED_TERMS = """
    audit; blind index; blue-green rebuild; bucket key; catch-up subscription; checkpoint; cipher
    suite; claim; command; compact range; crypto-shredding; data key; decision; envelope; epoch;
    event; fact; fast path; fold; generation; group commit; head; idempotency key; journal; leaf
    hash; lookup worker; mask; optimistic execution; prefetch; problem details; projection runner;
    qualifications; rate limit; read set; read-your-writes; receipt; register of erasures; request
    coalescing; request hash; role; sealed file; signed note; snapshot; socket passing; state
    cache; stream; supervisor; topic; transparency log; unit of work; upcaster; view
"""


@pytest.mark.parametrize("topic", CATALOGUE)
def test_every_fact_has_its_chinese_word_its_name_and_its_topic(topic):
    rows = [row for row in ROWS if row[2] == topic]
    assert len(rows) == 1
    assert rows[0][1] == CATALOGUE[topic].__name__
    assert re.search(r"[\u4e00-\u9fff]", rows[0][0])


def test_the_glossary_names_no_unknown_fact():
    assert {topic for _, _, topic in ROWS} == set(CATALOGUE)


def test_no_two_facts_share_a_chinese_word():
    words = [word for word, _, _ in ROWS]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("role", Role)
def test_every_role_is_in_the_glossary(role):
    assert f"`{role.value}`" in TEXT


@pytest.mark.parametrize("term", sorted(filter(None, map(str.strip, REQUIRED_TERMS.split(";")))))
def test_every_technical_term_has_its_line(term):
    assert " ".join(term.split()) in TERMS


def test_no_technical_term_has_two_lines():
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `", INDEX, re.MULTILINE)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("module", sorted(set(MODULES)))
def test_the_glossary_names_no_missing_module(module):
    assert (ROOT / module).is_file()


def pure_modules() -> set[str]:
    """Names of the modules of the domain, except those of the store, which has its own map."""
    paths = {path.relative_to(DOMAIN) for path in DOMAIN.rglob("*.py")}
    return {path.name for path in paths if path.parts[0] != "store"} - {"__init__.py"}


def test_the_map_names_every_module_of_the_domain():
    assert pure_modules() - set(re.findall(r"[a-z_]+\.py", MAP)) == set()


def test_the_map_names_no_missing_module():
    assert set(re.findall(r"[a-z_]+\.py", MAP)) - pure_modules() == set()


def test_the_map_names_every_package_of_the_domain():
    packages = {path.name for path in DOMAIN.iterdir() if (path / "__init__.py").exists()}
    assert packages == set(re.findall(r"^([a-z]+)/ ", MAP, re.MULTILINE))


def test_the_map_names_every_fact():
    named = set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]+\b", MAP))
    assert {fact.__name__ for fact in CATALOGUE.values()} <= named
