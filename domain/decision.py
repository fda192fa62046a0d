"""What every decision takes and returns: a command, the present states, and new facts.

`decide_*(world, command, context)` is pure: time, actor and ids come in with the context, and it
reads states through `States` only. It returns a `Decision`, or raises a `LedgerError` and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from domain.actors import Actor, Role
from domain.claims import Claim as Claim
from domain.documents.kinds import MaterialKind
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.events import Fact, KeyPurpose
from domain.person_claims import PersonClaims
from domain.states.application import Candidacy
from domain.states.editions import Editions
from domain.states.folds import ExamSession, LedgerState, Notice, Person, Report, Series
from domain.values.identity_documents import DocumentType
from domain.values.sealed_fields import DataClass
from domain.values.working_days import shanghai_date


class Command(BaseModel):
    """A request in the imperative, declared by a `domain.command_spec.CommandSpec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_it_is(login: str) -> str:
    """For commands that name pseudonyms already, such as those found again from facts."""
    return login


class KeyInUse(NamedTuple):
    """A key of the service that decides. key_id: 8 hex digits.

    public_key, signature: base64; None of a key that signs nothing. The signature is the key's own,
    over the statement that introduces it (`domain.steps.service_keys.key_statement`).
    """

    purpose: KeyPurpose
    key_id: str
    algorithm: str
    public_key: str | None = None
    signature: str | None = None


SignatureCheck = Callable[[str, bytes, bytes, bytes], bool]
"""`is_signature(algorithm, public_key, message, signature)`: whether the key made it."""


class Naming(NamedTuple):
    """Who acts, in clear. name: None if it is not known."""

    login: str | None
    name: str | None = None


class Context(NamedTuple):
    """The actor, the time, and the source of new ids.

    now: aware, UTC. new_id: a fresh id per call, the same ones when the command is decided again.
    blind_index: keyed index of personal text, `blind_index(kind, text) -> str`.
    ledger: name of the ledger. is_signature: checks the signatures of keys.
    digest_card: hashes a canonical card under a new salt, `(card_sha256, salt in hex)`.
    keys: of the service, which a ledger names when it opens.
    pseudonym: of another login that the command names; the actor's is their subject.
    naming: of an actor who is to be named, because no fact names them: a member of staff whose
        first command this is.
    """

    now: datetime
    actor: Actor
    new_id: Callable[[], str]
    blind_index: Callable[[str, str], str]
    ledger: str
    is_signature: SignatureCheck
    digest_card: Callable[[bytes], tuple[str, str]]
    keys: tuple[KeyInUse, ...] = ()
    pseudonym: Callable[[str], str] = _as_it_is
    naming: Naming | None = None

    @property
    def today(self) -> date:
        """The calendar day in Shanghai."""
        return shanghai_date(self.now)


@dataclass(frozen=True, slots=True)
class Identity:
    """A person's name and document in clear, decrypted for one decision and not stored."""

    name: str = field(repr=False)
    document_type: DocumentType
    document_number: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """New facts with the stream each belongs to, and the claims that commit with them.

    claims, releases, person_claims: added by `domain.commands.decide`, which computes them from the
        facts.
    outcome: what the receipt says in addition; JSON values, no personal data.
    erases: (owner, class) of the data keys that are destroyed with this decision. forgets:
        pseudonyms whose logins are forgotten with it.
    """

    facts: tuple[tuple[str, Fact], ...]
    claims: tuple[Claim, ...] = ()
    releases: tuple[Claim, ...] = ()
    person_claims: tuple[PersonClaims, ...] = ()
    erases: tuple[tuple[str, str], ...] = ()
    forgets: tuple[str, ...] = ()
    outcome: dict[str, Any] = field(default_factory=dict)


class RecordedMatters(Protocol):
    """The states of a person's matters, of which a reader that decides nothing has no more."""

    def candidacy(self, application_id: str) -> Candidacy: ...
    def notice(self, notice_id: str) -> Notice: ...
    def editions(self, kind: EditionKind) -> Editions: ...
    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]: ...


class States(RecordedMatters, Protocol):
    """The states a decision may read.

    Each method raises NotFound for an unknown thing, except `series`: a series begins with its
    first number, so an unknown one is empty, and `editions`: the packaged ones need no fact.
    `claimed`: whether the claim is taken at present. `holder`: the person who has a blind index of
    a kind at present, None if nobody has; see `domain.person_claims`. `claims_under`: the keys of
    the claims of a kind that begin like this and are taken, in order. `sealed_classes`: those of
    which a person has a data key.
    `document_sha256`: of the plain bytes of the document in force; None if there is none, or if its
    key was destroyed.
    """

    def ledger(self) -> LedgerState: ...
    def person(self, person_id: str) -> Person: ...
    def identity(self, person_id: str) -> Identity: ...
    def document_sha256(self, application_id: str, kind: MaterialKind) -> str | None: ...
    def session(self, session_id: str) -> ExamSession: ...
    def series(self, series_id: str) -> Series: ...
    def report(self, report_id: str) -> Report: ...
    def exists(self, stream: str) -> bool: ...
    def claimed(self, kind: str, key: str) -> bool: ...
    def holder(self, kind: str, index: str) -> str | None: ...
    def sealed_classes(self, person_id: str) -> frozenset[DataClass]: ...


class NotFound(LedgerError):
    """There is no {what} {id} in this ledger."""

    code = "not_found"


class AlreadyExists(LedgerError):
    """This ledger has {what} {id} already."""

    code = "already_exists"


class LedgerNotOpen(NotFound):
    """This ledger is not open yet."""

    code = "ledger_not_open"


class LedgerAlreadyOpen(AlreadyExists):
    """This ledger is open already."""

    code = "ledger_already_open"


class NotYourOwn(LedgerError):
    """This {what} belongs to somebody else."""

    code = "not_your_own"


class InTheFuture(LedgerError):
    """{field} lies in the future."""

    code = "in_the_future"


class TooEarly(LedgerError):
    """{field} lies before {earliest}."""

    code = "too_early"


class OwnApplication(LedgerError):
    """Nobody decides on their own application, nor on one they opened or handed documents in for.

    Otherwise one person alone could carry an application through.
    """

    code = "own_application"


def stream_of(kind: str, key: str | None = None) -> str:
    """Name of a stream: the kind, and for all but the ledger itself the id of the thing."""
    return kind if key is None else f"{kind}-{key}"


def ensure_past(context: Context, **moments: datetime) -> None:
    """Raise InTheFuture for the first moment that has not come yet."""
    for name, moment in moments.items():
        if moment > context.now:
            raise InTheFuture(field=name)


def ensure_day(context: Context, field: str, day: date, earliest: date) -> None:
    """Check that a day has come, and that it is not before the earliest possible one.

    Raises: InTheFuture, TooEarly.
    """
    if day > context.today:
        raise InTheFuture(field=field)
    if day < earliest:
        raise TooEarly(field=field, earliest=str(earliest))


def ensure_not_own(context: Context, person: Person) -> None:
    """Staff never act on an application that is their own. Raises: OwnApplication."""
    if person.subject is not None and person.subject == context.actor.subject:
        raise OwnApplication()


def ensure_own(context: Context, person: Person, what: str) -> None:
    """A candidate acts on their own things; staff act by their role.

    Raises: NotYourOwn.
    """
    if context.actor.role is Role.CANDIDATE and person.subject != context.actor.subject:
        raise NotYourOwn(what=what)
