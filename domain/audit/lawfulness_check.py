"""Names events that no decision could have made; see `domain.lawfulness`.

Judging takes several times as long as everything else, so that a long ledger is judged by several
processes: each folds every event, and judges the commands of its share.
Reading order: LawfulnessCheck, judged_by_processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from domain.audit.events import Event, pages
from domain.audit.results import CheckResult, Pace, at_once
from domain.lawfulness.judge import Judge
from domain.service.ledger import LedgerSecrets, vault_of
from domain.store.errors import WrongKey
from domain.store.journal.journal import Journal
from domain.store.keys.key_signatures import is_signature
from domain.store.privacy.field_encryption import Vault
from domain.store.processes.pool import WorkerPool
from domain.values.sealed_fields import KEY

CHECK = "lawfulness"


class LawfulnessCheck:
    """Judges every event of a ledger, or a share of its commands.

    A field that no key opens is a finding of its own, once for each key; what rests on it is not
    judged, so that one exchanged key does not make a whole journey unlawful.
    """

    def __init__(self, ledger: str, vault: Vault, share: tuple[int, int] = (0, 1)) -> None:
        """share: (index, of), as for `Judge`."""
        self.result = CheckResult(CHECK)
        self._vault = vault
        self._closed: set[str] = set()
        self._judge = Judge(ledger, self._open, vault.blind_index, is_signature, share=share)

    def _open(self, stream: str, version: int, path: str, sealed: Mapping[str, str]) -> Any:
        try:
            return self._vault.open(stream, version, path, sealed)
        except WrongKey:
            key = sealed[KEY]
            if key not in self._closed:
                self._closed.add(key)
                what = f"{path} at version {version} of {stream} does not open, and is not judged"
                self.result.find(what, row=f"key {key}")
            return None

    def page(self, events: Sequence[Event]) -> None:
        """Judge the commands of a page."""
        for event in events:
            self._judge.next(event.position, event.envelope)

    def finish(self, upto: int, pace: Pace) -> None:
        """Judge the last command, and report."""
        judge = self._judge
        judge.close()
        self.result.count("events judged", judge.judged)
        for reason, number in sorted(judge.reasons.items()):
            self.result.count(f"not judged ({reason})", number)
        kept = len(judge.unlawful)
        for found in judge.unlawful:
            self.result.find(str(found), found.position)
        self.result.found += judge.unlawful_count - kept


@contextmanager
def judged_by_processes(
    journal: Journal, secrets: LedgerSecrets, upto: int, processes: int
) -> Iterator[Callable[[], CheckResult]]:
    """Judge in child processes while the block does something else.

    Yields: a function that waits for the result. Raises, from it: WorkerError, Unavailable.
    """
    factory = partial(_judge_of, journal.dsn, journal.ledger, secrets, upto, processes)
    with WorkerPool(factory, processes) as pool:
        results = pool.map_unordered(list(range(processes)))
        yield lambda: _joined(results)


def _judge_of(
    dsn: str, ledger: str, secrets: LedgerSecrets, upto: int, processes: int
) -> Callable[[int], CheckResult]:
    """What a child process calls once; returns what judges a share there."""

    def judge(share: int) -> CheckResult:
        journal = Journal(dsn, ledger, None)
        check = LawfulnessCheck(ledger, vault_of(journal, secrets), (share, processes))
        for _, events in pages(journal, upto):
            check.page(events)
        check.finish(upto, at_once)
        journal.close()
        return check.result

    return judge


def _joined(results: Iterator[CheckResult]) -> CheckResult:
    """The results of all shares as one, findings in order of position."""
    joined = CheckResult(CHECK)
    for result in results:
        for what, number in result.counts.items():
            joined.count(what, number)
        joined.findings += [each for each in result.findings if each not in joined.findings]
        joined.found += result.found
    joined.findings.sort(key=lambda finding: finding.position or 0)
    return joined
