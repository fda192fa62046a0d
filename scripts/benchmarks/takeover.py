"""Writes ledgers that import an older register: persons and their certificates.

Writing a registry of millions command by command would take too long. Here one command imports one
person: 26 events register them and, for each of five levels, open an application, number and issue
both certificates. The registry folds no other events, so payment, documents, reviews, exam, notice
and series are left out. Everything else is as the service writes it: canonical envelopes, hashes,
dense positions, a data key per person and sealed fields, claims, commands with receipts.
`verify` finds no fault in such a journal, and a rebuild folds it like any other.
Reading order: `take_over`, _People (rows of a person), Form (event templates).
"""

import hashlib
import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg2
from stdnum.iso7064 import mod_37_36

from domain import events as e
from domain.actors import Actor, Role
from domain.events import CertificateKind
from domain.person_claims import document_index, named_index
from domain.service.ledger import LedgerSecrets
from domain.service.receipt import Receipt
from domain.store.journal import envelope as envelopes
from domain.store.journal.bucket_keys import bucket_of
from domain.store.journal.data_keys import DataKey
from domain.store.journal.journal import Journal
from domain.store.privacy.bucket_keys import BucketKeys, bucket_keys_of
from domain.store.privacy.field_encryption import FieldEncryptor, Vault
from domain.store.privacy.index_ciphers import IndexCipher, index_cipher_key
from domain.store.privacy.live_epochs import LiveEpochs, live_epochs_of
from domain.store.tlog.merkle import CompactRange
from domain.values.certificate_numbers import format_national, format_omc
from domain.values.identity_documents import DocumentType
from domain.values.primitives import Level
from domain.values.sealed_fields import KEY, SEALED, DataClass, KeyName, Sealed, person_owner
from scripts.benchmarks.sample import scattered
from scripts.benchmarks.service import OCCUPATION, document_of, name_of

YEAR = 2025
OPENED_AT = datetime(YEAR, 3, 3, 1, 30, tzinfo=UTC)
ISSUED_ON = date(YEAR, 9, 12)
ISSUED_AT = datetime(YEAR, 9, 12, 2, tzinfo=UTC)
ACTOR = Actor(subject="certledger/takeover", role=Role.REGISTRAR, organisation="register")
CERTIFICATES_EACH = 2 * len(Level)
EVENTS_EACH = 1 + 5 * len(Level)

_PERSONS_AT_ONCE = 500
_PERSONS, _APPLICATIONS, _COMMANDS, _EVENTS = (kind << 120 for kind in range(1, 5))
_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COPY = {
    "journal": "ledger, position, recorded_at, event_id, stream, envelope, leaf_hash, seal, "
    "seal_key, version, topic, occurred_at",
    "commands": "ledger, principal, key, request_hash, command_id, first_position, last_position, "
    "receipt, seal, seal_key",
    "claims": "ledger, kind, key, position, released_position",
    "person_claims": "ledger, kind, index, person_id",
    "data_keys": "ledger, owner, class, generation, algorithm, bucket, bucket_generation, wrapped, "
    "created_at, destroyed_at",
}


@dataclass(frozen=True)
class Task:
    """Work of one process. first: number of the first person, counted over all ledgers.

    opening: leaf hashes of the existing events; the journal has no index to find them by while
        the ledger is filled.
    """

    dsn: str
    secrets: LedgerSecrets = field(repr=False)
    ledger: str
    site_code: str
    opening: tuple[bytes, ...]
    first: int
    persons: int


def national(site_code: str, level: int, serial: int) -> str:
    """Number of a person's national certificate of a level; serial: the person, from 1."""
    return str(format_national(site_code, YEAR, level, serial))


def person_of(number: int) -> str:
    """Id of a person. number: counted over all ledgers."""
    return f"{scattered(_PERSONS | number):032x}"


