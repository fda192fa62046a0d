"""Evaluates one condition of a rule set: whether it is met, and what share of it is lacking.

Each predicate of `rule_sets` has one evaluator; `evaluate` dispatches to it. A finding explains
itself lazily, in Chinese and in English. Reading order: Finding, work, certificates, training and
education, the person, the table of evaluators.
Source: source-document 1.1, 1.2(1)-(4).
"""

from collections.abc import Callable, Collection, Iterable
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from domain.documents.materials import MaterialKind
from domain.eligibility import rule_sets as rules
from domain.eligibility.explanations import (
    NOTHING,
    Explanation,
    certificate_name,
    education_needed,
    explain_unmeasured,
    occupation_text,
    school_text,
    training_needed,
)
from domain.eligibility.qualifications import (
    RANKS,
    Education,
    Length,
    Qualifications,
    Relation,
    Text,
    Training,
    Worked,
    add_months,
    length_between,
    worked_spans,
)
from domain.values.primitives import Level


class PredicateResult(NamedTuple):
    """Result of one predicate. share: lacking part, 0 = met … 1 = all of it.

    explain: words the finding, on demand only: that takes longer than the evaluation, and few
        explanations are read.
    materials: documents that prove it; None = those of the predicate.
    """

    share: Fraction
    explain: Callable[[], Explanation]
    materials: tuple[MaterialKind, ...] | None = None


MET = Fraction(0)
ALL_LACKING = Fraction(1)


# --- work -----------------------------------------------------------------------------------------


def _years_worked(
    years: int,
    worked: Worked,
    relations: Collection[Relation],
    after: Text | None = None,
) -> PredicateResult:
    """Whether the years are reached. after: what they count from, such as 五级/初级工证书."""
    share = ALL_LACKING
    if worked.reaches(years):
        share = MET
    elif worked.spans:
        share = 1 - Fraction(worked.days, worked.days_needed(years))

    def explain() -> Explanation:
        have, lack = worked.length.text, worked.lacking(years).text
        where = occupation_text(relations)
        since = Text(zh="", en="")
        if after is not None:
            since = Text(zh=f"取得{after.zh}后", en=f" after the {after.en}")
        return Explanation(
            needed=Text(
                zh=f"{since.zh}累计从事{where.zh}工作{years}年(含)以上",
                en=f"{years} year{'s' * (years > 1)} or more of work in {where.en}{since.en}",
            ),
            have=have,
            lacking=lack,
            text=Text(
                zh=f"{since.zh}累计工作{have.zh},差{lack.zh}",
                en=f"worked {have.en}{since.en}, {lack.en} short",
            ),
        )

    return PredicateResult(share, explain)


def _total_years(asked: rules.TotalYears, stated: Qualifications, as_of: date) -> PredicateResult:
    """Source: source-document 1.2(2)."""
    worked = Worked(worked_spans(stated.work_periods, asked.relations, as_of))
    return _years_worked(asked.years, worked, asked.relations)


def _works(asked: rules.Works, stated: Qualifications, as_of: date) -> PredicateResult:
    spans = worked_spans(stated.work_periods, asked.relations, as_of)

    def explain() -> Explanation:
        where = occupation_text(asked.relations)
        needed = Text(zh=f"从事{where.zh}工作", en=f"work in {where.en}")
        return explain_unmeasured(needed, needed if spans else NOTHING)

    return _all_or_nothing(bool(spans), explain)


def _years_after(
    obtained: list[date], name: Text, asked: Any, stated: Qualifications, as_of: date
) -> PredicateResult:
    """Years since the earliest of `obtained`, from which the most days count."""
    if obtained:
        spans = worked_spans(stated.work_periods, asked.relations, as_of, since=min(obtained))
        return _years_worked(asked.years, Worked(spans), asked.relations, name)

    def explain() -> Explanation:
        needed = _years_worked(asked.years, Worked(()), asked.relations, name).explain().needed
        return Explanation(
            needed=needed,
            have=NOTHING,
            lacking=needed,
            text=Text(
                zh=f"未取得{name.zh},无法计算其后的工作年限",
                en=f"no {name.en}, so no years after it can be counted",
            ),
        )

    return PredicateResult(ALL_LACKING, explain)


def _years_after_certificate(
    asked: rules.YearsAfterCertificate, stated: Qualifications, as_of: date
) -> PredicateResult:
    """Source: source-document 1.2(1)."""
    obtained = _certificates(stated, asked.level, asked.kinds, asked.certificate_relations)
    return _years_after(obtained, certificate_name(asked.level), asked, stated, as_of)


def _years_after_title(
    asked: rules.YearsAfterTitle, stated: Qualifications, as_of: date
) -> PredicateResult:
    obtained = [
        title.obtained_on
        for title in stated.titles
        if title.rank == asked.rank and title.relation in asked.title_relations
    ]
    name = Text(zh=RANKS[asked.rank], en=f"{asked.rank} professional title")
    return _years_after(obtained, name, asked, stated, as_of)


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


def _all_or_nothing(met: bool, explain: Callable[[], Explanation]) -> PredicateResult:
    """The finding of a predicate without a measure: met, or wholly lacking."""
    return PredicateResult(MET if met else ALL_LACKING, explain)


