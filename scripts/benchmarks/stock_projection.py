"""Our views under the `eventsourcing` library's own ProjectionRunner.

An event is a transaction: what our folds make of it, and how far the runner has come. An entry is
decoded as views decode it, without making a validated fact of it first as the library's mappers do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, StoredEvent, Tracking
from eventsourcing.projection import Projection, ProjectionRunner

from domain.service.ledger import LedgerSecrets
from domain.store.postgres.connection import connect
from domain.store.recorder import JournalTrackingRecorder
from projections.engine import generations
from projections.engine.journal_reader import decode
from projections.engine.vaults import vault_of, writer_of
from projections.engine.view import View


class _Stored(Mapper[str]):
    """Returns the stored event unchanged; the notification carries its position."""

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return stored_event.topic, stored_event.state


class _LedgerReader(Application[str]):
    """Reads a ledger."""

    def construct_mapper(self) -> Mapper[str]:
        return _Stored(self.construct_transcoder())


@contextmanager
def _runner(
    dsn: str, secrets: LedgerSecrets, ledger: str, views: Sequence[View], upto: int, filtered: bool
) -> Iterator[Callable[[], None]]:
    """A runner that keeps views of a ledger up to date in the live tables.

    Yields: a function that waits until it has reached position `upto`, or raises its error.
    """
    reached = threading.Event()
    with closing(connect(dsn, name="certledger stock projection")) as connection:
        vault = vault_of(secrets, ledger, connection)
        with connection.cursor() as cursor:
            made = generations.in_force(cursor, [view.name for view in views])
        targets = [writer_of(secrets, view, made[view.name]) for view in views]

        class Views(Projection[JournalTrackingRecorder]):
            name = "-".join(view.name for view in views)
            topics = _topics(views) if filtered else ()

            def process_event(self, domain_event: Any, tracking: Tracking) -> None:
                [entry] = decode([(tracking.notification_id, *domain_event)], vault)
                with self.view.transaction() as cursor:
                    self.view.track(cursor, tracking)
                    for target in targets:
                        if entry.topic in target.view.handles:
                            target.apply(cursor, ledger, [entry], vault)
                if tracking.notification_id >= upto:
                    reached.set()

        with ProjectionRunner(
            application_class=_LedgerReader,
            projection_class=Views,
            view_class=JournalTrackingRecorder,
            env={
                "PERSISTENCE_MODULE": "domain.store.recorder",
                "CERTLEDGER_DATABASE_URL": dsn,
                "CERTLEDGER_JOURNAL_KEY": secrets.sealer.active.text,
                "LEDGER": ledger,
                "CREATE_TABLE": "n",
            },
        ) as runner:

            def wait() -> None:
                while not reached.wait(1):
                    runner.run_forever(0)

            yield wait


def _topics(views: Sequence[View]) -> tuple[str, ...]:
    return tuple(sorted({topic for view in views for topic in view.handles}))


def follow(
    dsn: str,
    secrets: LedgerSecrets,
    ledger: str,
    topics: Sequence[str],
    groups: Sequence[Sequence[View]],
    *,
    filtered: bool,
) -> None:
    """Run one runner per group of views concurrently to the end of a ledger.

    topics: of the ledger's events, in order. filtered: each runner gets the topics that its
        views handle; else every event comes.
    """
    with ExitStack() as stack:
        waits = []
        for views in groups:
            wanted = _topics(views) if filtered else topics
            upto = max(n for n, topic in enumerate(topics, 1) if topic in wanted)
            runner = _runner(dsn, secrets, ledger, views, upto, filtered)
            waits.append(stack.enter_context(runner))
        for wait in waits:
            wait()
