"""Sample events and commands with fixed ids and times."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from domain.store.journal.data_keys import DataKey
from domain.store.journal.records import AppendRequest, CommandKey, NewEvent
from domain.store.writer.commands import BatchView, QueuedCommand

ACTOR = {"subject": "li", "role": "registrar", "organisation": "omc"} | dict.fromkeys(
    ("on_behalf_of", "authority")
)
MORNING = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


def id_of(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"https://example.com/{name}")


def draft(stream: str, version: int, topic: str = "fee_paid.v1", **data: Any) -> NewEvent:
    """An event identified by its stream and version."""
    name = f"{stream}/{version}"
    return NewEvent(
        stream=stream,
        version=version,
        topic=topic,
        event_id=id_of(f"event/{name}"),
        occurred_at=MORNING + timedelta(minutes=version),
        actor=ACTOR,
        command_id=id_of(f"command/{name}"),
        correlation_id=id_of(f"correlation/{stream}"),
        causation_id=None,
        data=data or {"amount_fen": 100 * version},
    )


def append(stream: str, *versions: int, **rest: Any) -> AppendRequest:
    return AppendRequest(tuple(draft(stream, version) for version in versions), **rest)


def data_key(person: str, data_class: str = "identity", generation: int = 1) -> DataKey:
    """A key row of a person, of which nothing but the row is right."""
    owner = f"person/{person}"
    return DataKey(owner, data_class, generation, "aes-256-gcm", 1, b"wrapped", MORNING)


def command(key: str, request: bytes = b"request") -> CommandKey:
    """A command with a hash that stands for its request; no key is needed to compare it."""
    hashed = b"key epo." + hashlib.sha256(request).digest()
    return CommandKey("li", key, hashed, id_of(f"command/{key}/{request.hex()}"))


def next_event(stream: str, key: str | None = None, **rest: Any) -> QueuedCommand:
    """A command that appends the next event of a stream; its receipt names the position."""

    def execute(view: BatchView) -> AppendRequest:
        return append(
            stream,
            view.version(stream) + 1,
            receipt=lambda recorded: b"at %d" % recorded[-1].position,
            **rest,
        )

    # Long enough for a server to be killed and to recover on a busy machine.
    return QueuedCommand(
        execute, streams=(stream,), command=command(key) if key else None, timeout_seconds=90
    )
