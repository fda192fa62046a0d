"""资质评估: whether a candidate may apply for a level, and if not, what is missing.

`assess` compares what a candidate states (`qualifications`) with the rules of an occupation
(`rule_sets`). It proves nothing: the three reviews check the documents that it requires.
Reading order: the two outcomes, then assess(); `predicates` evaluates one predicate at a time.
Source: source-document 1.1, 1.2(1)-(4), 3.2(1).
"""

from datetime import date, datetime
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.documents.materials import MaterialKind
from domain.eligibility import rule_sets as rules
from domain.eligibility.explanations import Figures, explain
from domain.eligibility.predicates import MET, PredicateResult, evaluate
from domain.eligibility.qualifications import EARLIEST_DAY, LATEST_DAY, Qualifications, Text
from domain.errors import LedgerError
from domain.values.primitives import Level


class QualificationInFuture(LedgerError):
    """{place} is {day}, after the day of assessment {as_of}."""

    code = "qualification_in_future"


class AssessmentDayInvalid(LedgerError):
    """The day of assessment {as_of} is not a plain day from 1901-01-01 to 2099-12-31."""

    code = "assessment_day_invalid"


class Result(BaseModel):
    """Base of all outcomes: frozen, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Missing(Result):
    """One unmet predicate, explained to the candidate."""

    rule: int = Field(ge=0, description="place of the predicate in its alternative")
    predicate: str
    figures: Figures
    needed: Text = Field(description="累计从事本职业或相关职业工作4年(含)以上")
    have: Text = Field(description="3年9个月")
    lacking: Text = Field(description="3个月")
    text: Text = Field(description="累计工作3年9个月,差3个月")


class AlternativeResult(Result):
    """Result of one alternative; met if nothing is missing."""

    alternative: str
    text: str = Field(description="the condition in Chinese")
    missing: tuple[Missing, ...]


class Outcome(Result):
    """What both outcomes record: the occupation and level, the day, and the rules applied."""

    occupation: str
    edition: str
    level: Level
    as_of: date = Field(description="the last day that counted")
    rule_set_version: int = Field(ge=1)
    rule_set_sha256: str = Field(description="digest of the rule file that was applied")


class Eligible(Outcome):
    """At least one alternative is met; `alternative` is the first met, in the file's order."""

    outcome: Literal["eligible"] = "eligible"
    alternative: str
    source: str = Field(description="clause of that alternative")
    confidence: rules.Confidence
    also_met: tuple[str, ...] = Field(description="the other met alternatives, in order")
    required_materials: tuple[MaterialKind, ...] = Field(description="to prove `alternative`")


class NotEligible(Outcome):
    """No alternative is met; `nearest` and what it lacks, then every alternative."""

    outcome: Literal["not_eligible"] = "not_eligible"
    nearest: str
    missing: tuple[Missing, ...] = Field(min_length=1)
    results: tuple[AlternativeResult, ...]


Assessment = Annotated[Eligible | NotEligible, Field(discriminator="outcome")]


_Findings = list[tuple[rules.AnyPredicate, PredicateResult]]


def assess(
    rule_set: rules.RuleSet, level: Level, qualifications: Qualifications, as_of: date
) -> Eligible | NotEligible:
    """Whether a candidate may apply (报考条件), by the rules of one occupation and edition.

    level: the level applied for, 5..1. as_of: the day up to which, inclusive, work counts;
        whether that is the day of application or of the exam is the caller's decision.
    Returns: the same outcome for any order of the entries and any split of the periods;
        more evidence never removes eligibility. nearest = fewest predicates missing, then
        the smallest share of them still lacking, then the order in the rule file.
    Raises: AssessmentDayInvalid, then LevelNotInRuleSet, then QualificationInFuture.
    Source: source-document 1.1, 1.2.
    """
    if isinstance(as_of, datetime) or not EARLIEST_DAY <= as_of <= LATEST_DAY:
        raise AssessmentDayInvalid(as_of=as_of.isoformat())
    alternatives = rule_set.rules_for(level).alternatives
    for place, day in qualifications.stated_days():
        if day > as_of:
            raise QualificationInFuture(place=place, day=day.isoformat(), as_of=as_of.isoformat())
    frozen: dict[str, Any] = {
        "occupation": rule_set.occupation,
        "edition": rule_set.edition,
        "level": level,
        "as_of": as_of,
        "rule_set_version": rule_set.version,
        "rule_set_sha256": rule_set.digest,
    }
    met = [
        (each, findings)
        for each in alternatives
        if (findings := _evaluate_while_met(each, qualifications, as_of)) is not None
    ]
    if met:
        return _eligible(met, frozen)
    evaluated = [(each, _evaluate(each, qualifications, as_of)) for each in alternatives]
    nearest = min(evaluated, key=lambda pair: _distance(pair[1]))  # min keeps the first of equals
    return NotEligible(
        **frozen,
        nearest=nearest[0].id,
        missing=_missing(nearest[1]),
        results=tuple(
            AlternativeResult(alternative=each.id, text=each.text, missing=_missing(findings))
            for each, findings in evaluated
        ),
    )


def _evaluate_while_met(
    alternative: rules.Alternative, qualifications: Qualifications, as_of: date
) -> _Findings | None:
    """As `_evaluate`, but stops at the first unmet predicate and returns None."""
    findings: _Findings = []
    for predicate in alternative.predicates:
        finding = evaluate(predicate, qualifications, as_of)
        if finding.share:
            return None
        findings.append((predicate, finding))
    return findings


def _evaluate(
    alternative: rules.Alternative, qualifications: Qualifications, as_of: date
) -> _Findings:
    return [
        (predicate, evaluate(predicate, qualifications, as_of))
        for predicate in alternative.predicates
    ]


def _eligible(met: list[tuple[rules.Alternative, _Findings]], frozen: dict[str, Any]) -> Eligible:
    """The outcome for the first met alternative."""
    chosen, findings = met[0]
    materials: dict[MaterialKind, None] = {}  # a dict, because a set has no order
    for predicate, finding in findings:
        asked = finding.materials
        materials |= dict.fromkeys(predicate.required_materials if asked is None else asked)
    return Eligible(
        **frozen,
        alternative=chosen.id,
        source=chosen.source,
        confidence=chosen.confidence,
        also_met=tuple(alternative.id for alternative, _ in met[1:]),
        required_materials=tuple(materials),
    )


def _missing(findings: _Findings) -> tuple[Missing, ...]:
    return tuple(
        missing(rule, predicate, found.figures())
        for rule, (predicate, found) in enumerate(findings)
        if found.share
    )


def missing(rule: int, predicate: rules.AnyPredicate, figures: Figures) -> Missing:
    """An unmet predicate in words. rule: its place in its alternative."""
    words = explain(predicate, figures)
    return Missing(
        rule=rule,
        predicate=predicate.predicate,
        figures=figures,
        needed=words.needed,
        have=words.have,
        lacking=words.lacking,
        text=words.text,
    )


def _distance(findings: _Findings) -> tuple[int, Fraction]:
    shares = [found.share for _, found in findings if found.share]
    return len(shares), sum(shares, MET)
