"""Tree heads are signed only if they continue what was signed before."""

import shutil
import threading
from pathlib import Path

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.errors import HeadPlaceSilent, LogDiffers, SealBroken
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
from domain.store.tlog.heads import DirectoryPlace, NewestHeadFile, folder_of
from domain.store.tlog.merkle import root
from domain.store.tlog.signed_note import Checkpoint, Signer, open_note
from tests.store.drafts import append
from tests.support import tampering
from tests.support.keys import journal_of
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
    with pytest.raises((LogDiffers, SealBroken)):
        signer.sign()
    assert [c.size for c in checkpoints_after(journal, 0)] == [3]


def test_a_journal_with_an_event_beyond_its_head_is_not_signed(
    journal: Journal, database: Database
) -> None:
    """The application role can insert one without any key."""
    write(journal, "a", 1, 2, 3)
    signer = CheckpointSigner(journal, SIGNER)
    signer.sign()
    with tampering.application_role(database) as cursor:
        tampering.insert(cursor, "a", 4, "fee_paid.v1", amount_fen=1)
    for each in (signer, CheckpointSigner(journal, SIGNER)):
        with pytest.raises(SealBroken, match="event at position 4"):
            each.sign()
    with pytest.raises(SealBroken, match="event at position 4"):
        signer.compare()


def test_a_shortened_journal_is_not_signed(journal: Journal, database: Database) -> None:
    write(journal, "a", *range(1, 7))
    CheckpointSigner(journal, SIGNER).sign()
    write(journal, "b", 1, 2)
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM certledger.journal WHERE position > 4")
    with pytest.raises(LogDiffers):
        CheckpointSigner(journal, SIGNER).sign()


# --- places of heads ------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> tuple[DirectoryPlace, DirectoryPlace]:
    """The own place, and a second one."""
    (tmp_path / "second").mkdir()
    return DirectoryPlace(tmp_path / "own", make=True), DirectoryPlace(tmp_path / "second")


Places = tuple[DirectoryPlace, DirectoryPlace]


def as_superuser(database: Database, *statements: str) -> None:
    """Run statements with every trigger of the journal, the checkpoints and the heads disabled."""
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        for table in ("journal", "checkpoints", "ledgers"):
            cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER ALL")
        for statement in statements:
            cursor.execute(statement)


REWRITE = (
    """UPDATE certledger.journal
    SET envelope = convert_to(replace(convert_from(envelope, 'UTF8'), 'registrar', 'evil'), 'UTF8')
    WHERE position > 3""",
    """UPDATE certledger.journal SET leaf_hash = sha256('\\x00'::bytea || envelope)
    WHERE position > 3""",
    "DELETE FROM certledger.checkpoints WHERE size > 3",
)
"""A superuser's rewritten tail, with the checkpoints that cover it deleted (F-WASH)."""

ROLL_BACK = (
    "DELETE FROM certledger.journal WHERE position > 3",
    "DELETE FROM certledger.checkpoints WHERE size > 3",
    "DELETE FROM certledger.ledgers",
    "INSERT INTO certledger.ledgers SELECT * FROM public.old_head",
)
"""What the database was at size 3, as a restored copy of it has it (F-ROLL)."""


def signed_twice(journal: Journal, database: Database, places: Places) -> CheckpointSigner:
    """A signer that has signed sizes 3 and 6, and its heads in both places."""
    signer = CheckpointSigner(journal, SIGNER, places)
    write(journal, "a", 1, 2, 3)
    signer.sign()
    as_superuser(database, "CREATE TABLE public.old_head AS SELECT * FROM certledger.ledgers")
    write(journal, "a", 4, 5, 6)
    signer.sign()
    assert [place.sizes(SIGNER.verifier.name) for place in places] == [[3, 6], [3, 6]]
    return signer


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("what", [REWRITE, ROLL_BACK], ids=["rewritten", "rolled back"])
def test_a_rewritten_or_rolled_back_journal_is_not_signed_and_no_head_is_replaced(
    journal: Journal,
    database: Database,
    places: Places,
    what: tuple[str, ...],
    live: bool,
) -> None:
    signer = signed_twice(journal, database, places)
    kept = [place.read(SIGNER.verifier.name, 6) for place in places]
    as_superuser(database, *what)
    if not live:
        signer = CheckpointSigner(journal, SIGNER, places)
    for _ in range(2):
        with pytest.raises(LogDiffers):
            signer.sign()
    assert [place.read(SIGNER.verifier.name, 6) for place in places] == kept
    assert [place.sizes(SIGNER.verifier.name) for place in places] == [[3, 6], [3, 6]]
    assert [c.size for c in checkpoints_after(journal, 0)] == [3]


def test_one_place_that_kept_the_head_is_enough(
    journal: Journal, database: Database, places: Places, tmp_path: Path
) -> None:
    signed_twice(journal, database, places)
    as_superuser(database, *REWRITE)
    (tmp_path / "own" / folder_of(SIGNER.verifier.name) / "6").unlink()
    with pytest.raises(LogDiffers, match=r"second.*another root"):
        CheckpointSigner(journal, SIGNER, places).sign()


def test_a_fork_that_grew_past_the_kept_head_is_not_signed(
    journal: Journal, database: Database, places: Places
) -> None:
    signed_twice(journal, database, places)
    as_superuser(database, *ROLL_BACK)
    # Another process, for this one has seen the events that are gone.
    other = journal_of(database.dsn)
    try:
        write(other, "b", *range(1, 9))
        with pytest.raises(LogDiffers, match=r"size 6 .* another root"):
            CheckpointSigner(other, SIGNER, places).sign()
    finally:
        other.close()
    assert not journal.check_history()


