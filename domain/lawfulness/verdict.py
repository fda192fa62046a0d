"""`lawful`: whether one command's facts could have been decided on the states as they were.

Reading order: Unlawful, NotJudged, `lawful`, then one function a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from domain.actors import is_named
from domain.commands import decide
from domain.decision import (
    Command,
    Context,
    Decision,
    KeyInUse,
    Naming,
    SignatureCheck,
    stream_of,
)
from domain.errors import LedgerError
from domain.events import CERTIFICATE_TEXT, ActorNamed, Fact, KeyIntroduced, RegistrationJoined
from domain.lawfulness.history import History, RecordedCommand, RecordedFact
from domain.lawfulness.inverses import BY_FIRST, Inverse
from domain.person_claims import BlindIndex
from domain.steps.contested_registration import DocumentsDiffer, decide_join


class Ports(NamedTuple):
    """What a decision is given besides states, actor and time. ledger: its name."""

    ledger: str
    blind_index: BlindIndex
    is_signature: SignatureCheck


CLOCKS_DIFFER = timedelta(minutes=1)
"""Between the clock of a service, which admits `occurred_at`, and the database's, which records."""


HOLDER_ERASED = "whose document it is was erased"


class Unlawful(NamedTuple):
    """An event that no decision could have made.

    clause: of the procedure, such as "3.2(3)", as the decision cites it; empty if it cites none.
    """

    position: int
    topic: str
    clause: str
    reason: str

    def __str__(self) -> str:
        clause = f" ({self.clause})" if self.clause else ""
        return f"{self.topic} could not have been decided{clause}: {self.reason}"


class NotJudged(NamedTuple):
    """A command that cannot be judged, and why; never counted as unlawful."""

    reason: str


Verdict = Unlawful | NotJudged | None
"""None: lawful."""


def lawful(history: History, recorded: RecordedCommand, ports: Ports) -> Verdict:
    """Judge what one command recorded. Changes nothing.

    history: everything before it. Returns: None if a decision makes exactly these facts.
    """
    first = recorded.facts[0]
    kind = type(first.fact)
    if getattr(first.fact, "held_by", None) in history.unknown:
        return NotJudged(HOLDER_ERASED)
    inverses = BY_FIRST.get(kind)
    if inverses is None:
        return unlawful(first, clause_of(kind), "no command records this fact first")
    facts = [each.fact for each in recorded.facts]
    inverse, command = inverses[0], None
    try:
        for inverse in inverses:
            command = inverse.reconstruct(facts, history)
            if command is not None:
                break
    except Exception as error:
        # Facts that no decision made may lack anything, and break the inverse on any line.
        return unlawful(first, clause_of(inverse.spec.decide), f"no such command: {why(error)}")
    if command is None:
        clause = clause_of(inverse.spec.decide)
        return unlawful(first, clause, "no command of this kind records it")
    return _decided_again(history, recorded, inverse, command, ports)


def _decided_again(
    history: History, recorded: RecordedCommand, inverse: Inverse, command: Command, ports: Ports
) -> Verdict:
    """Whether the command, decided on the states as they were, makes what it recorded."""
    first = recorded.facts[0]
    clause = clause_of(inverse.spec.decide)
    try:
        misplaced = _misplaced(history, recorded, inverse)
        if misplaced is not None:
            return unlawful(misplaced[0], clause, misplaced[1])
        decision = decide(history, command, _context(history, recorded, ports))
    except Exception as error:
        # As above: on states that unlawful facts are part of, a decision may fail anywhere.
        return unlawful(first, clause, why(error))
    different = _difference(decision, recorded.facts) or _claimed(history, decision, recorded)
    if different is not None:
        return unlawful(different[0], clause, different[1])
    if isinstance(first.fact, RegistrationJoined):
        return _joined(history, first, first.fact)
    return None


def unlawful(fact: RecordedFact, clause: str, reason: str) -> Unlawful:
    """The finding on a fact."""
    return Unlawful(fact.position, fact.topic, clause, reason)


class Unreadable(Exception):
    """A stored value that no fact has; the message has no value in it."""


@cache
def clause_of(source: object) -> str:
    """The clauses that a decision or a fact cites in its docstring; empty if it cites none."""
    _, cited, text = (source.__doc__ or "").rpartition("Source: ")
    if not cited:
        return ""
    return " ".join(text.split()).removeprefix("source-document ").rstrip(".")


def why(error: Exception) -> str:
    """An error as a reason, without stored values, which may be personal."""
    if isinstance(error, LedgerError):
        return f"{error.code}: {error}"
    if isinstance(error, ValidationError):
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults)
    return str(error) if isinstance(error, Unreadable) else f"fails with {type(error).__name__}"


Difference = tuple[RecordedFact, str]
"""A fact, and what is wrong with it."""


def _misplaced(history: History, recorded: RecordedCommand, inverse: Inverse) -> Difference | None:
    """Whether the actor's role, the time, or a fact's place in its stream is impossible."""
    first = recorded.facts[0]
    role = recorded.actor.role
    if role not in inverse.spec.roles:
        return first, f"role {role.value} may not do this"
    occurred, written = recorded.occurred_at, recorded.recorded_at
    if occurred > written and _is_later(occurred, written):
        return first, "it happened after it was recorded"
    following: dict[str, int] = {}
    for each in recorded.facts:
        stream = each.originator_id
        version = following.get(stream) or history.version(stream) + 1
        if each.originator_version != version:
            return each, f"version {version} of its stream comes next"
        last = history.occurred.get(stream, "")
        # A time that nobody gave is the database's, whose clock may be behind the one before.
        if last > occurred and (occurred != written or _is_later(last, occurred)):
            return each, "its stream has recorded something later already"
        following[stream] = version + 1
    return None