def take_over(task: Task) -> CompactRange:
    """Fill an opened ledger. Returns: the compact range over all its events."""
    journal = Journal(task.dsn, task.ledger, task.secrets.sealer.of(task.ledger))
    tree = CompactRange()
    tree.extend(task.opening)
    head = journal.head()
    buckets = bucket_keys_of(journal, task.secrets.epoch_keys)
    epochs = live_epochs_of(task.dsn, task.secrets.epoch_keys)
    writer = _People(task, tree, head.recorded_at, buckets, epochs)
    connection = psycopg2.connect(task.dsn, options="-c synchronous_commit=off")
    with connection.cursor() as cursor:
        for begin in range(1, task.persons + 1, _PERSONS_AT_ONCE):
            writer.add(range(begin, min(begin + _PERSONS_AT_ONCE, task.persons + 1)))
            for table, rows in writer.rows.items():
                sql = f"COPY certledger.{table} ({_COPY[table]}) FROM STDIN (FORMAT binary)"
                cursor.copy_expert(sql, io.BytesIO(b"".join((_START, *rows, _END))), 1 << 20)
                rows.clear()
            cursor.execute(
                "UPDATE certledger.ledgers SET position = %s, recorded_at = %s, leaf_hash = %s, "
                "seal = %s, seal_key = %s WHERE ledger = %s",
                (tree.size, writer.recorded_at, *writer.sealed_head(), task.ledger),
            )
            connection.commit()
    connection.close()
    journal.close()
    return tree


_EVENT, _COMMAND = UUID(int=1), UUID(int=2)
_RECORDED = datetime(1999, 9, 9, tzinfo=UTC)
_FIRST, _LAST = 987_654_321, 987_654_322
_PLACES = {
    str(_EVENT): "%(event)b",
    str(_COMMAND): "%(command)b",
    envelopes.rfc3339(_RECORDED): "%(recorded)b",
    str(_FIRST): "%(first)d",
    str(_LAST): "%(last)d",
}
"""Value in a template's bytes -> placeholder that each copy fills."""


def _cut(made: bytes) -> bytes:
    for value, place in _PLACES.items():
        made = made.replace(value.encode(), place.encode())
    return made


class Form:
    """Template of one kind of event: canonical bytes with placeholders.

    `envelope.build` creates it from a valid fact with placeholders `%(name)b` for values that need
    no escape in JSON.
    """

    def __init__(
        self, ledger: str, fact: e.Fact, stream: str, version: int, at: datetime, **data: Any
    ) -> None:
        self.topic = fact.TOPIC
        self.envelope = _cut(
            envelopes.build(
                event_id=_EVENT,
                ledger=ledger,
                stream=stream,
                version=version,
                topic=fact.TOPIC,
                occurred_at=at,
                recorded_at=_RECORDED,
                actor=ACTOR.model_dump(mode="json"),
                command_id=_COMMAND,
                correlation_id=_COMMAND,
                causation_id=None,
                data=fact.model_dump(mode="json") | data,
            )
        )
        self.row_end = _bigint(8, version) + _field(fact.TOPIC.encode()) + _time(at)


class Stream:
    """Templates of a stream's events. name: with placeholders."""

    def __init__(self, name: str, events: Sequence[Form]) -> None:
        self.name = name.encode()
        self.events = events


def _receipt(ledger: str, registration: Stream, candidacies: Iterable[Stream]) -> bytes:
    """Template of the receipt of the command that imports a person."""
    events = [*registration.events, *(form for one in candidacies for form in one.events)]
    receipt = Receipt(
        command_id=str(_COMMAND),
        ledger=ledger,
        stream=registration.name.decode(),
        version=1,
        first_position=_FIRST,
        last_position=_LAST,
        topics=tuple(dict.fromkeys(form.topic for form in events)),
        recorded_at=envelopes.rfc3339(_RECORDED),
        outcome={},
    )
    return _cut(receipt.to_bytes())


