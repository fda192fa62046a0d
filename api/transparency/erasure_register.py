"""The register of erasures: what was erased of whom, by ids only, outside the database.

It is kept as heads are: in the data directory (`erasures`), of which every backup has a copy, and
in the second places of the settings, under the name of a log and the position of an event, never
overwritten. The entry in the data directory is written after the COMMIT that destroyed the keys and
before its receipt is given out; the second places have it within a second. What no place has is
written again from the journal. A ledger that lacks an erasure of the register was restored from
before it: neither commands nor reads of it are answered until it is done again.
Reading order: ErasureRegister.compare, `_compare_all`, `repeat`; `check_register` is for audits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from api.settings import Settings
from api.transparency.head_places import other_places, own_place
from api.transparency.health_problems import HealthProblems
from api.transparency.kept_heads import Log, logs_of
from api.transparency.log_keys import log_key_path
from domain.actors import Actor, Role
from domain.audit.results import CheckResult
from domain.decision import stream_of
from domain.service.ledger import Ledger
from domain.service.recovery import ORGANISATION
from domain.steps.erasure import RepeatErasure
from domain.steps.log_recovery import next_origin
from domain.store.errors import ErasuresMissing, HeadExists, HeadPlaceSilent, SealBroken
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.keys.seals import LedgerSealer
from domain.store.tlog.erasure_entries import (
    ErasureEntry,
    Erasures,
    chain,
    entry_from_text,
    gaps,
    recorded_erasures,
)
from domain.store.tlog.heads import DirectoryPlace, HeadPlace
from domain.values.sealed_fields import DataClass

LOOK_AGAIN_S = 3.0
"""How long an audit waits for an entry that may be on its way, seconds."""

REPEAT_S = 60.0
"""How long an erasure may take to be done again, seconds."""

_BEGUN = """SELECT stream, recorded_at FROM certledger.journal
WHERE ledger = %s AND stream = ANY(%s) AND version = 1"""

Key = tuple[str, int]
"""(log, position) of an entry."""

log = logging.getLogger("certledger.erasures")


def own_register(settings: Settings) -> HeadPlace:
    """The register in the data directory."""
    return DirectoryPlace(settings.data_dir.expanduser().absolute() / "erasures", make=True)


def register_name(origin: str) -> str:
    """Under which name a place keeps the erasures of a log; heads are kept under the origin."""
    return f"{origin} erasures"


@dataclass
class _Known:
    """What this process knows of the register of one ledger.

    log: the present one. last: its newest entry, by the journal. newest: position and event id of
    the journal's newest erasure, in whatever log. own: what the data directory has. missing: what
    the journal has lost. late: other places that were not compared yet. unnoted: by place, entries
    that it does not have yet. repeated_at: position at which an erasure was last done again.
    """

    is_compared: bool = False
    is_withheld_if_missing: bool = True
    log: str = ""
    last: ErasureEntry | None = None
    newest: tuple[int, str] | None = None
    own: dict[Key, ErasureEntry] = field(default_factory=dict)
    missing: list[ErasureEntry] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    unnoted: dict[str, list[ErasureEntry]] = field(default_factory=dict)
    repeated_at: int = 0
    comparing: threading.Lock = field(default_factory=threading.Lock)
    noting: threading.Lock = field(default_factory=threading.Lock)


class ErasureRegister:
    """The registers of the ledgers of one service. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        problems: HealthProblems | None = None,
        *,
        on_change: Callable[[frozenset[str]], None] = lambda _: None,
        have_folded: Callable[[str, int], bool] = lambda _, __: True,
    ) -> None:
        """problems: of the service. on_change: called with the ledgers of which no view is shown.

        have_folded: whether the views of a ledger have come to a position.
        """
        self._own = own_register(settings)
        self._others = other_places(settings)
        self._all_places = (self._own, own_place(settings), *self._others)
        self._problems = problems
        self._on_change = on_change
        self._have_folded = have_folded
        self._ledgers: dict[str, _Known] = {}
        self._hidden: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._reported: set[str] = set()

    def watch(self, ledger: Ledger, *, withhold: bool = True) -> None:
        """Register the erasures of a ledger, and have its first commands wait for a comparison.

        withhold: whether it is not served while it lacks erasures.
        """
        self._known(ledger.name).is_withheld_if_missing = withhold
        ledger.guard.require(lambda: self.compare(ledger))
        ledger.on_erasure = lambda: self.note(ledger)

    def note(self, ledger: Ledger) -> None:
        """Keep the newest erasures in the data directory.

        Raises: HeadPlaceSilent, SealBroken, Unavailable.
        """
        known = self._known(ledger.name)
        with known.noting:
            if known.is_compared:
                self._note_newest(ledger, known)
            elif logs := logs_of(ledger.journal):
                # It was opened since the comparison; the other places are compared later.
                known.late = {place.name for place in self._others}
                self._compare_own(ledger, known, logs, [each.origin for each in logs])

    def compare(self, ledger: Ledger) -> None:
        """Compare a ledger with its register, and withhold it while it lacks erasures.

        Every place gets what it lacks, another one as soon as it answers.
        Raises: HeadPlaceSilent if the data directory cannot be used; SealBroken, Unavailable.
        """
        known = self._known(ledger.name)
        with known.comparing:
            if not known.is_compared or known.missing or not self._note(ledger, known):
                self._compare_all(ledger, known)
            self._show(ledger, known)
            self._note_in_others(ledger, known)

    def missing(self, ledger: Ledger) -> list[ErasureEntry]:
        """The erasures that a ledger lacks, in order. Raises: as `compare`."""
        self.compare(ledger)
        return list(self._known(ledger.name).missing)

    def repeat(self, ledger: Ledger, operator: str) -> list[ErasureEntry]:
        """Do again what a ledger lacks, which must not be withheld. operator: their login.

        Returns: what was done. Raises: the refusal of a command, such as of a ledger that does not
        continue its log; as `compare`.
        """
        actor = Actor(subject=operator, role=Role.OPERATOR, organisation=ORGANISATION)
        done = self.missing(ledger)
        for entry in done:
            command = RepeatErasure(
                person_id=entry.person_id,
                lost_event_id=entry.event_id,
                lost_position=entry.position,
                classes=tuple(map(DataClass, entry.classes)),
            )
            key = f"repeat erasure {entry.event_id}"
            request = command.model_dump_json().encode()
            receipt = ledger.submit(
                command, actor, key=key, request=request, timeout_seconds=REPEAT_S
            ).result(2 * REPEAT_S)
            log.warning(
                "ledger %s: the erasure of position %d of log %s was done again at position %d",
                ledger.name, entry.position, entry.log, receipt.first_position,
            )  # fmt: skip
        self.compare(ledger)
        return done

    # --- the journal's erasures, into the places --------------------------------------------------

    def _known(self, name: str) -> _Known:
        with self._lock:
            return self._ledgers.setdefault(name, _Known())

    def _note(self, ledger: Ledger, known: _Known) -> bool:
        """Keep the newest erasures. Returns: whether the journal continues what was known of it."""
        if any(self._answers(place, known) for place in self._others if place.name in known.late):
            return False
        with known.noting:
            return self._note_newest(ledger, known)

    def _answers(self, place: HeadPlace, known: _Known) -> bool:
        try:
            place.sizes(register_name(known.log), 2**62)
        except HeadPlaceSilent:
            return False
        return True

    def _note_newest(self, ledger: Ledger, known: _Known) -> bool:
        newest = known.newest
        found = recorded_erasures(ledger.journal, 0 if newest is None else newest[0] - 1)
        events = found.events
        if newest is not None:
            if not events or _named(events[0]) != newest:
                known.is_compared = False
                return False
            events = events[1:]
        if not events:
            return True
        [*_, present] = logs_of(ledger.journal)
        if present.origin != known.log:  # under another origin, since
            known.is_compared = False
            return False
        entries = chain(ledger.name, present.origin, events, known.last)
        for event, entry in zip(events, entries, strict=True):
            self._keep(self._own, ledger, entry)
            known.own.setdefault(_key(entry), entry)
            for place in self._others:
                known.unnoted.setdefault(place.name, []).append(entry)
            known.last, known.newest = entry, _named(event)
        known.repeated_at = max(known.repeated_at, found.repeated_at)
        return True

    def _note_in_others(self, ledger: Ledger, known: _Known) -> None:
        """Bring the other places up to date; one that is silent gets the entries later."""
        for place in self._others:
            waiting = known.unnoted.get(place.name, [])
            try:
                while waiting:
                    self._keep(place, ledger, waiting[0])
                    del waiting[0]
            except HeadPlaceSilent as error:
                log.debug("ledger %s: the register of erasures: %s", ledger.name, error)

    def _keep(self, place: HeadPlace, ledger: Ledger, entry: ErasureEntry) -> None:
        """Write an entry, unless the place has it under the seal of another key."""
        name = register_name(entry.log)
        try:
            place.write(name, entry.position, entry.text(_sealer(ledger.journal)))
        except HeadExists:
            if _read(place, ledger.journal, entry.log, entry.position) != entry:
                self._report(
                    f"ledger {ledger.name}: {place.name} has something else in place of the "
                    f"erasure at position {entry.position} of log {entry.log}"
                )

    # --- everything, at the beginning and whenever something is not as it was ---------------------

    def _compare_all(self, ledger: Ledger, known: _Known) -> None:
        """Compare the journal with every entry of every place.

        Raises: HeadPlaceSilent of the data directory's place; SealBroken, Unavailable.
        """
        logs = logs_of(ledger.journal)
        if not logs:
            return  # the ledger is not set up yet
        origins = self._origins(logs)
        fetched = [self._fetch(place, ledger, known, origins) for place in self._others]
        with known.noting:
            written = self._compare_own(ledger, known, logs, origins)
            for place, had in zip(self._others, fetched, strict=True):
                known.unnoted[place.name] = [
                    each for each in _ordered(known.own.values(), origins) if _key(each) not in had
                ]
        if written:
            log.warning(
                "ledger %s: %s lacked %d erasures, which were written again from the journal",
                ledger.name, self._own.name, written,
            )  # fmt: skip

    def _compare_own(
        self, ledger: Ledger, known: _Known, logs: Sequence[Log], origins: Sequence[str]
    ) -> int:
        """Compare the journal with the data directory, which gets what it lacks.

        Returns: how many entries it lacked.
        """
        self._read_own(ledger, known, origins)
        found = recorded_erasures(ledger.journal)  # after the places: an entry follows its event
        entries = entries_of(ledger.name, logs, found.events)
        known.missing = _lacking(ledger.journal, known.own.values(), found)
        lacking = [each for each in entries if known.own.get(_key(each)) != each]
        for entry in lacking:
            self._keep(self._own, ledger, entry)
            known.own.setdefault(_key(entry), entry)
        known.log = logs[-1].origin
        present = [each for each in entries if each.log == known.log]
        known.last = present[-1] if present else None
        known.newest = _named(found.events[-1]) if found.events else None
        known.repeated_at = found.repeated_at
        known.is_compared = True
        return len(lacking)

    def _origins(self, logs: Sequence[Log]) -> list[str]:
        """The logs of a ledger, and those that a database from before a recovery does not know.

        Of such a log a place has heads, if it has no erasures.
        """
        origins = [each.origin for each in logs]
        number = logs[-1].number
        while True:
            number += 1
            following = next_origin(origins[-1], number)
            names = (register_name(following), following)
            if not any(_sizes(place, name) for place in self._all_places for name in names):
                return origins
            origins.append(following)

    def _fetch(
        self, place: HeadPlace, ledger: Ledger, known: _Known, origins: Sequence[str]
    ) -> set[Key]:
        """Copy what another place has and the data directory lacks. Returns: what it has."""
        had: set[Key] = set()
        known.late.add(place.name)
        try:
            for origin in origins:
                own = set(self._own.sizes(register_name(origin)))
                for position in place.sizes(register_name(origin)):
                    had.add((origin, position))
                    if position in own:
                        continue
                    entry = self._checked(place, ledger, origin, position)
                    if entry is not None:
                        self._keep(self._own, ledger, entry)
        except HeadPlaceSilent as error:
            if error.place == self._own.name:
                raise
            self._report(f"ledger {ledger.name}: the register of erasures is not compared: {error}")
        else:
            known.late.discard(place.name)
        return had

    def _read_own(self, ledger: Ledger, known: _Known, origins: Sequence[str]) -> None:
        """Read what is new in the data directory, and forget what is not there any more."""
        kept: dict[Key, ErasureEntry] = {}
        for origin in origins:
            for position in self._own.sizes(register_name(origin)):
                entry = known.own.get((origin, position))
                entry = entry or self._checked(self._own, ledger, origin, position)
                if entry is not None:
                    kept[origin, position] = entry
        known.own = kept

    def _checked(
        self, place: HeadPlace, ledger: Ledger, origin: str, position: int
    ) -> ErasureEntry | None:
        """An entry with a right seal; None, and a line in the log, for anything else."""
        entry = _read(place, ledger.journal, origin, position)
        if entry is None:
            self._report(
                f"ledger {ledger.name}: what {place.name} has for the erasure at position "
                f"{position} of log {origin} has no right seal, and counts for nothing"
            )
        return entry

    # --- what is served ---------------------------------------------------------------------------

    def _show(self, ledger: Ledger, known: _Known) -> None:
        """Serve the ledger or not. Its views are shown once they have folded the repetitions."""
        name, is_missing = ledger.name, bool(known.missing)
        is_hidden = is_missing or not self._have_folded(name, known.repeated_at)
        with self._lock:
            hidden = self._hidden | {name} if is_hidden else self._hidden - {name}
            if hidden != self._hidden:
                self._hidden = hidden
                self._on_change(hidden)
        ledger.guard.withhold(is_missing and known.is_withheld_if_missing)
        if self._problems is None:
            return
        if is_hidden:
            self._problems.raise_(ErasuresMissing.code, ledger=name)
        else:
            self._problems.clear(ErasuresMissing.code, ledger=name)

    def _report(self, line: str) -> None:
        """Once instead of every second: it stays true until an operator acts."""
        if line not in self._reported:
            self._reported.add(line)
            log.error("%s", line)


