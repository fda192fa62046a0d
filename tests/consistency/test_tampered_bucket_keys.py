"""What somebody with the database or the key directory can do to what wraps the data keys.

Each case is done to a copy of one database, as in `test_tampering.py`; the audit names it.
Covers: domain/audit/bucket_keys_check.py
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.audit.full import FullReport
from tests.support.honest import Copy

SET, DROP = "UPDATE certledger", "DELETE FROM certledger"
USED = "WHERE bucket = (SELECT min(bucket) FROM certledger.data_keys WHERE wrapped IS NOT NULL)"
UNUSED = (
    "WHERE bucket = (SELECT min(bucket) FROM certledger.bucket_keys WHERE bucket NOT IN "
    "(SELECT bucket FROM certledger.data_keys))"
)
OTHER = "(SELECT wrapped FROM certledger.bucket_keys ORDER BY bucket DESC LIMIT 1)"
DOES_NOT_OPEN = "/1: does not open with the key of epoch 1: it was altered or exchanged; it wraps "

CASES = {
    "a byte flipped in a bucket key": (
        f"{SET}.bucket_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) {USED}",
        DOES_NOT_OPEN,
    ),
    "a bucket key overwritten by another": (
        f"{SET}.bucket_keys SET wrapped = {OTHER} {USED}",
        DOES_NOT_OPEN,
    ),
    "a bucket key deleted": (f"{DROP}.bucket_keys {USED}", "/1: is missing; it wrapped "),
    "a bucket key that wraps nothing deleted": (f"{DROP}.bucket_keys {UNUSED}", ": has no key"),
    "all bucket keys deleted": (
        f"{DROP}.bucket_keys",
        "bucket keys: all bucket keys are missing; they wrapped ",
    ),
    "a data key overwritten by another": (
        f"{SET}.data_keys SET wrapped = (SELECT wrapped FROM certledger.data_keys WHERE wrapped "
        "IS NOT NULL ORDER BY owner DESC LIMIT 1) WHERE owner = (SELECT min(owner) FROM "
        "certledger.data_keys WHERE wrapped IS NOT NULL)",
        ": does not open with bucket key ",
    ),
    "a data key moved to another bucket": (
        f"{SET}.data_keys SET bucket = (bucket + 1) % 1024 {USED}",
        ", and belongs to ",
    ),
    "the row of an epoch deleted": (
        f"{DROP}.epochs",
        "bucket keys: bucket key 0/1: its epoch 1 is missing; it wraps ",
    ),
    "an epoch marked as destroyed": (
        f"{SET}.epochs SET destroyed_at = now()",
        "bucket keys: epoch 1: is marked as destroyed, and wraps bucket keys",
    ),
    "the bucket of somebody erased not to be renewed": (
        f"{SET}.bucket_keys SET stale = false, created_at = created_at - interval '1 day' "
        "WHERE stale",
        ": is not marked as stale, and a data key under it was destroyed or moved",
    ),
}
BY_THE_APPLICATION = ["a bucket key overwritten by another", "an epoch marked as destroyed"]


def said(report: FullReport) -> list[str]:
    found = [f"{finding.check}: {finding}" for finding in report.findings]
    return [each for each in found if each.startswith("bucket keys: ")]


def test_the_honest_database_is_good(copy: Copy) -> None:
    report = copy.audit()
    assert said(report) == []
    [check] = [each for each in report.checks if each.check == "bucket keys"]
    [(keys,)] = copy.database.execute(
        "SELECT count(*) FROM certledger.data_keys WHERE wrapped IS NOT NULL"
    )
    assert check.counts == {
        "bucket keys opened": 1024,
        "data keys opened": keys,
        "epochs in use": 1,
    }


@pytest.mark.parametrize(("statement", "says"), CASES.values(), ids=CASES)
def test_verify_names_what_a_superuser_did(copy: Copy, statement: str, says: str) -> None:
    copy.as_superuser(statement)
    assert says in "\n".join(said(copy.audit()))


@pytest.mark.parametrize("case", BY_THE_APPLICATION)
def test_verify_names_what_the_application_role_did(copy: Copy, case: str) -> None:
    statement, says = CASES[case]
    copy.as_application(statement)
    assert says in "\n".join(said(copy.audit()))


@pytest.mark.parametrize("change", ["missing", "flipped", "empty"])
def test_the_key_of_an_epoch_that_does_not_open_is_named_once(
    copy: Copy, tmp_path: Path, change: str
) -> None:
    directory = tmp_path / "epochs"
    directory.mkdir()
    keys = copy.store.secrets.epoch_keys
    [(number, key_id)] = copy.database.execute("SELECT epoch, key_id FROM certledger.epochs")
    name = f"epoch_{number}_{key_id}"
    if change != "missing":
        content = bytearray((keys.directories[0] / name).read_bytes())
        content[-20] ^= 1
        (directory / name).write_bytes(content if change == "flipped" else b"")
        (directory / name).chmod(0o600)
    secrets = replace(copy.store.secrets, epoch_keys=replace(keys, directories=(directory,)))
    [one] = said(replace(copy, store=replace(copy.store, secrets=secrets)).audit())
    says = {
        "missing": f"the key of epoch 1 is not in {directory} ({name}). Either the directory is",
        "flipped": f"{name} does not open: ",
        "empty": f"{name} is damaged",
    }[change]
    assert one.startswith(f"bucket keys: epoch 1: {says}")
    keys_under = copy.database.execute(
        "SELECT count(*) FROM certledger.data_keys WHERE wrapped IS NOT NULL"
    )[0][0]
    assert one.endswith(f"; it wraps 1024 bucket keys, and by those {keys_under} data keys")


def test_the_file_of_an_epoch_that_was_put_back_is_named(copy: Copy) -> None:
    keys = copy.store.secrets.epoch_keys
    second = keys.make(2, datetime.now(UTC))
    insert = "INSERT INTO certledger.epochs VALUES (2, '{}', now(), now(), now() - interval '{}')"
    copy.as_superuser(insert.format(second.name.key_id, "1 minute"))
    try:
        assert said(copy.audit()) == [], "who renews keys is about to destroy it"
        copy.as_superuser(
            f"{SET}.epochs SET destroyed_at = destroyed_at - interval '1 day' WHERE epoch = 2"
        )
        [one] = said(copy.audit())
        assert one.startswith(
            "bucket keys: epoch 2: its key is still in the key directory, and was"
        )
    finally:
        keys.destroy([second.name])
