"""The one connection of a process that hears what happens in the journal and in the views.

A notification is only a hint: whoever acts on it reads. So what is lost with a broken connection is
made good by a look, which is taken whenever the connection was made and whenever it was silent.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
SILENCE_SECONDS = 10.0
"""How long a connection that died without a word may go unnoticed."""

log = logging.getLogger(__name__)


class NotificationListener:
    """Listens on channels in a thread of its own and reconnects for ever."""

    def __init__(
        self,
        open_connection: Callable[[], Any],
        channels: Sequence[str],
        on_heard: Callable[[list[tuple[str, str]]], None],
        look: Callable[[Any], None],
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """on_heard: called with (channel, payload) pairs; must be quick and never raise.

        look: called with the connection when it was made and after so many seconds of silence. It
            asks the server something, so that keepalives have a reason to fail where a peer has
            vanished without a word.
        """
        self._open_connection = open_connection
        self._channels = channels
        self._on_heard = on_heard
        self._look = look
        self._silence_seconds = silence_seconds
        self._stopped = False
        self.is_connected = False
        self._reading, self._writing = os.pipe()
        self._thread = threading.Thread(target=self._work, name="view listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the connection is closed."""
        if not self._stopped:
            self._stopped = True
            os.write(self._writing, b"x")
            self._thread.join()
            os.close(self._reading)
            os.close(self._writing)

    def _work(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopped:
            connection = None
            try:
                connection = self._open_connection()
                with connection.cursor() as cursor:
                    for channel in self._channels:
                        cursor.execute(f"LISTEN {channel}")
                self.is_connected = True
                pause = _FIRST_PAUSE_SECONDS
                self._look(connection)
                self._hear(connection)
            except (psycopg2.Error, OSError) as error:
                log.warning("listening was interrupted: %s", str(error).strip())
            finally:
                self.is_connected = False
                if connection is not None:
                    connection.close()
            if not self._stopped:
                select.select([self._reading], [], [], pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _hear(self, connection: Any) -> None:
        while not self._stopped:
            patience = self._silence_seconds
            ready, _, _ = select.select([connection, self._reading], [], [], patience)
            if not ready:
                self._look(connection)
            connection.poll()
            if connection.notifies:
                heard = [(notify.channel, notify.payload) for notify in connection.notifies]
                connection.notifies.clear()
                self._on_heard(heard)
