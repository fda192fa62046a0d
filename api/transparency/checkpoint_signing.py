"""Signs the heads of the logs while the service runs, and keeps the newest outside the database.

Who can write to the database as its owner can rewrite an event and its hash. What they can't do is
sign the tree that would then be: so each head is signed shortly after it was reached, and its note
also stands in `<data>/heads/<ledger>`, from where `certledger verify` takes it. A log that does not
continue what was signed is not signed any more, and says so.
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
"""How long an event stays without a signed head over it while the service runs, seconds."""

log = logging.getLogger("certledger.signing")


def kept_head_path(settings: Settings, ledger: str) -> Path:
    """Where the newest signed head of a ledger's log is kept."""
    return settings.data_dir.expanduser().absolute() / "heads" / ledger


class CheckpointSigningJob:
    """One thread that signs the logs of all ledgers. `stop` signs a last time."""

    def __init__(self, settings: Settings, ledgers: Ledgers) -> None:
        self._settings = settings
        self._ledgers = ledgers
        self._signers: dict[str, CheckpointSigner] = {}
        self._kept: dict[str, int] = {}
        self._told: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="signing", daemon=True)

    def start(self) -> CheckpointSigningJob:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Sign what has come meanwhile, then end."""
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
            return  # no database at the moment; health tells that
        for name in names:
            try:
                self._sign(name)
            except (NoLogKey, InconsistentLog) as error:
                self._tell(name, error)
            except NotFound:
                pass  # the book is not open yet, so the log has no name
            except Exception:
                log.warning("the head of ledger %s was not signed", name, exc_info=True)

    def _sign(self, name: str) -> None:
        if name not in self._signers:
            ledger = self._ledgers.get(name)
            origin = ledger.state("ledger").opened.log_origin
            signer = Signer(origin, log_seed(self._settings, name))
            self._signers[name] = CheckpointSigner(ledger.journal, signer)
        head = self._signers[name].sign()
        if head is not None and self._kept.get(name) != head.size:
            keep_head(self._settings, name, head)
            self._kept[name] = head.size

    def _tell(self, name: str, error: Exception) -> None:
        # Once, and not every two seconds: it stays true until somebody acts.
        if name not in self._told:
            self._told.add(name)
            log.error("the log of ledger %s is not signed: %s", name, error)


def keep_head(settings: Settings, ledger: str, head: SignedCheckpoint) -> None:
    """Put a signed head beside the database, whole or not at all."""
    path = kept_head_path(settings, ledger)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.parent / f".{ledger}.{os.getpid()}"
    draft.write_text(head.note, encoding="utf-8")
    draft.replace(path)
