"""What the background audit reports, from the process that audits to every service of a database.

A report travels as a NOTIFY with a seal under the row key, because an attacker with the
database can send notifications too; it covers the time, so that no report is good for long. The
last one that said something new is stored as well, so that what was found wrong stays so over a
restart. Reading order: AuditState, `to_payload`, `store_report`, AuditListener.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any

import orjson

from domain.store.keys.seals import row_seal
from domain.store.postgres.connection import Connection, connect
from domain.store.postgres.notifications import Notification, NotificationListener
from projections.engine.wrong_views import EVERY_LEDGER

CHANNEL = "certledger_audit"
"""NOTIFY channel of reports."""

FINDINGS_SHOWN = 20
"""Findings in a report, some of every check; all are counted."""

SILENT_S = 60.0
"""Without a report for so long, seconds, the audit counts as not running.

A report that was sent earlier than that is not taken, nor one that will be sent later."""

_SHOWN_WHOLE = (
    *("command", "attachment", "bucket", "epoch", "position"),
    *("function", "foreign_function", "trigger", "rule", "row_security"),
)

log = logging.getLogger("certledger.audit")

_PAYLOAD_BYTES = 7900  # PostgreSQL allows 7999


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that is not as it was written; holds no personal data.

    row: of another table, in words. what: for the operator's log; it is not sent.
    """

    check: str
    ledger: str | None
    position: int | None
    row: str | None
    what: str = ""

    def __str__(self) -> str:
        """The line of the log."""
        return f"{self.ledger or 'database'}: {self.check}: {self.what}"

    @property
    def shown_row(self) -> str | None:
        """The row as everybody may see it: without ids of persons and of their things."""
        kind, _, rest = (self.row or "").partition(" ")
        if kind == "claim":
            return f"{kind} {rest.partition(' ')[0]}"
        return f"{kind} {rest}".strip() if kind in _SHOWN_WHOLE else kind or None


@dataclass(frozen=True, slots=True)
class AuditState:
    """How far the audit is. Times are RFC 3339 texts in UTC.

    sequence: grows with every report. sent_at: seconds since 1970.
    position, of: events that this round has checked, and those there were at its start; each event
    is read several times. wrong_views: (view, ledger), or with EVERY_LEDGER.
    findings: of the last complete round and of this one; found: how many there are.
    """

    sequence: int = 0
    sent_at: float = 0.0
    round: int = 0
    position: int = 0
    of: int = 0
    started_at: str | None = None
    last_complete_at: str | None = None
    found: int = 0
    findings: tuple[AuditFinding, ...] = ()
    wrong_views: tuple[tuple[str, str], ...] = ()


def to_payload(state: AuditState, row_key: bytes) -> str:
    """A report as it is sent now: its seal, then JSON.

    Findings that have no room are left out; if even the ledgers of wrong views have none, the
    views are wrong in every ledger.
    """
    state = replace(state, sent_at=time.time())
    shown = tuple(replace(each, what="") for each in _first_of_each(state.findings))
    while True:
        body = orjson.dumps(asdict(replace(state, findings=shown)))
        if len(body) + 64 <= _PAYLOAD_BYTES:
            break
        if shown:
            shown = shown[:-1]
        else:
            everywhere = {(view, EVERY_LEDGER) for view, _ in state.wrong_views}
            state = replace(state, wrong_views=tuple(sorted(everywhere)))
    return row_seal(row_key, "", CHANNEL, "", body).hex() + body.decode()


def _first_of_each(findings: Sequence[AuditFinding]) -> list[AuditFinding]:
    """The first findings of every check: many of one must not hide the only one of another."""
    by_check: dict[str, list[AuditFinding]] = {}
    for each in findings:
        by_check.setdefault(each.check, []).append(each)
    rounds = zip_longest(*by_check.values())
    return [each for turn in rounds for each in turn if each is not None][:FINDINGS_SHOWN]


