"""Signs a checkpoint of every log while the service runs, and stores it outside the database.

An attacker who can write to the database as its owner can rewrite an event and its hash, but can't
sign the resulting tree. Each new head is therefore signed within SIGN_EVERY_S, and its signed note
is also written to `<data>/heads/<ledger>`, where `certledger verify` reads it. A log that is not
consistent with its last checkpoint is no longer signed; the job logs that as an error.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from api.settings import Settings
from api.transparency.log_keys import NoLogKey, log_seed
from domain.decision import NotFound
from domain.service.ledger import Ledgers
from domain.store.errors import InconsistentLog
from domain.store.tlog.checkpoints import CheckpointSigner, SignedCheckpoint
from domain.store.tlog.signed_note import Signer

SIGN_EVERY_S = 2.0
"""Time between two checkpoints, seconds: the longest time that an event stays unsigned."""

log = logging.getLogger("certledger.signing")


def checkpoint_path(settings: Settings, ledger: str) -> Path:
    """The file of the latest checkpoint of a ledger's log."""
    return settings.data_dir.expanduser().absolute() / "heads" / ledger


class CheckpointSigningJob:
    """One thread that signs the logs of all ledgers; `stop` signs a last time."""

    def __init__(self, settings: Settings, ledgers: Ledgers) -> None:
        self._settings = settings
        self._ledgers = ledgers
        self._signers: dict[str, CheckpointSigner] = {}
        self._written: dict[str, int] = {}
        self._reported: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="signing", daemon=True)

    def start(self) -> CheckpointSigningJob:
        """Start the thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Sign the latest heads, then end the thread."""
        self._stopped.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._stopped.wait(SIGN_EVERY_S):
            self._sign_all()
        self._sign_all()

    def _sign_all(self) -> None:
        try:
            names = self._ledgers.names()
        except Exception:
            return  # the database is unreachable; /health reports that
        for name in names:
            try:
                self._sign(name)
            except (NoLogKey, InconsistentLog) as error:
                self._report_once(name, error)
            except NotFound:
                pass  # the ledger is not set up yet, so its log has no name
            except Exception:
                log.warning("could not sign the log of ledger %s", name, exc_info=True)

    def _sign(self, name: str) -> None:
        if name not in self._signers:
            ledger = self._ledgers.get(name)
            origin = ledger.state("ledger").opened.log_origin
            signer = Signer(origin, log_seed(self._settings, name))
            self._signers[name] = CheckpointSigner(ledger.journal, signer)
        head = self._signers[name].sign()
        if head is not None and self._written.get(name) != head.size:
            write_checkpoint(self._settings, name, head)
            self._written[name] = head.size

    def _report_once(self, name: str, error: Exception) -> None:
        # Once instead of every two seconds: it stays true until an operator acts.
        if name not in self._reported:
            self._reported.add(name)
            log.error("the log of ledger %s is not signed: %s", name, error)


def write_checkpoint(settings: Settings, ledger: str, head: SignedCheckpoint) -> None:
    """Write a checkpoint to its file atomically."""
    path = checkpoint_path(settings, ledger)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.parent / f".{ledger}.{os.getpid()}"
    draft.write_text(head.note, encoding="utf-8")
    draft.replace(path)
