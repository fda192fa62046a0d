"""How a finding of `predicates` is told to the candidate, in Chinese and in English.

Reading order: Words, then what each sort of thing is called.
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
class Words:
    """A finding as the candidate reads it."""

    needed: Text
    have: Text
    lacking: Text
    text: Text


def there_or_not(needed: Text, have: Text) -> Words:
    """The words of a predicate without a measure."""
    return Words(
        needed=needed,
        have=have,
        lacking=needed,
        text=Text(zh=f"需要{needed.zh};现有:{have.zh}", en=f"needs {needed.en}; has: {have.en}"),
    )


def occupation_text(relations: Iterable[Relation]) -> Text:
    """Which work counts."""
    if "related" in relations:
        return Text(zh="本职业或相关职业", en="this or a related occupation")
    return Text(zh="本职业", en="this occupation")


@cache
def certificate_name(level: Level | None) -> Text:
    """What the certificate of a level is called; None: 预备技师证书."""
    if level is None:
        return Text(zh="预备技师证书", en="prospective technician certificate")
    return Text(zh=f"{level.chinese_name}证书", en=f"level {int(level)} certificate")


def training_needed(asked: rules.Training) -> Text:
    """The course that is asked for."""
    paper = asked.completion_certificate
    return Text(
        zh=f"本职业{asked.level.chinese_name}正规培训{asked.hours}学时" + "并取得结业证书" * paper,
        en=f"{asked.hours} hours of regular level {int(asked.level)} training"
        + " with its completion certificate" * paper,
    )


def education_needed(asked: rules.Education) -> Text:
    """The schooling that is asked for."""
    each = [_accepted_text(accepted) for accepted in asked.accepted]
    return Text(zh=";或".join(text.zh for text in each), en="; or ".join(text.en for text in each))


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


def school_text(school: Education) -> Text:
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
