"""Explains a finding of `predicates` to the candidate, in Chinese and in English.

Reading order: Explanation, then the wording of each kind of condition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from domain.eligibility import rule_sets as rules
from domain.eligibility.qualifications import (
    MAJORS,
    PROGRAMMES,
    SCHOOLS,
    STANDINGS,
    Education,
    Relation,
    Text,
)
from domain.values.primitives import Level

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


def school_text(school: Education) -> Text:
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
