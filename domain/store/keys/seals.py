"""Seals: MACs under the journal key, which is never in the database.

An attacker who has the database alone can write rows, but no seal. A seal binds a row to its ledger
and its place, so that a row that was moved, altered or inserted has no right seal, and no reader
hands it on. A key is good for a range of positions, from its `key_introduced.v1` up to and
including its `key_retired.v1`.

All seals are HMAC-SHA-256, 32 bytes. Texts are UTF-8, a position is 8 bytes, big-endian.
Reading order: SealKey, SealRange, Sealer, LedgerSealer.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.store.errors import SealBroken, WrongServiceKey
from domain.values.key_ids import symmetric_key_id

KEY_BYTES = 32
SEAL_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256

JOURNAL_PURPOSE = "journal"
"""The purpose of the key that seals."""

_NO_END = 2**63 - 1
_EVENT, _HEAD = b"certledger seal v1\0", b"certledger head v1\0"
_COMMAND, _SNAPSHOT = b"certledger command v1\0", b"certledger snapshot v1\0"
_LOGIN = b"certledger login seal v1\0"
_ROW = b"certledger row v1"
_ERASURE = b"certledger erasure v1\0"


class SealKey(NamedTuple):
    """A journal key. id: 8 hex digits, see `seal_key`. key: 32 bytes."""

    id: str
    key: bytes

    @property
    def text(self) -> str:
        """The key as settings hold it: base64."""
        return base64.b64encode(self.key).decode()

    def __repr__(self) -> str:
        """Without the key."""
        return f"SealKey({self.id})"


def seal_key(key: bytes) -> SealKey:
    """A journal key with its id. Raises: ValueError if it does not have 32 bytes."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a journal key has {KEY_BYTES} bytes, not {len(key)}")
    return SealKey(symmetric_key_id(JOURNAL_PURPOSE, key), key)


def read_seal_key(text: str) -> SealKey:
    """A journal key from base64. Raises: ValueError."""
    return seal_key(base64.b64decode(text, validate=True))


class SealRange(NamedTuple):
    """Positions at which a key may seal: first <= position <= last; last None: no end yet."""

    key_id: str
    first: int
    last: int | None

    def holds(self, position: int) -> bool:
        """Whether the key may have sealed this position."""
        return self.first <= position and (self.last is None or position <= self.last)


class Sealer:
    """The journal keys of a service. Immutable; `of` gives the sealer of one ledger."""

    __slots__ = ("_row_keys", "active", "keys")

    def __init__(self, active: SealKey, others: Iterable[SealKey] = ()) -> None:
        """active: seals what is written from now on. others: retired keys, for checking only."""
        self.active = active
        self.keys: Mapping[str, bytes] = {key.id: key.key for key in (*others, active)}
        self._row_keys: tuple[bytes, ...] | None = None

    def __repr__(self) -> str:
        """Without the keys."""
        return f"Sealer({self.active.id})"

    @property
    def retired(self) -> tuple[SealKey, ...]:
        """The keys for checking only."""
        return tuple(SealKey(*pair) for pair in self.keys.items() if pair[0] != self.active.id)

    def of(self, ledger: str) -> "LedgerSealer":
        """The sealer of one ledger, without ranges."""
        return LedgerSealer(self, ledger)

    def row_keys(self) -> tuple[bytes, ...]:
        """The keys of row seals, the active one first; they seal no event.

        For processes that must not hold a journal key.
        """
        if self._row_keys is None:
            self._row_keys = tuple(_row_key(each.key) for each in (self.active, *self.retired))
        return self._row_keys


