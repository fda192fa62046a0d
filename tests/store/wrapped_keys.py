"""The keys of one database with a clock, and an attacker who has every state of its tables."""

import base64
import json
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.store.errors import WrongKey
from domain.store.journal.bucket_keys import bucket_of
from domain.store.journal.journal import Journal
from domain.store.postgres.connection import connect
from domain.store.privacy.bucket_keys import BucketKeys, StoredBuckets
from domain.store.privacy.cipher_suites import suite_named
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.field_encryption import FieldEncryptor, Vault, stored_keys
from domain.store.privacy.key_renewal import REST, KeyRenewal
from domain.values.sealed_fields import DataClass, Sealed
from tests.store.drafts import append
from tests.store.facts import INDEX_KEY
from tests.support.waiting import wait_until

IDENTITY = Sealed(DataClass.IDENTITY)
Value = dict[str, str]

# --- the attacker --------------------------------------------------------------------------------


def try_open(suite: str, key: bytes, sealed: bytes, context: str) -> bytes | None:
    with suppress(WrongKey):
        return suite_named(suite).decrypt(key, sealed, context.encode())
    return None


@dataclass
class Attacker:
    """Every state of the tables so far, and the sealed values of the journal."""

    keys: set[tuple[Any, ...]] = field(default_factory=set)
    buckets: set[tuple[Any, ...]] = field(default_factory=set)

    def dump(self, journal: Journal) -> None:
        """Copy the tables as they are now."""
        for rows, sql in (
            (
                self.keys,
                "SELECT owner, class, generation, algorithm, wrapped FROM certledger.data_keys "
                "WHERE wrapped IS NOT NULL",
            ),
            (
                self.buckets,
                "SELECT bucket, generation, algorithm, wrapped FROM certledger.bucket_keys",
            ),
        ):
            rows |= {(*row[:-1], bytes(row[-1])) for row in journal.query(sql)}

    def opens(self, sealed: Value, files: dict[str, bytes]) -> bool:
        """Whether any combination of what there is opens a value of stream `a`, version 1."""
        owner, _, generation = sealed["key"].rpartition("/")
        owner, _, data_class = owner.rpartition("/")
        epochs = [key for name, content in files.items() if (key := epoch_key(name, content))]
        found = []
        for bucket, number, suite, wrapped in self.buckets:
            if bucket == bucket_of(owner):
                context = f"certledger bucket key v1|omc|{bucket}|{number}"
                found += [try_open(suite, key, wrapped, context) for key in epochs]
        for row in self.keys:
            if row[:3] == (owner, data_class, int(generation)):
                context = f"certledger data key v1|omc|{sealed['key']}"
                for bucket_key in filter(None, found):
                    if try_open(row[3], bucket_key, row[4], context):
                        return True
        return False


def epoch_key(name: str, content: bytes, master_key: bytes = b"m" * 32) -> bytes | None:
    """The key of an epoch's file; None if the master key does not open it."""
    _, number, key_id = name.split("_")
    file = json.loads(content)
    wrapped = base64.b64decode(file["wrapped"])
    context = f"certledger epoch key v1|{number}|{key_id}|{file['ends_at']}"
    return try_open(file["algorithm"], master_key, wrapped, context)


def files_of(keys: EpochKeys) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in keys.files()}


# --- a ledger with its keys ----------------------------------------------------------------------


@dataclass
class Safe:
    """The keys of one database, and a clock. Times are whole days and hours after the real now,
    because rows of the database carry real times."""

    journal: Journal
    keys: EpochKeys
    now: datetime
    renewal: KeyRenewal

    def vault(self, **changes: Any) -> Vault:
        rows = StoredBuckets("omc", self.journal.query, self.journal.unit_of_work)
        buckets = BucketKeys("omc", changes.pop("keys", self.keys), rows, **changes)
        return Vault("omc", buckets, INDEX_KEY, stored_keys(self.journal))

    def seal(self, person: str, vault: Vault | None = None, stream: str = "a") -> Value:
        with self.journal.transaction() as transaction:
            version = (transaction.last_version(stream) or 0) + 1
            encryptor = FieldEncryptor(vault or self.vault(), transaction.batch)
            sealed = encryptor.seal(IDENTITY, person, stream, version, "/name", person)
            request = append(stream, version, fresh_keys=encryptor.fresh_keys)
            transaction.append([request])
        return sealed

    def erase(self, person: str) -> None:
        with self.journal.transaction() as transaction:
            version = (transaction.last_version("erasure") or 0) + 1
            keys = ((f"person/{person}", "identity"),)
            transaction.append([append("erasure", version, destroy_keys=keys)])

    def round(self, now: datetime | None = None, renewal: KeyRenewal | None = None) -> bool:
        with closing(connect(self.journal.dsn, name="test")) as connection:
            process = connection.info.backend_pid
            done = (renewal or self.renewal).round(connection, now or self.now)
        # It has the lock of this work until it ends; without that, the next round does nothing.
        with closing(connect(self.journal.dsn, name="test")) as other, other.cursor() as cursor:

            def is_over() -> bool:
                cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (process,))
                return not cursor.fetchall()

            wait_until(is_over)
        return done

    def finish(self, now: datetime) -> None:
        """Rounds until nothing is left to be done."""
        self.round(now)
        assert self.round(now + 2 * REST)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.journal.query(sql)

    def end(self) -> datetime:
        """The end of the newest epoch."""
        end = self.keys.last_end()
        assert end is not None
        return end


def same_bucket(person: str) -> str:
    """Somebody else in the bucket of a person."""
    bucket = bucket_of(f"person/{person}")
    return next(f"q{n}" for n in range(100_000) if bucket_of(f"person/q{n}") == bucket)
