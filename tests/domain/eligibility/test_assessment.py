"""资质评估: who may apply for level 4, and what the others lack.

Source: source-document 1.1, 1.2(1)-(4), 3.1(2).
"""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from domain.documents.materials import MaterialKind
from domain.eligibility.assessment import (
    Assessment,
    AssessmentDayInvalid,
    Eligible,
    NotEligible,
    QualificationInFuture,
    assess,
)
from domain.eligibility.qualifications import Qualifications
from domain.eligibility.rule_sets import LevelNotInRuleSet, rule_set_for
from domain.values.primitives import Level

RULES_2021 = rule_set_for("4-01-02-07", "2021")
AS_OF = date(2026, 6, 30)
DAY = timedelta(days=1)


def work(started_on: date, ended_on: date | None = None, relation: str = "own") -> dict[str, Any]:
    return {"started_on": started_on, "ended_on": ended_on, "relation": relation}


def certificate(level: int, issued_on: date, relation: str = "own") -> dict[str, Any]:
    return {
        "kind": "skill_level",
        "level": level,
        "relation": relation,
        "issued_on": issued_on,
    }


def training(hours: int = 104, certificate: bool = True, level: int = 4) -> dict[str, Any]:
    done = date(2024, 3, 1)
    return {"level": level, "hours": hours, "completed_on": done, "certificate": certificate}


def school(kind: str, relation: str = "own", **more: Any) -> dict[str, Any]:
    if not more.get("final_year"):
        more.setdefault("graduated_on", date(2024, 7, 1))
    return {"kind": kind, "relation": relation, **more}


def level_4(as_of: date = AS_OF, **statements: Any) -> Eligible | NotEligible:
    return assess(RULES_2021, Level(4), Qualifications.model_validate(statements), as_of)


# --- 1.2(1) 五级证书后3年 ---------------------------------------------------------------------


def test_three_years_after_the_level_5_certificate_are_reached_on_their_last_day() -> None:
    statements = {
        "certificates": [certificate(5, date(2023, 3, 1))],
        "work_periods": [work(date(2023, 3, 1))],
    }
    outcome = level_4(date(2026, 2, 28), **statements)
    assert isinstance(outcome, Eligible)
    assert (outcome.alternative, outcome.source) == ("1.2(1)", "source-document 1.2(1)")
    assert outcome.required_materials == (
        MaterialKind.SKILL_CERTIFICATE,
        MaterialKind.WORK_HISTORY,
    )
    refused = level_4(date(2026, 2, 27), **statements)
    assert isinstance(refused, NotEligible)
    assert refused.nearest == "1.2(1)"
    assert refused.missing[0].text.zh == "取得五级/初级工证书后累计工作2年11个月27天,差1天"


def test_work_before_the_certificate_does_not_count_towards_the_years_after_it() -> None:
    outcome = level_4(
        certificates=[certificate(5, date(2024, 7, 1))],
        work_periods=[work(date(2022, 7, 1), date(2026, 6, 29))],
    )
    assert isinstance(outcome, NotEligible)
    after, in_total = outcome.results[0].missing[0], outcome.results[1].missing[0]
    assert after.have.zh == "1年11个月29天"
    assert in_total.text.zh == "累计工作3年11个月29天,差1天"


def test_the_day_of_issue_is_the_first_day_after_the_certificate() -> None:
    worked = [work(date(2023, 1, 1), date(2025, 12, 31))]
    on_the_first_day = level_4(work_periods=worked, certificates=[certificate(5, date(2023, 1, 1))])
    a_day_later = level_4(work_periods=worked, certificates=[certificate(5, date(2023, 1, 2))])
    assert on_the_first_day.outcome == "eligible"
    assert a_day_later.outcome == "not_eligible"


