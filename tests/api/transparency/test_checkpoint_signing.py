"""A service compares its ledgers with their heads, stops where they differ, and says so.

Each case is done to a real database as its superuser, at rest and while the service runs.

Covers: api/transparency/checkpoint_signing.py, api/transparency/kept_heads.py,
api/transparency/log_keys.py
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from api.settings import Settings
from api.transparency.log_keys import log_seed, make_log_key
from domain.store.tlog.checkpoints import opened_head
from domain.store.tlog.heads import folder_of
from domain.store.tlog.signed_note import Signer
from tests.support.postgres import Database
from tests.support.rolled_back import (
    ORIGIN,
    SITE_CODE,
    Copy,
    heads,
    open_and_sign,
    problems,
    refusal,
    rewrite_the_tail,
    serving,
    wait_for,
    write,
)
from tests.support.service import FEES, opening, settings_for

WITHIN_S = 2.0
"""A difference has to stop a running service within this time, seconds."""


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Of a service with a log key."""
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    return settings


@pytest.fixture
def written(database: Database, settings: Settings) -> Copy:
    """A ledger with signed events; the copy of the database lacks the last three of them."""
    return open_and_sign(settings, database)


def test_a_stopped_service_has_signed_its_last_event(
    database: Database, settings: Settings, written: Copy
) -> None:
    [(position,)] = database.execute("SELECT position FROM certledger.ledgers")
    verifier = Signer(ORIGIN, log_seed(settings, "omc")).verifier
    head = opened_head(heads(settings)[position], verifier)
    stored = database.execute(
        "SELECT origin, root, note FROM certledger.checkpoints WHERE size = %s", position
    )
    assert [(origin, bytes(root), note) for origin, root, note in stored] == [
        (ORIGIN, head.root, head.note)
    ]


def test_a_service_goes_on_after_a_restart(settings: Settings, written: Copy) -> None:
    before = heads(settings)
    with serving(settings) as ledger:
        assert write(ledger, 6) == [201]
        assert wait_for(lambda: len(heads(settings)) > len(before))
        assert ledger.client.get("/ready").status_code == 200
        assert problems(ledger) == set()
    assert before.items() <= heads(settings).items()


def test_a_service_on_a_rolled_back_database_takes_no_command_and_signs_nothing(
    settings: Settings, written: Copy
) -> None:
    before = heads(settings)
    written.put_back()
    with serving(settings) as ledger:
        assert refusal(ledger) == "log_not_continued"
        assert problems(ledger) == {"log_not_continued"}
        assert wait_for(lambda: ledger.client.get("/ready").status_code == 503)
        assert ledger.client.get("/ready").json()["code"] == "log_not_continued"
        assert ledger.client.get("/health").json()["status"] == "degraded"
    assert heads(settings) == before


def test_a_service_on_a_rewritten_tail_takes_no_command_and_signs_nothing(
    database: Database, settings: Settings, written: Copy
) -> None:
    before = heads(settings)
    rewrite_the_tail(database, min(before))
    with serving(settings) as ledger:
        assert refusal(ledger) in ("log_not_continued", "seal_broken")
        assert wait_for(lambda: "log_not_continued" in problems(ledger))
        assert refusal(ledger) == "log_not_continued"
    assert heads(settings) == before


def test_a_running_service_stops_within_two_seconds_of_a_roll_back(
    settings: Settings, written: Copy
) -> None:
    with serving(settings) as ledger:
        assert write(ledger, 6) == [201]
        assert wait_for(lambda: len(heads(settings)) > 2)
        time.sleep(1.2)
        before = heads(settings)
        written.put_back()
        assert wait_for(lambda: "log_not_continued" in problems(ledger), WITHIN_S)
        assert refusal(ledger) == "log_not_continued"
    assert heads(settings) == before


def test_a_running_service_stops_within_two_seconds_of_a_rewritten_tail(
    database: Database, settings: Settings, written: Copy
) -> None:
    with serving(settings) as ledger:
        assert write(ledger, 6) == [201]
        time.sleep(1.5)
        before = heads(settings)
        rewrite_the_tail(database, min(before))
        assert wait_for(lambda: "log_not_continued" in problems(ledger), WITHIN_S)
        assert refusal(ledger) == "log_not_continued"
    assert heads(settings) == before


def test_a_service_that_lost_its_heads_takes_no_command(settings: Settings, written: Copy) -> None:
    shutil.rmtree(settings.data_dir / "heads")
    with serving(settings) as ledger:
        assert refusal(ledger) == "log_not_continued"
    assert not (settings.data_dir / "heads").exists()


def test_a_second_place_shows_what_the_own_place_has_lost(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    settings = settings.model_copy(update={"head_places": str(tmp_path / "second")})
    with serving(settings) as ledger:
        ledger.caller("operator").write("", opening(SITE_CODE, "omc"), method="PUT")
        assert wait_for(lambda: heads(settings))
        copy = Copy(database)
        kept = tmp_path / "kept"
        shutil.copytree(settings.data_dir / "heads", kept)
        assert write(ledger, 1, 2) == [201, 201]
    copy.put_back()
    shutil.rmtree(settings.data_dir / "heads")
    kept.rename(settings.data_dir / "heads")
    second = tmp_path / "second" / folder_of(ORIGIN)
    before = {path.name: path.read_text() for path in second.iterdir()}
    with serving(settings) as ledger:
        assert refusal(ledger) == "log_not_continued"
    assert {path.name: path.read_text() for path in second.iterdir()} == before


def test_commands_go_on_unsigned_where_the_operator_wants_it(
    settings: Settings, written: Copy
) -> None:
    before = heads(settings)
    written.put_back()
    settings = settings.model_copy(update={"write_unsigned": True})
    with serving(settings) as ledger:
        assert refusal(ledger) is None
        assert wait_for(lambda: "log_not_continued" in problems(ledger))
        time.sleep(1.5)
        assert write(ledger, 9) == [201]
        assert ledger.client.get("/ready").status_code == 200
    assert heads(settings) == before


@pytest.mark.parametrize(("language", "words"), [("zh", "暂不受理"), ("en", "takes no commands")])
def test_a_refused_command_says_why_in_both_languages(
    settings: Settings, written: Copy, language: str, words: str
) -> None:
    written.put_back()
    with serving(settings) as ledger:
        answer = ledger.caller("operator").send(
            "editions/fees", FEES, headers={"Accept-Language": language}
        )
    assert answer.status_code == 503
    assert words in answer.json()["detail"]
    assert str(settings.data_dir) not in answer.text


def test_a_service_without_the_log_key_writes_and_compares_with_the_second_places(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = str(tmp_path / "second")
    copy = open_and_sign(settings.model_copy(update={"head_places": second}), database)
    other = settings_for(database.dsn, tmp_path / "other", head_places=second)
    with serving(other) as ledger:
        assert refusal(ledger) is None
        assert problems(ledger) == set()
    copy.put_back()
    with serving(other) as ledger:
        assert refusal(ledger) == "log_not_continued"
    assert not list((tmp_path / "other").glob("heads/*"))