class _People:
    """Builds the rows of persons, one by one."""

    def __init__(
        self,
        task: Task,
        tree: CompactRange,
        recorded_at: datetime,
        buckets: BucketKeys,
        epochs: LiveEpochs,
    ) -> None:
        self.recorded_at = recorded_at
        self.rows: dict[str, list[bytes]] = {table: [] for table in _COPY}
        self._task = task
        self._tree = tree
        self._leaves: list[bytes] = []
        self._last_leaf = b""
        self._sealer = task.secrets.sealer.of(task.ledger)
        self._hasher = task.secrets.hasher.of(task.ledger, epochs)
        self._cipher = IndexCipher(index_cipher_key(epochs.writing))
        self._key_id = _field(self._sealer.key_id.encode())
        self._position = tree.size
        self._begin = {
            table: struct.pack(">h", columns.count(",") + 1) + _field(task.ledger.encode())
            for table, columns in _COPY.items()
        }
        secrets = task.secrets
        self._vault = Vault(
            task.ledger, buckets, secrets.index_key, lambda _: {},
            algorithm=secrets.algorithm,
        )  # fmt: skip
        self._registration = _registration(task.ledger)
        self._candidacies = {level: _candidacy(task.ledger, level) for level in sorted(Level)}
        self._receipt = _receipt(task.ledger, self._registration, self._candidacies.values())
        self._numbers = {level: _Numbers(task, level) for level in Level}

    def add(self, serials: range) -> None:
        """Add all rows of these persons, counted from 1 in this ledger."""
        for serial in serials:
            self._add(serial)
        for table in ("claims", "person_claims"):
            self.rows[table].sort()  # sorted rows are inserted fastest
        self._tree.extend(self._leaves)
        self._leaves.clear()

    def sealed_head(self) -> tuple[bytes, bytes, str]:
        """Leaf hash of the last event, seal of the head, and its key."""
        seal = self._sealer.head(self._position, self._last_leaf)
        return self._last_leaf, seal, self._sealer.key_id

    def _add(self, serial: int) -> None:
        first, number = self._position + 1, self._task.first + serial
        person, name, document = person_of(number), name_of(serial), document_of(number)
        command, text = _id(_COMMANDS | number)
        self.recorded_at += _MICROSECOND
        values: dict[bytes, Any] = {
            b"person": person.encode(),
            b"recorded": _text(self.recorded_at),
            b"command": text,
        }
        self._register(person, name, document, values)
        for level, candidacy in self._candidacies.items():
            values[b"application"] = b"%032x" % scattered(_APPLICATIONS | number << 8 | level)
            values[b"national"], values[b"omc"] = numbers = self._numbers[level].of(serial)
            self._record(candidacy, values)
            for certificate in numbers:
                self._claim(_CERTIFICATE, certificate, first)
        values[b"first"], values[b"last"] = first, self._position
        key = b"take over " + values[b"person"]
        request, receipt = self._hasher.request(key).stored, self._receipt % values
        stored = self._hasher.key(ACTOR.subject, key.decode())
        seal = self._sealer.command(ACTOR.subject, stored, request, UUID(text.decode()), receipt)
        row = (_PRINCIPAL, _field(stored.encode()), _field(request), command, _bigint(8, first),
               _bigint(8, self._position), _field(receipt), _field(seal),
               self._key_id)  # fmt: skip
        self.rows["commands"].append(self._begin["commands"] + b"".join(row))

    def _register(self, person: str, name: str, document: str, values: dict[bytes, Any]) -> None:
        sealer = FieldEncryptor(self._vault, _NoKeys(self.recorded_at))
        stream = f"person-{person}"
        number = f"cn18:{document}"
        for place, text in (("name", name), ("document_number", document)):
            sealed = sealer.seal(_IDENTITY, person, stream, 1, f"/{place}", text)
            values[place.encode()] = sealed[SEALED].encode()
        for kind, indexed in (
            document_index(self._vault.blind_index, number),
            named_index(self._vault.blind_index, number, name),
        ):
            stored = self._cipher.encrypt(indexed)
            claim = (*map(_field, (kind.encode(), stored.encode(), person.encode())),)
            self.rows["person_claims"].append(self._begin["person_claims"] + b"".join(claim))
        self._record(self._registration, values)
        [key] = sealer.fresh_keys
        assert key.wrapped is not None
        named = (key.owner.encode(), key.data_class.encode())
        assert key.bucket_generation is not None
        row = (*map(_field, named), _int(4, key.generation), _field(key.algorithm.encode()),
               _int(4, bucket_of(key.owner)), _int(4, key.bucket_generation),
               _field(key.wrapped), _time(self.recorded_at), _NULL)  # fmt: skip
        self.rows["data_keys"].append(self._begin["data_keys"] + b"".join(row))

    def _record(self, stream: Stream, values: dict[bytes, Any]) -> None:
        """Add the events of a stream."""
        recorded, name = _time(self.recorded_at), _field(stream.name % values)
        ids = _EVENTS | self._task.first << 32
        begin, journal = self._begin["journal"], self.rows["journal"]
        for position, form in enumerate(stream.events, self._position + 1):
            event, values[b"event"] = _id(ids | position)
            envelope = form.envelope % values
            leaf = hashlib.sha256(b"\0" + envelope).digest()
            self._leaves.append(leaf)
            row = (begin, _bigint(8, position), recorded, event, name, _field(envelope),
                   _field(leaf), _field(self._sealer.event(position, leaf)), self._key_id,
                   form.row_end)  # fmt: skip
            journal.append(b"".join(row))
        self._position, self._last_leaf = position, leaf

    def _claim(self, kind: bytes, key: bytes, position: int) -> None:
        row = (self._begin["claims"], kind, _field(key), _bigint(8, position), _NULL)
        self.rows["claims"].append(b"".join(row))