def _key(entry: ErasureEntry) -> Key:
    return entry.log, entry.position


def _named(event: RecordedEvent) -> tuple[int, str]:
    return event.position, str(event.event_id)


def _sealer(journal: Journal) -> LedgerSealer:
    sealer = journal.sealer
    assert sealer is not None, "a service that opens ledgers has the key of their seals"
    return sealer


def _ordered(entries: Iterable[ErasureEntry], origins: Sequence[str]) -> list[ErasureEntry]:
    """Entries in the order in which they were made."""
    return sorted(entries, key=lambda each: (origins.index(each.log), each.position))


def _sizes(place: HeadPlace, name: str) -> list[int]:
    """The positions that a place has under a name; none if it does not answer."""
    try:
        return place.sizes(name)
    except HeadPlaceSilent:
        return []


def _read(place: HeadPlace, journal: Journal, origin: str, position: int) -> ErasureEntry | None:
    """An entry with a right seal, where it belongs. Raises: HeadPlaceSilent."""
    text = place.read(register_name(origin), position)
    try:
        entry = entry_from_text(text or "", _sealer(journal))
    except SealBroken:
        return None
    return entry if _key(entry) == (origin, position) else None


def entries_of(
    ledger: str, logs: Sequence[Log], events: Sequence[RecordedEvent]
) -> list[ErasureEntry]:
    """The entries that the erasures of a journal have, log by log."""
    entries: list[ErasureEntry] = []
    after = 0
    for each in logs:
        end = 2**63 if each.end is None else each.end
        within = (event for event in events if after < event.position <= end)
        entries += chain(ledger, each.origin, within)
        after = end
    return entries


