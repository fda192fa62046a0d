"""The specification of the ledger: the independent model of the journey, replayed in the journal's
order and queried at every position in between.

Answers of a ledger or a service are compared with the model after some position: refusals by their
code, reads and views by their content.
"""

from __future__ import annotations

import json
import pickle
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.consistency.database_oracle import Event, Stored
from tests.consistency.history import Operation, Refused, Replayed, Saw, Wrote
from tests.consistency.journal_invariants import Violation
from tests.support.epochs import GivenEpochs
from tests.support.keys import HASHER
from tests.support.model import Refused as ModelRefused
from tests.support.model import day_of
from tests.support.model_adapter import without_check
from tests.support.model_results import Journey


@dataclass(frozen=True, slots=True)
class Request:
    """A command in the model's terms. by: login, role, organisation; keys belong to the login.

    command: as it is sent, also when it is repeated.
    """

    kind: str
    by: tuple[str, str, str]
    fields: dict[str, Any]
    command: Any
    key: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """A read. of: id of its subject; after: where a page of the journal begins."""

    what: str
    of: str = ""
    after: int = 0


Expected = Callable[["DomainSpec", Journey, Read, int], Any]
"""The result of a read in the state after a position."""

_OUTCOMES = {
    "register": lambda m, f: {"person_id": f["person"]},
    "open": lambda m, f: {"application_id": f["app"]},
    "number": lambda m, f: dict(m.apps[f["app"]]["certs"]),
    "seat": lambda m, f: {"ticket_number": m.apps[f["app"]]["ticket"]},
    "object": lambda m, f: {"objection_id": f["objection"], "objector_id": f["person"]},
    "pay": lambda m, f: {
        "payment_id": f["payment"],
        "excess": any(m.apps[f["app"]]["paid"][f["payment"], c]["excess"] for c, _ in f["lines"]),
    },
}
"""Outcomes in the receipts of some commands."""


_SAID = {"registration_contested.v1": "person_registered.v1"}
"""Topics that an answer over HTTP names otherwise: it does not say that a document is taken."""


def _as_said(receipt: dict[str, Any]) -> dict[str, Any]:
    """A receipt, stored or answered, as it is answered over HTTP."""
    return receipt | {"topics": [_SAID.get(topic, topic) for topic in receipt["topics"]]}


