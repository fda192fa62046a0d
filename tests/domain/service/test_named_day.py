"""Plays the day that the answer to an erasure names, on the files of a database and of its keys.

The attacker has every byte of the data directory (dead rows and WAL included), of a backup from
before the erasure and of one from after it, every key of the service, and whichever files of epochs
there still are. Nothing is read through the database: every value of the right length is tried, and
the bytes are searched for every keyed hash of what the attacker guesses.
Covers: domain/store/privacy/key_renewal.py, domain/store/privacy/index_ciphers.py,
domain/store/keys/command_hashes.py, domain/service/command_execution.py
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from domain.service.ledger import Ledgers
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from domain.store.journal.bucket_keys import bucket_of
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.epoch_keys import Epoch, EpochKeys, EpochName
from domain.store.privacy.index_ciphers import IndexCipher, index_cipher_key
from domain.store.privacy.key_renewal import KeyRenewal
from domain.values.working_days import SHANGHAI, shanghai_date
from tests.store.wrapped_keys import epoch_key, files_of, try_open
from tests.support import tampering
from tests.support.actors import ASSISTANT
from tests.support.commands import document_of, erase, name_of, open_ledger, register
from tests.support.epochs import GivenEpochs
from tests.support.ledgers import SECRETS, SITE_CODE, PostgresWorld, request_of
from tests.support.postgres import Database, fresh_database

MASTER_KEY = bytes(range(32))
SUITE = "aes-256-gcm"
DAY = timedelta(days=1)
BACKUP_DAYS = 35

# --- the attacker --------------------------------------------------------------------------------

WRAPPED_BYTES = 12 + 32 + 16
LENGTH = bytes([(WRAPPED_BYTES + 1) << 1 | 1])  # how PostgreSQL begins a short value of that length


def values_of(folders: Iterable[Path]) -> set[bytes]:
    """Everything in some folders that may be a wrapped key: random bytes of that length."""
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        at = content.find(LENGTH)
        while at >= 0:
            value = content[at + 1 : at + 1 + WRAPPED_BYTES]
            if len(set(value)) > WRAPPED_BYTES // 2:  # else it is a text, or zeros
                found.add(value)
            at = content.find(LENGTH, at + 1)
    return found


def opens(values: set[bytes], files: Iterable[Mapping[str, bytes]], owner: str) -> bool:
    """Whether any value is the identity key of an owner under keys of these files."""
    contents = {each for of_copy in files for each in of_copy.items()}
    epochs = [key for each in contents if (key := epoch_key(*each, MASTER_KEY))]
    bucket_keys = []
    for generation in range(1, 5):
        context = f"certledger bucket key v1|omc|{bucket_of(owner)}|{generation}"
        bucket_keys += tried(values, epochs, context)
    return bool(tried(values, bucket_keys, f"certledger data key v1|omc|{owner}/identity/1"))


def tried(values: set[bytes], keys: Iterable[bytes], context: str) -> list[bytes]:
    return [
        found for key in keys for value in values if (found := try_open(SUITE, key, value, context))
    ]


def hashes_of(n: int, files: Iterable[Mapping[str, bytes]]) -> dict[str, set[bytes]]:
    """What is stored of candidate n by kind, as the keys of the service and these files make it.

    The attacker has guessed everything: document, name, login, the whole request.
    """
    contents = {each for of_copy in files for each in of_copy.items()}
    epochs = [
        Epoch(EpochName(int(name.split("_")[1]), name.split("_")[2]), datetime.now(UTC), key)
        for name, content in contents
        if (key := epoch_key(name, content, MASTER_KEY))
    ]
    indexes, document = BlindIndexes(SECRETS.index_key), f"cn18:{document_of(n)}"
    inner = [
        indexes.blind_index("document", document),
        indexes.blind_index("named_document", f"{document}|{name_of(n)}"),
    ]
    found: dict[str, set[bytes]] = {"index": set(), "login": set(), "request": set()}
    found["index"] |= {index.partition(":")[2].encode() for index in inner}
    [login] = SECRETS.login_keys.names("omc", f"candidate-{n}")
    found["login"].add(login.mac)
    for epoch in epochs:
        cipher = IndexCipher(index_cipher_key(epoch))
        found["index"] |= {cipher.encrypt(index).partition(":")[2].encode() for index in inner}
        found["login"].add(cipher.login(login).mac)
        hasher = SECRETS.hasher.of("omc", GivenEpochs(epoch))
        found["request"].add(hasher.request(request_of(register(n))).stored[8:])
    return found


def kinds_in(folders: Iterable[Path], hashes: Mapping[str, set[bytes]]) -> set[str]:
    """The kinds of which some folder holds a hash, as bytes or in hex."""
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for kind, each in hashes.items():
            if any(one in content or one.hex().encode() in content for one in each):
                found.add(kind)
    return found


# --- the operator --------------------------------------------------------------------------------


def backed_up(server: EmbeddedPostgres, folder: Path) -> Path:
    """A physical backup with its WAL."""
    program = server.binaries / "pg_basebackup"
    where = ("--dbname", server.dsn(SUPERUSER, "postgres"), "--pgdata", str(folder))
    subprocess.run(
        [program, *where, "--wal-method=stream", "--checkpoint=fast"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return folder


@contextmanager
def a_ledger(database: Database, keys: EpochKeys) -> Iterator[PostgresWorld]:
    with closing(Ledgers(database.dsn, replace(SECRETS, epoch_keys=keys))) as ledgers:
        yield PostgresWorld(ledgers.create("omc", SITE_CODE))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_opens_what_was_erased_from_the_day_on_that_the_answer_names(
    server_dir: Path, tmp_path: Path
) -> None:
    keys = EpochKeys(SECRETS.epoch_keys.master_keys, (tmp_path / "keys",), backup_days=BACKUP_DAYS)
    today = shanghai_date(datetime.now(UTC))
    copies: dict[date, dict[str, bytes]] = {}  # of the key directory, one a day
    with EmbeddedPostgres(server_dir) as server, fresh_database(server) as database:
        migrate(database.dsn)
        with a_ledger(database, keys) as world:
            world.do(open_ledger())
            for n in (1, 2):
                world.do(register(n), by=ASSISTANT)
            folders = [backed_up(server, tmp_path / "before")]
            before = values_of(folders)
            erase(world)
            named = date.fromisoformat(world.receipts[-1].outcome["unreadable_from"])
            folders.append(backed_up(server, tmp_path / "after"))
            after = values_of(folders[1:])
        copies[today] = files_of(keys)
        every = {"index", "login", "request"}
        assert kinds_in(folders, hashes_of(1, [copies[today]])) == every, "guesses can be tried"
        assert kinds_in(folders, hashes_of(1, [])) == set(), "not without the key of the epoch"
        assert opens(before, [copies[today]], "person/P1"), "with the keys of the same day"
        assert opens(after, [copies[today]], "person/P1"), "dead rows and WAL still have it"
        assert not opens(before | after, [], "person/P1"), "the database alone opens nothing"

        renewal = KeyRenewal(keys, SUITE, SECRETS.sealer)
        with closing(connect(database.dsn, name="test")) as connection:
            for day in (today + n * DAY for n in range((named - today).days + 1)):
                for minute in (0, 2):  # an epoch ends a minute after the next one began
                    renewal.round(connection, datetime.combine(day, time(12, minute), SHANGHAI))
                copies[day] = files_of(keys)
        with tampering.superuser(database) as cursor:
            cursor.execute("CHECKPOINT")
        folders.append(server_dir / "postgres")
        values = before | after | values_of(folders[2:])

    def living(day: date) -> list[dict[str, bytes]]:
        """The key directory of a day, and the backups of it that are no older than they may be."""
        return [files for made, files in copies.items() if 0 <= (day - made).days <= BACKUP_DAYS]

    assert not opens(values, living(named), "person/P1")
    assert opens(values, living(named), "person/P2")
    assert kinds_in(folders, hashes_of(1, living(named))) == set(), "no guess can be tried"
    assert kinds_in(folders, hashes_of(2, living(named))) == {"index", "login"}
    assert kinds_in(folders, hashes_of(1, living(named - DAY))) == {"index", "login", "request"}
    assert opens(values, living(named - DAY), "person/P1"), "a backup of the directory has the key"
    assert not opens(values, [copies[named - DAY]], "person/P1"), "without one it was gone before"
