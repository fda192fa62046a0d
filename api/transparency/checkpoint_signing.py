"""Compares every ledger with its log while the service runs, and signs what is new.

An attacker who can write to the database as its owner can rewrite an event and its hash, but can't
sign the resulting tree. Each new head is therefore signed within SIGN_EVERY_S, and kept outside the
database: in `<data>/heads`, next to the key, and in the places of the settings. A ledger that does
not continue its heads, or has lost commands or logins of its last events, is not signed again, and
takes no commands (`domain.service.guards`, `domain.service.tail_check`).
Reading order: LogSigner, CheckpointSigningJob.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from api.settings import Settings
from api.transparency.erasure_register import ErasureRegister
from api.transparency.head_places import other_places, own_place
from api.transparency.health_problems import HealthProblems
from api.transparency.kept_heads import logs_of
from api.transparency.log_keys import NoLogKey, log_seed, newest_head_file
from domain.decision import NotFound
from domain.service.guards import LOG_NOT_CONTINUED
from domain.service.ledger import Ledger, Ledgers
from domain.service.tail_check import TailCheck
from domain.store.errors import HeadPlaceSilent, LogDiffers, SealBroken
from domain.store.journal.journal import Journal
from domain.store.tlog.checkpoints import CheckpointSigner
from domain.store.tlog.heads import HeadPlace
from domain.store.tlog.signed_note import Signer, Verifier

SIGN_EVERY_S = 1.0
"""Time between two comparisons, seconds: the longest time that an event stays unsigned."""

REMOVE_EVERY_S = 600.0
"""Time between two removals of old heads, seconds."""

UNSEALED_EVERY_S = 60.0
"""Time between two comparisons of a ledger in which a seal is broken, seconds."""

_SIGNED = "the log of ledger {} is not signed"
_ERASURES = "the erasures of ledger {} are not compared with their register"

log = logging.getLogger("certledger.signing")


class LogSigner:
    """Compares and signs the logs of the ledgers, each with its own key. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.places = other_places(settings)
        self._own = own_place(settings)
        self._signers: dict[str, CheckpointSigner] = {}
        self._origins: dict[str, str] = {}
        self._tails: dict[str, TailCheck] = {}
        self._unsealed_at: dict[str, float] = {}  # time.monotonic() of the next such comparison
        self._lock = threading.Lock()

    def watch(self, ledger: Ledger) -> None:
        """Have the first commands of a ledger wait until it was compared with its heads."""
        ledger.guard.require(lambda: self.compare(ledger))

    def compare(self, ledger: Ledger) -> None:
        """Compare a ledger with its heads and its last rows, and stop its commands if they differ.

        Where the log key is not, the heads of the second places are compared with the public key
        that the ledger names.
        Raises: SealBroken, HeadPlaceSilent, Unavailable.
        """
        self._guarded(ledger, lambda signer: signer.compare())

    def compare_with_all(self, ledger: Ledger) -> None:
        """Compare a ledger with every head once more, without stopping it.

        Raises: LogDiffers; NotFound if it is not set up; SealBroken, NoLogKey, Unavailable.
        """
        state = ledger.state("ledger")
        journal = ledger.journal
        self._new_signer(ledger, journal, state.log_origin, state.log_number).compare()

    def sign(self, ledger: Ledger) -> None:
        """Compare, then sign what is new; a stopped ledger is not signed.

        Raises: NoLogKey after the comparison; SealBroken, HeadPlaceSilent, Unavailable.
        """

        def work(signer: CheckpointSigner) -> None:
            if signer.can_sign:
                signer.sign()
            else:
                signer.compare()
                raise NoLogKey(ledger=ledger.name)

        if ledger.guard.stopped is None:
            self._guarded(ledger, work)

    def remove_old_heads(self) -> None:
        """Remove heads that need not be kept."""
        for origin in list(self._origins.values()):
            for place in (self._own, *self.places):
                try:
                    place.remove_old(origin)
                except HeadPlaceSilent as error:
                    log.debug("old heads stay: %s", error)

    def _guarded(self, ledger: Ledger, work: Callable[[CheckpointSigner], object]) -> None:
        try:
            try:
                ledger.check_history()
                if ledger.guard.stopped is None:
                    self._compare_tail(ledger)
                    work(self._signer(ledger))
            except SealBroken:
                self._compare_unsealed(ledger)
                raise
        except LogDiffers as error:
            ledger.guard.stop(LOG_NOT_CONTINUED, str(error))
        except NotFound:
            pass  # the ledger is not set up yet, so its log has no name

    def _compare_tail(self, ledger: Ledger) -> None:
        """Compare the commands and logins of the last events; also where the log key is not.

        Raises: LogDiffers; NotFound if the ledger is not set up; SealBroken, Unavailable.
        """
        tail = self._tails.get(ledger.name)
        if tail is None:
            ledger.state("ledger")  # journals of other programs have no commands
            with self._lock:
                tail = self._tails.setdefault(ledger.name, TailCheck(ledger.journal))
        head = ledger.journal.last_seen.head
        tail.compare(0 if head is None else head.position)

    def _compare_unsealed(self, ledger: Ledger) -> None:
        """Compare a ledger in which a seal is broken, without looking at seals.

        Raises: LogDiffers.
        """
        now = time.monotonic()
        if now < self._unsealed_at.get(ledger.name, 0.0):
            return
        self._unsealed_at[ledger.name] = now + UNSEALED_EVERY_S
        journal = Journal(ledger.journal.dsn, ledger.name, None)
        try:
            for present in logs_of(journal)[-1:]:
                self._new_signer(ledger, journal, present.origin, present.number).compare()
        finally:
            journal.close()

    def _signer(self, ledger: Ledger) -> CheckpointSigner:
        found = self._signers.get(ledger.name)
        if found is not None:
            return found
        state = ledger.state("ledger")
        signer = self._new_signer(ledger, ledger.journal, state.log_origin, state.log_number)
        with self._lock:
            self._origins[ledger.name] = state.log_origin
            return self._signers.setdefault(ledger.name, signer)

    def _new_signer(
        self, ledger: Ledger, journal: Journal, origin: str, number: int
    ) -> CheckpointSigner:
        try:
            signer: Signer | Verifier = Signer(
                origin, log_seed(self._settings, ledger.name, number)
            )
        except NoLogKey:
            # Of several services one signs; this one has no heads of its own, unless it once did.
            found = [log.public_key for log in logs_of(journal) if log.origin == origin]
            if not found or found[-1] is None:
                raise
            signer = Verifier(origin, found[-1])
        next_to_key = newest_head_file(self._settings, ledger.name, number)
        places: tuple[HeadPlace, ...] = (self._own, next_to_key, *self.places)
        return CheckpointSigner(
            journal, signer, places, wait_for_places=self._settings.head_places_required
        )