def test_the_earliest_of_several_certificates_counts() -> None:
    outcome = level_4(
        work_periods=[work(date(2023, 1, 1), date(2025, 12, 31))],
        certificates=[
            certificate(5, date(2025, 1, 1)),
            certificate(5, date(2023, 1, 1), "related"),
        ],
    )
    assert isinstance(outcome, Eligible)
    assert outcome.alternative == "1.2(1)"


@pytest.mark.parametrize(
    "held",
    [certificate(5, date(2020, 1, 1), "other"), certificate(4, date(2020, 1, 1))],
    ids=["another occupation", "another level"],
)
def test_a_certificate_of_another_occupation_or_level_does_not_count(held: dict) -> None:
    outcome = level_4(
        certificates=[held], work_periods=[work(date(2023, 1, 1), date(2025, 12, 31))]
    )
    assert isinstance(outcome, NotEligible)
    missing = outcome.results[0].missing[0]
    assert missing.text.zh == "未取得五级/初级工证书,无法计算其后的工作年限"
    assert missing.have.zh == "无"


# --- 1.2(2) 累计4年 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started_on", "last_day"),
    [
        (date(2021, 3, 1), date(2025, 2, 28)),
        (date(2022, 3, 1), date(2026, 2, 28)),
        (date(2020, 2, 29), date(2024, 2, 28)),
        (date(2020, 3, 1), date(2024, 2, 29)),
    ],
)
def test_four_years_of_work_suffice_and_a_day_less_does_not(
    started_on: date, last_day: date
) -> None:
    met = level_4(work_periods=[work(started_on, last_day)])
    missed = level_4(work_periods=[work(started_on, last_day - DAY)])
    assert isinstance(met, Eligible)
    assert met.alternative == "1.2(2)"
    assert met.required_materials == (MaterialKind.WORK_HISTORY,)
    assert isinstance(missed, NotEligible)
    assert missed.nearest == "1.2(2)"
    assert missed.missing[0].lacking.zh == "1天"


def test_current_work_counts_through_the_day_of_assessment() -> None:
    statements = {"work_periods": [work(date(2022, 7, 1))]}
    assert level_4(AS_OF, **statements).outcome == "eligible"
    assert level_4(AS_OF - DAY, **statements).outcome == "not_eligible"


def test_overlapping_periods_count_once() -> None:
    outcome = level_4(
        work_periods=[
            work(date(2022, 1, 1), date(2024, 6, 30)),
            work(date(2023, 1, 1), date(2024, 12, 31), "related"),
        ]
    )
    assert isinstance(outcome, NotEligible)
    assert outcome.results[1].missing[0].have.zh == "3年"


def test_a_gap_between_periods_adds_and_removes_no_days() -> None:
    outcome = level_4(
        work_periods=[
            work(date(2018, 1, 1), date(2019, 12, 31)),
            work(date(2022, 1, 1), date(2023, 12, 31), "related"),
        ]
    )
    assert isinstance(outcome, NotEligible)  # 1,460 days; four years from 2018-01-01 are 1,461
    assert outcome.missing[0].text.zh == "累计工作3年11个月30天,差1天"


def test_work_in_another_occupation_does_not_count() -> None:
    outcome = level_4(work_periods=[work(date(2010, 1, 1), relation="other")])
    assert isinstance(outcome, NotEligible)
    assert outcome.results[1].missing[0].text.zh == "累计工作0天,差4年"


# --- 1.2(3) 2年+培训 -----------------------------------------------------------------------

TWO_YEARS = [work(date(2024, 7, 1), date(2026, 6, 30))]


def test_two_years_and_a_completed_level_4_training_are_enough() -> None:
    outcome = level_4(work_periods=TWO_YEARS, trainings=[training(104)])
    assert isinstance(outcome, Eligible)
    assert outcome.alternative == "1.2(3)"
    assert outcome.required_materials == (
        MaterialKind.WORK_HISTORY,
        MaterialKind.TRAINING_CERTIFICATE,
    )


