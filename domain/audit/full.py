"""Everything that `certledger verify` checks of one ledger, except its views.

Reading order: FullReport, audit_ledger, event_checks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from domain.audit.attachments_check import AttachmentsCheck
from domain.audit.bucket_keys_check import BucketKeysCheck
from domain.audit.claims_check import ClaimsCheck
from domain.audit.commands_check import CommandsCheck
from domain.audit.events import EventCheck, run
from domain.audit.lawfulness_check import LawfulnessCheck, judged_by_processes
from domain.audit.logins_check import LoginsCheck
from domain.audit.person_claims_check import PersonClaimsCheck
from domain.audit.persons_check import PersonsCheck
from domain.audit.results import CheckResult, Pace, at_once
from domain.audit.snapshots_check import SnapshotsCheck
from domain.service.ledger import Ledger, LedgerSecrets
from domain.store.blobs import Blobs
from domain.store.journal.journal import Journal
from domain.store.keys.login_keys import LoginKeys
from domain.store.mapper import EntryMapper
from domain.store.privacy.field_encryption import Vault
from domain.store.privacy.index_ciphers import StoredIndexes
from domain.store.tlog.audit import AuditReport, KeptHead, stored_head, verify
from domain.store.tlog.findings import Finding

PARALLEL_EVENTS = 50_000
"""Events from which several processes judge a ledger."""

PROCESSES_MAX = 4


class AuditSubject(NamedTuple):
    """The parts of a ledger that an audit reads. journal: has no sealer if its key is missing."""

    name: str
    journal: Journal
    mapper: EntryMapper
    vault: Vault
    login_keys: LoginKeys
    indexes: StoredIndexes


def subject_of(ledger: Ledger, *, seals: bool = True) -> AuditSubject:
    """A ledger to be audited. seals: False where the journal key is not known."""
    journal = ledger.journal if seals else Journal(ledger.journal.dsn, ledger.name, None)
    keys, indexes = ledger.logins.keys, ledger.indexes
    return AuditSubject(ledger.name, journal, ledger.mapper, ledger.vault, keys, indexes)


@dataclass(frozen=True, slots=True)
class FullReport:
    """The result of an audit. log: of events, seals and heads. checks: of everything else."""

    log: AuditReport
    checks: Sequence[CheckResult]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return self.log.is_good and all(check.is_good for check in self.checks)

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, check by check; at most FINDINGS_MAX of each."""
        found = list(self.log.findings)
        for check in self.checks:
            found += check.findings
        return found

    @property
    def first_bad_position(self) -> int | None:
        """The first position that a finding names; None if there is none.

        Where the events themselves were altered, the other checks find consequences.
        """
        if self.log.first_bad_position is not None:
            return self.log.first_bad_position
        named = [each.position for each in self.findings if each.position is not None]
        return min(named, default=None)


def audit_ledger(
    ledger: AuditSubject,
    blobs: Blobs | None,
    *,
    vkeys: Sequence[str] = (),
    heads: Sequence[KeptHead] = (),
    ends: Mapping[str, int] | None = None,
    lost: Sequence[Finding] = (),
    hashes_only: bool = False,
    secrets: LedgerSecrets | None = None,
) -> FullReport:
    """Check a whole ledger at once.

    blobs: the attachments; None leaves them out. vkeys, heads, ends: as for `verify` of the log.
    lost: of places that have lost their heads, which only the caller knows; reported with the log.
    hashes_only: events, seals and heads only, which takes a tenth of the time.
    secrets: of the ledger, so that several processes can judge a long one.
    Raises: Unavailable, WorkerError; BadNote for a malformed vkey. Everything else is in the
        report.
    """

    def of_log() -> AuditReport:
        log = verify(ledger.journal, vkeys, heads, ends=ends, hashes_only=hashes_only)
        log.findings += lost
        return log

    if hashes_only:
        return FullReport(of_log(), ())
    upto = stored_head(ledger.journal).position
    processes = min(os.cpu_count() or 1, PROCESSES_MAX)
    if secrets is None or upto < PARALLEL_EVENTS or processes == 1:
        return FullReport(of_log(), check_rest(ledger, blobs, at_once))
    with judged_by_processes(ledger.journal, secrets, upto, processes) as judged:
        log = of_log()
        checks = _check(ledger, upto, event_checks(ledger, blobs, judge=False), at_once)
        return FullReport(log, [*checks, judged()])


def check_rest(ledger: AuditSubject, blobs: Blobs | None, pace: Pace) -> list[CheckResult]:
    """Everything but the log and the views, piece by piece.

    Raises: Unavailable; what `pace` raises.
    """
    upto = stored_head(ledger.journal).position
    return _check(ledger, upto, event_checks(ledger, blobs), pace)


def _check(
    ledger: AuditSubject, upto: int, checks: Sequence[EventCheck], pace: Pace
) -> list[CheckResult]:
    run(ledger.journal, checks, upto, pace)
    commands = CommandsCheck(ledger.journal)
    commands.run(upto, pace)
    return [commands.result, *(check.result for check in checks)]


def event_checks(
    ledger: AuditSubject, blobs: Blobs | None, *, judge: bool = True
) -> list[EventCheck]:
    """The checks that follow the events, each at its beginning. judge: with lawfulness."""
    checks: list[EventCheck] = [
        ClaimsCheck(ledger.journal, ledger.mapper.catalogue),
        BucketKeysCheck(ledger.journal, ledger.vault.epoch_keys),
        PersonsCheck(ledger.journal, ledger.vault),
        PersonClaimsCheck(ledger.journal, ledger.vault, ledger.indexes),
        LoginsCheck(ledger.journal, ledger.vault, ledger.login_keys, ledger.indexes),
        SnapshotsCheck(ledger.journal, ledger.mapper),
    ]
    if blobs is not None:
        checks.append(AttachmentsCheck(blobs, ledger.journal, ledger.vault))
    if judge:
        checks.append(LawfulnessCheck(ledger.name, ledger.vault))
    return checks
