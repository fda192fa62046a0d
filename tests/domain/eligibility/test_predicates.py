"""Each predicate, and the general templates G2018 and G2023 that use them all.

Covers: domain/eligibility/predicates.py, domain/eligibility/explanations.py

Source: source-document 1.2, 3.2(1).
"""

from datetime import date, timedelta
from typing import Any, get_args

import pytest

from domain.documents.materials import MaterialKind
from domain.eligibility import predicates
from domain.eligibility.assessment import Eligible, NotEligible, assess
from domain.eligibility.qualifications import Qualifications
from domain.eligibility.rule_sets import AnyPredicate, available_rule_sets, rule_set_for
from domain.values.primitives import Level

AS_OF = date(2026, 6, 30)
DAY = timedelta(days=1)


def work(started_on: str, ended_on: str | None = None, relation: str = "own") -> dict[str, Any]:
    return {"started_on": started_on, "ended_on": ended_on, "relation": relation}


def skill(level: int, issued_on: str) -> dict[str, Any]:
    return {"kind": "skill_level", "level": level, "relation": "own", "issued_on": issued_on}


def title(rank: str, obtained_on: str, relation: str = "own") -> dict[str, Any]:
    return {"rank": rank, "relation": relation, "obtained_on": obtained_on}


def school(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "relation": "own", **more}


GRADUATED = {"graduated_on": "2020-07-01"}


def general(
    edition: str, level: int, statements: dict[str, Any], as_of: date = AS_OF
) -> Eligible | NotEligible:
    stated = Qualifications.model_validate(statements)
    return assess(rule_set_for("general", edition), Level(level), stated, as_of)


def test_every_predicate_has_an_evaluator() -> None:
    (union, _) = get_args(AnyPredicate)
    assert set(predicates._EVALUATORS) == set(get_args(union))


def test_the_packaged_rules_use_every_predicate() -> None:
    used = {
        type(predicate)
        for rules in available_rule_sets()
        for level in rules.levels
        for alternative in level.alternatives
        for predicate in alternative.predicates
    }
    assert used == set(predicates._EVALUATORS)


@pytest.mark.parametrize(
    ("level", "statements", "alternative"),
    [
        (5, {"work_periods": [work("2025-07-01")]}, "5(1)"),
        (5, {"apprenticeships": [{"relation": "own", "completed_on": "2026-06-30"}]}, "5(2)"),
        (
            4,
            {"certificates": [skill(5, "2022-07-01")], "work_periods": [work("2022-07-01")]},
            "4(1)",
        ),
        (4, {"work_periods": [work("2020-07-01")]}, "4(2)"),
        (
            4,
            {"education": [school("secondary_vocational", final_year=True, evaluated=True)]},
            "4(3)",
        ),
        (
            3,
            {"certificates": [skill(4, "2021-07-01")], "work_periods": [work("2021-07-01")]},
            "3(1)",
        ),
        (
            3,
            {
                "certificates": [skill(4, "2026-06-30")],
                "education": [school("technician_college", final_year=True)],
            },
            "3(2)",
        ),
        (
            3,
            {
                "certificates": [skill(4, "2024-07-01")],
                "education": [school("college", **GRADUATED)],
                "work_periods": [work("2024-07-01")],
            },
            "3(3)",
        ),
        (
            2,
            {
                "certificates": [skill(3, "2026-01-01")],
                "education": [school("senior_technical_school", **GRADUATED)],
                "work_periods": [work("2023-07-01")],
            },
            "2(2)a",
        ),
        (
            2,
            {
                "certificates": [
                    {
                        "kind": "prospective_technician",
                        "relation": "own",
                        "issued_on": "2024-01-01",
                    }
                ],
                "education": [school("technician_college", **GRADUATED)],
                "work_periods": [work("2024-07-01")],
            },
            "2(2)b",
        ),
        (
            1,
            {"certificates": [skill(2, "2022-07-01")], "work_periods": [work("2022-07-01")]},
            "1(1)",
        ),
    ],
)
def test_the_template_of_2018_has_its_own_alternatives(
    level: int, statements: dict[str, Any], alternative: str
) -> None:
    outcome = general("G2018", level, statements)
    assert isinstance(outcome, Eligible)
    assert (outcome.alternative, outcome.also_met) == (alternative, ())
    if "work_periods" in statements:  # each of these begins at the boundary
        assert general("G2018", level, statements, AS_OF - DAY).outcome == "not_eligible"


