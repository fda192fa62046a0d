"""资质评估: order and splitting never matter, and more evidence never harms.

Source: source-document 1.2.
"""

from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.eligibility.assessment import Eligible, assess
from domain.eligibility.qualifications import Qualifications
from domain.eligibility.rule_sets import available_rule_sets
from domain.values.primitives import Level

AS_OF = date(2026, 6, 30)
DAY = timedelta(days=1)

DAYS = st.dates(date(2012, 1, 1), AS_OF)
RELATIONS = st.sampled_from(["own", "related", "other"])


@st.composite
def periods(draw: st.DrawFn) -> dict[str, Any]:
    first = draw(DAYS)
    last = min(AS_OF, first + timedelta(days=draw(st.integers(0, 2200))))
    return {
        "started_on": first,
        "ended_on": draw(st.sampled_from([last, last, last, None])),
        "relation": draw(RELATIONS),
    }


CERTIFICATES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["vocational_qualification", "skill_level"]),
        "level": st.integers(1, 5),
        "relation": RELATIONS,
        "issued_on": DAYS,
    }
) | st.fixed_dictionaries(
    {
        "kind": st.just("prospective_technician"),
        "relation": RELATIONS,
        "issued_on": DAYS,
    }
)
TITLES = st.fixed_dictionaries(
    {
        "rank": st.sampled_from(["junior", "middle", "senior"]),
        "relation": RELATIONS,
        "obtained_on": DAYS,
    }
)
TRAININGS = st.fixed_dictionaries(
    {
        "level": st.integers(1, 5),
        "hours": st.integers(60, 130),
        "completed_on": DAYS,
        "certificate": st.booleans(),
    }
)
SCHOOL = {
    "kind": st.sampled_from(["technical_school", "technician_college", "college", "bachelor"]),
    "relation": RELATIONS,
    "evaluated": st.booleans(),
    "programme": st.sampled_from([None, "intermediate_worker", "senior_worker", "technician"]),
}
EDUCATION = st.fixed_dictionaries({**SCHOOL, "graduated_on": DAYS}) | st.fixed_dictionaries(
    {**SCHOOL, "final_year": st.booleans()}
)
APPRENTICESHIPS = st.fixed_dictionaries({"relation": RELATIONS, "completed_on": DAYS})
CLAIMS = st.fixed_dictionaries(
    {
        "work_periods": st.lists(periods(), max_size=5),
        "certificates": st.lists(CERTIFICATES, max_size=3),
        "titles": st.lists(TITLES, max_size=2),
        "trainings": st.lists(TRAININGS, max_size=2),
        "education": st.lists(EDUCATION, max_size=2),
        "apprenticeships": st.lists(APPRENTICESHIPS, max_size=1),
    }
)
ASKED = st.tuples(st.sampled_from(available_rule_sets()), st.sampled_from(list(Level)))


@given(ASKED, CLAIMS, st.randoms(use_true_random=False))
def test_splitting_and_reordering_never_change_the_outcome(
    asked: tuple, statements: dict[str, list], random: Any
) -> None:
    rules, level = asked
    pieces = []
    for period in statements["work_periods"]:
        last = period["ended_on"] or AS_OF
        cut = period["started_on"] + (last - period["started_on"]) * random.random() // 1
        pieces += [{**period, "ended_on": cut}]
        pieces += [{**period, "started_on": cut + DAY}] if cut < last else []
    shuffled = {
        name: random.sample(entries, len(entries))
        for name, entries in {**statements, "work_periods": pieces}.items()
    }
    whole = assess(rules, level, Qualifications.model_validate(statements), AS_OF)
    assert assess(rules, level, Qualifications.model_validate(shuffled), AS_OF) == whole


@given(ASKED, CLAIMS, CLAIMS)
def test_more_evidence_never_removes_eligibility(
    asked: tuple, statements: dict[str, list], more: dict[str, list]
) -> None:
    rules, level = asked
    both = {name: statements[name] + more[name] for name in statements}
    before = assess(rules, level, Qualifications.model_validate(statements), AS_OF)
    after = assess(rules, level, Qualifications.model_validate(both), AS_OF)
    assert not (before.outcome == "eligible" and after.outcome == "not_eligible")
    if isinstance(before, Eligible) and isinstance(after, Eligible):
        assert {before.alternative, *before.also_met} <= {after.alternative, *after.also_met}
