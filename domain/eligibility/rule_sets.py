"""Eligibility rules (申报条件) as data: the schema of the rule files, and their loader.

A rule set is one file `data/eligibility/<occupation>-<edition>.json`. For each level it lists
alternatives; one met alternative suffices (具备以下条件之一), and an alternative is met when all
its predicates are. A rule that changes is a new edition, or a new `version` of the same file;
the digest of the bytes records which rules an assessment applied.
Source: source-document 1.2, 3.2(1).
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from domain.documents.materials import MaterialKind
from domain.eligibility.qualifications import (
    CertificateKind,
    Flag,
    Programme,
    Relation,
    SchoolKind,
    Standing,
    StatedLevel,
    TitleRank,
)
from domain.errors import LedgerError
from domain.values.primitives import Level

Confidence = Literal["high", "medium", "low"]
"""Certainty that the file matches the standard; low = unconfirmed, clarify before use."""

Years = Annotated[int, Field(strict=True, ge=1, le=60)]
OWN_OR_RELATED: tuple[Relation, ...] = ("own", "related")
LEVELLED: tuple[CertificateKind, ...] = ("vocational_qualification", "skill_level")


class UnknownRuleSet(LedgerError):
    """No eligibility rules for occupation {occupation}, edition {edition}."""

    code = "unknown_rule_set"


class LevelNotInRuleSet(LedgerError):
    """The rules of {occupation}, edition {edition}, have no level {level}."""

    code = "level_not_in_rule_set"


class MalformedRuleSet(LedgerError):
    """Eligibility rule file {file} is malformed at {place}: {reason}."""

    code = "malformed_rule_set"


class RuleData(BaseModel):
    """Base of all rule data: frozen, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Predicate(RuleData):
    """One condition on a candidate."""

    required_materials: tuple[MaterialKind, ...] = Field(description="documents that prove it")


class Age(Predicate):
    """年满N周岁: reached on the birthday; on 1 March for 29 February in a common year."""

    predicate: Literal["age"]
    years: Years


class IntendsToWork(Predicate):
    """拟从事本职业或相关职业工作: the candidate states it; no document proves it."""

    predicate: Literal["intends_to_work"]


class Works(Predicate):
    """从事本职业或相关职业工作: one counted day suffices."""

    predicate: Literal["works"]
    relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)


class TotalYears(Predicate):
    """累计从事本职业或相关职业工作N年(含)以上. Source: source-document 1.2(2)."""

    predicate: Literal["total_years"]
    years: Years
    relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)


class YearsAfterCertificate(Predicate):
    """取得N级证书后累计从事本职业或相关职业工作N年. Source: source-document 1.2(1).

    Exactly this level: the standards name it and do not accept a higher one instead.
    """

    predicate: Literal["years_after_certificate"]
    level: StatedLevel
    years: Years
    kinds: tuple[CertificateKind, ...] = Field(default=LEVELLED, min_length=1)
    certificate_relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)
    relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)


class YearsAfterTitle(Predicate):
    """取得符合专业对应关系的职称后累计从事本职业或相关职业工作N年; exactly this rank."""

    predicate: Literal["years_after_title"]
    rank: TitleRank
    years: Years
    title_relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)
    relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)


class HeldCertificateRule(Predicate):
    """已取得证书, held for `months` full months (0 = held at all)."""

    predicate: Literal["held_certificate"]
    level: StatedLevel | None = Field(description="None for 预备技师证书, which bears no level")
    months: int = Field(default=0, strict=True, ge=0, le=720)
    kinds: tuple[CertificateKind, ...] = Field(default=LEVELLED, min_length=1)
    relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)


class TrainingRule(Predicate):
    """经本职业N级正规培训达规定标准学时,并取得结业证书. Source: source-document 1.2(3).

    A single course must reach the hours: completion certificates are given per course.
    """

    predicate: Literal["training"]
    level: StatedLevel
    hours: int = Field(strict=True, ge=1, le=10_000, description="规定标准学时")
    completion_certificate: Flag = True


class ApprenticeshipRule(Predicate):
    """本职业或相关职业学徒期满."""

    predicate: Literal["apprenticeship"]
    relations: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)


class AcceptedEducation(RuleData):
    """One kind of education that satisfies an EducationRule."""

    kinds: tuple[SchoolKind, ...] = Field(min_length=1)
    majors: tuple[Relation, ...] = Field(default=OWN_OR_RELATED, min_length=1)
    standings: tuple[Standing, ...] = Field(min_length=1, description="final_year = 含应届")
    evaluated: Flag = Field(default=False, description="经评估论证 is required")
    programmes: tuple[Programme, ...] = Field(default=(), description="班别; empty = any")


class EducationRule(Predicate):
    """毕业证书 of one of the accepted kinds. Source: source-document 1.2(4), 3.1(2).

    required_materials apply to graduates; students submit student_materials instead.
    """

    predicate: Literal["education"]
    accepted: tuple[AcceptedEducation, ...] = Field(min_length=1)
    student_materials: tuple[MaterialKind, ...] = (MaterialKind.ENROLMENT_PROOF,)


AnyPredicate = Annotated[
    Age
    | IntendsToWork
    | Works
    | TotalYears
    | YearsAfterCertificate
    | YearsAfterTitle
    | HeldCertificateRule
    | TrainingRule
    | ApprenticeshipRule
    | EducationRule,
    Field(discriminator="predicate"),
]


