"""docs/clauses.md matches the citations, and every clause has a rule and a test.

Covers: scripts/export_clauses.py, scripts/documents/citations.py
"""

import pytest

from scripts import export_clauses
from scripts.documents.citations import expand
from scripts.export_clauses import ROOT, citations, clauses

KNOWN = list(clauses())
CITED = [citation for citation in citations() if citation.name]


def test_the_clauses_are_those_of_the_source_document():
    steps = [clause for clause in KNOWN if "(" not in clause]
    assert steps == [
        *("0.1", "0.2", "0.3"),
        *("1.1", "1.2"),
        *("2.1", "2.2", "2.3", "2.4"),
        *("3.1", "3.2"),
        *("4.1", "4.2", "4.3"),
        *("5.1", "5.2", "5.3", "5.4"),
    ]
    numbered = {c: sum(k.startswith(f"{c}(") for k in KNOWN) for c in steps}
    assert {c: n for c, n in numbered.items() if n} == {
        "1.2": 4,
        "2.4": 3,
        "3.1": 5,
        "3.2": 3,
        "4.3": 3,
    }


@pytest.mark.parametrize("clause", KNOWN)
def test_every_clause_has_a_rule(clause):
    rules = [c for c in CITED if c.clause == clause and not c.path.startswith("tests/")]
    assert [c for c in rules if c.topic is None], f"no rule cites {clause}"


@pytest.mark.parametrize("clause", KNOWN)
def test_every_clause_has_a_test(clause):
    assert [c for c in CITED if c.clause == clause and c.is_test], f"no test cites {clause}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("2.4(1)", ["2.4(1)"], id="one"),
        pytest.param("1.1, 1.2(4), 3.2(1)", ["1.1", "1.2(4)", "3.2(1)"], id="a list"),
        pytest.param("2.1-2.4", ["2.1", "2.2", "2.3", "2.4"], id="a range of clauses"),
        pytest.param("1.2(1)-(4)", ["1.2(1)", "1.2(2)", "1.2(3)", "1.2(4)"], id="a range within"),
    ],
)
def test_lists_and_ranges_of_clauses_are_expanded(text, named):
    assert expand(text, KNOWN) == named


def test_an_unknown_clause_is_refused():
    with pytest.raises(ValueError, match=r"no clause 2\.9"):
        expand("2.9", KNOWN)


def test_the_table_is_up_to_date():
    written = (ROOT / "docs/clauses.md").read_text("utf-8")
    assert written == export_clauses.render(), "run scripts/export_clauses.py"
