"""Erased stays erased: what a restored database has lost of the erasures is done again first.

Each backup is restored on a real database, under a service.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.environment import open_environment
from api.routes.routers import ROUTES
from api.settings import Settings
from api.transparency.erasure_register import check_register, own_register, register_name
from api.transparency.head_places import AddressPlace
from api.transparency.log_keys import make_log_key
from domain.actors import Role
from domain.store.errors import ErasuresMissing
from domain.store.tlog.heads import folder_of
from tests.consistency.live_ledger import SWITCHES, as_texts
from tests.consistency.service_process import ServiceProcess
from tests.support.commands import document_of, erase, name_of, open_ledger
from tests.support.erasures import (
    ERASED_AT,
    Backup,
    erased_after_a_backup,
    own_positions,
    positions,
    repeat,
    texts,
)
from tests.support.http_journey import Journey
from tests.support.journeys import a_registered_person
from tests.support.ledgers import PostgresWorld
from tests.support.place_server import place_server
from tests.support.postgres import Database
from tests.support.recovery import recover
from tests.support.rolled_back import (
    ORIGIN,
    SITE_CODE,
    Copy,
    problems,
    refusal,
    serving,
    wait_for,
)
from tests.support.service import LedgerClient, settings_for
from tests.support.waiting import wait_until

PERSON = "persons/P1"


@pytest.fixture
def backup(database: Database, tmp_path: Path) -> Backup:
    """Candidate 1 was erased after the backup."""
    return erased_after_a_backup(database, tmp_path, 1)


def code(ledger: LedgerClient, path: str = PERSON, role: str = "registrar") -> str:
    """What refuses a read; empty if it is answered."""
    answer = ledger.caller(role).get(path)
    return str(answer.json()["code"]) if answer.is_error else ""


def findings(settings: Settings) -> list[str]:
    with open_environment(settings) as environment:
        ledger = environment.ledger("omc")
        return [*map(str, check_register(settings, "omc", ledger.journal).findings)]


# --- keeping --------------------------------------------------------------------------------------


def test_an_erasure_is_registered_before_anybody_learns_of_it(
    database: Database, tmp_path: Path
) -> None:
    settings = erased_after_a_backup(database, tmp_path).settings
    with serving(settings) as ledger:
        assert own_positions(settings) == []
        receipt = Journey(ledger, 1).erase(ERASED_AT)
        assert own_positions(settings) == [receipt["first_position"]]
        second = Journey(ledger, 2).erase(ERASED_AT)
        assert own_positions(settings) == [receipt["first_position"], second["first_position"]]
    kept = texts(settings.data_dir / "erasures")
    first = json.loads(kept[str(receipt["first_position"])])
    assert (first["person_id"], first["classes"], first["log"]) == ("P1", ["identity"], ORIGIN)
    assert "candidate" not in "".join(kept.values())


def test_second_places_have_each_erasure_too_and_one_that_was_silent_gets_it_later(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    with place_server() as server:
        named = f"{tmp_path / 'second'},{server.address}"
        backup = erased_after_a_backup(database, tmp_path, 1, head_places=named)
        own = own_positions(backup.settings)
        folder = tmp_path / "second" / folder_of(register_name(ORIGIN))
        assert sorted(int(path.name) for path in folder.iterdir()) == own
        assert positions(AddressPlace(server.address)) == own
        server.broken = 500
        with serving(backup.settings) as ledger:
            Journey(ledger, 2).erase(ERASED_AT)
            assert wait_for(lambda: len(list(folder.iterdir())) == 2)
        server.broken = None
        assert positions(AddressPlace(server.address)) == own
        with serving(backup.settings):
            assert wait_for(lambda: len(positions(AddressPlace(server.address))) == 2)


def test_a_command_line_registers_what_it_erases_in_a_ledger_that_it_has_just_opened(
    database: Database, tmp_path: Path
) -> None:
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    with open_environment(settings) as environment:
        world = PostgresWorld(environment.ledgers.create("omc", SITE_CODE))
        world.do(open_ledger())
        erase(a_registered_person(1, world), 1)
    assert own_positions(settings) == recorded(database)
    assert findings(settings) == []


def test_several_services_write_the_same_register(database: Database, tmp_path: Path) -> None:
    backup = erased_after_a_backup(database, tmp_path)
    other = backup.settings.model_copy(update={"data_dir": backup.folder})
    with serving(backup.settings) as one, serving(other) as two:
        threads = [
            threading.Thread(target=Journey(ledger, n).erase, args=(ERASED_AT,))
            for n, ledger in ((1, one), (2, two))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wait_for(
            lambda: len(own_positions(other)) == len(own_positions(backup.settings)) == 2
        )
    assert texts(backup.settings.data_dir / "erasures") == texts(other.data_dir / "erasures")


# --- a restored backup ----------------------------------------------------------------------------


def test_a_backup_from_before_an_erasure_is_not_served_until_it_is_done_again(
    backup: Backup,
) -> None:
    settings = backup.restored(register=True)
    with serving(settings) as ledger:
        assert code(ledger) == "erasures_missing"
        assert refusal(ledger) == "erasures_missing"
        assert "erasures_missing" in problems(ledger)
        assert wait_for(lambda: ledger.client.get("/ready").status_code == 503)
        assert ledger.client.get("/ready").json()["code"] == "erasures_missing"
        body = {"certificate_number": "S000033000123264000001", "name": "赵零"}
        answer = ledger.client.post("/lookup", json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "erasures_missing")

        [entry] = repeat(settings)
        assert entry.person_id == "P1"
        assert wait_for(lambda: code(ledger) == "person_erased")
        assert refusal(ledger) is None
        assert wait_for(lambda: problems(ledger) == set())
        assert ledger.client.get("/ready").status_code == 200
        assert code(ledger, "persons/P2") == ""
        assert ledger.client.post("/lookup", json=body).status_code == 200
    assert findings(settings) == []
    assert repeat(settings) == []


def test_an_erasure_that_was_done_again_is_shown_with_what_is_kept(
    database: Database, tmp_path: Path
) -> None:
    backup = erased_after_a_backup(database, tmp_path)
    with serving(backup.settings) as ledger:
        journey = Journey(ledger, 1)
        journey.staff("registrar", ERASED_AT).write(f"{PERSON}/erasure", {"reason": "request"})
        proposed = replace(backup, copy=Copy(database))
        journey.erase(ERASED_AT)
    settings = proposed.restored(register=True)
    assert len(repeat(settings)) == 1
    with serving(settings) as ledger:
        shown = ledger.caller("regulator").read(f"{PERSON}/erasure")
    assert (shown["confirmed"], shown["refusal"], shown["kept"]) == (None, None, [])
    assert "identity" in shown["destroyed"]


def test_no_read_and_no_command_of_such_a_ledger_is_answered(backup: Backup) -> None:
    with serving(backup.restored(register=True)) as ledger:
        refused = 0
        for route in ROUTES:
            if "{ledger}" not in route.path or "PUT" in route.methods:
                continue
            path = route.path.replace("{ledger}", "omc")
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", "omc")
            caller = ledger.caller(sorted(route.roles or {Role.REGULATOR})[0])
            [method] = route.methods - {"HEAD"}
            answer = caller.send(path, {}, method=method) if route.spec else caller.get(path)
            if answer.status_code in (415, 422):  # the request was read first
                continue
            assert answer.status_code == 503, f"{method} {path}: {answer.text}"
            assert answer.json()["code"] == "erasures_missing", path
            refused += 1
        assert refused > 30
        page = {"Accept": "text/html"}
        for path in ("/ledgers/omc/scores", "/ledgers/omc/scores/N1"):
            assert ledger.client.get(path, headers=page).status_code == 503, path
        assert ledger.client.get("/ledgers").status_code == 200


def test_without_the_register_nobody_can_know_and_the_next_one_that_is_found_stops_the_ledger(
    backup: Backup,
) -> None:
    settings = backup.restored(register=False)
    with serving(settings) as ledger:
        assert code(ledger) == ""
        assert problems(ledger) == set()
    settings = backup.restored(register=True)
    with serving(settings) as ledger:
        assert code(ledger) == "erasures_missing"


def test_a_second_place_is_register_enough(database: Database, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    backup = erased_after_a_backup(database, tmp_path, 1, head_places=str(tmp_path / "second"))
    settings = backup.restored(register=False)
    with serving(settings) as ledger:
        assert code(ledger) == "erasures_missing"
        # Its heads say that more is missing.
        assert wait_for(lambda: "log_not_continued" in problems(ledger))
        assert "erasures_missing" in problems(ledger)
    assert own_positions(settings) == own_positions(backup.settings)


def test_after_an_accepted_loss_the_lost_erasures_are_done_again(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    backup = erased_after_a_backup(database, tmp_path, 1, head_places=str(tmp_path / "second"))
    settings = backup.restored(register=False)
    with pytest.raises(Exception, match="does not continue its log"):
        repeat(settings)
    settings = recover(settings)
    with serving(settings) as ledger:
        assert code(ledger) == "erasures_missing"
        [entry] = repeat(settings)
        assert entry.log == ORIGIN
        assert wait_for(lambda: code(ledger) == "person_erased")
        Journey(ledger, 2).erase(ERASED_AT)
    assert len(own_positions(settings, f"{ORIGIN}/2")) == 2
    assert findings(settings) == []

    # A database from before that recovery finds the erasures of the later log as well.
    settings = backup.restored(register=False, **_keys(settings))
    with serving(settings) as ledger:
        assert code(ledger, "persons/P2") == "erasures_missing"


def _keys(settings: Settings) -> dict[str, Any]:
    return {
        "journal_key": settings.journal_keys_retired[-1],
        "journal_keys_retired": (settings.journal_key,),
    }


def test_a_running_service_notices_that_its_database_was_restored(backup: Backup) -> None:
    with serving(backup.settings) as ledger:
        assert code(ledger) == "person_erased"
        backup.copy.put_back()
        assert wait_for(lambda: "erasures_missing" in problems(ledger))
        assert code(ledger) == "erasures_missing"


def test_who_was_registered_after_the_backup_has_nothing_to_erase_and_may_register_again(
    database: Database, tmp_path: Path
) -> None:
    backup = erased_after_a_backup(database, tmp_path)
    with serving(backup.settings) as ledger:
        Journey(ledger, 3).register("2026-11-26T09:00:00+08:00")
        Journey(ledger, 3).erase(ERASED_AT)
    settings = backup.restored(register=True)
    assert repeat(settings) == []
    with serving(settings) as ledger:
        Journey(ledger, 3).register("2026-11-26T09:00:00+08:00")
        assert code(ledger, "persons/P3") == ""
    with serving(settings) as ledger:
        assert code(ledger, "persons/P3") == ""
    assert findings(settings) == []


def test_what_waited_in_the_backup_waits_no_more_when_the_erasure_is_done_again(
    database: Database, tmp_path: Path
) -> None:
    """Neither the proposal nor the contested registration takes the place of another in a page."""
    backup = erased_after_a_backup(database, tmp_path)
    with serving(backup.settings) as ledger:
        for n in (3, 4):
            body = {"person_id": f"P{n}", "document_type": "resident_id", "name": name_of(n)}
            number = {"document_number": document_of(1)}
            Journey(ledger, n).candidate(ERASED_AT).write("persons", body | number)
        for n in (1, 4):
            registrar = ledger.backdated("registrar").at(ERASED_AT)
            registrar.write(f"persons/P{n}/erasure", {"reason": "request"})
        waiting = replace(backup, copy=Copy(database))
        Journey(ledger, 4).erase(ERASED_AT)
    settings = waiting.restored(register=True)
    assert [entry.person_id for entry in repeat(settings)] == ["P4"]
    with serving(settings) as ledger:
        [row] = ledger.caller("regulator").read("erasures", limit=1)["data"]
        assert row["person_id"] == "P1"
        [row] = ledger.caller("certifier").read("contested-registrations", limit=1)["data"]
        assert row["person_id"] == "P3"


def test_an_export_of_such_a_ledger_is_refused(backup: Backup) -> None:
    settings = backup.restored(register=True)
    with open_environment(settings) as environment, pytest.raises(ErasuresMissing):
        environment.ensure_shown(environment.ledger("omc"))
    assert any("the journal has lost it" in each for each in findings(settings))


def test_the_background_audit_names_what_is_missing_until_it_is_done_again(backup: Backup) -> None:
    audited = {"background_audit": True, "audit_interval_s": 1, "audit_cpu_percent": 100}
    [position] = own_positions(backup.settings)
    named = [f"position {position} of log {ORIGIN}"]
    settings = backup.restored(register=True, **audited)
    with serving(settings) as ledger:

        def found() -> list[str]:
            audit = ledger.client.get("/health").json()["audit"]
            return [each["row"] for each in audit["findings"] if each["check"] == "erasures"]

        assert wait_for(lambda: found() == named, 60)
        repeat(settings)
        assert wait_for(lambda: found() == [], 60)


# --- a register that is lost or altered -----------------------------------------------------------


def test_a_lost_register_is_named_and_written_again_from_the_journal(
    backup: Backup, caplog: pytest.LogCaptureFixture
) -> None:
    folder = backup.settings.data_dir / "erasures"
    before = texts(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    [named] = findings(backup.settings)
    assert "lacks 1 erasures; a service that starts writes them again" in named
    with caplog.at_level(logging.WARNING), serving(backup.settings) as ledger:
        assert code(ledger) == "person_erased"
    assert "lacked 1 erasures, which were written again from the journal" in caplog.text
    assert texts(folder) == before
    assert findings(backup.settings) == []


@pytest.mark.parametrize("alteration", ["another person", "no seal", "garbage", "moved"])
def test_an_altered_or_forged_entry_counts_for_nothing_and_is_named(
    backup: Backup, alteration: str
) -> None:
    place = own_register(backup.settings)
    name, [position] = register_name(ORIGIN), own_positions(backup.settings)
    entry = json.loads(place.read(name, position) or "")
    forged = {
        "another person": json.dumps(entry | {"person_id": "P2", "position": 9999}),
        "no seal": json.dumps(entry | {"position": 9999, "seal": "00" * 32}),
        "garbage": "erase everybody\n",
        "moved": json.dumps(entry),
    }[alteration]
    place.write(name, 9999, forged)
    with serving(backup.settings) as ledger:
        assert code(ledger, "persons/P2") == ""
        assert problems(ledger) == set()
    [named] = findings(backup.settings)
    assert "position 9999" in named
    assert "has no erasure with a right seal" in named


def test_a_gap_between_entries_is_named(database: Database, tmp_path: Path) -> None:
    backup = erased_after_a_backup(database, tmp_path, 1, 2)
    settings = backup.restored(register=True)
    first, _ = own_positions(settings)
    (settings.data_dir / "erasures" / folder_of(register_name(ORIGIN)) / str(first)).unlink()
    assert any("neither in the journal nor in any place" in each for each in findings(settings))
    with serving(settings) as ledger:
        assert code(ledger, "persons/P2") == "erasures_missing"


@contextmanager
def unwritable(settings: Settings) -> Iterator[None]:
    """A data directory in which no register can be kept: root writes to any folder."""
    folder = settings.data_dir / "erasures"
    folder.mkdir(exist_ok=True)
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    try:
        yield
    finally:
        folder.unlink()
        folder.with_name("away").rename(folder)


def test_a_data_directory_without_room_for_the_register_is_reported_and_nothing_is_lost(
    backup: Backup,
) -> None:
    with serving(backup.settings) as ledger:
        with unwritable(backup.settings):
            Journey(ledger, 2).erase(ERASED_AT)
            assert wait_for(lambda: "head_place_silent" in problems(ledger))
        assert wait_for(lambda: len(own_positions(backup.settings)) == 2)
        assert wait_for(lambda: problems(ledger) == set())


# --- killed at the worst moment -------------------------------------------------------------------


@pytest.mark.slow
def test_a_service_that_is_killed_between_commit_and_register_loses_no_entry(
    database: Database, tmp_path: Path
) -> None:
    settings = erased_after_a_backup(database, tmp_path).settings
    service = ServiceProcess(**as_texts(settings), **SWITCHES)
    try:
        with unwritable(settings), at(service) as ledger:
            Journey(ledger, 1).erase(ERASED_AT)
            service.kill()
        assert own_positions(settings) == []
        service.start()
        assert len(own_positions(settings)) == 1

        with at(service) as ledger:
            erasing = threading.Thread(target=erase_in_vain, args=(Journey(ledger, 2),))
            erasing.start()
            wait_until(lambda: len(recorded(database)) == 2)
            service.kill()
            erasing.join()
        service.start()
        assert own_positions(settings) == recorded(database)
    finally:
        service.kill()
    assert findings(settings) == []


@contextmanager
def at(service: ServiceProcess) -> Iterator[LedgerClient]:
    with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
        yield LedgerClient(client, "omc", SITE_CODE)


def erase_in_vain(journey: Journey) -> None:
    """A service that is killed gives no answer."""
    with suppress(httpx.HTTPError):
        journey.erase(ERASED_AT)


def recorded(database: Database) -> list[int]:
    rows = database.execute(
        "SELECT position FROM certledger.journal WHERE topic = 'erasure_confirmed.v1' ORDER BY 1"
    )
    return [position for (position,) in rows]
