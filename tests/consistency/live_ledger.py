"""A service process on a copy of the cohort's ledger, and a second process that reads it.

The service is a process of its own. The test changes its database through connections that are not
the service's, and reads over HTTP and as another process of the program, which had read the ledger
before it was changed. Begin with `running_on`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from api.settings import Settings
from domain.audit.full import FullReport, audit_ledger, subject_of
from domain.service.ledger import Ledger
from domain.store.tlog.checkpoints import leaf_hashes
from domain.store.tlog.merkle import root
from domain.store.tlog.signed_note import Checkpoint
from tests.consistency.service_process import ServiceProcess
from tests.support.honest import Copy
from tests.support.ledgers import SITE_CODE
from tests.support.rolled_back import fees_from, heads, problems
from tests.support.service import LedgerClient
from tests.support.waiting import wait_until

ORIGIN = "certledger.example/omc"

FEES_PATH = "editions/fees"
"""A command that concerns nothing else of the ledger."""

PATIENCE_S = 20.0
"""How long a busy machine may take for what a service does within two seconds."""

SWITCHES = {"lookup_limit": False, "lookup_processes": 0, "background_audit": False, "work": False}
"""Settings of a service that records and audits nothing by itself."""


@dataclass
class LiveLedger:
    """The ledger while a service runs on it.

    reader: the same ledger as this process has it open. leaves: the leaf hashes that were
    acknowledged, in order of position.
    """

    copy: Copy
    service: ServiceProcess
    api: LedgerClient
    reader: Ledger
    leaves: list[bytes]

    def get(self, path: str, role: str, subject: str | None = None) -> httpx.Response:
        return self.api.caller(role, subject).get(path)

    def code(self, path: str, role: str, subject: str | None = None) -> tuple[int, str | None]:
        """Status of a read, and the code that refuses it."""
        answer = self.get(path, role, subject)
        return answer.status_code, answer.json()["code"] if answer.is_error else None

    def refusal(self, day: int = 1) -> str | None:
        """The code that refuses a command; None if it is recorded. day: of January 2027."""
        answer = self.api.caller("operator").send(FEES_PATH, fees_from(f"2027-01-{day:02}"))
        if answer.status_code != 201:
            return str(answer.json()["code"])
        self.leaves += leaf_hashes(self.reader.journal, len(self.leaves), 2**62)
        return None

    def problems(self) -> set[str]:
        return problems(self.api)

    def wait_for_problem(self, code: str) -> None:
        wait_until(lambda: code in self.problems(), PATIENCE_S)

    def heads(self) -> dict[int, str]:
        """The heads of this machine, by size."""
        return heads(self.copy.settings, ORIGIN)

    def wait_for_head(self) -> None:
        """Wait until the last acknowledged event is signed."""
        wait_until(lambda: len(self.leaves) in self.heads())

    def ensure_only_truth_is_signed(self) -> None:
        """Every head is over events that were acknowledged, as they were then."""
        for size, note in self.heads().items():
            head = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
            assert head.size == size <= len(self.leaves)
            assert head.root == root(self.leaves[:size]), f"the head of size {size}"

    def restart(self) -> None:
        """Kill the service and start it again at the same address."""
        self.service.kill()
        self.service.start()

    def audit(self, *, quick: bool = False) -> FullReport:
        """What `certledger verify` finds, from this process."""
        if not quick:
            return self.copy.audit()
        return audit_ledger(subject_of(self.reader), None, hashes_only=True)


def as_texts(settings: Settings) -> dict[str, Any]:
    """The directories and every secret of the settings, as another process gets them."""
    texts: dict[str, Any] = {"data_dir": str(settings.data_dir), "key_dir": settings.key_dir}
    for name, value in settings:
        if isinstance(value, SecretStr):
            texts[name] = value.get_secret_value()
        elif name.endswith("_retired"):
            texts[name] = [each.get_secret_value() for each in value]
    return texts


@contextmanager
def running_on(copy: Copy, **given: Any) -> Iterator[LiveLedger]:
    """A service process on a copy. given: settings."""
    if "head_places" in given:
        update = {"head_places": given["head_places"]}
        copy = replace(copy, settings=copy.settings.model_copy(update=update))
    service = ServiceProcess(**(as_texts(copy.settings) | SWITCHES | given))
    try:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
            reader = copy.store.ledgers.get("omc")
            size = reader.journal.head().position
            leaves = leaf_hashes(reader.journal, 0, size)
            api = LedgerClient(client, "omc", SITE_CODE)
            live = LiveLedger(copy, service, api, reader, leaves)
            wait_until(lambda: client.get("/ready").status_code == 200)
            yield live
    finally:
        service.stop()


@contextmanager
def another_on(live: LiveLedger, folder: Path) -> Iterator[LedgerClient]:
    """Another service on the same database: without the log key, and with heads of its own."""
    settings = as_texts(live.copy.settings) | {"data_dir": str(folder)}
    service = ServiceProcess(**(settings | SWITCHES))
    try:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
            wait_until(lambda: client.get("/ready").status_code == 200)
            yield LedgerClient(client, live.api.name, live.api.site_code)
    finally:
        service.stop()