class CheckpointSigningJob:
    """One thread that compares and signs the logs of all ledgers, and registers their erasures.

    `stop` does both a last time.
    """

    def __init__(
        self,
        signer: LogSigner,
        register: ErasureRegister,
        ledgers: Ledgers,
        problems: HealthProblems,
    ) -> None:
        self._signer = signer
        self._register = register
        self._ledgers = ledgers
        self._problems = problems
        self._reported: dict[str, str] = {}
        self._remove_at = time.monotonic() + REMOVE_EVERY_S
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
                ledger = self._ledgers.get(name)
                self._signer.sign(ledger)
                self._reported.pop(_SIGNED.format(name), None)
                self._problems.clear("seal_missing", ledger=name)
                self._problems.clear("head_place_silent", ledger=name)
            except SealBroken as error:
                self._problems.raise_("seal_missing", ledger=name)
                self._report_once(name, error)
            except HeadPlaceSilent as error:
                self._problems.raise_("head_place_silent", ledger=name)
                self._report_once(name, error)
            except NoLogKey as error:
                self._report_once(name, error)
            except Exception:
                log.warning("could not sign the log of ledger %s", name, exc_info=True)
            self._compare_erasures(name)
        self._look_after_places()

    def _compare_erasures(self, name: str) -> None:
        """Also if the ledger is not signed here."""
        try:
            self._register.compare(self._ledgers.get(name))
        except HeadPlaceSilent as error:
            self._problems.raise_("head_place_silent", ledger=name)
            self._report_once(name, error, _ERASURES)
        except Exception as error:
            self._report_once(name, error, _ERASURES)
        else:
            self._reported.pop(_ERASURES.format(name), None)

    def _look_after_places(self) -> None:
        if any(place.is_silent for place in self._signer.places):
            self._problems.raise_("head_place_silent")
        else:
            self._problems.clear("head_place_silent")
        if time.monotonic() >= self._remove_at:
            self._remove_at = time.monotonic() + REMOVE_EVERY_S
            self._signer.remove_old_heads()

    def _report_once(self, name: str, error: Exception, what: str = _SIGNED) -> None:
        # Once instead of every second: it stays true until an operator acts.
        line = what.format(name)
        if self._reported.get(line) != str(error):
            self._reported[line] = str(error)
            log.error("%s: %s", line, error)
