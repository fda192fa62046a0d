"""A round of work on a connection of its own, again and again, in a background thread."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

from domain.store.postgres.connection import Connection, close_quietly, connect


class DatabaseJob(ABC):
    """Does rounds until it is stopped. After one that failed it connects again."""

    def __init__(self, dsn: str, name: str, *, poll_seconds: float, retry_seconds: float) -> None:
        """Opens nothing yet. name: of the thread, and of the connection after `certledger`.

        poll_seconds: from the end of a round to the next one. retry_seconds: after a failure.
        """
        self._dsn = dsn
        self._name = name
        self._poll_seconds = poll_seconds
        self._retry_seconds = retry_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Self:
        """Start in the background; an unreachable database is retried."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop after what was begun."""
        self._stopped.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @abstractmethod
    def round(self, connection: Connection) -> None:
        """One round; whatever it raises is given to `report`."""

    @abstractmethod
    def report(self, error: Exception) -> None:
        """Say why a round failed."""

    def _run(self) -> None:
        connection: Connection | None = None
        while not self._stopped.is_set():
            pause = self._poll_seconds
            try:
                if connection is None:
                    connection = connect(self._dsn, name=f"certledger {self._name}")
                self.round(connection)
            except Exception as error:
                # Whatever it is: without this thread the work would never be done again.
                self.report(error)
                close_quietly(connection)
                connection = None
                pause = self._retry_seconds
            self._stopped.wait(pause)
        close_quietly(connection)
