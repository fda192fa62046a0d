"""Tree heads are signed only if they continue what was signed before."""

import threading

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.errors import InconsistentLog
from domain.store.journal.journal import Journal
from domain.store.tlog import checkpoints
from domain.store.tlog.audit import verify
from domain.store.tlog.checkpoints import (
    CheckpointSigner,
    checkpoint_of_size,
    checkpoints_after,
    latest_checkpoint,
    leaf_hashes,
)
from domain.store.tlog.merkle import root
from domain.store.tlog.signed_note import Checkpoint, Signer, open_note
from tests.store.drafts import append
from tests.support.postgres import Database

SIGNER = Signer("certledger.example/omc", b"k" * 32)


def write(journal: Journal, stream: str, *versions: int) -> None:
    with journal.transaction() as transaction:
        transaction.append([append(stream, *versions)])


def test_a_checkpoint_commits_to_everything_before_it(journal: Journal) -> None:
    write(journal, "a", *range(1, 8))
    signed = CheckpointSigner(journal, SIGNER).sign()
    assert signed is not None
    expected = root([event.leaf_hash for event in journal.read(0, 99)])
    text, _ = open_note(signed.note, [SIGNER.verifier])
    assert Checkpoint.parse(text) == Checkpoint("certledger.example/omc", 7, expected)
    assert (signed.size, signed.root) == (7, expected)
    assert latest_checkpoint(journal) == checkpoint_of_size(journal, 7) == signed


def test_an_empty_journal_and_one_that_did_not_grow_are_not_signed_again(journal: Journal) -> None:
    signer = CheckpointSigner(journal, SIGNER)
    assert signer.sign() is None
    write(journal, "a", 1)
    first = signer.sign()
    assert signer.sign() == first
    assert CheckpointSigner(journal, SIGNER).sign() == first
    assert len(checkpoints_after(journal, 0)) == 1


def test_a_restarted_signer_continues_the_checkpoints(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "RANGE_EVENTS", 3)
    signer = CheckpointSigner(journal, SIGNER)
    for version in range(1, 30):
        write(journal, "a", version)
        if version % 3 == 0:
            signer.sign()
        if version % 10 == 0:
            signer = CheckpointSigner(journal, SIGNER)
    assert [c.size for c in checkpoints_after(journal, 0)] == list(range(3, 28, 3))
    assert [c.size for c in checkpoints_after(journal, 9, limit=2)] == [12, 15]
    report = verify(journal, SIGNER.verifier.vkey)
    assert report.is_good
    assert report.checkpoints == 9
    assert report.size == 29


def test_a_prefix_of_the_journal_may_be_signed(journal: Journal) -> None:
    write(journal, "a", *range(1, 8))
    signed = CheckpointSigner(journal, SIGNER).sign(upto=5)
    assert signed is not None
    assert signed.root == root(leaf_hashes(journal, 0, 5))


def test_concurrent_signers_sign_one_history(journal: Journal) -> None:
    write(journal, "a", *range(1, 50))
    results: list = []
    threads = [
        threading.Thread(target=lambda: results.append(CheckpointSigner(journal, SIGNER).sign()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert len({result.root for result in results}) == 1
    assert len(checkpoints_after(journal, 0)) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("leaf_hash = sha256('x')", "position = 2"),  # signed already, hash changed
        ("envelope = 'x'", "position = 5"),  # not signed yet, envelope changed
        ("position = 99", "position = 5"),
    ],
)
@pytest.mark.parametrize("restarted", [True, False])
def test_a_journal_that_was_tampered_with_is_not_signed(
    journal: Journal, database: Database, change: str, where: str, restarted: bool
) -> None:
    write(journal, "a", 1, 2, 3)
    signer = CheckpointSigner(journal, SIGNER)
    signer.sign()
    write(journal, "a", 4, 5, 6)
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute(f"UPDATE certledger.journal SET {change} WHERE {where}")
    if restarted:
        signer = CheckpointSigner(journal, SIGNER)
    if "leaf_hash" in change and not restarted:
        # The signer keeps the tree it signed; its next checkpoint continues that.
        assert signer.sign() is not None
        assert not verify(journal, SIGNER.verifier.vkey).is_good
        return
    with pytest.raises(InconsistentLog):
        signer.sign()
    assert [c.size for c in checkpoints_after(journal, 0)] == [3]


def test_a_shortened_journal_is_not_signed(journal: Journal, database: Database) -> None:
    write(journal, "a", *range(1, 7))
    CheckpointSigner(journal, SIGNER).sign()
    write(journal, "b", 1, 2)
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM certledger.journal WHERE position > 4")
    with pytest.raises(InconsistentLog):
        CheckpointSigner(journal, SIGNER).sign()


def test_leaf_hashes_are_in_order(journal: Journal) -> None:
    write(journal, "a", *range(1, 200))
    hashes = [event.leaf_hash for event in journal.read(0, 999)]
    assert leaf_hashes(journal, 0, 999) == hashes
    assert leaf_hashes(journal, 10, 12) == hashes[10:12]
    assert leaf_hashes(journal, 199, 300) == []
