"""The list of views: each knows every fact, and none shares a name or table with another.

Covers: projections/catalogue.py, projections/engine/view.py, projections/engine/tables.py
"""

from collections import Counter
from pathlib import Path

import projections
from domain import events as e
from projections.catalogue import VIEWS

GROUPS = (
    *(e.LEDGER, e.EDITION, e.ACTOR, e.PERSON, e.ELIGIBILITY, e.APPLICATION, e.PAYMENT, e.DOCUMENT),
    *(e.REVIEW, e.REFUND, e.EXAM_SESSION, e.SEAT, e.SCORE, e.NOTICE, e.OBJECTION, e.CERTIFICATE),
)
ALONE = (e.ResultPublished, e.SerialTaken, e.ReportFrozen)
"""Facts that are in no group."""


def test_every_fact_is_handled_or_ignored_by_every_view_and_never_both() -> None:
    for view in VIEWS:
        assert set(view.handles) | view.ignores == set(e.CATALOGUE), view.name
        assert not set(view.handles) & view.ignores, view.name


def test_no_two_views_share_a_name_or_a_table() -> None:
    tables = [table.name for view in VIEWS for table in view.tables]
    assert len(set(tables)) == len(tables)
    assert len({view.name for view in VIEWS}) == len(VIEWS)


def test_every_package_with_a_view_is_listed_under_its_name() -> None:
    modules = Path(projections.__file__).parent.glob("*/view.py")
    packages = {module.parent.name for module in modules} - {"engine"}
    assert {view.name for view in VIEWS} == packages


def test_groups_of_facts_overlap_nowhere_and_leave_out_only_a_few() -> None:
    grouped = Counter(fact for group in GROUPS for fact in group)
    assert set(grouped.values()) == {1}
    assert {*grouped, *ALONE} == set(e.CATALOGUE.values())
    assert (*e.INITIAL_REVIEW, *e.SECOND_REVIEW, *e.FINAL_REVIEW) == e.REVIEW
