"""Ledgers full of valid events: the example cohort, recorded again under other names.

The mapper decodes the facts and encrypts them again under the copy's own data keys, so that every
reader treats a copy like any other ledger.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from api.cli.environment import CliEnvironment, open_environment, settings_of
from api.cli.import_ import load_example
from domain.service.ledger import Ledger
from domain.store.journal.records import AppendRequest
from domain.store.mapper import JournalEntry
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import COHORT_LEDGER

_EVENTS = 500  # a transaction


@contextmanager
def cohort_store(server: Server) -> Iterator[tuple[CliEnvironment, list[JournalEntry]]]:
    """The database of a service with the example cohort in it, and the cohort's entries."""
    with open_environment(settings_of(server.postgres.data_dir)) as store:
        load_example(store)
        ledger = store.ledgers.get(COHORT_LEDGER)
        yield store, ledger.mapper.entries(ledger.journal.events())


def copy(store: CliEnvironment, entries: list[JournalEntry], number: int) -> Ledger:
    """The cohort as ledger number `number`."""
    target = store.ledgers.create(f"copy{number}", f"S0000{number:08d}")
    for begin in range(0, len(entries), _EVENTS):
        page = entries[begin : begin + _EVENTS]
        with target.journal.transaction() as transaction:
            encryptor = target.vault.encryptor(transaction.batch)
            events = tuple(target.mapper.new_event(entry, encryptor) for entry in page)
            transaction.append([AppendRequest(events, fresh_keys=encryptor.fresh_keys)])
    return target
