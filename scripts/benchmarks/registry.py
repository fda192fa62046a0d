"""Seeds a registry of many certificates in the database of a service, folded from journals.

Each of several ledgers imports a register (takeover.py), signs its head as a running service would,
and the usual rebuild folds the views.
Reading order: Registries, Registry, `seed`.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from api.cli.environment import CliEnvironment, open_environment, settings_of
from api.transparency.head_places import own_place
from domain.actors import Actor, Role
from domain.steps.ledger_setup import OpenLedger
from domain.store.tlog.merkle import CompactRange
from domain.store.tlog.signed_note import Checkpoint, sign_note
from domain.values.primitives import Level
from projections.rebuild import rebuild
from scripts.benchmarks.indexes import made_afterwards
from scripts.benchmarks.measure import Unavailable, say
from scripts.benchmarks.server import Server, server
from scripts.benchmarks.service import DATABASE, name_of
from scripts.benchmarks.takeover import CERTIFICATES_EACH, EVENTS_EACH, Task, national, take_over

_PERSONS_A_LEDGER = 40_000  # a process of a rebuild holds the rows of one ledger in memory
_BYTES_EACH = 6_000  # of a certificate, in journal, views, indexes and what sorting takes
_FILLED = [f"certledger.{table}" for table in ("journal", "commands", "claims")]
_FIRST_LEDGER = 10  # two digits each, so that SQL can make their names and numbers
_LEVELS = list(Level)
_READ_BYTES = 1 << 24
_LOOKED_UP = """SELECT pg_relation_filepath(c.oid) FROM pg_class c
WHERE c.relnamespace = 'views'::regnamespace AND c.relkind IN ('r', 'i')
    AND c.relname ~ '^(certificates|certificate_old_tokens)_g'"""
_OPENER = Actor(subject="bench", role=Role.OPERATOR, organisation="bench")


class Registries:
    """Registries of a run, each on its own server, which runs until `give_up`."""

    def __init__(self, reuse_in: Path | None = None) -> None:
        """reuse_in: directory in which registries persist between runs; None: do not persist."""
        self._reuse_in = reuse_in
        self._made: dict[int, tuple[Registry, ExitStack]] = {}

    def of(self, certificates: int) -> Registry:
        """The registry of this size, seeded on first use."""
        if certificates not in self._made:
            with ExitStack() as closing:
                registry = self._opened(certificates, closing)
                registry.settle()
                self._made[certificates] = registry, closing.pop_all()
        return self._made[certificates][0]

    def _opened(self, certificates: int, closing: ExitStack) -> Registry:
        if self._reuse_in is None:
            return seed(closing.enter_context(server()), certificates)
        place = self._reuse_in.resolve() / f"certificates-{certificates}"
        seeded = place.with_suffix(".seeded")
        if place.exists() and not seeded.exists():
            shutil.rmtree(place)  # left by an interrupted run
        running = closing.enter_context(server(place))
        if seeded.exists():
            return Registry(running, *_sizes(certificates))
        registry = seed(running, certificates)
        seeded.touch()
        return registry

    def give_up(self) -> None:
        """Stop the servers and delete registries that do not persist."""
        for _, closing in self._made.values():
            closing.close()
        self._made.clear()


@dataclass(frozen=True, slots=True)
class Holder:
    """Holder of a certificate. token: of its link."""

    token: str
    number: str
    name: str


OPENING_EVENTS = 11
"""Of a ledger: its opening, the introduction of each key in use, and the name of who opened it."""


@dataclass(frozen=True)
class Registry:
    """A seeded registry. persons: in each of the ledgers."""

    server: Server
    ledgers: int
    persons: int

    @property
    def certificates(self) -> int:
        return self.ledgers * self.persons * CERTIFICATES_EACH

    @property
    def events(self) -> int:
        return self.ledgers * (OPENING_EVENTS + self.persons * EVENTS_EACH)

    @property
    def ledger(self) -> str:
        """One of the ledgers."""
        return _name(_FIRST_LEDGER)

    def settle(self) -> None:
        """Remove background work from the measurement.

        Turns autovacuum off, and reads the tables of lookups into the page cache.
        """
        _set(self.server, {"autovacuum": "off"})
        cluster = self.server.postgres.cluster_dir
        for (path,) in self.server.execute(DATABASE, _LOOKED_UP):
            for segment in sorted(cluster.glob(f"{path}*")):
                with open(segment, "rb", buffering=0) as file:
                    while file.read(_READ_BYTES):
                        pass

    def conditions(self) -> dict[str, Any]:
        """Conditions of measurements on this registry."""
        more = {"rows": self.certificates, "events": self.events, "autovacuum": "off"}
        return self.server.conditions() | more

    def holders(self, most: int) -> list[Holder]:
        """Random holders of national certificates, all equally likely."""
        ledgers: dict[str, str] = {}
        names: dict[str, str] = {}
        for _ in range(most):
            ledger = _FIRST_LEDGER + random.randrange(self.ledgers)
            serial, level = 1 + random.randrange(self.persons), random.choice(_LEVELS)
            number = f"{_number_begin(ledger, level)}{serial:06d}"
            ledgers[number], names[number] = _name(ledger), name_of(serial)
        rows = self.server.execute(
            DATABASE,
            "SELECT verify_token, number FROM views.certificates "
            "JOIN unnest(%s, %s) AS asked (ledger, number) USING (ledger, number) "
            "WHERE kind = 'national'",
            (list(ledgers.values()), list(ledgers)),
        )
        random.shuffle(rows)
        return [Holder(token, number, names[number]) for token, number in rows]

    def no_number(self) -> str:
        """A valid number that no certificate has."""
        return f"{_number_begin(_FIRST_LEDGER, Level.JUNIOR)}{random.randrange(800_000, 900_000)}"

    def select(self) -> str:
        """A script for pgbench: any certificate by its primary key."""
        last = _FIRST_LEDGER + self.ledgers - 1
        begin = _number_begin(_FIRST_LEDGER, Level.JUNIOR)
        site, year = begin[:11], begin[13:15]
        return (
            f"\\set org random({_FIRST_LEDGER}, {last})\n"
            f"\\set level random(1, {len(Level)})\n"
            f"\\set serial random(1, {self.persons})\n"
            "SELECT * FROM views.certificates WHERE ledger = 'org' || :org::text "
            f"AND number = '{site}' || :org::text || '{year}' || :level::text "
            "|| lpad(:serial::text, 6, '0') AND kind = 'national';\n"
        )


def seed(server: Server, certificates: int) -> Registry:
    """Seed at least `certificates` certificates into the database that a service uses.

    Raises: Unavailable if the disk has no room for it.
    """
    needed, free = certificates * _BYTES_EACH, shutil.disk_usage(server.postgres.data_dir).free
    if free < needed:
        raise Unavailable(f"it needs {needed >> 30} GiB on disk, and there are {free >> 30}")
    registry = Registry(server, *_sizes(certificates))
    ledgers = registry.ledgers
    begun = time.monotonic()
    _set(server, {"max_wal_size": "'4GB'", "checkpoint_timeout": "'1h'", "autovacuum": "off"})
    with open_environment(settings_of(server.postgres.data_dir)) as store:
        tasks = [_task(store, registry, number) for number in range(ledgers)]
        with (
            made_afterwards(server, DATABASE, _FILLED),
            multiprocessing.get_context("spawn").Pool(min(ledgers, os.cpu_count() or 1)) as pool,
        ):
            trees = pool.map(take_over, tasks, chunksize=1)
        for task, tree in zip(tasks, trees, strict=True):
            _sign(store, task.ledger, tree)
        say(f"{registry.events} events in {time.monotonic() - begun:.0f} s")
        begun = time.monotonic()
        server.execute(DATABASE, "ANALYZE certledger.journal")
        store.ensure_views()
        rebuild.replace(store.dsn, store.secrets)
    server.execute(DATABASE, "ANALYZE")
    _set(server, {"max_wal_size": None, "checkpoint_timeout": None, "autovacuum": None})
    server.settle()
    say(f"views of {registry.certificates} certificates in {time.monotonic() - begun:.0f} s")
    return registry


def _sizes(certificates: int) -> tuple[int, int]:
    """Number of ledgers for at least `certificates` certificates, and persons in each."""
    persons = -(-certificates // CERTIFICATES_EACH)
    ledgers = max(-(-persons // _PERSONS_A_LEDGER), min(2, persons))
    return ledgers, -(-persons // ledgers)


def _set(server: Server, settings: dict[str, str | None]) -> None:
    """Set server settings; None resets one."""
    for name, value in settings.items():
        change = f"RESET {name}" if value is None else f"SET {name} = {value}"
        server.execute("postgres", f"ALTER SYSTEM {change}")
    server.execute("postgres", "SELECT pg_reload_conf()")


def _task(store: CliEnvironment, registry: Registry, number: int) -> Task:
    """Open a ledger. Returns: the task that fills it."""
    name, site_code = _name(_FIRST_LEDGER + number), _site_code(_FIRST_LEDGER + number)
    opened = OpenLedger(
        organisation_name=f"评价机构 {name}",
        issuer_name=f"评价机构 {name}",
        unified_social_credit_code="91330100MA00000000",
        site_code=site_code,
        log_origin=f"bench.example/{name}",
    )
    ledger = store.ledgers.create(name, site_code)
    ledger.submit(opened, _OPENER, key="open", request=name.encode()).result()
    opening = tuple(event.leaf_hash for event in ledger.journal.events())
    first = number * registry.persons
    return Task(store.dsn, store.secrets, name, site_code, opening, first, registry.persons)


def _sign(store: CliEnvironment, name: str, tree: CompactRange) -> None:
    """Sign the head, as the service does every two seconds."""
    ledger = store.ledgers.get(name)
    signer = store.log_signer(ledger)
    text = Checkpoint(signer.verifier.name, tree.size, tree.root()).text
    note = sign_note(text, signer)
    ledger.journal.change(
        "INSERT INTO certledger.checkpoints (ledger, origin, size, root, note) "
        "VALUES (%s, %s, %s, %s, %s)",
        (name, signer.verifier.name, tree.size, tree.root(), note),
    )
    own_place(store.settings).write(signer.verifier.name, tree.size, note)


def _name(number: int) -> str:
    return f"org{number}"


def _site_code(number: int) -> str:
    return f"S000033{number:06d}"


@cache
def _number_begin(ledger: int, level: Level) -> str:
    """Common prefix of the national numbers of a ledger and level; a serial follows."""
    return national(_site_code(ledger), level, 1)[:-6]
