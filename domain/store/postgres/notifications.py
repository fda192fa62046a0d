"""LISTEN/NOTIFY: one listening connection in a thread of its own, reconnecting for ever.

A notification is only a hint: its receiver reads the tables to learn what changed. Notifications
that are lost with a broken connection therefore cost nothing but time, because `check` is called
after every connect and then regularly, however many notifications somebody sends.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence

import psycopg2

from domain.store.postgres.connection import Connection, close_quietly

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
"""Back-off between attempts to reconnect."""

SILENCE_SECONDS = 10.0
"""How long a connection whose peer vanished may go unnoticed."""

log = logging.getLogger(__name__)

Notification = tuple[str, str]
"""(channel, payload)"""


class NotificationListener:
    """Listens on channels in a background thread. Thread-safe."""

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        channels: Sequence[str],
        on_notifications: Callable[[list[Notification]], None],
        check: Callable[[Connection], None],
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """Connects only after `start`.

        on_notifications: called in the background thread; must return soon and never raise.
        check: called with the connection after connecting, when notifications may have been
            missed, and then every `silence_seconds`. It must query the server, so that a peer that
            vanished without closing the connection is detected.
        """
        self._open_connection = open_connection
        self._channels = channels
        self._on_notifications = on_notifications
        self._check = check
        self._silence_seconds = silence_seconds
        self._stopped = False
        self.is_connected = False
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._work, name="notifications", daemon=True)

    def start(self) -> None:
        """Start listening; returns at once and retries an unreachable server in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns when the connection is closed. May be repeated."""
        if not self._stopped:
            self._stopped = True
            os.write(self._wake_writer, b"x")
            self._thread.join()
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _work(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped:
            connection: Connection | None = None
            try:
                connection = self._open_connection()
                with connection.cursor() as cursor:
                    for channel in self._channels:
                        cursor.execute(f"LISTEN {channel}")
                self.is_connected = True
                pause = FIRST_PAUSE_SECONDS
                self._check(connection)
                self._receive(connection)
            except (psycopg2.Error, OSError) as error:
                log.warning("listening on %s was interrupted: %s", ", ".join(self._channels),
                            str(error).strip())  # fmt: skip
            finally:
                self.is_connected = False
                close_quietly(connection)
            if not self._stopped:
                _wait_readable(pause, self._wake_reader)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _receive(self, connection: Connection) -> None:
        checked_at = time.monotonic()
        while not self._stopped:
            left = checked_at + self._silence_seconds - time.monotonic()
            if left <= 0 or not _wait_readable(left, connection.fileno(), self._wake_reader):
                self._check(connection)
                checked_at = time.monotonic()
            connection.poll()
            if connection.notifies:
                received = [(notify.channel, notify.payload) for notify in connection.notifies]
                connection.notifies.clear()
                self._on_notifications(received)


def _wait_readable(timeout_seconds: float, *descriptors: int) -> bool:
    """Whether a descriptor became readable in time."""
    watch = select.poll()  # select.select accepts no descriptor above 1023
    for descriptor in descriptors:
        watch.register(descriptor, select.POLLIN)
    return bool(watch.poll(timeout_seconds * 1000))