def test_training_without_the_completion_certificate_is_refused() -> None:
    outcome = level_4(work_periods=TWO_YEARS, trainings=[training(certificate=False)])
    assert isinstance(outcome, NotEligible)
    assert outcome.nearest == "1.2(3)"
    assert [each.predicate for each in outcome.missing] == ["training"]
    assert outcome.missing[0].lacking.zh == "结业证书"
    assert outcome.missing[0].text.zh == "四级/中级工培训104学时,未取得结业证书,差结业证书"


@pytest.mark.parametrize(
    ("statements", "lacking"),
    [
        ({"work_periods": TWO_YEARS, "trainings": [training(103)]}, "1学时"),
        (
            {
                "work_periods": [work(date(2024, 7, 1), date(2026, 6, 29))],
                "trainings": [training()],
            },
            "1天",
        ),
    ],
    ids=["an hour", "a day"],
)
def test_training_short_by_an_hour_and_work_short_by_a_day_are_refused(
    statements: dict[str, Any], lacking: str
) -> None:
    outcome = level_4(**statements)
    assert isinstance(outcome, NotEligible)
    assert outcome.nearest == "1.2(3)"
    assert [each.lacking.zh for each in outcome.missing] == [lacking]


def test_training_for_another_level_does_not_count() -> None:
    outcome = level_4(work_periods=TWO_YEARS, trainings=[training(500, level=5)])
    assert outcome.outcome == "not_eligible"


def test_the_hours_of_two_courses_are_not_added_up() -> None:
    outcome = level_4(work_periods=TWO_YEARS, trainings=[training(60), training(60)])
    assert outcome.outcome == "not_eligible"


# --- 1.2(4) 毕业证书 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("education", "material"),
    [
        (school("technical_school"), MaterialKind.EDUCATION_CERTIFICATE),
        (school("technician_college", "related"), MaterialKind.EDUCATION_CERTIFICATE),
        (school("technical_school", final_year=True), MaterialKind.ENROLMENT_PROOF),
        (school("secondary_vocational", evaluated=True), MaterialKind.EDUCATION_CERTIFICATE),
        (
            school("higher_vocational", "related", evaluated=True),
            MaterialKind.EDUCATION_CERTIFICATE,
        ),
    ],
    ids=["graduate", "related major", "final year", "evaluated school", "evaluated college"],
)
def test_education_that_qualifies_for_level_4_and_the_document_that_proves_it(
    education: dict, material: MaterialKind
) -> None:
    outcome = level_4(education=[education])
    assert isinstance(outcome, Eligible)
    assert (outcome.alternative, outcome.confidence) == ("1.2(4)", "high")
    assert outcome.required_materials == (material,)


@pytest.mark.parametrize(
    ("education", "have"),
    [
        (school("technical_school", "other"), "技工学校(其他专业,毕业,未经评估论证)"),
        (
            school("technical_school", graduated_on=None),
            "技工学校(本专业,在读,未经评估论证)",
        ),
        (school("secondary_vocational"), "中等职业学校(本专业,毕业,未经评估论证)"),
        (
            school("secondary_vocational", final_year=True, evaluated=True),
            "中等职业学校(本专业,应届毕业生,经评估论证)",
        ),
        (school("college", evaluated=True), "大专(本专业,毕业,经评估论证)"),
    ],
    ids=["other major", "not yet final year", "not evaluated", "final year there", "no 职业学校"],
)
def test_education_that_does_not_qualify_for_level_4_is_explained(
    education: dict, have: str
) -> None:
    outcome = level_4(education=[education])
    assert isinstance(outcome, NotEligible)
    assert outcome.results[3].missing[0].have.zh == have


def test_a_graduate_submits_the_diploma_even_when_studying_again() -> None:
    outcome = level_4(
        education=[school("technical_school", final_year=True), school("technician_college")]
    )
    assert isinstance(outcome, Eligible)
    assert outcome.required_materials == (MaterialKind.EDUCATION_CERTIFICATE,)


