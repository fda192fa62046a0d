"""Verifies everything again and again while the service runs, in small pieces.

One process of one service audits a database; the others wait for its advisory lock. It runs at the
lowest priority, and rests after each piece so long that it uses no more than its share of a
processor. Each round checks every ledger (log, seals, heads, commands, claims, keys, snapshots,
attachments, lawfulness) and compares the views with a rebuild; `audit_state` carries the reports.
Reading order: AuditProcess, `run` (what runs in the child), Auditor.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe

from api.settings import Settings
from api.transparency.audit_state import (
    CHANNEL,
    AuditFinding,
    AuditState,
    store_report,
    stored_report,
    to_payload,
)
from api.transparency.erasure_register import check_register
from api.transparency.kept_heads import kept_heads, logs_of, lost_own_heads, vkey_of
from domain.audit.full import check_rest, subject_of
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.store.blobs import Blobs
from domain.store.errors import StoreError, Unavailable
from domain.store.postgres.connection import Connection, close_quietly, connect
from domain.store.processes.child import Child, Supervisor
from domain.store.tlog.audit import stored_head, verify
from domain.store.tlog.findings import Finding
from domain.values.primitives import format_instant
from projections.catalogue import VIEWS
from projections.engine.view import View, ViewError
from projections.rebuild import rebuild
from projections.rebuild.compare import Difference

REPORT_EVERY_S = 2.0
"""Time between two reports, seconds; a finding is reported at once."""

RETRY_S = 5.0
"""Time between two attempts to become the auditor, and after a failure, seconds."""

PASSES = 3
"""How often a round reads each event: for the log, for the checks, for the views."""

UNCOMPARED_S = 600.0
"""After so long in which the views could not be compared that is a finding, seconds."""

UNCOMPARED_INTERVAL_S = 60.0
"""From the end of a round that could not compare the views to the next one at most, seconds."""

STOP_SECONDS = 10.0

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('certledger audit', 0))"

log = logging.getLogger("certledger.audit")


class Stopped(Exception):
    """The service that started this process has gone, or stops it."""


class AuditProcess(Supervisor):
    """Supervises the child process that audits."""

    def __init__(
        self, dsn: str, secrets: LedgerSecrets, settings: Settings, log_format: str
    ) -> None:
        """Starts nothing yet. log_format: of the lines the process writes to stderr."""
        given = (dsn, secrets, settings.without_secrets(), settings.blobs, log_format)
        super().__init__("audit process", partial(Child, run, *given), stop_seconds=STOP_SECONDS)


def run(
    pipe: Pipe, dsn: str, secrets: LedgerSecrets, settings: Settings, blobs: str, log_format: str
) -> None:
    """Audit until the parent exits or a signal arrives."""
    logging.basicConfig(stream=sys.stderr, format=log_format, level=logging.INFO)
    logging.getLogger("projections").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.nice(19)
    with suppress(Stopped):
        while True:
            try:
                _hold_and_audit(pipe, dsn, secrets, settings, Blobs(blobs))
            except Exception as error:
                if not hasattr(error, "pgcode") and not isinstance(error, Unavailable):
                    raise
                log.warning("the audit waits for the database: %s", str(error).strip())
            _rest(pipe, RETRY_S)


def _rest(pipe: Pipe, seconds: float) -> None:
    """Sleep. Raises: Stopped."""
    if pipe.poll(max(seconds, 0)):  # the parent never sends: it has gone
        raise Stopped


def _hold_and_audit(
    pipe: Pipe, dsn: str, secrets: LedgerSecrets, settings: Settings, blobs: Blobs
) -> None:
    """Become the auditor if there is none, and audit round after round.

    Raises: Stopped; psycopg2.Error, Unavailable.
    """
    connection = connect(dsn, name="certledger audit")
    try:
        with connection.cursor() as cursor:
            cursor.execute(_LOCK)
            if cursor.fetchone() != (True,):
                return
        with closing(Ledgers(dsn, secrets)) as ledgers:
            auditor = Auditor(ledgers, blobs, settings, dsn, secrets, connection, pipe)
            while True:
                auditor.round()
    finally:
        close_quietly(connection)


@dataclass
class _Round:
    """Findings of one round, in the order of detection."""

    findings: list[AuditFinding] = field(default_factory=list)
    found: int = 0
    wrong_views: set[tuple[str, str]] = field(default_factory=set)


def _last_round(state: AuditState | None) -> _Round:
    """The findings that were stored; they hold until a whole round no longer has them."""
    if state is None:
        return _Round()
    return _Round(list(state.findings), state.found, set(state.wrong_views))


def _place(found: Difference) -> tuple[object, ...]:
    """What tells the differing row from others."""
    return found.view, found.table.name, *found.key.values()


class Auditor:
    """Audits round after round, and reports. Used by one thread."""

    def __init__(
        self,
        ledgers: Ledgers,
        blobs: Blobs,
        settings: Settings,
        dsn: str,
        secrets: LedgerSecrets,
        connection: Connection,
        pipe: Pipe,
    ) -> None:
        """connection: holds the lock, and sends the reports."""
        self._ledgers = ledgers
        self._blobs = blobs
        self._settings = settings
        self._dsn = dsn
        self._secrets = secrets
        self._row_key = secrets.sealer.row_keys()[0]
        self._connection = connection
        self._pipe = pipe
        self._share = settings.audit_cpu_percent / 100
        self._round = self._last = _last_round(stored_report(connection, secrets.sealer.row_keys()))
        self._stored: object = None
        # The clock in the number: a report of an earlier process is never newer.
        self._state = AuditState(sequence=time.time_ns())
        self._worked_since = self._reported_at = time.monotonic()
        self._done = 0
        self._uncompared_since: float | None = None  # the first of the rounds in a row that skipped

    def round(self) -> None:
        """One round over every ledger and view, then wait until the next is due.

        Raises: Stopped; psycopg2.Error, Unavailable.
        """
        started = time.monotonic()
        names = self._ledgers.names()
        sizes = {name: stored_head(self._ledgers.get(name).journal).position for name in names}
        self._round, self._done = _Round(), 0
        self._state = replace(
            self._state,
            round=self._state.round + 1,
            position=0,
            of=sum(sizes.values()),
            started_at=format_instant(datetime.now(UTC)),
        )
        self._report()
        for name in names:
            ledger = self._ledgers.get(name)
            self._guarded(name, partial(self._check_log, ledger))
            self._done += sizes[name]
            self._guarded(name, partial(self._check_rest, ledger))
            self._done += sizes[name]
        self._check_views()
        self._complete()
        due = started + self._settings.audit_interval_s
        if self._uncompared_since is not None:
            due = min(due, time.monotonic() + UNCOMPARED_INTERVAL_S)
        self._wait(due)

    def _guarded(self, ledger: str, work: Callable[[], None]) -> None:
        """Run a check; what it cannot read is a finding too. Raises: Stopped, psycopg2.Error."""
        try:
            work()
        except (Stopped, Unavailable):
            raise
        except Exception as error:
            if hasattr(error, "pgcode"):
                raise
            log.exception("ledger %s could not be audited", ledger)
            what = f"could not be read: {type(error).__name__}"
            self._add([AuditFinding("audit", ledger, None, None, what)], 1)

    # --- the pieces ------------------------------------------------------------------------------

    def _check_log(self, ledger: Ledger) -> None:
        logs = logs_of(ledger.journal)
        vkeys = [vkey for log_ in logs if (vkey := vkey_of(self._settings, ledger.name, log_))]
        heads, _ = kept_heads(self._settings, ledger.name, logs)
        report = verify(
            ledger.journal,
            [vkey for vkey, _ in vkeys],
            heads,
            ends={each.origin: each.end for each in logs if each.end is not None},
            pace=self._pace,
        )
        lost = lost_own_heads(self._settings, ledger.name, ledger.journal)
        found = [*report.findings, *lost]
        self._find(ledger.name, found, len(found))
        erasures = check_register(self._settings, ledger.name, ledger.journal)
        self._find(ledger.name, erasures.findings, erasures.found)

    def _check_rest(self, ledger: Ledger) -> None:
        for check in check_rest(subject_of(ledger), self._blobs, self._pace):
            self._find(ledger.name, check.findings, check.found)

    def _check_views(self) -> None:
        """Compare the views with a rebuild, one by one if they cannot be compared together."""
        self._check_definitions()
        try:
            self._compare(VIEWS)
        except Unavailable:
            raise
        except ViewError as error:
            self._skip(error)  # somebody rebuilds them, or holds the lock of who does
            return
        except StoreError:
            for view in VIEWS:
                self._compare_alone(view)
        self._uncompared_since = None

    def _skip(self, error: ViewError) -> None:
        """The round is not complete; after UNCOMPARED_S that is a finding."""
        now = time.monotonic()
        if self._uncompared_since is None:
            self._uncompared_since = now
        self._round.wrong_views |= self._last.wrong_views
        log.info("the views were not compared: %s", error)
        if now - self._uncompared_since > UNCOMPARED_S:
            what = f"were not compared with a rebuild for a long time: {error}"
            self._add([AuditFinding("views", None, None, None, what)], 1)

    def _check_definitions(self) -> None:
        """What readers read are the tables that are compared, and nothing writes them otherwise."""
        for view, table in rebuild.altered_definitions(self._dsn, VIEWS):
            self._round.wrong_views |= {(view, ledger) for ledger in self._ledgers.names()}
            what = f"{view}: {table} does not show the rows of its table, as they are"
            self._add([AuditFinding("views", None, None, table, what)], 1)
        for name in rebuild.altered_functions(self._dsn):
            what = f"{name} is not as the program made it"
            self._add([AuditFinding("definitions", None, None, name, what)], 1)

    def _compare_alone(self, view: View) -> None:
        """Compare one view; an event or a key that cannot be read concerns some of them only."""
        try:
            self._compare((view,))
        except Unavailable:
            raise
        except (ViewError, StoreError) as error:
            self._round.wrong_views |= {
                each for each in self._last.wrong_views if each[0] == view.name
            }
            what = f"{view.name} could not be compared: {error}"
            self._add([AuditFinding("views", None, None, view.name, what)], 1)

    def _compare(self, views: Sequence[View]) -> None:
        """Compare views; those that differ are compared once more.

        An erasure that is recorded while a view is rebuilt makes a row differ, once.
        Raises: ViewError, StoreError.
        """
        found = self._differences(views)
        if found:
            keys = {_place(each) for each in found}
            wrong = {each.view for each in found}
            again = self._differences([view for view in views if view.name in wrong])
            found = [each for each in again if _place(each) in keys]
        self._round.wrong_views |= {(each.view, each.key["ledger"]) for each in found}
        self._find_views(found)

    def _differences(self, views: Sequence[View]) -> list[Difference]:
        return rebuild.audit(self._dsn, self._secrets, views, self._pace)

    # --- findings --------------------------------------------------------------------------------

    def _find(self, ledger: str, findings: Iterable[Finding], found: int) -> None:
        self._add(
            [
                AuditFinding(each.check, ledger, each.position, each.row, str(each))
                for each in findings
            ],
            found,
        )

    def _find_views(self, found: Sequence[Difference]) -> None:
        self._add(
            [
                AuditFinding("views", each.key["ledger"], None, each.table.name, str(each))
                for each in found
            ],
            len(found),
        )

    def _add(self, findings: Sequence[AuditFinding], found: int) -> None:
        known = {*self._last.findings, *self._round.findings}
        for each in findings:
            if each not in known:
                log.error("%s", each)
        self._round.findings += findings
        self._round.found += found
        if findings:
            self._report()

    def _complete(self) -> None:
        self._last = self._round
        self._state = replace(
            self._state,
            position=self._state.of,
            last_complete_at=(
                format_instant(datetime.now(UTC))
                if self._uncompared_since is None
                else self._state.last_complete_at
            ),
        )
        self._report()

    # --- pace and reports ------------------------------------------------------------------------

    def _pace(self, position: int) -> None:
        """Rest after a piece of work, and report. Raises: Stopped, psycopg2.Error."""
        now = time.monotonic()
        self._state = replace(
            self._state, position=min((self._done + position) // PASSES, self._state.of)
        )
        if now - self._reported_at > REPORT_EVERY_S:
            self._report()
        _rest(self._pipe, (now - self._worked_since) * (1 / self._share - 1))
        self._worked_since = time.monotonic()

    def _wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._report()
            _rest(self._pipe, min(left, REPORT_EVERY_S))
        self._worked_since = time.monotonic()

    def _report(self) -> None:
        """Send the state: findings of this round, and those of the last that may still be true."""
        findings = list(dict.fromkeys([*self._round.findings, *self._last.findings]))
        is_complete = self._last is self._round
        wrong = self._round.wrong_views | self._last.wrong_views
        self._state = replace(
            self._state,
            sequence=self._state.sequence + 1,
            found=self._round.found if is_complete else max(self._round.found, self._last.found),
            findings=tuple(findings),
            wrong_views=tuple(sorted(wrong)),
        )
        payload = to_payload(self._state, self._row_key)
        news = self._state.findings, self._state.wrong_views
        if news != self._stored:
            store_report(self._connection, payload)
            self._stored = news
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
        self._reported_at = time.monotonic()