def _lacking(
    journal: Journal, entries: Iterable[ErasureEntry], found: Erasures
) -> list[ErasureEntry]:
    """The entries whose erasure is neither in the journal nor was done again, in order.

    Of somebody whom the restored events do not know, there is nothing to erase; who is registered
    under their id afterwards is somebody new.
    """
    done = {str(event.event_id) for event in found.events} | found.repeated
    lost = [entry for entry in entries if entry.event_id not in done]
    if not lost:
        return []
    streams = [stream_of("person", entry.person_id) for entry in lost]
    begun: dict[str, datetime] = dict(journal.query(_BEGUN, (journal.ledger, streams)))
    lost = [
        entry
        for entry, stream in zip(lost, streams, strict=True)
        if stream in begun and begun[stream] < entry.recorded_at
    ]
    return sorted(lost, key=lambda entry: (entry.recorded_at, entry.position))


# --- for audits -----------------------------------------------------------------------------------


class _Places(NamedTuple):
    own: HeadPlace
    others: Sequence[HeadPlace]


def check_register(settings: Settings, ledger: str, journal: Journal) -> CheckResult:
    """Compare the register with the journal, without changing either.

    Names erasures that the journal lacks, those that the data directory lacks, entries that are
    none, and where one is missing between others. Raises: Unavailable.
    """
    result = CheckResult("erasures")
    if journal.sealer is None:
        result.skipped = "the journal key is not here"
        return result
    logs = logs_of(journal)
    if not logs:
        return result
    places = _Places(own_register(settings), other_places(settings))
    try:
        _check(settings, ledger, journal, logs, places, result)
    except HeadPlaceSilent as error:
        result.find(str(error))
    except SealBroken as error:
        result.find("an erasure has no right seal", error.position)
    return result