class LedgerSealer:
    """Makes and checks the seals of one ledger. Immutable and thread-safe.

    `event`, `head`, `command`, `login`, `snapshot`, `erasure` and `row` return 32 bytes under the
    active key, whose id is `key_id`. Each has a `check_…`, which raises SealBroken.
    """

    __slots__ = ("_active", "_macs", "_ranges", "_ranges_of", "_sealer", "key_id", "ledger")

    def __init__(
        self, sealer: Sealer, ledger: str, ranges: Iterable[SealRange] | None = None
    ) -> None:
        """Use `Sealer.of`. ranges: None accepts every known key at every position."""
        self.ledger = ledger
        self.key_id = sealer.active.id
        self._sealer = sealer
        self._ranges = None if ranges is None else tuple(ranges)
        self._ranges_of = {
            key_id: tuple(r for r in self._ranges or () if r.key_id == key_id)
            for key_id in sealer.keys
        }
        self._macs = {key_id: _Macs(key, ledger) for key_id, key in sealer.keys.items()}
        self._active = self._macs[self.key_id]

    def __repr__(self) -> str:
        """Without the keys."""
        return f"LedgerSealer({self.ledger}, {self.key_id})"

    @property
    def ranges(self) -> tuple[SealRange, ...] | None:
        """The ranges it checks with; None: every known key is accepted."""
        return self._ranges

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it is made of, for worker processes: a started MAC cannot be."""
        return LedgerSealer, (self._sealer, self.ledger, self._ranges)

    def with_ranges(self, ranges: Iterable[SealRange] | None) -> "LedgerSealer":
        """The same sealer that accepts each key within its ranges only."""
        return LedgerSealer(self._sealer, self.ledger, ranges)

    def check_active(self, position: int) -> None:
        """Check that what is sealed now, from a position on, will be accepted.

        Raises: WrongServiceKey if the active key has no range there: it is retired, or has no fact.
        """
        if self._ranges is None or any(
            each.key_id == self.key_id and each.holds(position) for each in self._ranges
        ):
            return
        held = sorted({each.key_id for each in self._ranges if each.holds(position)})
        raise WrongServiceKey(
            purpose=JOURNAL_PURPOSE,
            ledger=self.ledger,
            expected=", ".join(held),
            key_id=self.key_id,
        )

    # --- making ----------------------------------------------------------------------------------

    def event(self, position: int, leaf: bytes) -> bytes:
        """The seal of an event. leaf: its 32-byte leaf hash."""
        return self._active.event(position, leaf)

    def head(self, position: int, leaf: bytes) -> bytes:
        """The seal of the head row. position, leaf: of the ledger's last event."""
        return self._active.head(position, leaf)

    def command(
        self, principal: str, key: str, request_hash: bytes, command_id: UUID, receipt: bytes
    ) -> bytes:
        """The seal of a recorded command."""
        message = self._command_message(principal, key, request_hash, command_id, receipt)
        return self._active.command(message)

    def login(self, key_id: str, mac: bytes, pseudonym: str) -> bytes:
        """The seal of a login's row, over ledger, id of the login key, MAC and pseudonym."""
        return self._active.login(self._login_message(key_id, mac, pseudonym))

    def snapshot(
        self, stream: str, version: int, position: int, leaf: bytes, topic: str, state: bytes
    ) -> bytes:
        """The seal of a snapshot. version, position, leaf: of the last event folded into it."""
        return self._active.snapshot(
            self._snapshot_message(stream, version, position, leaf, topic, state)
        )

    def erasure(self, entry_hash: bytes) -> bytes:
        """The seal of an entry of the register of erasures. entry_hash: its 32-byte hash."""
        return self._active.erasure(self._erasure_message(entry_hash))

    def row(self, view: str, key_text: str, payload: bytes) -> bytes:
        """The seal of a row of a view, under a key derived from the active one."""
        return row_seal(self.row_key(), self.ledger, view, key_text, payload)

    def row_key(self) -> bytes:
        """The derived key of row seals alone, 32 bytes; see also `Sealer.row_keys`."""
        return self._sealer.row_keys()[0]

    # --- checking --------------------------------------------------------------------------------

    def check_event(self, position: int, leaf: bytes, seal: bytes, key_id: str) -> None:
        """Raises: SealBroken. leaf: computed from the envelope, never read from a column."""
        expected = self._macs_for(key_id, position, "event").event(position, leaf)
        if not hmac.compare_digest(expected, seal):
            self._refuse("event", position)

    def check_events(self, events: Iterable[tuple[int, bytes, bytes, str]]) -> None:
        """`check_event` for many, faster: (position, leaf, seal, key id) in order of position.

        Raises: SealBroken for the first one.
        """
        is_same, mac = hmac.compare_digest, self._active.event_mac
        known, upto = "", 0
        for position, leaf, seal, key_id in events:
            if key_id != known or position > upto:
                mac = self._macs_for(key_id, position, "event").event_mac
                known, upto = key_id, self._end_of_range(key_id, position)
            if not is_same(mac.digest(position.to_bytes(8) + leaf), seal):
                self._refuse("event", position)

    def check_head(self, position: int, leaf: bytes, seal: bytes, key_id: str) -> None:
        """Raises: SealBroken."""
        expected = self._macs_for(key_id, position, "head").head(position, leaf)
        if not hmac.compare_digest(expected, seal):
            self._refuse("head", position)

    def check_command(
        self,
        principal: str,
        key: str,
        request_hash: bytes,
        command_id: UUID,
        receipt: bytes,
        seal: bytes,
        key_id: str,
        position: int | None = None,
    ) -> None:
        """position: of the command's last event, for the range; None if it has none.

        Raises: SealBroken.
        """
        macs = self._macs_for(key_id, position, "command")
        message = self._command_message(principal, key, request_hash, command_id, receipt)
        if not hmac.compare_digest(macs.command(message), seal):
            self._refuse("command", position)

    def check_login(
        self, key_id: str, mac: bytes, pseudonym: str, seal: bytes, seal_key: str
    ) -> None:
        """Raises: SealBroken. Any known key is good: a row has no position."""
        macs = self._macs_for(seal_key, None, "login")
        if not hmac.compare_digest(macs.login(self._login_message(key_id, mac, pseudonym)), seal):
            self._refuse("login", None)

    def check_snapshot(
        self,
        stream: str,
        version: int,
        position: int,
        leaf: bytes,
        topic: str,
        state: bytes,
        seal: bytes,
        key_id: str,
    ) -> None:
        """Raises: SealBroken. Any known key is good: a snapshot may be taken later than its event.

        Whether `leaf` is that of the event at `position` is for the reader to compare.
        """
        macs = self._macs_for(key_id, None, "snapshot")
        message = self._snapshot_message(stream, version, position, leaf, topic, state)
        if not hmac.compare_digest(macs.snapshot(message), seal):
            self._refuse("snapshot", position)

    def check_erasure(self, entry_hash: bytes, seal: bytes, key_id: str) -> None:
        """Raises: SealBroken. Any known key is good: an entry outlives the log of its position."""
        macs = self._macs_for(key_id, None, "erasure")
        expected = macs.erasure(self._erasure_message(entry_hash))
        if not hmac.compare_digest(expected, seal):
            self._refuse("erasure", None)

    def check_row(self, view: str, key_text: str, payload: bytes, seal: bytes) -> None:
        """Raises: SealBroken if no known key made the row's seal."""
        check_row(self._sealer.row_keys(), self.ledger, view, key_text, payload, seal)

    # --- helpers ---------------------------------------------------------------------------------

    def _macs_for(self, key_id: str, position: int | None, what: str) -> "_Macs":
        """The MACs of a key, if it may seal at this position; None: at any. Raises: SealBroken."""
        macs = self._macs.get(key_id)
        if macs is None:
            self._refuse(what, position)
        if self._ranges is not None and position is not None:
            for _, first, last in self._ranges_of[key_id]:
                if first <= position and (last is None or position <= last):
                    return macs
            self._refuse(what, position)
        return macs

    def _end_of_range(self, key_id: str, position: int) -> int:
        """The last position of the range that a key has at a position."""
        for _, first, last in self._ranges_of[key_id]:
            if first <= position and last is not None and position <= last:
                return last
        return _NO_END

    def _refuse(self, what: str, position: int | None) -> NoReturn:
        raise SealBroken(ledger=self.ledger, what=what, position=position or 0)

    def _command_message(
        self, principal: str, key: str, request_hash: bytes, command_id: UUID, receipt: bytes
    ) -> bytes:
        parts = [self.ledger, principal, key, request_hash.hex(), str(command_id), receipt.hex()]
        return _canonical(parts)

    def _erasure_message(self, entry_hash: bytes) -> bytes:
        return self.ledger.encode() + b"\0" + entry_hash

    def _login_message(self, key_id: str, mac: bytes, pseudonym: str) -> bytes:
        return _canonical([self.ledger, key_id, mac.hex(), pseudonym])

    def _snapshot_message(
        self, stream: str, version: int, position: int, leaf: bytes, topic: str, state: bytes
    ) -> bytes:
        parts = [self.ledger, stream, version, position, leaf.hex(), topic, state.hex()]
        return _canonical(parts)