def _held_certificate(
    asked: rules.HeldCertificateRule, stated: Qualifications, as_of: date
) -> PredicateResult:
    """Held for N months from the corresponding day on (Civil Code art. 201, 202)."""
    name = certificate_name(asked.level)
    issue_days = _certificates(stated, asked.level, asked.kinds, asked.relations)

    def needed() -> Text:
        if not asked.months:
            return name
        span = Length(*divmod(asked.months, 12), 0).text
        return Text(zh=f"{name.zh}满{span.zh}", en=f"{name.en} held for {span.en}")

    if not issue_days:
        return _all_or_nothing(False, lambda: explain_unmeasured(needed(), NOTHING))
    issued_on = min(issue_days)
    due = add_months(issued_on, asked.months)
    if as_of >= due:
        return _all_or_nothing(True, lambda: explain_unmeasured(needed(), name))

    def explain() -> Explanation:
        have, lacking = length_between(issued_on, as_of).text, length_between(as_of, due).text
        return Explanation(
            needed=needed(),
            have=have,
            lacking=lacking,
            text=Text(
                zh=f"{name.zh}持证{have.zh},差{lacking.zh}",
                en=f"{name.en} held {have.en}, {lacking.en} short",
            ),
        )

    return PredicateResult(Fraction((due - as_of).days, (due - issued_on).days), explain)


def _training(asked: rules.TrainingRule, stated: Qualifications, as_of: date) -> PredicateResult:
    """The course that lacks least; its certificate counts as much as one hour.

    Source: source-document 1.2(3).
    """
    needs_certificate = asked.completion_certificate

    def lack(course: Training) -> tuple[int, bool]:
        return max(0, asked.hours - course.hours), needs_certificate and not course.certificate

    courses = [course for course in stated.trainings if course.level == asked.level]
    if not courses:
        return _all_or_nothing(False, lambda: explain_unmeasured(training_needed(asked), NOTHING))
    best = min(courses, key=lambda course: (sum(lack(course)), *lack(course), course.completed_on))
    hours, certificate = lack(best)

    def explain() -> Explanation:
        level = Text(zh=asked.level.chinese_name, en=f"level {int(asked.level)}")
        have = Text(
            zh=f"培训{best.hours}学时,{'已' if best.certificate else '未'}取得结业证书",
            en=f"{best.hours} hours, {'with' if best.certificate else 'without'} certificate",
        )
        zh = [f"{hours}学时"] * (hours > 0) + ["结业证书"] * certificate
        en = [f"{hours} hours"] * (hours > 0) + ["the completion certificate"] * certificate
        lacking = Text(zh="及".join(zh) or "无", en=" and ".join(en))
        return Explanation(
            needed=training_needed(asked),
            have=have,
            lacking=lacking,
            text=Text(
                zh=f"{level.zh}{have.zh},差{lacking.zh}",
                en=f"{level.en} training: {have.en}; lacks {lacking.en}",
            ),
        )

    return PredicateResult(Fraction(hours + certificate, asked.hours + needs_certificate), explain)


def _accepts(accepted: rules.AcceptedEducation, school: Education) -> bool:
    return (
        school.kind in accepted.kinds
        and school.relation in accepted.majors
        and school.standing in accepted.standings
        and (school.evaluated or not accepted.evaluated)
        and (not accepted.programmes or school.programme in accepted.programmes)
    )


def _graduates_first(school: Education) -> tuple[bool, str, str]:
    return school.standing != "graduated", str(school.graduated_on), school_text(school).en


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
        return _all_or_nothing(False, lambda: _no_school_fits(asked, stated))
    best = min(fitting, key=_graduates_first)

    finding = _all_or_nothing(
        True, lambda: explain_unmeasured(education_needed(asked), school_text(best))
    )
    if best.standing == "graduated":
        return finding
    return finding._replace(materials=asked.student_materials)


def _no_school_fits(asked: rules.EducationRule, stated: Qualifications) -> Explanation:
    have = sorted({(text.zh, text.en) for text in map(school_text, stated.education)})
    text = Text(zh="、".join(zh for zh, _ in have), en=", ".join(en for _, en in have))
    return explain_unmeasured(education_needed(asked), text if have else NOTHING)


def _apprenticeship(
    asked: rules.ApprenticeshipRule, stated: Qualifications, as_of: date
) -> PredicateResult:
    done = any(each.relation in asked.relations for each in stated.apprenticeships)

    def explain() -> Explanation:
        where = occupation_text(asked.relations)
        needed = Text(zh=f"{where.zh}学徒期满", en=f"a completed apprenticeship in {where.en}")
        return explain_unmeasured(needed, needed if done else NOTHING)

    return _all_or_nothing(done, explain)


# --- the person -----------------------------------------------------------------------------------


def _age(asked: rules.Age, stated: Qualifications, as_of: date) -> PredicateResult:
    """An age is reached on the birthday.

    The explanation gives whole years only: anything finer would reveal the birth date.
    """
    needed = Text(zh=f"年满{asked.years}周岁", en=f"{asked.years} years of age")
    born = stated.birth_date
    if born is None:
        unknown = Text(zh="未提供出生日期", en="no date of birth")
        return _all_or_nothing(False, lambda: explain_unmeasured(needed, unknown))
    due = add_months(born, 12 * asked.years)
    if as_of >= due:
        return _all_or_nothing(True, lambda: explain_unmeasured(needed, needed))
    age = length_between(born, as_of).years
    now = Text(zh=f"{age}周岁", en=f"{age} years")
    share = Fraction((due - as_of).days, (due - born).days)
    return PredicateResult(share, lambda: explain_unmeasured(needed, now))


def _intends_to_work(
    asked: rules.IntendsToWork, stated: Qualifications, as_of: date
) -> PredicateResult:
    met = stated.intends_to_work

    def explain() -> Explanation:
        needed = Text(
            zh="拟从事本职业或相关职业工作",
            en="the intention to work in this or a related occupation",
        )
        if not met:
            return explain_unmeasured(needed, NOTHING)
        return explain_unmeasured(needed, needed)

    return _all_or_nothing(met, explain)


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
