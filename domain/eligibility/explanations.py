"""Explains a finding of `predicates` to the candidate, in Chinese and in English.

A finding is stored as the rule and its figures, so that its words can get better and go with the
figures. Reading order: Figures, Explanation, the wording of each kind of condition, `explain`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.eligibility import rule_sets as rules
from domain.eligibility.qualifications import (
    MAJORS,
    PROGRAMMES,
    RANKS,
    SCHOOLS,
    STANDINGS,
    Education,
    Length,
    Programme,
    Relation,
    SchoolKind,
    Standing,
    Text,
)
from domain.values.primitives import Level


class School(BaseModel):
    """A stated school, as far as a condition asks for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: SchoolKind
    relation: Relation
    standing: Standing
    evaluated: bool
    programme: Programme | None = None


class Figures(BaseModel):
    """What a candidate has of one condition; which of the fields depends on the condition.

    have, lacking: years, months, days of work, or of holding a certificate. hours: of training.
    age: whole years. met: where there is nothing to measure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    met: bool = False
    have: Length | None = None
    lacking: Length | None = None
    hours: int | None = None
    certificate: bool | None = None
    age: int | None = None
    schools: tuple[School, ...] = ()


def school_of(education: Education) -> School:
    """What a condition asks for of a stated school."""
    return School(
        kind=education.kind,
        relation=education.relation,
        standing=education.standing,
        evaluated=education.evaluated,
        programme=education.programme,
    )


NOTHING = Text(zh="无", en="none")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A finding in words: what is needed, what there is, what is lacking, and one sentence."""

    needed: Text
    have: Text
    lacking: Text
    text: Text


def explain_unmeasured(needed: Text, have: Text) -> Explanation:
    """The explanation of a condition without a measure: all of it is lacking, or none."""
    return Explanation(
        needed=needed,
        have=have,
        lacking=needed,
        text=Text(zh=f"需要{needed.zh};现有:{have.zh}", en=f"needs {needed.en}; has: {have.en}"),
    )


def occupation_text(relations: Iterable[Relation]) -> Text:
    """The occupations in which work counts."""
    if "related" in relations:
        return Text(zh="本职业或相关职业", en="this or a related occupation")
    return Text(zh="本职业", en="this occupation")


@cache
def certificate_name(level: Level | None) -> Text:
    """The name of the certificate of a level; None: 预备技师证书."""
    if level is None:
        return Text(zh="预备技师证书", en="prospective technician certificate")
    return Text(zh=f"{level.chinese_name}证书", en=f"level {int(level)} certificate")


def training_needed(asked: rules.TrainingRule) -> Text:
    """The required training course."""
    certified = asked.completion_certificate
    return Text(
        zh=f"本职业{asked.level.chinese_name}正规培训{asked.hours}学时"
        + "并取得结业证书" * certified,
        en=f"{asked.hours} hours of regular level {int(asked.level)} training"
        + " with its completion certificate" * certified,
    )


def education_needed(asked: rules.EducationRule) -> Text:
    """The required education."""
    each = [_accepted_text(accepted) for accepted in asked.accepted]
    return Text(zh=";或".join(text.zh for text in each), en="; or ".join(text.en for text in each))


def _joined_names(names: dict[str, str], keys: Iterable[str]) -> Text:
    keys = list(keys)
    return Text(
        zh="、".join(names[key] for key in keys),
        en=" or ".join(key.replace("_", " ") for key in keys),
    )


def _accepted_text(accepted: rules.AcceptedEducation) -> Text:
    """One accepted kind of education."""
    schools = _joined_names(SCHOOLS, accepted.kinds)
    standings = _joined_names(STANDINGS, accepted.standings)
    majors = _joined_names(MAJORS, accepted.majors)
    if "other" in accepted.majors:
        majors = Text(zh="专业不限", en="any")
    programmes = _joined_names(PROGRAMMES, accepted.programmes)
    return Text(
        zh="经评估论证的" * accepted.evaluated
        + f"{schools.zh}({majors.zh};{standings.zh}"
        + (f";{programmes.zh})" if accepted.programmes else ")"),
        en="evaluated " * accepted.evaluated
        + f"{schools.en} (major {majors.en}; {standings.en}"
        + (f"; class {programmes.en})" if accepted.programmes else ")"),
    )


def school_text(school: School) -> Text:
    """One stated school."""
    parts = [
        _joined_names(MAJORS, [school.relation]),
        _joined_names(STANDINGS, [school.standing]),
        *([_joined_names(PROGRAMMES, [school.programme])] if school.programme else []),
        Text(
            zh=f"{'' if school.evaluated else '未'}经评估论证",
            en=f"{'' if school.evaluated else 'not '}evaluated",
        ),
    ]
    kind = _joined_names(SCHOOLS, [school.kind])
    return Text(
        zh=f"{kind.zh}({','.join(part.zh for part in parts)})",
        en=f"{kind.en} ({', '.join(part.en for part in parts)})",
    )


def schools_of(education: Iterable[Education]) -> tuple[School, ...]:
    """The stated schools, each once, in an order that does not depend on theirs."""
    return tuple(sorted(set(map(school_of, education)), key=lambda each: school_text(each).en))


# --- one explanation a predicate ------------------------------------------------------------------