def test_a_lost_own_place_is_reported_and_not_filled_again(
    journal: Journal, database: Database, places: Places, tmp_path: Path
) -> None:
    signer = signed_twice(journal, database, places)
    shutil.rmtree(tmp_path / "own")
    for each in (signer, CheckpointSigner(journal, SIGNER, places)):
        with pytest.raises(LogDiffers, match=r"own( has no head|.* is gone)"):
            each.sign()
    assert not (tmp_path / "own").exists()


def test_a_log_whose_heads_are_gone_everywhere_is_not_taken_for_a_new_one(
    journal: Journal, database: Database, places: Places, tmp_path: Path
) -> None:
    """The head next to the key is left: only who has the key could remove it."""
    own, second = places
    by_key = NewestHeadFile(tmp_path / "log_omc@signed")
    write(journal, "a", 1, 2, 3)
    CheckpointSigner(journal, SIGNER, (own, by_key, second)).sign()
    for folder in ("own", "second"):
        shutil.rmtree(tmp_path / folder)
    (tmp_path / "second").mkdir()
    as_superuser(database, "DELETE FROM certledger.checkpoints")
    for _ in range(2):
        with pytest.raises(LogDiffers, match=r"own has no head, but .*@signed has one of size 3"):
            CheckpointSigner(journal, SIGNER, (own, by_key, second)).sign()
    assert checkpoints_after(journal, 0) == []
    (tmp_path / "log_omc@signed").unlink()  # as for a log that was never signed
    assert CheckpointSigner(journal, SIGNER, (own, by_key, second)).sign() is not None
    assert by_key.sizes(SIGNER.verifier.name) == [3]


def test_a_rewritten_journal_is_not_signed_where_only_the_head_next_to_the_key_is_left(
    journal: Journal, database: Database, tmp_path: Path
) -> None:
    by_key = NewestHeadFile(tmp_path / "log_omc@signed")
    write(journal, "a", 1, 2, 3, 4, 5, 6)
    CheckpointSigner(journal, SIGNER, (by_key,)).sign()
    as_superuser(database, *REWRITE)
    other = Journal(database.dsn, "omc", None)  # somebody with the journal key can seal it, too
    try:
        with pytest.raises(LogDiffers, match=r"size 6 in .*@signed has another root"):
            CheckpointSigner(other, SIGNER, (by_key,)).sign()
    finally:
        other.close()


def test_a_key_folder_that_takes_no_file_does_not_stop_the_signer(
    journal: Journal, places: Places, tmp_path: Path
) -> None:
    by_key = NewestHeadFile(tmp_path / "missing" / "log_omc@signed")
    write(journal, "a", 1)
    assert CheckpointSigner(journal, SIGNER, (places[0], by_key)).sign() is not None


def test_a_checkpoint_whose_storing_was_interrupted_is_stored_before_the_next_one(
    journal: Journal, database: Database, places: Places
) -> None:
    same = CheckpointSigner(journal, SIGNER, places)
    for version, signer in ((1, same), (2, same), (3, CheckpointSigner(journal, SIGNER, places))):
        as_superuser(database, f"DELETE FROM certledger.checkpoints WHERE size = {version - 1}")
        write(journal, "a", version)
        signer.sign()
    assert [c.size for c in checkpoints_after(journal, 0)] == [1, 2, 3]


def test_a_head_that_another_key_signed_stops_the_signer(
    journal: Journal, database: Database, places: Places
) -> None:
    signed_twice(journal, database, places)
    other = Signer(SIGNER.verifier.name, b"o" * 32)
    with pytest.raises(LogDiffers, match="no trusted key"):
        CheckpointSigner(journal, other, places).sign()


def test_a_second_place_that_was_silent_gets_the_newest_head(
    journal: Journal, places: Places, tmp_path: Path
) -> None:
    (tmp_path / "second").rmdir()
    signer = CheckpointSigner(journal, SIGNER, places)
    write(journal, "a", 1)
    signer.sign()
    (tmp_path / "second").mkdir()
    write(journal, "a", 2)
    signer.sign()
    assert [place.sizes(SIGNER.verifier.name) for place in places] == [[1, 2], [2]]


def test_signing_waits_for_a_silent_place_where_that_is_wanted(
    journal: Journal, places: Places, tmp_path: Path
) -> None:
    (tmp_path / "second").rmdir()
    write(journal, "a", 1)
    with pytest.raises(HeadPlaceSilent):
        CheckpointSigner(journal, SIGNER, places, wait_for_places=True).sign()
    assert places[0].sizes(SIGNER.verifier.name) == []


def test_several_signers_with_the_same_places_sign_one_history(
    journal: Journal, places: Places
) -> None:
    one, two = (CheckpointSigner(journal, SIGNER, places) for _ in range(2))
    for version in range(1, 9):
        write(journal, "a", version)
        (one if version % 3 else two).sign()
    assert places[0].sizes(SIGNER.verifier.name) == list(range(1, 9))
    assert two.sign() == one.sign()


def test_leaf_hashes_are_in_order(journal: Journal) -> None:
    write(journal, "a", *range(1, 200))
    hashes = [event.leaf_hash for event in journal.read(0, 999)]
    assert leaf_hashes(journal, 0, 999) == hashes
    assert leaf_hashes(journal, 10, 12) == hashes[10:12]
    assert leaf_hashes(journal, 199, 300) == []
