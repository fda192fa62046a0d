"""The bucket keys of a process: how often their rows are read, and what stays in memory."""

from dataclasses import dataclass, field

import pytest

from domain.store.errors import WrongEpochKey
from domain.store.journal.bucket_keys import BUCKETS, BucketKey, bucket_of
from domain.store.privacy.bucket_keys import BucketKeys, StoredBuckets
from domain.store.privacy.epoch_keys import EpochKeys
from tests.store.wrapped_keys import Safe


@dataclass
class CountedRows:
    """The rows of the database, and how often they were read."""

    stored: StoredBuckets
    reads: list[int] = field(default_factory=list)

    def read(self) -> list[BucketKey]:
        self.reads.append(1)
        return self.stored.read()

    def make(self, keys: EpochKeys, algorithm: str) -> None:
        self.stored.make(keys, algorithm)

    def newest_epoch(self) -> tuple[int, str] | None:
        return self.stored.newest_epoch()


def counted(safe: Safe) -> tuple[BucketKeys, CountedRows]:
    journal = safe.journal
    rows = CountedRows(StoredBuckets("omc", journal.query, journal.unit_of_work))
    return BucketKeys("omc", safe.keys, rows, cache_seconds=3600.0), rows


def test_all_buckets_are_read_at_once_and_not_again(safe: Safe) -> None:
    safe.seal("p1")
    buckets, rows = counted(safe)
    for bucket in range(BUCKETS):
        buckets.newest(bucket, "aes-256-gcm")
        buckets.find(bucket, 1, "aes-256-gcm")
    assert len(rows.reads) == 1


def test_the_rows_are_not_read_again_for_every_key_of_an_epoch_that_does_not_open(
    safe: Safe,
) -> None:
    safe.seal("p1")
    buckets, rows = counted(safe)
    for path in safe.keys.files():
        path.rename(path.with_name(f"away_{path.name}"))
    for bucket in range(BUCKETS):
        with pytest.raises(WrongEpochKey, match="the key of epoch 1 is not in "):
            buckets.find(bucket, 1, "aes-256-gcm")
    assert len(rows.reads) < BUCKETS // 10
    for directory in safe.keys.directories:
        for path in directory.glob("away_*"):
            path.rename(path.with_name(path.name.removeprefix("away_")))
    buckets.find(0, 1, "aes-256-gcm")


def test_a_process_that_only_reads_forgets_the_key_of_a_generation_that_is_gone(
    safe: Safe,
) -> None:
    vault = safe.vault(cache_seconds=0.0)
    sealed = {person: safe.seal(person, stream=person) for person in ("p1", "p2")}
    assert bucket_of("person/p1") != bucket_of("person/p2")
    for person, value in sealed.items():
        assert vault.open(person, 1, "/name", value) == person
    former = bucket_of("person/p1"), 1
    assert former in vault._buckets._keys
    safe.erase("p1")
    safe.finish(safe.now)
    vault.forget_data_keys()
    assert vault.open("p2", 1, "/name", sealed["p2"]) == "p2"
    assert former not in vault._buckets._keys
    assert not [name for name in vault._buckets._keyed if name[:2] == former]