class DomainSpec:
    """The sequential specification of commands."""

    def __init__(
        self, stored: Stored, model: Journey, base: int, now: datetime, reads: dict[str, Expected]
    ) -> None:
        """model: of the state after position `base`. now: when the history began; the model uses
        only its day."""
        self.stored = stored
        self._hasher = HASHER.of(stored.ledger, GivenEpochs())
        self._now = now
        self._reads = reads
        self._names = {row.command_id: (row.principal, row.key) for row in stored.commands}
        self._rows = {(row.principal, row.key): row for row in stored.commands}
        self._row_names: dict[tuple[str, str], tuple[str, str]] = {}
        self._principals = sorted({row.principal for row in stored.commands})
        self._requests: dict[Hashable, Any] = {}
        self._positions = [base]
        self._states = [pickle.dumps(model.__dict__)]
        self._opened: tuple[int, Journey] = (-1, model)
        self._expected: dict[tuple[str, str, int], Any] = {}

    # --- names -----------------------------------------------------------------------------------

    def name_of(self, asked: Any) -> Hashable | None:
        """Principal and stored key: all attempts under it are one command."""
        return self._name(asked) if isinstance(asked, Request) else None

    def _name(self, asked: Request) -> tuple[str, str]:
        """The row of the request; the login and its key if none was recorded.

        The tables name no login, and an erased person's pseudonym is found by nothing: every
        principal is tried. A key is never used by two logins here.
        """
        named = self._row_names.get((asked.by[0], asked.key))
        if named is None:
            keyed = ((each, self._hasher.key(each, asked.key)) for each in self._principals)
            named = next((name for name in keyed if name in self._rows), (asked.by[0], asked.key))
            self._row_names[asked.by[0], asked.key] = named
        return named

    def name_of_event(self, event: Event) -> Hashable:
        """Principal and stored key of its command."""
        return self._names.get(event.command_id)

    def request_of(self, asked: Request) -> Hashable:
        """What a repeated request has to equal."""
        return repr(asked.command)

    # --- commands --------------------------------------------------------------------------------

    def take(self, asked: Request, events: Sequence[Event]) -> str | None:
        """Apply one command, unless the model refuses it."""
        model = self.model(self._positions[-1])
        refused = self._try(model, asked)
        if refused is not None:
            return f"the model refuses it: {refused}"
        outcome = json.loads(self._row(events).receipt)["outcome"]
        expected = _OUTCOMES.get(asked.kind, lambda _, __: {})(model, asked.fields)
        said = {name: _plain_number(value) for name, value in outcome.items()}
        # Of two certificates only the new one is in the outcome, if the other had its number.
        both = said.keys() & expected.keys()
        if any(said[name] != expected[name] for name in both) or (expected and not both):
            return f"its outcome is {outcome}, not {expected}"
        self._requests[self.name_of(asked)] = asked.command
        self._positions.append(events[-1].position)
        self._states.append(pickle.dumps(model.__dict__))
        return None

    def _try(self, model: Journey, request: Request) -> str | None:
        """Apply a request to a model. Returns: the refusal; then the model is unusable."""
        model.by = (model.login(request.by[0]), *request.by[1:])
        model.now, model.today = self._now, day_of(self._now)
        try:
            getattr(model, request.kind)(**request.fields)
        except ModelRefused as refused:
            return str(refused)
        if model.by[1] != "candidate":
            model.staff.add(model.by[0])
        return None

    def model(self, position: int) -> Journey:
        """A copy of the model after a position."""
        place = bisect_right(self._positions, position) - 1
        model = Journey()
        model.__dict__ = pickle.loads(self._states[place])
        return model

    def _row(self, events: Sequence[Event]) -> Any:
        return self._rows[self._names[events[0].command_id]]

    # --- answers ---------------------------------------------------------------------------------

    def answer_error(self, operation: Operation, events: Sequence[Event]) -> str | None:
        """The receipt equals the stored one, and names the positions of the events."""
        answer = operation.answer
        assert isinstance(answer, Wrote)
        receipt = _as_said(dict(answer.receipt))
        stored_receipt = _as_said(json.loads(self._row(events).receipt))
        if receipt != stored_receipt:
            return f"the stored receipt is {stored_receipt}"
        first = events[0]
        truth = {
            "command_id": first.command_id,
            "ledger": self.stored.ledger,
            "stream": first.stream,
            "version": max(e.version for e in events if e.stream == first.stream),
            "first_position": first.position,
            "last_position": events[-1].position,
            "topics": [_SAID.get(e.topic, e.topic) for e in events],
            "recorded_at": first.parsed["recorded_at"],
        }
        wrong = {name: receipt.get(name) for name in truth if receipt.get(name) != truth[name]}
        return f"{wrong} is not {truth}" if wrong else None

    def agrees(self, operation: Operation, position: int) -> bool:
        """Refusals, replays and reads of the ledger itself."""
        answer, asked = operation.answer, operation.asked
        if isinstance(answer, Saw):
            return bool(answer.what == self.expected(asked, position))
        assert isinstance(asked, Request), f"{asked} got {answer}"
        row = self._rows.get(self._name(asked))
        known = row is not None and (row.last_position or 0) <= position
        same = self._requests.get(self._name(asked)) == asked.command
        if isinstance(answer, Replayed):
            if row is None or not (known and same):
                return False
            return _as_said(dict(answer.receipt)) == _as_said(json.loads(row.receipt))
        assert isinstance(answer, Refused)
        if known:
            # The key takes precedence: the first receipt again, or this refusal.
            return not same and answer.code == "idempotency_key_reused"
        return self._try(self.model(position), asked) == answer.code

    def shows(self, operation: Operation, position: int) -> bool:
        """Views, compared with the model and the journal."""
        return bool(operation.answer.what == self.expected(operation.asked, position))

    def expected(self, read: Read, position: int) -> Any:
        """What a read gives in the state after a position."""
        key = (read.what, read.of, read.after, position)
        if key not in self._expected:
            if self._opened[0] != position:
                self._opened = position, self.model(position)
            self._expected[key] = self._reads[read.what](self, self._opened[1], read, position)
        return self._expected[key]

    def final(self, stored: Stored) -> Iterable[Violation]:
        """Keys of an identity are destroyed exactly where an erasure destroyed them."""
        model = self.model(stored.position)
        erased = {person for person, p in model.persons.items() if "identity" in p["destroyed"]}
        gone = {person for person, wrapped in stored.keys.items() if wrapped is None}
        if erased != gone or model.persons.keys() != stored.keys.keys():
            different = (model.persons.keys() ^ stored.keys.keys()) | (erased ^ gone)
            yield Violation("keys differ", str(different))


def _plain_number(value: Any) -> Any:
    return without_check(value) if isinstance(value, str) else value
