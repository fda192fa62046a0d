"""An `eventsourcing` application on a ledger's journal, for users of that library."""

import json

from eventsourcing.application import Application

from domain.store.keys.seals import Sealer
from domain.store.mapper import EntryMapper


class JournalApplication(Application[str]):
    """Gives the library's interfaces to the entries of one ledger.

    `save`, `repository`, `notification_log` and subscriptions work as on any other application;
    events are `Entry` objects. It has a writer of its own, which the head lock serialises with the
    writers of other applications and of `domain.service.ledger.Ledger`.
    """

    log_section_size = 500

    def __init__(self, dsn: str, ledger: str, mapper: EntryMapper, sealer: Sealer) -> None:
        """Open an existing ledger. mapper: with its catalogue and vault; sealer: of its service."""
        self._entry_mapper = mapper
        super().__init__(
            {
                "PERSISTENCE_MODULE": "domain.store.recorder",
                "CERTLEDGER_DATABASE_URL": dsn,
                "CERTLEDGER_JOURNAL_KEY": sealer.active.text,
                "CERTLEDGER_JOURNAL_KEYS_RETIRED": json.dumps([key.text for key in sealer.retired]),
                "LEDGER": ledger,
                "CREATE_TABLE": "n",
            }
        )

    def construct_mapper(self) -> EntryMapper:
        """The mapper given to the constructor; the library calls this."""
        return self._entry_mapper
