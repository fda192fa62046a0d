"""The works that the service does by itself, as data: what is due, and which command does it.

A new work needs a fold in `projections.worklist`, the role `service` in the `CommandSpec` of its
command, and a row here. The command decides once more whether it is lawful; the worklist only
says when to ask. A step that the procedure leaves to a person's judgement is no work:
docs/decisions/0030-work-that-is-due.md goes through them.
Reading order: Work, WORKS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from domain.actors import Role
from domain.command_spec import CommandSpec
from domain.decision import Command, NotFound, stream_of
from domain.events import EditionAdopted
from domain.service.ledger import Ledgers
from domain.steps.edition_adoption import COPY_EDITION, CopyEdition
from domain.steps.erasure import CONTINUE_ERASURE, ContinueErasure
from domain.steps.public_notice import EXTEND_NOTICE, ExtendNotice
from domain.values.primitives import SERVICE_LEDGER
from projections.engine.view import Cursor
from projections.worklist import view as worklist
from projections.worklist.queries import ItemKey, WorkItem, copies_due, due


class DueQuery(Protocol):
    """Asks what is due of one work; `projections.worklist.queries.due` is one."""

    def __call__(
        self,
        cursor: Cursor,
        work: str,
        ledgers: Sequence[str],
        now: datetime,
        *,
        without: Collection[ItemKey] = (),
        limit: int = 100,
    ) -> list[WorkItem]: ...


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    name: its commands are recorded by the subject `certledger/<name>`. command: what does an item;
    it may read other ledgers, and raises a LedgerError if what it needs is not there.
    due: asks for its items.
    Raises: ValueError if the role `service` may not submit the command.
    """

    name: str
    spec: CommandSpec[Any]
    command: Callable[[WorkItem, Ledgers], Command]
    due: DueQuery = due

    def __post_init__(self) -> None:
        if Role.SERVICE not in self.spec.roles:
            raise ValueError(f"the service may not submit {self.spec.command.__name__}")

    def key(self, item: WorkItem) -> str:
        """The idempotency key: the same for every process that tries to do this."""
        return f"{self.name}|{item.item_id}|{item.attempt}"


def _extend_notice(item: WorkItem, ledgers: Ledgers) -> Command:
    return ExtendNotice(notice_id=item.item_id)


def _continue_erasure(item: WorkItem, ledgers: Ledgers) -> Command:
    return ContinueErasure(person_id=item.item_id)


def _copy_edition(item: WorkItem, ledgers: Ledgers) -> Command:
    """From the fact in the ledger `service`, and not from the worklist.

    Raises: NotFound if no edition of that hash was adopted there.
    """
    kind, _, sha256 = item.item_id.partition(".")
    service = ledgers.get(SERVICE_LEDGER)
    for event in service.journal.stream(stream_of("edition", kind)):
        fact = service.mapper.sealed_entry(event).fact
        if isinstance(fact, EditionAdopted) and fact.sha256 == sha256:
            return CopyEdition(
                kind=fact.kind,
                edition=fact.edition,
                valid_from=fact.valid_from,
                content=fact.content,
                service_position=event.position,
            )
    raise NotFound(what="adopted edition", id=sha256)


WORKS = (
    Work(worklist.EXTEND_NOTICE, EXTEND_NOTICE, _extend_notice),
    Work(worklist.CONTINUE_ERASURE, CONTINUE_ERASURE, _continue_erasure),
    Work(worklist.COPY_EDITION, COPY_EDITION, _copy_edition, copies_due),
)
"""Every work, in the order in which an overdue one matters."""
