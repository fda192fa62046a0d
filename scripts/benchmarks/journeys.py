"""One long ledger: the example cohort many times, under other ids.

Every row of every copy is a command that the ledger decides, so the journal is lawful and has its
claims, receipts and keys. The rows are sent in the order in which they happened, each for all
copies, because the copies share the series of certificate numbers.
Reading order: `long_ledger`, _Copies, _Sender.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple

from api.cli.environment import CliEnvironment
from api.cli.import_ import EXAMPLE
from api.imports.importer import ANSWER_S, IN_FLIGHT, PUBLIC, Import, RowFiles
from api.imports.row_commands import RowCommand
from domain.actors import Actor
from domain.decision import Command
from domain.errors import LedgerError
from domain.events import CertificateNumbered
from domain.service.files import Files, SealedFile
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.steps.authority_report import FreezeReport
from domain.store.blobs import Blobs
from scripts.benchmarks.measure import say
from scripts.benchmarks.service import COHORT_LEDGER, document_of

NAME, SITE_CODE = "long", "S000033000456"

_ONCE = frozenset({"ledger", "editions", "edition_adoptions"})
"""Kinds of rows that are sent for the first copy only."""

_NAMES = frozenset(
    (
        *("person_id", "application_id", "payment_id", "session_id", "notice_id", "objection_id"),
        *("report_id", "provider_transaction_id", "merchant_order_no", "provider_refund_id"),
    )
)
"""Fields with a name that must differ from copy to copy; other fields may contain it."""

_DOCUMENT = re.compile(r"[0-9A-Z]{6,18}|南字第[0-9]+号")
_SHORT_ID = re.compile(r"([A-Z]{1,4})([0-9]{1,10})")


def long_ledger(store: CliEnvironment, events: int) -> Ledger:
    """The ledger `long` with about so many events; the cohort is in the database already."""
    source = Import(COHORT_LEDGER)
    source.read((EXAMPLE,))
    rows = list(source.commands())
    cohort = store.ledgers.get(COHORT_LEDGER)
    entries = cohort.mapper.entries(cohort.journal.events())
    copies = _Copies(
        [made.command for _, made, _ in rows],
        [entry.fact for entry in entries if isinstance(entry.fact, CertificateNumbered)],
    )
    number = -(-events // len(entries))
    sender = _Sender(store.ledgers.create(NAME, SITE_CODE), store.blobs)
    for row, made, actor in rows:
        kind = row.cells.kind.name
        for copy in range(1, 2 if kind in _ONCE else number + 1):
            if copies.needs_numbers(made.command):
                copies.learn(sender.receipts())
            copied = made._replace(command=copies.command(made.command, copy))
            sender.send(
                f"{kind}/{row.id}/{copy}", copied, copies.actor(actor, copy), row.occurred_at
            )
    sender.receipts()
    say(f"{sender.position} events of a long ledger; refused: {dict(sender.refused)}")
    return sender.ledger


class _Numbered(NamedTuple):
    """A certificate of the cohort."""

    application_id: str
    kind: str


class _Copies:
    """Commands of the cohort as its copies have them."""

    def __init__(self, commands: list[Command], numbered: list[CertificateNumbered]) -> None:
        self._named = {
            value
            for command in commands
            for name, value in command
            if name in _NAMES and isinstance(value, str)
        }
        longest_first = sorted(self._named, key=len, reverse=True)
        self._anywhere = re.compile("|".join(map(re.escape, longest_first)))
        self._documents: dict[tuple[str, int], str] = {}
        self._numbered = {
            fact.number: _Numbered(fact.application_id, fact.kind.value) for fact in numbered
        }
        self._numbers: dict[str, dict[str, str]] = {}  # application of a copy -> kind -> number

    def needs_numbers(self, command: Command) -> bool:
        """Whether the command contains a certificate number that the ledger gave."""
        return "number" in type(command).model_fields

    def learn(self, receipts: list[tuple[Command, Receipt]]) -> None:
        """Remember the certificate numbers that were given."""
        for command, receipt in receipts:
            if "national" in receipt.outcome:
                application: str = command.application_id  # type: ignore[attr-defined]
                self._numbers[application] = receipt.outcome

    def actor(self, actor: Actor, copy: int) -> Actor:
        """Candidates differ from copy to copy, staff does not."""
        if actor.organisation != PUBLIC:
            return actor
        return actor.model_copy(update={"subject": f"{actor.subject}.{copy}"})

    def command(self, command: Command, copy: int) -> Command:
        """The command of one copy."""
        fields = command.model_dump()
        if "site_code" in fields:
            fields |= {"site_code": SITE_CODE, "log_origin": f"bench.example/{NAME}"}
        if "document_number" in fields:
            number = self._document(fields["document_number"], copy)
            fields |= {"document_type": "resident_id", "document_number": number}
            if fields.get("subject"):
                fields["subject"] = f"{fields['subject']}.{copy}"
        if fields.get("file_name"):
            fields["file_name"] = self._file_name(fields["file_name"], copy)
        if self.needs_numbers(command):
            fields["number"] = self._number(fields["number"], copy)
        return type(command).model_validate(self._renamed(fields, copy))

    def _document(self, number: str, copy: int) -> str:
        """The document number of a copy: one that nobody has yet, and always the same."""
        if (number, copy) not in self._documents:
            self._documents[number, copy] = document_of(len(self._documents))
        return self._documents[number, copy]

    def _file_name(self, name: str, copy: int) -> str:
        """A photo is named for its person's document."""
        for number in _DOCUMENT.findall(name):
            if (number, copy) in self._documents:
                return name.replace(number, self._documents[number, copy])
        return name

    def _number(self, number: str, copy: int) -> str:
        known = self._numbered[number]
        given = self._numbers.get(_renamed(known.application_id, copy))
        if given is not None:
            return given[known.kind]
        # One that the authority gave: the same series, another serial.
        return f"{SITE_CODE}{number[len(SITE_CODE) : -6]}{int(number[-6:]) + 1000 * copy:06d}"

    def _renamed(self, value: Any, copy: int) -> Any:
        if isinstance(value, dict):
            return {key: self._renamed(inner, copy) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._renamed(inner, copy) for inner in value]
        if isinstance(value, str):
            return self._anywhere.sub(lambda found: _renamed(found[0], copy), value)
        return value