class Alternative(RuleData):
    """One of the conditions (具备以下条件之一); met when all its predicates are."""

    id: str = Field(min_length=1, max_length=32, description="unique in the file: 1.2(3)")
    text: str = Field(min_length=1, description="the condition in Chinese")
    source: str = Field(min_length=1, description="clause or document")
    confidence: Confidence
    predicates: tuple[AnyPredicate, ...] = Field(min_length=1)


class LevelRules(RuleData):
    """The alternatives of one level, in order of preference."""

    level: StatedLevel
    alternatives: tuple[Alternative, ...] = Field(min_length=1)


class JobType(RuleData):
    """工种 and the levels in which it is certified."""

    name: str = Field(min_length=1)
    levels: tuple[StatedLevel, ...] = Field(min_length=1)


class EligibilityRules(RuleData):
    """The eligibility rules of one occupation in one edition of its standard, as data.

    Source: source-document 1.2, 3.2(1).
    """

    occupation: str = Field(pattern=r"^[0-9a-z][0-9a-z-]*$", description="4-01-02-07, general")
    edition: str = Field(pattern=r"^[0-9A-Z]+$", description="2021, G2023")
    version: int = Field(strict=True, ge=1, description="of this file; each change adds 1")
    name: str = Field(min_length=1, description="职业名称")
    document: str = Field(min_length=1, description="the standard it was taken from")
    aliases: tuple[str, ...] = Field(default=(), description="other codes, by later 大典")
    job_types: tuple[JobType, ...] = Field(default=(), description="工种; empty = undivided")
    levels: tuple[LevelRules, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _keys_are_unique(self) -> Self:
        unique_keys: tuple[tuple[str, Sequence[str | Level]], ...] = (
            ("level", [rules.level for rules in self.levels]),
            ("alternative", [a.id for rules in self.levels for a in rules.alternatives]),
            ("job type", [job.name for job in self.job_types]),
            ("code", [self.occupation, *self.aliases]),
        )
        for what, keys in unique_keys:
            for key in keys:
                if keys.count(key) > 1:
                    raise ValueError(f"{what} {key} appears twice")
        return self

    def rules_for(self, level: Level) -> LevelRules:
        """The rules of one level, 5..1.

        Raises: LevelNotInRuleSet.
        """
        for rules in self.levels:
            if rules.level == level:
                return rules
        raise LevelNotInRuleSet(occupation=self.occupation, edition=self.edition, level=int(level))

    def predicates(self, level: Level, alternative: str) -> tuple[AnyPredicate, ...]:
        """The predicates of an alternative of a level; none if it has no such one.

        Raises: LevelNotInRuleSet.
        """
        alternatives = self.rules_for(level).alternatives
        return next((each.predicates for each in alternatives if each.id == alternative), ())

    def offers(self, job_type: str, level: Level) -> bool:
        """Whether a 工种 is certified in a level: 平台管理员 goes no higher than 3."""
        return any(job.name == job_type and level in job.levels for job in self.job_types)


class RuleSet(EligibilityRules):
    """Eligibility rules, and the digest of where they were read from.

    Source: source-document 1.2, 3.2(1).
    """

    digest: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file's bytes, or of the edition"
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys, which would silently drop a rule."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"key {key!r} appears twice in one object")
    return dict(pairs)


def parse_rule_set(file: str, raw: bytes) -> RuleSet:
    """Parse one rule file.

    file: its name, `<occupation>-<edition>.json`; raw: its bytes, UTF-8 JSON.
    Raises: MalformedRuleSet with file, place (`levels.0.alternatives.2 …`) and reason.
    """
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise MalformedRuleSet(file=file, place="file", reason=str(error)) from error
    if not isinstance(data, dict) or "digest" in data:
        reason = "must be one object, without the digest, which is computed"
        raise MalformedRuleSet(file=file, place="file", reason=reason)
    try:
        rules = RuleSet.model_validate({**data, "digest": hashlib.sha256(raw).hexdigest()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "file"
        reason = first["msg"].removeprefix("Value error, ")
        raise MalformedRuleSet(file=file, place=place, reason=reason) from error
    if file != f"{rules.occupation}-{rules.edition}.json":
        reason = f"holds {rules.occupation}-{rules.edition}, which does not match its name"
        raise MalformedRuleSet(file=file, place="file", reason=reason)
    return rules


@lru_cache(maxsize=1)
def _by_key() -> dict[tuple[str, str], RuleSet]:
    """Every bundled rule set by (code or alias, edition)."""
    found: dict[tuple[str, str], RuleSet] = {}
    folder = files("domain") / "data" / "eligibility"
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if not entry.name.endswith(".json"):
            continue
        rules = parse_rule_set(entry.name, entry.read_bytes())
        for code in (rules.occupation, *rules.aliases):
            if (code, rules.edition) in found:
                reason = f"another file already defines {code} edition {rules.edition}"
                raise MalformedRuleSet(file=entry.name, place="aliases", reason=reason)
            found[code, rules.edition] = rules
    return found


def available_rule_sets() -> tuple[RuleSet, ...]:
    """Every bundled rule set once, sorted by occupation and edition.

    Raises: MalformedRuleSet.
    """
    by_own_code = {(rules.occupation, rules.edition): rules for rules in _by_key().values()}
    return tuple(by_own_code[key] for key in sorted(by_own_code))


def rule_set_for(occupation: str, edition: str) -> RuleSet:
    """The rules of one edition of an occupation, by its code or an alias.

    occupation: 4-01-02-07 or, as renumbered in 2022, 4-01-06-02; `general` for the templates.
    Raises: UnknownRuleSet, MalformedRuleSet. Source: source-document 3.2(1).
    """
    try:
        return _by_key()[occupation, edition]
    except KeyError:
        raise UnknownRuleSet(occupation=occupation, edition=edition) from None
