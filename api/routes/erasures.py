"""Erasures that wait for a second person: the list, and what they see before they confirm.

The routes that propose and confirm are in `persons`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import Cursor, Limit, QueryContext, Read, ThingId, etag, json_response
from api.http.routing import READING, router
from api.routes.history import name_of_actor, staff_names
from api.routes.stream_listing import key_of, newest_page, newest_streams
from domain import events as e
from domain.actors import actor_of
from domain.decision import NotFound, RecordedMatters
from domain.editions.contents import rules_of
from domain.editions.edition import EditionKind
from domain.editions.retention import RetentionRule, RetentionRules
from domain.service.ledger import Ledger
from domain.states.application import Candidacy
from domain.states.editions import Editions
from domain.states.folds import Notice, Person
from domain.steps.erasure import FindingsChanged, PersonStillNeeded
from domain.steps.retention_findings import (
    Findings,
    as_answer,
    findings_of,
    rules_in,
)
from domain.values.primitives import format_instant
from domain.values.working_days import shanghai_date

TAG = "人员 · People"
routes = router(TAG)


class KeptShown(BaseModel):
    """What keeps a class of data. years, basis: of the rule, where one keeps it."""

    data_class: str
    because: str = Field(description="a rule of retention, or what still runs")
    until: str | None = Field(description="the last day; null: until it has ended")
    years: int | None = None
    basis: str | None = Field(default=None, description="the law that the rule rests on")


class FindingsShown(BaseModel):
    """What has to be kept, and which classes are destroyed."""

    edition: str = Field(description="of the rules of retention")
    ends: list[str] = Field(description="classes that nothing keeps: destroyed at once")
    kept: list[KeptShown]
    findings_sha256: str = Field(description="what the second person confirms")


class StepShown(BaseModel):
    """Who took a step, and when."""

    actor: dict[str, Any] = Field(description="as stored, and their name where it is known")
    occurred_at: str


class ErasureShown(BaseModel):
    """An erasure: proposed, and perhaps confirmed."""

    person_id: str
    proposal: str
    reason: str
    proposed: StepShown
    findings: FindingsShown = Field(description="as they were proposed")
    confirmed: StepShown | None = Field(
        description="null before, and where a restored database has lost it"
    )
    refusal: Literal["findings_changed", "person_still_needed"] | None = Field(
        description="why a confirmation would be refused now; propose again"
    )
    findings_now: FindingsShown | None = Field(
        description="if what has to be kept changed since; before the confirmation only"
    )
    destroyed: list[str] = Field(description="classes whose keys were destroyed so far")
    kept: list[KeptShown] | None = Field(description="since the erasure: what is still kept")


class ErasureRow(BaseModel):
    """One proposal that nobody has confirmed."""

    person_id: str
    proposal: str
    reason: str
    findings_sha256: str
    proposed: StepShown
    is_own: bool = Field(description="the caller proposed it and cannot confirm it")


class ErasureListBody(BaseModel):
    """A page. It may be shorter than asked for, even empty, while `next` says there is more."""

    data: list[ErasureRow]
    next: str | None = Field(description="cursor of the next page")


@routes.get(
    "/persons/{person_id}/erasure",
    operation_id="get_erasure",
    summary="查看删除提议 · Show a proposed erasure",
    responses={200: {"model": ErasureShown}, **READING},
)
async def get_erasure(read: Read, person_id: ThingId) -> Response:
    """确认前须知:销毁哪些类别,哪些须保存、依何规定、到何时;提议后如有变化即显示。· What the second
    person sees before they confirm: which classes are destroyed, what is kept by which rule until
    when, and whether that changed since the proposal. PIPL art. 47."""
    person: Person = await read.state("person", person_id)
    shown = await read.run(show_erasure, read, person)
    now = shown["findings_now"] or shown["findings"]
    tag = etag(f"{person.version}.{now['findings_sha256'][:16]}.{shown['refusal']}")
    return read.conditional_response(tag, lambda: shown)


@routes.get(
    "/erasures",
    operation_id="list_erasures",
    summary="待确认的删除提议 · Erasures to confirm",
    responses={200: {"model": ErasureListBody}, **READING},
)
async def list_erasures(read: Read, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """尚待第二人确认的提议,最新在前。· Proposals that wait for a second person, the newest
    first."""
    listed, following = await newest_page(read, "erasures", cursor, limit, _OPEN)
    rows = await read.run(_open_rows, read, listed.streams)
    return json_response({"data": rows, "next": following})


_OPEN = partial(
    newest_streams,
    topics=(e.ErasureProposed.TOPIC,),
    ending=(e.ErasureProposed.TOPIC, *(fact.TOPIC for fact in e.FORGETTING)),
)


def _open_rows(read: QueryContext, streams: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the list; blocking."""
    own = read.principal and read.ledger.logins.find(read.principal.subject)
    rows = []
    for stream in streams:
        person: Person = read.ledger.state("person", key_of(stream, "person"))
        steps = _steps_of(read.ledger, person)
        if person.proposal is None or person.erased or steps.proposed is None:
            continue
        rows.append(
            {
                **_named(person.id, steps.proposed.fact),
                "findings_sha256": person.proposal.findings_sha256,
                "proposed": _step(read, steps.proposed, person),
                "is_own": own is not None and own == person.proposal.by,
            }
        )
    return rows