def _years(asked: Any, found: Figures, after: Text | None = None) -> Explanation:
    """Years of work. after: what they count from, such as 五级/初级工证书."""
    where = occupation_text(asked.relations)
    since = Text(zh="", en="")
    if after is not None:
        since = Text(zh=f"取得{after.zh}后", en=f" after the {after.en}")
    years = asked.years
    needed = Text(
        zh=f"{since.zh}累计从事{where.zh}工作{years}年(含)以上",
        en=f"{years} year{'s' * (years > 1)} or more of work in {where.en}{since.en}",
    )
    if found.have is None or found.lacking is None:
        name = after or needed
        return Explanation(
            needed=needed,
            have=NOTHING,
            lacking=needed,
            text=Text(
                zh=f"未取得{name.zh},无法计算其后的工作年限",
                en=f"no {name.en}, so no years after it can be counted",
            ),
        )
    have, lack = found.have.text, found.lacking.text
    return Explanation(
        needed=needed,
        have=have,
        lacking=lack,
        text=Text(
            zh=f"{since.zh}累计工作{have.zh},差{lack.zh}",
            en=f"worked {have.en}{since.en}, {lack.en} short",
        ),
    )


def _years_after_certificate(asked: rules.YearsAfterCertificate, found: Figures) -> Explanation:
    return _years(asked, found, certificate_name(asked.level))


def _years_after_title(asked: rules.YearsAfterTitle, found: Figures) -> Explanation:
    name = Text(zh=RANKS[asked.rank], en=f"{asked.rank} professional title")
    return _years(asked, found, name)


def _unmeasured(needed: Text, found: Figures) -> Explanation:
    return explain_unmeasured(needed, needed if found.met else NOTHING)


def _works(asked: rules.Works, found: Figures) -> Explanation:
    where = occupation_text(asked.relations)
    return _unmeasured(Text(zh=f"从事{where.zh}工作", en=f"work in {where.en}"), found)


def _held_certificate(asked: rules.HeldCertificateRule, found: Figures) -> Explanation:
    name = certificate_name(asked.level)
    needed = name
    if asked.months:
        span = Length(*divmod(asked.months, 12), 0).text
        needed = Text(zh=f"{name.zh}满{span.zh}", en=f"{name.en} held for {span.en}")
    if found.have is None or found.lacking is None:
        return explain_unmeasured(needed, name if found.met else NOTHING)
    have, lacking = found.have.text, found.lacking.text
    return Explanation(
        needed=needed,
        have=have,
        lacking=lacking,
        text=Text(
            zh=f"{name.zh}持证{have.zh},差{lacking.zh}",
            en=f"{name.en} held {have.en}, {lacking.en} short",
        ),
    )


def _training(asked: rules.TrainingRule, found: Figures) -> Explanation:
    needed = training_needed(asked)
    if found.hours is None:
        return explain_unmeasured(needed, NOTHING)
    hours = max(0, asked.hours - found.hours)
    certificate = asked.completion_certificate and not found.certificate
    level = Text(zh=asked.level.chinese_name, en=f"level {int(asked.level)}")
    have = Text(
        zh=f"培训{found.hours}学时,{'已' if found.certificate else '未'}取得结业证书",
        en=f"{found.hours} hours, {'with' if found.certificate else 'without'} certificate",
    )
    zh = [f"{hours}学时"] * (hours > 0) + ["结业证书"] * certificate
    en = [f"{hours} hours"] * (hours > 0) + ["the completion certificate"] * certificate
    lacking = Text(zh="及".join(zh) or "无", en=" and ".join(en))
    return Explanation(
        needed=needed,
        have=have,
        lacking=lacking,
        text=Text(
            zh=f"{level.zh}{have.zh},差{lacking.zh}",
            en=f"{level.en} training: {have.en}; lacks {lacking.en}",
        ),
    )


def _education(asked: rules.EducationRule, found: Figures) -> Explanation:
    have = sorted((text.zh, text.en) for text in map(school_text, found.schools))
    text = Text(zh="、".join(zh for zh, _ in have), en=", ".join(en for _, en in have))
    return explain_unmeasured(education_needed(asked), text if have else NOTHING)


def _apprenticeship(asked: rules.ApprenticeshipRule, found: Figures) -> Explanation:
    where = occupation_text(asked.relations)
    needed = Text(zh=f"{where.zh}学徒期满", en=f"a completed apprenticeship in {where.en}")
    return _unmeasured(needed, found)


def _age(asked: rules.Age, found: Figures) -> Explanation:
    needed = Text(zh=f"年满{asked.years}周岁", en=f"{asked.years} years of age")
    if found.age is not None:
        return explain_unmeasured(needed, Text(zh=f"{found.age}周岁", en=f"{found.age} years"))
    unknown = Text(zh="未提供出生日期", en="no date of birth")
    return explain_unmeasured(needed, needed if found.met else unknown)


def _intends_to_work(asked: rules.IntendsToWork, found: Figures) -> Explanation:
    needed = Text(
        zh="拟从事本职业或相关职业工作",
        en="the intention to work in this or a related occupation",
    )
    return _unmeasured(needed, found)


_EXPLANATIONS: dict[type[rules.Predicate], Callable[[Any, Figures], Explanation]] = {
    rules.Age: _age,
    rules.IntendsToWork: _intends_to_work,
    rules.Works: _works,
    rules.TotalYears: _years,
    rules.YearsAfterCertificate: _years_after_certificate,
    rules.YearsAfterTitle: _years_after_title,
    rules.HeldCertificateRule: _held_certificate,
    rules.TrainingRule: _training,
    rules.ApprenticeshipRule: _apprenticeship,
    rules.EducationRule: _education,
}


def explain(predicate: rules.Predicate, found: Figures) -> Explanation:
    """A finding in words. found: figures of this predicate; `needed` depends on none of them."""
    return _EXPLANATIONS[type(predicate)](predicate, found)
