"""A login is stored nowhere: a whole journey of people who sign in with their phone numbers.

Covers: api/http/dependencies.py, api/routes/history.py, api/routes/masking.py,
    api/routes/actors.py
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import httpx
import pytest

from api.settings import SYMMETRIC_KEYS, Settings
from domain.actors import Role
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from tests.support import tampering
from tests.support.cohort import Program
from tests.support.http_journey import Journey, certified
from tests.support.postgres import Database, fresh_database
from tests.support.service import Caller, LedgerClient, new_ledger, running, settings_for
from tests.support.waiting import wait_until


@dataclass
class ByPhone(LedgerClient):
    """A ledger on which everybody signs in with a phone number. phones: those that were used."""

    phones: set[str] = field(default_factory=set)

    def caller(self, role: Role | str, subject: str | None = None, **given: object) -> Caller:
        """A caller in a role, under the phone number of their name."""
        phone = phone_of(subject or f"{Role(role).value}-1")
        self.phones.add(phone)
        return super().caller(role, phone, **given)


def phone_of(name: str) -> str:
    """A number that nobody has."""
    return f"1380{crc32(name.encode()) % 10**7:07d}"


@dataclass
class Running:
    """A service with a ledger by phone, and where everything is that it stores."""

    ledger: ByPhone
    database: Database
    settings: Settings


@contextmanager
def service(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Running]:
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, folder)
        with (
            running(settings) as url,
            httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
        ):
            opened = new_ledger(client, "2026-03-01T08:00:00+08:00")
            ledger = ByPhone(client, opened.name, opened.site_code)
            yield Running(ledger, database, settings)


@pytest.fixture
def by_phone(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Running]:
    with service(postgres, tmp_path) as made:
        yield made


def stored(database: Database) -> str:
    """Every row of every table, with its bytes as text where they are text."""
    found: list[str] = []
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname IN ('certledger', 'views')"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT t::text FROM {table} t")
            found += [row for (row,) in cursor.fetchall()]
    return "\n".join(found)


def logins_in(text: str, phones: set[str]) -> list[str]:
    """The logins that a text holds, as they are or in hexadecimal."""
    return sorted(each for each in phones if each in text or each.encode().hex() in text)


def test_no_login_of_a_whole_journey_is_stored_anywhere(
    by_phone: Running,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    ledger, settings = by_phone.ledger, by_phone.settings
    certified(ledger)
    Journey(ledger, 2).register()
    phones = {*ledger.phones, "operator-1", "finance-1"}
    assert len(phones) >= 10
    head = ledger.caller("regulator").read("events")["head"]
    for path in ("refunds", "postings", "statistics/talent"):
        role = "registrar" if path.startswith("stat") else "finance"
        assert logins_in(ledger.caller(role).get(path, min_position=head).text, phones) == []
    history = ledger.caller("agency").get("applications/A1/history").text
    to_regulator = ledger.caller("regulator").get("applications/A1/history").text
    candidates = {phone_of(Journey(ledger, n).login) for n in (1, 2)}
    assert candidates < ledger.phones
    assert logins_in(to_regulator, candidates) == []
    events = ledger.caller("regulator").get("events", limit=200).text
    assert '"role":"candidate"' in events
    wait_until(lambda: by_phone.database.execute("SELECT 1 FROM certledger.checkpoints"))
    tables = stored(by_phone.database)
    assert "person_registered.v1" in tables
    secrets = ("database_url", "token_key", *SYMMETRIC_KEYS)
    program = Program(
        capsys,
        {
            f"CERTLEDGER_{each.upper()}": getattr(settings, each).get_secret_value()
            for each in secrets
        }
        | {
            "CERTLEDGER_DATA_DIR": str(settings.data_dir),
            "CERTLEDGER_KEY_DIR": settings.key_dir,
        },
    )
    logged = caplog.text + "".join(capsys.readouterr())
    out = tmp_path / "events.ndjson"
    code, said, wrong = program(
        "export", "--format", "ndjson", "--out", out, "--ledger", ledger.name
    )
    assert code == 0, wrong
    files = "\n".join(
        path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()
    )
    places = {
        "history": history, "events": events, "tables": tables, "log": logged,
        "program": said + wrong, "files": files,
    }  # fmt: skip
    assert {place: logins_in(text, phones) for place, text in places.items()} == {
        place: [] for place in places
    }


def test_a_candidate_is_known_again_in_any_spelling_and_sees_their_own_only(
    by_phone: Running,
) -> None:
    ledger = by_phone.ledger
    Journey(ledger, 1).register()
    Journey(ledger, 2).register()
    plain = phone_of("candidate-1")
    spelled = LedgerClient.caller(ledger, "candidate", f" {plain[:3]} {plain[3:]}")
    assert spelled.read("persons/P1")["masked"] is False
    other = spelled.get("persons/P2")
    assert (other.status_code, other.json()["code"]) == (403, "not_your_own")


def test_who_never_sent_a_command_reads_nothing_of_others_and_leaves_no_trace(
    by_phone: Running,
) -> None:
    ledger = by_phone.ledger
    Journey(ledger, 1).register()
    before = by_phone.database.execute("SELECT count(*) FROM certledger.logins")
    stranger = ledger.caller("candidate", "stranger-1")
    assert stranger.get("persons/P1").json()["code"] == "not_your_own"
    assert by_phone.database.execute("SELECT count(*) FROM certledger.logins") == before


def test_an_exchanged_login_opens_nobody_elses_application(by_phone: Running) -> None:
    ledger, database = by_phone.ledger, by_phone.database
    for n in (1, 2):
        Journey(ledger, n).register()
    one, other = (
        database.execute(
            "SELECT convert_from(envelope, 'UTF8')::json -> 'data' ->> 'subject' "
            "FROM certledger.journal WHERE stream = %s", f"person-P{n}"
        )[0][0]
        for n in (1, 2)
    )  # fmt: skip
    with tampering.superuser(database) as cursor:
        for old, new in ((one, "f" * 32), (other, one), ("f" * 32, other)):
            cursor.execute(
                "UPDATE certledger.logins SET pseudonym = %s WHERE pseudonym = %s", (new, old)
            )
    answer = ledger.caller("candidate", "candidate-3").get("persons/P1")
    assert answer.json()["code"] == "not_your_own", "others are not affected"
    with running(by_phone.settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        again = ByPhone(client, ledger.name, ledger.site_code)
        thief = again.caller("candidate", "candidate-1").get("persons/P2")
        assert (thief.status_code, thief.json()["code"]) == (503, "seal_broken")


def test_operator_and_regulator_see_staff_by_name_and_all_others_by_pseudonym(
    by_phone: Running,
) -> None:
    ledger = by_phone.ledger
    journey = Journey(ledger, 1)
    journey.register()
    journey.apply()
    ledger.caller("agency", "agency-9", name="李四").write(
        "applications/A1/withdrawal", {"reason": "本人申请"}
    )

    def shown(role: str) -> tuple[str | None, str]:
        *_, last = ledger.caller(role).read("applications/A1/history")["data"]
        return last["actor"]["name"], last["actor"]["subject"]

    name, subject = shown("regulator")
    assert name == "李四"
    assert shown("agency") == shown("finance") == (None, subject)
    for role in ("regulator", "operator"):
        actors = ledger.caller(role).read("actors")["data"]
        [found] = [each for each in actors if each["subject"] == subject]
        assert (found["name"], found["login"]) == ("李四", phone_of("agency-9"))
        first = ledger.caller(role).read("actors", limit=1)
        assert first["data"] == actors[:1]
        rest = ledger.caller(role).read("actors", after=first["next_after"])
        assert rest["data"] == actors[1:]
        assert phone_of(journey.login) not in {each["login"] for each in actors}
    assert ledger.caller("finance").get("actors").status_code == 403