# --- which alternative, and what an outcome freezes -----------------------------------------------


def test_the_first_met_alternative_is_chosen_and_the_others_are_listed() -> None:
    outcome = level_4(
        work_periods=[work(date(2015, 1, 1))],
        trainings=[training()],
        education=[school("technical_school")],
    )
    assert isinstance(outcome, Eligible)
    assert (outcome.alternative, outcome.also_met) == ("1.2(2)", ("1.2(3)", "1.2(4)"))


def test_the_nearest_alternative_is_explained_to_the_candidate() -> None:
    outcome = level_4(work_periods=[work(date(2022, 10, 1))])
    assert isinstance(outcome, NotEligible)
    assert outcome.nearest == "1.2(2)"
    (missing,) = outcome.missing
    assert missing.text.zh == "累计工作3年9个月,差3个月"
    assert missing.text.en == "worked 3 years 9 months, 3 months short"
    assert missing.needed.zh == "累计从事本职业或相关职业工作4年(含)以上"
    assert (missing.have.zh, missing.lacking.zh) == ("3年9个月", "3个月")
    assert [each.alternative for each in outcome.results] == [
        "1.2(1)",
        "1.2(2)",
        "1.2(3)",
        "1.2(4)",
    ]


def test_one_missing_predicate_is_nearer_than_two_small_ones() -> None:
    outcome = level_4(
        work_periods=[work(date(2024, 7, 1), date(2026, 6, 29))], trainings=[training(103)]
    )
    assert isinstance(outcome, NotEligible)
    assert [each.lacking.zh for each in outcome.results[2].missing] == ["1天", "1学时"]
    assert outcome.nearest == "1.2(2)"


def test_a_candidate_who_states_nothing_gets_the_first_alternative() -> None:
    outcome = level_4()
    assert isinstance(outcome, NotEligible)
    assert outcome.nearest == "1.2(1)"


def test_an_outcome_records_the_applied_rules_and_round_trips_through_json() -> None:
    for outcome in (level_4(), level_4(education=[school("technical_school")])):
        assert (outcome.occupation, outcome.edition, outcome.level) == ("4-01-02-07", "2021", 4)
        assert outcome.as_of == AS_OF
        assert outcome.rule_set_sha256 == RULES_2021.digest
        read = TypeAdapter(Assessment).validate_json(outcome.model_dump_json())
        assert read == outcome


@pytest.mark.parametrize(
    ("statements", "place"),
    [
        ({"work_periods": [work(AS_OF + DAY)]}, "work_periods[0].started_on"),
        ({"work_periods": [work(AS_OF, AS_OF + DAY)]}, "work_periods[0].ended_on"),
        ({"certificates": [certificate(5, AS_OF + DAY)]}, "certificates[0].issued_on"),
        ({"birth_date": AS_OF + DAY}, "birth_date"),
    ],
)
def test_a_stated_day_after_the_assessment_is_refused_with_its_path(
    statements: dict, place: str
) -> None:
    with pytest.raises(QualificationInFuture) as caught:
        level_4(**statements)
    assert caught.value.fields == {"place": place, "day": "2026-07-01", "as_of": "2026-06-30"}
    assert str(caught.value) == f"{place} is 2026-07-01, after the day of assessment 2026-06-30."


@pytest.mark.parametrize("as_of", [datetime(2026, 6, 30), date(1900, 12, 31), date(2100, 1, 1)])
def test_an_assessment_day_must_be_a_date_within_the_calendar(as_of: date) -> None:
    with pytest.raises(AssessmentDayInvalid):
        level_4(as_of)


def test_an_unknown_level_is_refused() -> None:
    only_level_4 = RULES_2021.model_copy(update={"levels": (RULES_2021.rules_for(Level(4)),)})
    with pytest.raises(LevelNotInRuleSet):
        assess(only_level_4, Level(1), Qualifications(), AS_OF)