def _is_later(one: str, other: str) -> bool:
    """Whether one time is after another, by more than clocks may differ. Raises: ValueError."""
    return datetime.fromisoformat(one) - datetime.fromisoformat(other) > CLOCKS_DIFFER


def _context(history: History, recorded: RecordedCommand, ports: Ports) -> Context:
    """Time, actor and keys as they were. Every id is in the command, so none is new."""
    keys: tuple[KeyInUse, ...] = ()
    if recorded.facts[0].originator_id == "ledger":
        keys = tuple(
            KeyInUse(fact.purpose, fact.key_id, fact.algorithm, fact.public_key, fact.signature_new)
            for each in recorded.facts
            if isinstance(fact := each.fact, KeyIntroduced)
        )
    # The identity that a card shows is not at hand here, so its hash is taken as recorded.
    texts = [fact for each in recorded.facts if isinstance(fact := each.fact, CERTIFICATE_TEXT)]
    cards = iter([(text.card_sha256, text.card_salt or "") for text in texts])
    return Context(
        now=datetime.fromisoformat(recorded.occurred_at),
        actor=recorded.actor,
        new_id=_no_id,
        blind_index=ports.blind_index,
        ledger=ports.ledger,
        is_signature=ports.is_signature,
        digest_card=lambda card: next(cards),
        keys=keys,
        naming=_naming(history, recorded),
    )


def _naming(history: History, recorded: RecordedCommand) -> Naming | None:
    """Who has to be named by the last fact, in the words of the one recorded; None: nobody."""
    actor = recorded.actor
    is_known = history.exists(stream_of("actor", actor.subject))
    if is_known or not is_named(actor.subject, actor.role):
        return None
    last = recorded.facts[-1].fact
    return Naming(last.login, last.name) if isinstance(last, ActorNamed) else Naming(None)


def _no_id() -> str:
    raise LookupError("a command that is judged names every id")


def _difference(decision: Decision, recorded: Sequence[RecordedFact]) -> Difference | None:
    """The first fact that is not as decided, missing or one too many."""
    for (stream, fact), each in zip(decision.facts, recorded, strict=False):
        if type(fact) is not type(each.fact):
            return each, f"{fact.TOPIC} was decided"
        if stream != each.originator_id:
            return each, "it was decided for another stream"
        # Without the wrapper `model_dump`: this runs once an event.
        decided = fact.__pydantic_serializer__.to_python(fact, mode="json")
        if decided != each.data or (_has_numbers(type(fact)) and not _same(decided, each.data)):
            return each, f"{', '.join(_different(decided, each.data))} was decided otherwise"
    count = len(decision.facts)
    if len(recorded) > count:
        return recorded[count], f"its command records {count} facts, not {len(recorded)}"
    if len(recorded) < count:
        lacking = decision.facts[len(recorded)][1].TOPIC
        return recorded[-1], f"{lacking} is missing after it"
    return None


def _different(decided: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """The fields that differ, in order of name."""
    names = sorted(decided.keys() | stored.keys())
    return [
        name
        for name in names
        if name not in decided or name not in stored or not _same(decided[name], stored[name])
    ]


@cache
def _has_numbers(kind: type[Fact]) -> bool:
    """Whether a fact can hold a number or a truth value, which Python takes for equal."""
    schema = str(kind.model_json_schema())
    return "'integer'" in schema or "'boolean'" in schema


def _same(decided: Any, stored: Any) -> bool:
    """Equal in JSON, where true is not 1."""
    kind = type(decided)
    if kind is not type(stored):
        return False
    if kind is dict:
        if decided.keys() != stored.keys():
            return False
        pairs: Iterable[tuple[Any, Any]] = ((decided[name], stored[name]) for name in decided)
    elif kind is list:
        if len(decided) != len(stored):
            return False
        pairs = zip(decided, stored, strict=True)
    else:
        return bool(decided == stored)
    for one, other in pairs:
        if type(one) is str:
            if one != other:
                return False
        elif not _same(one, other):
            return False
    return True


def _claimed(history: History, decision: Decision, recorded: RecordedCommand) -> Difference | None:
    """Whether a claim that the decision takes is taken, or one that it releases is not."""
    first = recorded.facts[0]
    for kind, key in decision.releases:
        if (kind, key) not in history.claims:
            return first, f"claim_not_held: no {kind} is claimed that could be released"
    for claim in decision.claims:
        if claim in history.claims and claim not in decision.releases:
            return first, f"claim_taken: another {claim[0]} is claimed already"
    return None


def _joined(history: History, first: RecordedFact, fact: RegistrationJoined) -> Verdict:
    """Whether the registrations show one document, which the decision has not at hand here."""
    one, other = map(history.document, (fact.person_id, fact.joined_to))
    if one is None or other is None:
        return NotJudged(HOLDER_ERASED)
    if one == other:
        return None
    return unlawful(first, clause_of(decide_join), why(DocumentsDiffer()))