def from_payload(payload: str, row_keys: Sequence[bytes]) -> AuditState | None:
    """The report of a payload; None unless one of these keys sealed it."""
    seal, body = payload[:64], payload[64:].encode()
    expected = (row_seal(key, "", CHANNEL, "", body).hex() for key in row_keys)
    if not any([hmac.compare_digest(seal.encode(), each.encode()) for each in expected]):
        return None
    fields: dict[str, Any] = orjson.loads(body)
    findings = tuple(AuditFinding(**each) for each in fields.pop("findings"))
    views = tuple((view, ledger) for view, ledger in fields.pop("wrong_views"))
    return AuditState(**fields, findings=findings, wrong_views=views)


def store_report(connection: Connection, payload: str) -> None:
    """Store a report in place of the last one. Raises: psycopg2.Error."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO certledger.audit_reports (name, report) VALUES ('last', %s) "
            "ON CONFLICT (name) DO UPDATE SET report = excluded.report",
            (payload,),
        )


def stored_report(connection: Connection, row_keys: Sequence[bytes]) -> AuditState | None:
    """What the report that was stored last says of views; None if there is none with a right seal.

    What else was found may have been put right; the next round finds what was not.
    Raises: psycopg2.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT report FROM certledger.audit_reports WHERE name = 'last'")
        found = cursor.fetchone()
    state = None if found is None else _read(found[0], row_keys)
    if state is None:
        return None
    findings = tuple(each for each in state.findings if each.check == "views")
    return replace(state, findings=findings, found=len(findings))


def _read(payload: str, row_keys: Sequence[bytes]) -> AuditState | None:
    try:
        return from_payload(payload, row_keys)
    except (ValueError, TypeError, KeyError):
        return None


class AuditListener:
    """The newest report of the audit of a database, whichever service's process audits it."""

    def __init__(
        self,
        dsn: str,
        row_keys: Sequence[bytes],
        on_state: Callable[[AuditState, AuditState], None],
    ) -> None:
        """on_state: called with the state before and the new one, on the listener's thread."""
        self._row_keys = row_keys
        self._on_state = on_state
        self._state = AuditState()
        self._heard_at: float | None = None
        self._started_at: float | None = None
        self._has_refused = False  # since the last report that was taken
        self._lock = threading.Lock()
        self._listener = NotificationListener(
            lambda: connect(dsn, name="certledger audit reports"),
            (CHANNEL,),
            self._on_notifications,
            self._read_stored,
        )

    def start(self) -> None:
        """Start listening in the background."""
        self._started_at = time.monotonic()
        self._listener.start()

    def stop(self) -> None:
        """Stop listening."""
        self._listener.stop()

    @property
    def state(self) -> AuditState:
        """The newest report."""
        return self._state

    @property
    def is_running(self) -> bool:
        """Whether a report came within SILENT_S."""
        heard = self._heard_at
        return heard is not None and time.monotonic() - heard < SILENT_S

    @property
    def is_silent(self) -> bool:
        """Whether no report came within SILENT_S, although there was time for one."""
        since = self._heard_at or self._started_at
        return since is not None and time.monotonic() - since >= SILENT_S

    def _on_notifications(self, received: list[Notification]) -> None:
        for _, payload in received:
            state = _read(payload, self._row_keys)
            if state is not None:
                self._take(state)

    def _take(self, state: AuditState) -> None:
        age = time.time() - state.sent_at
        if abs(age) >= SILENT_S:
            if not self._has_refused:
                log.warning("reports of the audit are refused: one was sent %.0f s ago", age)
            self._has_refused = True
            return
        with self._lock:
            before = self._state
            # After a silence a new auditor may count lower, because its clock is another one.
            if state.sequence <= before.sequence and self.is_running:
                return  # an old report, sent again
            self._state = state
            self._heard_at = time.monotonic()
            self._has_refused = False
        self._on_state(before, state)

    def _read_stored(self, connection: Connection) -> None:
        """Take what was found before this service listened; that is no sign of a running audit."""
        state = stored_report(connection, self._row_keys)
        with self._lock:
            before = self._state
            if state is None or state.sequence <= before.sequence:
                return
            self._state = state
        self._on_state(before, state)