_IDENTITY = Sealed(DataClass.IDENTITY)
_KEY = str(KeyName(person_owner("%(person)b"), DataClass.IDENTITY.value, 1))


class _NoKeys:
    """Persons have no key before they are registered."""

    def __init__(self, recorded_at: datetime) -> None:
        self.recorded_at = recorded_at

    def data_keys(self, owner: str) -> Sequence[DataKey]:
        return ()


class _Numbers:
    """Certificate numbers of a level by serial: national, and OMC with its check character."""

    def __init__(self, task: Task, level: Level) -> None:
        self._national = national(task.site_code, level, 1)[:-6].encode()
        # Counted over all ledgers, so that OMC numbers are unique.
        self._first = task.first
        self._omc = str(format_omc(YEAR, level, 1))[:-9].encode()
        self._begun = mod_37_36.checksum(self._omc.replace(b"-", b"").decode())

    def of(self, serial: int) -> tuple[bytes, bytes]:
        """National and OMC number."""
        counted = b"%07d" % (self._first + serial)
        check = self._begun
        for digit in counted:
            check = _CARRIED[check][digit - 48]
        return b"%b%06d" % (self._national, serial), b"%b%b-%c" % (
            self._omc, counted, _CHECKS[check],
        )  # fmt: skip


# ISO 7064 MOD 37,36 as tables: state x digit -> state, and the check character of each state.
_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DOUBLED = [(state or 36) * 2 % 37 for state in range(36)]
_CARRIED = [[(doubled + digit) % 36 for digit in range(10)] for doubled in _DOUBLED]
_CHECKS = [_ALPHABET[(1 - doubled) % 36] for doubled in _DOUBLED]


def _registration(ledger: str) -> Stream:
    person = "%(person)b"
    registered = e.PersonRegistered(
        person_id="x",
        document_type=DocumentType.RESIDENT_ID,
        document_number="x",
        name="x",
    )
    stream = f"person-{person}"
    form = Form(
        ledger,
        registered,
        stream,
        1,
        OPENED_AT,
        person_id=person,
        document_number={KEY: _KEY, SEALED: "%(document_number)b"},
        name={KEY: _KEY, SEALED: "%(name)b"},
    )
    return Stream(stream, [form])


def _candidacy(ledger: str, level: Level) -> Stream:
    stream = "application-%(application)b"
    application = {"application_id": "%(application)b"}
    person = {"person_id": "%(person)b"}
    opened = e.ApplicationOpened(
        application_id="x",
        person_id="x",
        occupation=OCCUPATION,
        occupation_name="互联网营销师",
        edition="2021",
        level=level,
    )
    forms = [Form(ledger, opened, stream, 1, OPENED_AT, **application, **person)]
    for kind in CertificateKind:
        numbered = e.CertificateNumbered(
            application_id="x", kind=kind, number="x", person_id="x", source="allocated"
        )
        fields = application | person | {"number": f"%({kind.value})b"}
        forms.append(Form(ledger, numbered, stream, len(forms) + 1, ISSUED_AT, **fields))
    for kind in CertificateKind:
        issued = e.CertificateIssued(
            application_id="x",
            person_id="x",
            kind=kind,
            number="x",
            issued_on=ISSUED_ON,
            version=1,
            card_sha256="0" * 64,
            card_salt=None,
        )
        fields = application | person | {"number": f"%({kind.value})b"}
        forms.append(Form(ledger, issued, stream, len(forms) + 1, ISSUED_AT, **fields))
    return Stream(stream, forms)


_length = struct.Struct(">i").pack
_bigint = struct.Struct(">iq").pack
_int = struct.Struct(">ii").pack


def _field(value: bytes) -> bytes:
    return _length(len(value)) + value


def _id(counted: int) -> tuple[bytes, bytes]:
    """An id as a field and as text."""
    raw = scattered(counted).to_bytes(16, "big")
    text = raw.hex().encode()
    parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
    return _UUID_BEGIN + raw, b"-".join(parts)


def _time(moment: datetime) -> bytes:
    return _bigint(8, (moment - _EPOCH) // _MICROSECOND)


def _text(moment: datetime) -> bytes:
    return envelopes.rfc3339(moment).encode()


_UUID_BEGIN = _length(16)
_PRINCIPAL = _field(ACTOR.subject.encode())
_CERTIFICATE = _field(b"certificate_number")