@pytest.mark.parametrize(
    ("level", "statements", "alternative"),
    [
        (5, {"birth_date": "2010-06-30", "intends_to_work": True}, "5(1)"),
        (5, {"birth_date": "2010-06-30", "work_periods": [work("2026-06-01")]}, "5(2)"),
        (4, {"work_periods": [work("2021-07-01")]}, "4(1)"),
        (
            4,
            {"certificates": [skill(5, "2023-07-01")], "work_periods": [work("2023-07-01")]},
            "4(2)",
        ),
        (3, {"work_periods": [work("2016-07-01")]}, "3(1)"),
        (
            3,
            {"titles": [title("junior", "2025-07-01")], "work_periods": [work("2025-07-01")]},
            "3(3)",
        ),
        (
            2,
            {
                "titles": [title("junior", "2021-07-01")],
                "certificates": [skill(3, "2025-07-01")],
                "work_periods": [work("2021-07-01")],
            },
            "2(2)",
        ),
        (
            2,
            {
                "certificates": [skill(3, "2024-06-30")],
                "education": [school("technician_college", programme="technician")],
            },
            "2(5)",
        ),
        (
            1,
            {"titles": [title("senior", "2025-07-01")], "work_periods": [work("2025-07-01")]},
            "1(3)",
        ),
    ],
)
def test_template_g2023_at_the_boundary_and_a_day_before(
    level: int, statements: dict[str, Any], alternative: str
) -> None:
    outcome = general("G2023", level, statements)
    assert isinstance(outcome, Eligible)
    assert (outcome.alternative, outcome.also_met) == (alternative, ())
    assert general("G2023", level, statements, AS_OF - DAY).outcome == "not_eligible"


@pytest.mark.parametrize(
    ("level", "statements", "alternative"),
    [
        (4, {"education": [school("bachelor", final_year=True)]}, "4(3)"),
        (
            3,
            {"education": [school("technical_school", programme="senior_worker", **GRADUATED)]},
            "3(4)",
        ),
        (
            3,
            {
                "certificates": [skill(4, "2026-06-30")],
                "education": [school("college", final_year=True)],
            },
            "3(5)",
        ),
        (3, {"education": [school("higher_vocational", evaluated=True, **GRADUATED)]}, "3(6)"),
    ],
)
def test_template_g2023_by_education(level: int, statements: dict, alternative: str) -> None:
    outcome = general("G2023", level, statements)
    assert isinstance(outcome, Eligible)
    assert outcome.alternative == alternative


def test_an_unstated_class_is_not_a_senior_class() -> None:
    plain = general("G2023", 3, {"education": [school("technical_school", **GRADUATED)]})
    assert plain.outcome == "not_eligible"


def test_born_on_29_february_an_age_is_reached_on_1_march_of_a_common_year() -> None:
    rules = rule_set_for("general", "G2023")
    stated = Qualifications.model_validate({"birth_date": "2012-02-29", "intends_to_work": True})
    assert assess(rules, Level(5), stated, date(2028, 2, 29)).outcome == "eligible"
    age_18 = predicates.rules.Age.model_validate(
        {"predicate": "age", "years": 18, "required_materials": ["identity_proof"]}
    )
    assert predicates.evaluate(age_18, stated, date(2030, 2, 28)).share > 0
    assert predicates.evaluate(age_18, stated, date(2030, 3, 1)).share == 0


def test_an_age_is_explained_in_whole_years_to_hide_the_birth_date() -> None:
    refused = general("G2023", 5, {"birth_date": "2010-07-01", "intends_to_work": True})
    assert isinstance(refused, NotEligible)
    assert refused.missing[0].text.zh == "需要年满16周岁;现有:15周岁"
    met = general("G2023", 5, {"birth_date": "2010-06-30", "intends_to_work": True})
    for outcome in (refused, met):
        assert "-06-30" not in outcome.model_dump_json(exclude={"as_of"})
        assert "-07-01" not in outcome.model_dump_json()


def test_a_missing_birth_date_is_explained() -> None:
    outcome = general("G2023", 5, {"intends_to_work": True})
    assert isinstance(outcome, NotEligible)
    assert outcome.missing[0].have.zh == "未提供出生日期"


def test_the_intention_to_work_must_be_stated() -> None:
    outcome = general("G2023", 5, {"birth_date": "2000-01-01"})
    assert isinstance(outcome, NotEligible)
    assert outcome.nearest == "5(1)"
    assert outcome.missing[0].text.zh == "需要拟从事本职业或相关职业工作;现有:无"


def test_the_remaining_holding_period_of_a_certificate_is_explained() -> None:
    statements = {
        "certificates": [skill(3, "2025-03-30")],
        "education": [school("technician_college", programme="technician")],
    }
    outcome = general("G2023", 2, statements)
    assert isinstance(outcome, NotEligible)
    assert outcome.nearest == "2(5)"
    assert outcome.missing[0].text.zh == "三级/高级工证书持证1年3个月,差9个月"


def test_an_apprenticeship_in_another_occupation_does_not_count() -> None:
    served = {"relation": "other", "completed_on": "2026-06-30"}
    assert general("G2018", 5, {"apprenticeships": [served]}).outcome == "not_eligible"


def test_a_title_of_another_field_or_rank_does_not_count() -> None:
    for held in (title("junior", "2020-01-01", "other"), title("middle", "2020-01-01")):
        statements = {"titles": [held], "work_periods": [work("2020-01-01")]}
        outcome = general("G2023", 3, statements)
        assert isinstance(outcome, NotEligible)
        assert outcome.results[2].missing[0].text.zh == "未取得初级职称,无法计算其后的工作年限"


def test_a_student_of_a_technician_class_submits_an_enrolment_proof() -> None:
    statements = {
        "certificates": [skill(3, "2024-06-30")],
        "education": [school("technician_college", programme="technician")],
    }
    outcome = general("G2023", 2, statements)
    assert isinstance(outcome, Eligible)
    assert outcome.required_materials == (
        MaterialKind.SKILL_CERTIFICATE,
        MaterialKind.ENROLMENT_PROOF,
    )
