"""Evaluates one condition of a rule set: whether it is met, and what share of it is lacking.

Each predicate of `rule_sets` has one evaluator; `evaluate` dispatches to it. A finding gives the
figures of its explanation lazily; `explanations` words them.
Reading order: PredicateResult, work, certificates, training and education, the person, the table of
evaluators.
Source: source-document 1.1, 1.2(1)-(4).
"""

from collections.abc import Callable, Iterable
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from domain.documents.materials import MaterialKind
from domain.eligibility import rule_sets as rules
from domain.eligibility.explanations import Figures, school_of, school_text, schools_of
from domain.eligibility.qualifications import (
    Education,
    Qualifications,
    Training,
    Worked,
    add_months,
    length_between,
    worked_spans,
)
from domain.values.primitives import Level


class PredicateResult(NamedTuple):
    """Result of one predicate. share: lacking part, 0 = met … 1 = all of it.

    figures: what `explain` words the finding with, on demand only: few are read.
    materials: documents that prove it; None = those of the predicate.
    """

    share: Fraction
    figures: Callable[[], Figures]
    materials: tuple[MaterialKind, ...] | None = None


MET = Fraction(0)
ALL_LACKING = Fraction(1)


# --- work -----------------------------------------------------------------------------------------


def _years_worked(years: int, worked: Worked) -> PredicateResult:
    """Whether the years are reached."""
    share = ALL_LACKING
    if worked.reaches(years):
        share = MET
    elif worked.spans:
        share = 1 - Fraction(worked.days, worked.days_needed(years))
    return PredicateResult(
        share, lambda: Figures(have=worked.length, lacking=worked.lacking(years))
    )


def _total_years(asked: rules.TotalYears, stated: Qualifications, as_of: date) -> PredicateResult:
    """Source: source-document 1.2(2)."""
    spans = worked_spans(stated.work_periods, asked.relations, as_of)
    return _years_worked(asked.years, Worked(spans))


def _works(asked: rules.Works, stated: Qualifications, as_of: date) -> PredicateResult:
    return _all_or_nothing(bool(worked_spans(stated.work_periods, asked.relations, as_of)))


def _years_after(
    obtained: list[date], asked: Any, stated: Qualifications, as_of: date
) -> PredicateResult:
    """Years since the earliest of `obtained`, from which the most days count."""
    if not obtained:
        return _all_or_nothing(False)
    spans = worked_spans(stated.work_periods, asked.relations, as_of, since=min(obtained))
    return _years_worked(asked.years, Worked(spans))


def _years_after_certificate(
    asked: rules.YearsAfterCertificate, stated: Qualifications, as_of: date
) -> PredicateResult:
    """Source: source-document 1.2(1)."""
    obtained = _certificates(stated, asked.level, asked.kinds, asked.certificate_relations)
    return _years_after(obtained, asked, stated, as_of)


def _years_after_title(
    asked: rules.YearsAfterTitle, stated: Qualifications, as_of: date
) -> PredicateResult:
    obtained = [
        title.obtained_on
        for title in stated.titles
        if title.rank == asked.rank and title.relation in asked.title_relations
    ]
    return _years_after(obtained, asked, stated, as_of)


# --- certificates, training, education ------------------------------------------------------------


def _certificates(
    stated: Qualifications, level: Level | None, kinds: Iterable[str], relations: Iterable[str]
) -> list[date]:
    """Days of issue of the stated certificates of this level, these kinds and relations."""
    return [
        each.issued_on
        for each in stated.certificates
        if each.level == level and each.kind in kinds and each.relation in relations
    ]


def _all_or_nothing(met: bool) -> PredicateResult:
    """The finding of a predicate without a measure: met, or wholly lacking."""
    return PredicateResult(MET if met else ALL_LACKING, lambda: Figures(met=met))


def _held_certificate(
    asked: rules.HeldCertificateRule, stated: Qualifications, as_of: date
) -> PredicateResult:
    """Held for N months from the corresponding day on (Civil Code art. 201, 202)."""
    issue_days = _certificates(stated, asked.level, asked.kinds, asked.relations)
    if not issue_days:
        return _all_or_nothing(False)
    issued_on = min(issue_days)
    due = add_months(issued_on, asked.months)
    if as_of >= due:
        return _all_or_nothing(True)
    return PredicateResult(
        Fraction((due - as_of).days, (due - issued_on).days),
        lambda: Figures(have=length_between(issued_on, as_of), lacking=length_between(as_of, due)),
    )


