"""Is one thing asked of a candidate there, how much of it, and what is still lacking?

One judge for each predicate of `rule_sets`; judge() finds it. A judge words its finding so that
the candidate can read it, in Chinese and in English. Reading order: the finding, work,
certificates, training and schooling, the person, then the table of judges.
Source: source-document 1.1, 1.2(1)-(4).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from typing import Any

from domain import rule_sets as rules
from domain.documents import MaterialKind
from domain.qualifications import (
    MAJORS,
    PROGRAMMES,
    RANKS,
    SCHOOLS,
    STANDINGS,
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
from domain.values import Level


@dataclass(frozen=True)
class Finding:
    """One predicate judged. share: 0 = met … 1 = nothing of it is there yet."""

    share: Fraction
    needed: Text
    have: Text
    lacking: Text
    text: Text
    evidence: tuple[str, ...] = ()
    materials: tuple[MaterialKind, ...] | None = None  # None = what the predicate says


MET = Fraction(0)
ALL_LACKING = Fraction(1)
_NOTHING = Text(zh="无", en="none")


# --- work -----------------------------------------------------------------------------------------


def _occupation(relations: Iterable[Relation]) -> Text:
    if "related" in relations:
        return Text(zh="本职业或相关职业", en="this or a related occupation")
    return Text(zh="本职业", en="this occupation")


def _years_worked(
    years: int, worked: Worked, relations: Iterable[Relation], since: Text, evidence: tuple = ()
) -> Finding:
    """Years reached or not, told with `since`, such as 取得五级/初级工证书后."""
    have, lack = worked.length.text, worked.lacking(years).text
    where = _occupation(relations)
    share = ALL_LACKING
    if worked.reaches(years):
        share = MET
    elif worked.spans:
        share = 1 - Fraction(worked.days, worked.days_needed(years))
    return Finding(
        share=share,
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
        evidence=(*evidence, *(f"work {span.first}..{span.last}" for span in worked.spans)),
    )


def _total_years(asked: rules.TotalYears, stated: Qualifications, as_of: date) -> Finding:
    """Source: source-document 1.2(2)."""
    worked = Worked(worked_spans(stated.work_periods, asked.relations, as_of))
    return _years_worked(asked.years, worked, asked.relations, Text(zh="", en=""))


def _works(asked: rules.Works, stated: Qualifications, as_of: date) -> Finding:
    spans = worked_spans(stated.work_periods, asked.relations, as_of)
    where = _occupation(asked.relations)
    needed = Text(zh=f"从事{where.zh}工作", en=f"work in {where.en}")
    evidence = tuple(f"work {span.first}..{span.last}" for span in spans)
    return _all_or_nothing(bool(spans), needed, needed if spans else _NOTHING, evidence)


def _years_after(
    held: list[tuple[date, str]], name: Text, asked: Any, stated: Qualifications, as_of: date
) -> Finding:
    """Years on or after the earliest of `held`; that one always counts the most days."""
    since = Text(zh=f"取得{name.zh}后", en=f" after the {name.en}")
    if held:
        issued_on, evidence = min(held)
        spans = worked_spans(stated.work_periods, asked.relations, as_of, since=issued_on)
        return _years_worked(asked.years, Worked(spans), asked.relations, since, (evidence,))
    bare = _years_worked(asked.years, Worked(()), asked.relations, since)
    return Finding(
        share=ALL_LACKING,
        needed=bare.needed,
        have=_NOTHING,
        lacking=bare.needed,
        text=Text(
            zh=f"未取得{name.zh},无法计算其后的工作年限",
            en=f"no {name.en}, so no years after it can be counted",
        ),
    )


def _years_after_certificate(
    asked: rules.YearsAfterCertificate, stated: Qualifications, as_of: date
) -> Finding:
    """Source: source-document 1.2(1)."""
    held = _certificates(stated, asked.level, asked.kinds, asked.certificate_relations)
    return _years_after(held, _certificate_name(asked.level), asked, stated, as_of)


def _years_after_title(
    asked: rules.YearsAfterTitle, stated: Qualifications, as_of: date
) -> Finding:
    held = [
        (title.obtained_on, f"title {title.rank} obtained {title.obtained_on}")
        for title in stated.titles
        if title.rank == asked.rank and title.relation in asked.title_relations
    ]
    name = Text(zh=RANKS[asked.rank], en=f"{asked.rank} professional title")
    return _years_after(held, name, asked, stated, as_of)


# --- certificates, training, schooling ------------------------------------------------------------


def _certificate_name(level: Level | None) -> Text:
    if level is None:
        return Text(zh="预备技师证书", en="prospective technician certificate")
    return Text(zh=f"{level.chinese_name}证书", en=f"level {int(level)} certificate")


def _certificates(
    stated: Qualifications, level: Level | None, kinds: Iterable[str], relations: Iterable[str]
) -> list[tuple[date, str]]:
    name = _certificate_name(level).en
    return [
        (each.issued_on, f"{name}, {each.kind}, {each.relation}, issued {each.issued_on}")
        for each in stated.certificates
        if each.level == level and each.kind in kinds and each.relation in relations
    ]


def _all_or_nothing(met: bool, needed: Text, have: Text, evidence: tuple = ()) -> Finding:
    """A predicate without a measure: it is there or it is not."""
    return Finding(
        share=MET if met else ALL_LACKING,
        needed=needed,
        have=have,
        lacking=needed,
        text=Text(zh=f"需要{needed.zh};现有:{have.zh}", en=f"needs {needed.en}; has: {have.en}"),
        evidence=evidence if met else (),
    )


def _held_certificate(asked: rules.HeldCertificate, stated: Qualifications, as_of: date) -> Finding:
    """Held for N months once the corresponding day has come (Civil Code art. 201, 202)."""
    name = _certificate_name(asked.level)
    span = Length(*divmod(asked.months, 12), 0)
    needed = name
    if asked.months:
        needed = Text(zh=f"{name.zh}满{span.text.zh}", en=f"{name.en} held for {span.text.en}")
    held = _certificates(stated, asked.level, asked.kinds, asked.relations)
    if not held:
        return _all_or_nothing(False, needed, _NOTHING)
    issued_on, evidence = min(held)
    due = add_months(issued_on, asked.months)
    if as_of >= due:
        return _all_or_nothing(True, needed, name, (evidence,))
    have, lacking = length_between(issued_on, as_of).text, length_between(as_of, due).text
    return Finding(
        share=Fraction((due - as_of).days, (due - issued_on).days),
        needed=needed,
        have=have,
        lacking=lacking,
        text=Text(
            zh=f"{name.zh}持证{have.zh},差{lacking.zh}",
            en=f"{name.en} held {have.en}, {lacking.en} short",
        ),
    )


def _training(asked: rules.Training, stated: Qualifications, as_of: date) -> Finding:
    """The course that comes nearest; its certificate weighs as much as one hour.

    Source: source-document 1.2(3).
    """
    level = Text(zh=asked.level.chinese_name, en=f"level {int(asked.level)}")
    needs_paper = asked.completion_certificate
    needed = Text(
        zh=f"本职业{level.zh}正规培训{asked.hours}学时" + "并取得结业证书" * needs_paper,
        en=f"{asked.hours} hours of regular {level.en} training"
        + " with its completion certificate" * needs_paper,
    )

    def lack(course: Training) -> tuple[int, bool]:
        return max(0, asked.hours - course.hours), needs_paper and not course.certificate

    courses = [course for course in stated.trainings if course.level == asked.level]
    if not courses:
        return _all_or_nothing(False, needed, _NOTHING)
    best = min(courses, key=lambda course: (sum(lack(course)), *lack(course), course.completed_on))
    hours, paper = lack(best)
    have = Text(
        zh=f"培训{best.hours}学时,{'已' if best.certificate else '未'}取得结业证书",
        en=f"{best.hours} hours, {'with' if best.certificate else 'without'} certificate",
    )
    lacking = Text(
        zh="及".join([f"{hours}学时"] * (hours > 0) + ["结业证书"] * paper) or "无",
        en=" and ".join([f"{hours} hours"] * (hours > 0) + ["the completion certificate"] * paper),
    )
    evidence = f"training {level.en}, {best.hours} hours, completed {best.completed_on}"
    return Finding(
        share=Fraction(hours + paper, asked.hours + needs_paper),
        needed=needed,
        have=have,
        lacking=lacking,
        text=Text(
            zh=f"{level.zh}{have.zh},差{lacking.zh}",
            en=f"{level.en} training: {have.en}; lacks {lacking.en}",
        ),
        evidence=(evidence,),
    )


def _words(names: dict[str, str], keys: Iterable[str]) -> Text:
    keys = list(keys)
    return Text(
        zh="、".join(names[key] for key in keys),
        en=" or ".join(key.replace("_", " ") for key in keys),
    )


def _accepted_text(accepted: rules.AcceptedEducation) -> Text:
    """What one accepted sort of schooling looks like."""
    schools = _words(SCHOOLS, accepted.kinds)
    standings = _words(STANDINGS, accepted.standings)
    majors = _words(MAJORS, accepted.majors)
    if "other" in accepted.majors:
        majors = Text(zh="专业不限", en="any")
    programmes = _words(PROGRAMMES, accepted.programmes)
    return Text(
        zh="经评估论证的" * accepted.evaluated
        + f"{schools.zh}({majors.zh};{standings.zh}"
        + (f";{programmes.zh})" if accepted.programmes else ")"),
        en="evaluated " * accepted.evaluated
        + f"{schools.en} (major {majors.en}; {standings.en}"
        + (f"; class {programmes.en})" if accepted.programmes else ")"),
    )


def _school_text(school: Education) -> Text:
    """What the candidate states about one school."""
    yes = school.evaluated
    parts = [
        _words(MAJORS, [school.relation]),
        _words(STANDINGS, [school.standing]),
        *([_words(PROGRAMMES, [school.programme])] if school.programme else []),
        Text(zh=f"{'' if yes else '未'}经评估论证", en=f"{'' if yes else 'not '}evaluated"),
    ]
    kind = _words(SCHOOLS, [school.kind])
    return Text(
        zh=f"{kind.zh}({','.join(part.zh for part in parts)})",
        en=f"{kind.en} ({', '.join(part.en for part in parts)})",
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
    return school.standing != "graduated", str(school.graduated_on), _school_text(school).en


def _education(asked: rules.Education, stated: Qualifications, as_of: date) -> Finding:
    """Graduates are preferred over students where both would do: their paper is final.

    Source: source-document 1.2(4), 3.1(2).
    """
    each_needed = [_accepted_text(accepted) for accepted in asked.accepted]
    needed = Text(
        zh=";或".join(text.zh for text in each_needed),
        en="; or ".join(text.en for text in each_needed),
    )
    fitting = [
        school
        for school in stated.education
        if any(_accepts(accepted, school) for accepted in asked.accepted)
    ]
    if not fitting:
        have = sorted({(text.zh, text.en) for text in map(_school_text, stated.education)})
        stated_text = Text(zh="、".join(zh for zh, _ in have), en=", ".join(en for _, en in have))
        return _all_or_nothing(False, needed, stated_text if have else _NOTHING)
    best = min(fitting, key=_graduates_first)
    text = _school_text(best)
    evidence = text.en + (f", graduated {best.graduated_on}" if best.graduated_on else "")
    found = _all_or_nothing(True, needed, text, (evidence,))
    if best.standing == "graduated":
        return found
    return replace(found, materials=asked.student_materials)


def _apprenticeship(asked: rules.Apprenticeship, stated: Qualifications, as_of: date) -> Finding:
    needed = Text(
        zh=f"{_occupation(asked.relations).zh}学徒期满",
        en=f"a completed apprenticeship in {_occupation(asked.relations).en}",
    )
    done = [
        each.completed_on for each in stated.apprenticeships if each.relation in asked.relations
    ]
    if not done:
        return _all_or_nothing(False, needed, _NOTHING)
    return _all_or_nothing(True, needed, needed, (f"apprenticeship completed {min(done)}",))


# --- the person -----------------------------------------------------------------------------------


def _age(asked: rules.Age, stated: Qualifications, as_of: date) -> Finding:
    """An age is reached on the birthday. Told in whole years: more would tell the birth date."""
    needed = Text(zh=f"年满{asked.years}周岁", en=f"{asked.years} years of age")
    born = stated.birth_date
    if born is None:
        return _all_or_nothing(False, needed, Text(zh="未提供出生日期", en="no date of birth"))
    due = add_months(born, 12 * asked.years)
    if as_of >= due:
        return _all_or_nothing(True, needed, needed, (f"age {asked.years} reached",))
    age = length_between(born, as_of).years
    found = _all_or_nothing(False, needed, Text(zh=f"{age}周岁", en=f"{age} years"))
    return replace(found, share=Fraction((due - as_of).days, (due - born).days))


def _intends_to_work(asked: rules.IntendsToWork, stated: Qualifications, as_of: date) -> Finding:
    needed = Text(
        zh="拟从事本职业或相关职业工作", en="the intention to work in this or a related occupation"
    )
    met = stated.intends_to_work
    return _all_or_nothing(met, needed, needed if met else _NOTHING, ("stated by the candidate",))


_JUDGES: dict[type[rules.Predicate], Callable[[Any, Qualifications, date], Finding]] = {
    rules.Age: _age,
    rules.IntendsToWork: _intends_to_work,
    rules.Works: _works,
    rules.TotalYears: _total_years,
    rules.YearsAfterCertificate: _years_after_certificate,
    rules.YearsAfterTitle: _years_after_title,
    rules.HeldCertificate: _held_certificate,
    rules.Training: _training,
    rules.Apprenticeship: _apprenticeship,
    rules.Education: _education,
}


def judge(predicate: rules.Predicate, stated: Qualifications, as_of: date) -> Finding:
    """One predicate against what a candidate states; nothing stated lies after `as_of`.

    Returns: share 0 when met, else what is lacking in words. Source: source-document 1.2.
    """
    return _JUDGES[type(predicate)](predicate, stated, as_of)