class Steps(NamedTuple):
    """The entries of the last proposal, of its confirmation, and of what destroyed data last."""

    proposed: Any = None
    confirmed: Any = None
    last: Any = None


def _steps_of(ledger: Ledger, person: Person) -> Steps:
    """From the person's stream, whose sealed fields stay sealed; blocking."""
    found = Steps()
    for entry in map(ledger.mapper.sealed_entry, ledger.journal.stream(f"person-{person.id}")):
        fact: Any = entry.fact
        if isinstance(fact, e.ErasureProposed):
            found = Steps(entry)
        elif isinstance(fact, e.ErasureConfirmed):
            found = found._replace(confirmed=entry, last=entry)
        elif isinstance(fact, e.ErasureContinued | e.ErasureRepeated):
            found = found._replace(last=entry)
    return found


def show_erasure(read: QueryContext, person: Person) -> dict[str, Any]:
    """The last erasure of a person; blocking. Raises: NotFound if none was proposed."""
    steps = _steps_of(read.ledger, person)
    if steps.proposed is None:
        raise NotFound(what="erasure proposal of person", id=person.id)
    fact: e.ErasureProposed = steps.proposed.fact
    world = _Matters(read.ledger)
    rules = _rules_of(world, fact.edition)
    proposed = as_answer(Findings(person.id, fact.edition, fact.kept, ()), rules)
    refusal, now = (None, None) if person.erased else _changes(world, person, fact)
    return {
        **_named(person.id, fact),
        "proposed": _step(read, steps.proposed, person),
        "findings": _findings(proposed, fact.findings_sha256),
        "confirmed": None if steps.confirmed is None else _step(read, steps.confirmed, person),
        "refusal": refusal,
        "findings_now": now,
        "destroyed": sorted(each.value for each in person.destroyed),
        "kept": None if steps.last is None else _still_kept(world, person, steps.last.fact),
    }


def _changes(
    world: _Matters, person: Person, fact: e.ErasureProposed
) -> tuple[str | None, dict[str, Any] | None]:
    """Why a confirmation would be refused now, and today's findings if they are others."""
    today = shanghai_date(datetime.now(UTC))
    findings = findings_of(world, person.id, today)
    sha256 = findings.sha256(fact.reason)
    now = None
    if sha256 != fact.findings_sha256:
        now = _findings(as_answer(findings, rules_in(world, today)), sha256)
    if world.claims_under("live_application", f"{person.id}|"):
        return PersonStillNeeded.code, now
    return (None if now is None else FindingsChanged.code), now


def _still_kept(
    world: _Matters,
    person: Person,
    fact: e.ErasureConfirmed | e.ErasureContinued | e.ErasureRepeated,
) -> list[dict[str, Any]]:
    findings = Findings(person.id, fact.edition, fact.kept, fact.awaited)
    kept: list[dict[str, Any]] = as_answer(findings, _rules_of(world, fact.edition))["kept"]
    return kept


def _findings(answer: dict[str, Any], sha256: str) -> dict[str, Any]:
    return {**answer, "findings_sha256": sha256}


def _named(person_id: str, fact: e.ErasureProposed) -> dict[str, Any]:
    return {"person_id": person_id, "proposal": fact.proposal, "reason": fact.reason.value}


def _step(read: QueryContext, entry: Any, person: Person) -> dict[str, Any]:
    actor = actor_of(entry)
    names = staff_names(read, [entry])
    return {
        "actor": actor.to_envelope() | {"name": name_of_actor(actor, person, names)},
        "occurred_at": format_instant(entry.occurred_at),
    }


def _rules_of(world: _Matters, edition: str) -> dict[str, RetentionRule]:
    """The rules of an edition of retention by their kind; none if there is no such edition."""
    for each in world.editions(EditionKind.RETENTION).all():
        if each.edition == edition:
            return {rule.kind.value: rule for rule in rules_of(each, RetentionRules).rules}
    return {}


class _Matters(RecordedMatters):
    """The matters of persons as they are recorded now; blocking."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def candidacy(self, application_id: str) -> Candidacy:
        state: Candidacy = self._ledger.state("application", application_id)
        return state

    def notice(self, notice_id: str) -> Notice:
        state: Notice = self._ledger.state("notice", notice_id)
        return state

    def editions(self, kind: EditionKind) -> Editions:
        return self._ledger.editions(kind)

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        return self._ledger.claims_under(kind, prefix)
