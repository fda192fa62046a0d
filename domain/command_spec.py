"""What a step declares about a command, in one place next to its rule: a `CommandSpec`.

While one command is decided nobody else writes, so the writer reads what a whole batch needs in one
message, together with the ledger's lock. For that each command declares its *read set* before the
lock is taken. A read set may name too much or too little: the decision reads what is missing one by
one, at a round trip each. It names too little only where the state cache does not hold, or holds
an older version of, something the command refers to: whose application it is, which seat is free.
Reading order: CommandSpec, ReadSet, StateHint, then the parts that several read sets share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from domain.actors import Role
from domain.decision import Claim, Command, Context, Decision, States, stream_of
from domain.person_claims import PersonIndex
from domain.states.application import Candidacy
from domain.values.sealed_fields import matter_owner, person_owner

C = TypeVar("C", bound=Command)


class ReadSet(NamedTuple):
    """What a decision will read.

    streams: whose state it folds. versions: of which it asks only whether they exist. claims:
    that it asks for, takes or releases. persons: whose keys it seals or opens with. matters:
    streams whose matter keys it seals with. holders: blind indexes of which it asks whose they are.
    is_open_ended: the decision reads more, which it finds on its way, at a round trip each; for
    commands that are rare.
    files: owners of the keys of files that it names.
    """

    streams: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    persons: tuple[str, ...] = ()
    matters: tuple[str, ...] = ()
    holders: tuple[PersonIndex, ...] = ()
    is_open_ended: bool = False
    files: tuple[str, ...] = ()

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners of the data keys."""
        return (*map(person_owner, self.persons), *map(matter_owner, self.matters), *self.files)


class StateHint(Protocol):
    """The cached state of one thing, perhaps an older version; None if it is not cached."""

    def __call__(self, kind: str, key: str | None = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class CommandSpec(Generic[C]):
    """A command, its decision, its read set, and the roles that may submit it.

    What an actor may do with a particular application is the decision's part: `roles` only says
    whose work the command is.
    """

    command: type[C]
    decide: Callable[[States, C, Context], Decision]
    read_set: Callable[[StateHint, C, Context], ReadSet]
    roles: frozenset[Role]


# --- parts that several read sets share -----------------------------------------------------------


def reads_stream(kind: str, field: str) -> Callable[[StateHint, Any, Context], ReadSet]:
    """A read set of one stream, whose id is a field of the command."""
    return lambda cached, command, context: ReadSet((stream_of(kind, getattr(command, field)),))


def reads_application(cached: StateHint, command: Any, context: Context) -> ReadSet:
    """The application that the command names."""
    return ReadSet((stream_of("application", command.application_id),))


def reads_application_and_person(cached: StateHint, command: Any, context: Context) -> ReadSet:
    """The application that the command names, and the person it belongs to."""
    return ReadSet(with_persons(cached, (command.application_id,)))


def reads_application_and_keys(cached: StateHint, command: Any, context: Context) -> ReadSet:
    """The application that the command names, and the keys of the person it belongs to."""
    ids = (command.application_id,)
    return ReadSet((stream_of("application", ids[0]),), persons=persons_of(cached, ids))


def with_persons(cached: StateHint, application_ids: Iterable[str]) -> tuple[str, ...]:
    """The streams of applications and of the persons they belong to."""
    ids = tuple(application_ids)
    return (
        *(stream_of("application", each) for each in ids),
        *(stream_of("person", each) for each in persons_of(cached, ids)),
    )


def persons_of(cached: StateHint, application_ids: Iterable[str]) -> tuple[str, ...]:
    """The persons whom the applications belong to that are cached, each once."""
    states = cached_applications(cached, application_ids)
    return tuple({state.person_id: None for state in states})


def cached_applications(cached: StateHint, ids: Iterable[str]) -> list[Candidacy]:
    """The applications among these that are cached."""
    return [state for each in ids if (state := cached("application", each)) is not None]


def notice_streams(states: Iterable[Candidacy]) -> tuple[str, ...]:
    """Every notice that published a result of these applications, each once."""
    return tuple({stream_of("notice", each): None for s in states for each in s.notices})