class _Mac:
    """HMAC-SHA-256 (RFC 2104) with the key and the beginning of the message hashed in advance.

    `hmac.HMAC` takes half as long again, and `hmac.digest` twice; it also releases the interpreter
    lock each time, and waits for it again.
    """

    __slots__ = ("inner", "outer")

    def __init__(self, key: bytes, beginning: bytes) -> None:
        """key: at most 64 bytes."""
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self.inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + beginning)
        self.outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, rest: bytes) -> bytes:
        """The MAC of the beginning and the rest: 32 bytes."""
        inner, outer = self.inner.copy(), self.outer.copy()
        inner.update(rest)
        outer.update(inner.digest())
        return outer.digest()


class _Macs:
    """The MACs of one key for one ledger; what they have in common is hashed once."""

    __slots__ = ("_command", "_erasure", "_head", "_login", "_snapshot", "event_mac")

    def __init__(self, key: bytes, ledger: str) -> None:
        self.event_mac = _Mac(key, _EVENT + ledger.encode() + b"\0")
        self._head = _Mac(key, _HEAD + ledger.encode() + b"\0")
        self._command = _Mac(key, _COMMAND)
        self._snapshot = _Mac(key, _SNAPSHOT)
        self._login = _Mac(key, _LOGIN)
        self._erasure = _Mac(key, _ERASURE)

    def event(self, position: int, leaf: bytes) -> bytes:
        return self.event_mac.digest(position.to_bytes(8) + leaf)

    def head(self, position: int, leaf: bytes) -> bytes:
        return self._head.digest(position.to_bytes(8) + leaf)

    def command(self, message: bytes) -> bytes:
        return self._command.digest(message)

    def login(self, message: bytes) -> bytes:
        return self._login.digest(message)

    def snapshot(self, message: bytes) -> bytes:
        return self._snapshot.digest(message)

    def erasure(self, message: bytes) -> bytes:
        return self._erasure.digest(message)


def row_seal(row_key: bytes, ledger: str, view: str, key_text: str, payload: bytes) -> bytes:
    """The seal of a row of a view. row_key: derived, see `Sealer.row_keys`.

    It is over "certledger row v1", ledger, view and key_text, each followed by 0x00, and payload.
    """
    return _row_mac(row_key).digest(f"{ledger}\0{view}\0{key_text}\0".encode() + payload)


@lru_cache(maxsize=64)
def _row_mac(row_key: bytes) -> _Mac:
    return _Mac(row_key, _ROW + b"\0")


def check_row(
    row_keys: Iterable[bytes], ledger: str, view: str, key_text: str, payload: bytes, seal: bytes
) -> None:
    """Raises: SealBroken if none of the derived keys made the row's seal."""
    for row_key in row_keys:
        if hmac.compare_digest(row_seal(row_key, ledger, view, key_text, payload), seal):
            return
    raise SealBroken(ledger=ledger, what="row", position=0)


def _row_key(key: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=_ROW).derive(key)


def _canonical(parts: list[Any]) -> bytes:
    """Canonical JSON of a list of texts and integers."""
    return orjson.dumps(parts)