def _check(
    settings: Settings,
    ledger: str,
    journal: Journal,
    logs: Sequence[Log],
    places: _Places,
    result: CheckResult,
) -> None:
    kept: dict[Key, ErasureEntry] = {}
    for place in (places.own, *places.others):
        for each in logs:
            for position in _sizes(place, register_name(each.origin)):
                entry = _read(place, journal, each.origin, position)
                if entry is not None:
                    kept[_key(entry)] = entry
                else:
                    what = f"{place.name} has no erasure with a right seal"
                    result.find(what, row=f"position {position} of log {each.origin}")
    result.count("erasures in the register", len(kept))
    found = recorded_erasures(journal)  # after the places: an entry follows its event
    expected = entries_of(ledger, logs, found.events)
    for entry in _lacking(journal, kept.values(), found):
        what = "was erased, but the journal has lost it: certledger erasures --repeat"
        result.find(what, row=f"position {entry.position} of log {entry.log}")
    for each in logs:
        of_log = [entry for entry in (*kept.values(), *expected) if entry.log == each.origin]
        for entry in gaps(of_log):
            # Beyond the end, two operators have accepted the loss of whatever there was.
            if each.end is None or entry.position <= each.end:
                what = "the erasure before this one is neither in the journal nor in any place"
                result.find(what, row=f"position {entry.position} of log {entry.log}")
    is_signing = any(log_key_path(settings, ledger, each.number).exists() for each in logs)
    if is_signing or any(_sizes(places.own, register_name(each.origin)) for each in logs):
        _check_own(places.own, expected, result)


def _check_own(own: HeadPlace, expected: Sequence[ErasureEntry], result: CheckResult) -> None:
    """Name the erasures that the data directory lacks; one may be on its way."""
    until = time.monotonic() + LOOK_AGAIN_S
    lacking = list(expected)
    while True:
        names = {each.log for each in lacking}
        had = {(name, size) for name in names for size in _sizes(own, register_name(name))}
        lacking = [entry for entry in lacking if _key(entry) not in had]
        if not lacking or time.monotonic() > until:
            break
        time.sleep(0.1)
    if lacking:
        what = f"{own.name} lacks {len(lacking)} erasures; a service that starts writes them again"
        result.find(what, lacking[0].position)
