"""A listener delivers notifications, reconnects, and checks after every connect and regularly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
import pytest

from domain.store.postgres.connection import Connection, connect
from domain.store.postgres.migrate import migrate
from domain.store.postgres.notifications import Notification, NotificationListener
from tests.support.postgres import Database
from tests.support.waiting import wait_until

NAME = "listener of a test"


class Heard:
    """What a listener reported."""

    def __init__(self) -> None:
        self.notifications: list[Notification] = []
        self.checks = 0

    def check(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self.checks += 1


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def listen(database: Database, heard: Heard) -> Iterator[Callable[..., NotificationListener]]:
    migrate(database.dsn)
    started: list[NotificationListener] = []

    def start(
        open_connection: Callable[[], Connection] = lambda: connect(database.dsn, name=NAME),
        silence_seconds: float = 60.0,
    ) -> NotificationListener:
        listener = NotificationListener(
            open_connection,
            ("one", "two"),
            heard.notifications.extend,
            heard.check,
            silence_seconds,
        )
        started.append(listener)
        listener.start()
        return listener

    yield start
    for listener in started:
        listener.stop()


def test_notifications_of_every_channel_arrive_with_their_payload(
    database: Database, heard: Heard, listen: Callable[..., NotificationListener]
) -> None:
    listener = listen()
    wait_until(lambda: heard.checks == 1)
    assert listener.is_connected
    for channel in ("one", "other", "two"):
        database.execute("SELECT pg_notify(%s, 'of ' || %s)", channel, channel)
    wait_until(lambda: len(heard.notifications) == 2)
    assert heard.notifications == [("one", "of one"), ("two", "of two")]
    assert heard.checks == 1


def test_a_killed_connection_is_reopened_and_checked(
    database: Database, heard: Heard, listen: Callable[..., NotificationListener]
) -> None:
    listen()
    wait_until(lambda: heard.checks == 1)
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    assert len(database.execute(sql, NAME, user="postgres")) == 1
    wait_until(lambda: heard.checks == 2)
    database.execute("SELECT pg_notify('one', 'again')")
    wait_until(lambda: heard.notifications == [("one", "again")])


def test_silence_is_checked(heard: Heard, listen: Callable[..., NotificationListener]) -> None:
    listen(silence_seconds=0.05)
    wait_until(lambda: heard.checks >= 3)


def test_notifications_put_no_check_off(
    database: Database, heard: Heard, listen: Callable[..., NotificationListener]
) -> None:
    """Anybody who may connect to the database can send as many as they like."""
    listen(silence_seconds=1)

    def notify_and_count() -> int:
        database.execute("SELECT pg_notify('one', 'again')")
        return heard.checks

    wait_until(lambda: notify_and_count() >= 3)


def test_an_unreachable_server_is_retried_and_stopping_does_not_wait_for_it(
    heard: Heard, listen: Callable[..., NotificationListener]
) -> None:
    attempts = 0

    def fail() -> Connection:
        nonlocal attempts
        attempts += 1
        raise psycopg2.OperationalError("no server")

    listener = listen(open_connection=fail)
    wait_until(lambda: attempts >= 3)
    assert not listener.is_connected
    listener.stop()
    assert heard.checks == 0