def _training(asked: rules.TrainingRule, stated: Qualifications, as_of: date) -> PredicateResult:
    """The course that lacks least; its certificate counts as much as one hour.

    Source: source-document 1.2(3).
    """
    needs_certificate = asked.completion_certificate

    def lack(course: Training) -> tuple[int, bool]:
        return max(0, asked.hours - course.hours), needs_certificate and not course.certificate

    courses = [course for course in stated.trainings if course.level == asked.level]
    if not courses:
        return _all_or_nothing(False)
    best = min(courses, key=lambda course: (sum(lack(course)), *lack(course), course.completed_on))
    hours, certificate = lack(best)
    return PredicateResult(
        Fraction(hours + certificate, asked.hours + needs_certificate),
        lambda: Figures(hours=best.hours, certificate=best.certificate),
    )


def _accepts(accepted: rules.AcceptedEducation, school: Education) -> bool:
    return (
        school.kind in accepted.kinds
        and school.relation in accepted.majors
        and school.standing in accepted.standings
        and (school.evaluated or not accepted.evaluated)
        and (not accepted.programmes or school.programme in accepted.programmes)
    )


def _graduates_first(school: Education) -> tuple[bool, str, str]:
    text = school_text(school_of(school)).en
    return school.standing != "graduated", str(school.graduated_on), text


def _education(asked: rules.EducationRule, stated: Qualifications, as_of: date) -> PredicateResult:
    """Graduates are preferred over students if both qualify: their certificate is final.

    Source: source-document 1.2(4), 3.1(2).
    """
    fitting = [
        school
        for school in stated.education
        if any(_accepts(accepted, school) for accepted in asked.accepted)
    ]
    if not fitting:
        schools = schools_of(stated.education)
        return PredicateResult(ALL_LACKING, lambda: Figures(schools=schools))
    best = min(fitting, key=_graduates_first)
    finding = PredicateResult(MET, lambda: Figures(schools=(school_of(best),)))
    if best.standing == "graduated":
        return finding
    return finding._replace(materials=asked.student_materials)


def _apprenticeship(
    asked: rules.ApprenticeshipRule, stated: Qualifications, as_of: date
) -> PredicateResult:
    return _all_or_nothing(any(each.relation in asked.relations for each in stated.apprenticeships))


# --- the person -----------------------------------------------------------------------------------


def _age(asked: rules.Age, stated: Qualifications, as_of: date) -> PredicateResult:
    """An age is reached on the birthday.

    The figures give whole years only: anything finer would reveal the birth date.
    """
    born = stated.birth_date
    if born is None:
        return _all_or_nothing(False)
    due = add_months(born, 12 * asked.years)
    if as_of >= due:
        return _all_or_nothing(True)
    age = length_between(born, as_of).years
    share = Fraction((due - as_of).days, (due - born).days)
    return PredicateResult(share, lambda: Figures(age=age))


def _intends_to_work(
    asked: rules.IntendsToWork, stated: Qualifications, as_of: date
) -> PredicateResult:
    return _all_or_nothing(stated.intends_to_work)


_EVALUATORS: dict[type[rules.Predicate], Callable[[Any, Qualifications, date], PredicateResult]] = {
    rules.Age: _age,
    rules.IntendsToWork: _intends_to_work,
    rules.Works: _works,
    rules.TotalYears: _total_years,
    rules.YearsAfterCertificate: _years_after_certificate,
    rules.YearsAfterTitle: _years_after_title,
    rules.HeldCertificateRule: _held_certificate,
    rules.TrainingRule: _training,
    rules.ApprenticeshipRule: _apprenticeship,
    rules.EducationRule: _education,
}


def evaluate(predicate: rules.Predicate, stated: Qualifications, as_of: date) -> PredicateResult:
    """Evaluate one predicate on stated qualifications, none of which lies after `as_of`.

    Source: source-document 1.2.
    """
    return _EVALUATORS[type(predicate)](predicate, stated, as_of)