def _renamed(name: str, copy: int) -> str:
    """The name in one copy: `P0031` is `PAAB0031`, another one gets the number at its end."""
    plain = _SHORT_ID.fullmatch(name)
    if plain is None:
        return f"{name}{copy:05d}" if name.isdigit() else f"{name}-{copy}"
    letters, digits = plain.groups()
    if len(digits) + 4 <= 10:
        return f"{letters}{copy:04d}{digits}"
    return f"{letters}{_in_letters(copy)}{digits}"


def _in_letters(copy: int) -> str:
    """Three capitals."""
    return "".join(chr(ord("A") + copy // 26**place % 26) for place in (2, 1, 0))


class _Sender:
    """Sends commands, many in flight, and counts what is refused."""

    def __init__(self, ledger: Ledger, blobs: Blobs) -> None:
        self.ledger = ledger
        self._files = Files(ledger, blobs)
        self._row_files = RowFiles(self._files)
        self.position = 0
        self.refused: Counter[str] = Counter()
        self._in_flight: deque[tuple[Command, Future[Receipt]]] = deque()
        self._receipts: list[tuple[Command, Receipt]] = []

    def send(self, key: str, made: RowCommand, actor: Actor, occurred_at: datetime) -> None:
        """Store the file of a row, and send its command; waits while too many are in flight."""
        if len(self._in_flight) >= IN_FLIGHT:
            self._settle()
        try:
            sealed = self._stored(made)
        except LedgerError as refusal:
            self.refused[refusal.code] += 1
            return
        command = made.command if sealed is None else made.named(sealed.sha256)
        future = self.ledger.submit(
            command,
            actor,
            key=key,
            request=key.encode(),
            occurred_at=occurred_at,
            timeout_seconds=ANSWER_S,
            files=() if sealed is None else sealed.keys,
        )
        self._in_flight.append((command, future))

    def _stored(self, made: RowCommand) -> SealedFile | None:
        """Seal and store the file of a row; a report names the certificates of its copy."""
        if isinstance(made.command, FreezeReport):
            self._wait()
            numbers = [self._files.certified(each)[0] for each in made.command.application_ids]
            pairs = zip(made.sheet, numbers, strict=True)
            made = made._replace(
                sheet=tuple(row._replace(certificate_number=number) for row, number in pairs)
            )
        return self._row_files.store(made)

    def receipts(self) -> list[tuple[Command, Receipt]]:
        """Wait for every answer. Returns: the receipts since the last call."""
        self._wait()
        found, self._receipts = self._receipts, []
        return found

    def _wait(self) -> None:
        while self._in_flight:
            self._settle()

    def _settle(self) -> None:
        command, future = self._in_flight.popleft()
        try:
            receipt = future.result()
        except LedgerError as refusal:
            self.refused[refusal.code] += 1
            return
        self.position = max(self.position, receipt.last_position)
        self._receipts.append((command, receipt))
