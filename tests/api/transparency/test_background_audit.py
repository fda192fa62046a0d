"""The background audit of a running service names what is wrong within one round.

Covers: api/transparency/background_audit.py, api/transparency/audit_state.py
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.environment import open_environment
from api.transparency import audit_state, background_audit
from api.transparency.audit_state import (
    CHANNEL,
    SILENT_S,
    AuditFinding,
    AuditListener,
    AuditState,
    from_payload,
    store_report,
    stored_report,
    to_payload,
)
from api.transparency.background_audit import Auditor
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.postgres.notifications import NotificationListener
from projections.catalogue import VIEWS
from projections.engine.wrong_views import EVERY_LEDGER
from projections.rebuild import rebuild
from tests.support import tampering
from tests.support.cohort import rows
from tests.support.honest import Copy, copy_of, honest_database
from tests.support.keys import SEALER
from tests.support.postgres import Database
from tests.support.service import running, settings_for, token
from tests.support.waiting import wait_until

ROW_KEYS = SEALER.row_keys()
SET, DROP = "UPDATE", "DELETE FROM"  # apart, because no file may change the journal

ROUND_S = 120
"""How long a round of the example cohort may take on a busy machine, seconds."""


@dataclass(frozen=True)
class Audited:
    """A service on a copy of the cohort, whose audit begins a round every second."""

    copy: Copy
    client: httpx.Client

    def health(self) -> dict[str, Any]:
        return self.client.get("/health").json()

    def found(self, check: str) -> list[dict[str, Any]]:
        """What the audit finds of one check, at the latest in the round that begins next."""
        begun = self.health()["audit"]["round"]
        wait_until(lambda: self._of(check), ROUND_S)
        assert self.health()["audit"]["round"] <= begun + 1
        return self._of(check)

    def _of(self, check: str) -> list[dict[str, Any]]:
        return [each for each in self.health()["audit"]["findings"] if each["check"] == check]

    def problems(self) -> set[str]:
        return {each["code"] for each in self.health()["problems"]}

    def places(self, check: str) -> set[tuple[str | None, str | None]]:
        """Ledger and row of what the audit finds of one check."""
        return {(each["ledger"], each["row"]) for each in self._of(check)}

    def get(self, path: str, role: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token(role)}"}
        return self.client.get(f"/ledgers/omc{path}", headers=headers)


@pytest.fixture(scope="module")
def audited(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    with (
        honest_database(postgres, tmp_path_factory.mktemp("honest")) as honest,
        copy_of(honest, folder) as copy,
    ):
        settings = settings_for(
            copy.database.dsn,
            folder,
            background_audit=True,
            audit_interval_s=1,
            audit_cpu_percent=100,
        )
        with (
            running(settings) as url,
            httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
        ):
            yield Audited(copy, client)


def test_an_honest_database_has_no_finding_and_the_progress_is_shown(audited: Audited) -> None:
    wait_until(lambda: audited.health()["audit"]["last_complete_at"], ROUND_S)
    health = audited.health()
    audit = health["audit"]
    assert (audit["found"], audit["findings"], health["problems"]) == (0, [], [])
    assert audit["running"]
    assert audit["of"] > 6000
    assert 0 <= audit["position"] <= audit["of"]
    assert audit["last_complete_at"] is not None
    assert health["status"] == "ok"


CASES = {
    "claims": (
        f"{DROP} certledger.claims WHERE kind = 'refund'",
        {"row": "claim refund"},
    ),
    "commands": (
        f"{SET} certledger.commands SET receipt = '{{}}' WHERE first_position = 1",
        {"position": 1},
    ),
    "bucket keys": (
        f"{DROP} certledger.bucket_keys WHERE bucket = (SELECT min(bucket) FROM "
        "certledger.bucket_keys WHERE bucket NOT IN (SELECT bucket FROM certledger.data_keys))",
        {"position": None},
    ),
    "snapshots": (
        f"{SET} certledger.snapshots SET state = state || ' '::bytea",
        {"row": "snapshot"},
    ),
}


@pytest.mark.parametrize("check", CASES)
def test_a_changed_table_is_named_within_a_round(audited: Audited, check: str) -> None:
    statement, says = CASES[check]
    audited.copy.as_superuser(statement)
    found = audited.found(check)
    assert found
    assert found[0]["ledger"] == "omc"
    assert says.items() <= found[0].items()
    assert audited.health()["status"] == "degraded"


def test_a_changed_attachment_is_named_within_a_round(audited: Audited) -> None:
    folder = audited.copy.settings.data_dir / "blobs"
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    assert [each["row"] for each in audited.found("attachments")] == [f"attachment {file.name}"]


def test_a_wrong_view_is_not_shown_until_it_is_rebuilt(audited: Audited) -> None:
    """Of the registry a row is deleted: nothing is left that a seal could refuse."""
    lookups = Lookups(audited)
    assert audited.get("/refunds", "finance").status_code == 200
    assert lookups.statuses() == [200] * 5
    audited.copy.as_superuser(
        f"{SET} views.refund_lines SET paid_fen = paid_fen + 1",
        f"{DROP} views.certificates WHERE number = '{lookups.number}'",
    )
    assert "refund_lines" in {each["row"] for each in audited.found("views")}
    wrong = {"view_wrong:refund_ledger", "view_wrong:certificate_registry"}
    wait_until(lambda: wrong <= audited.problems(), ROUND_S)
    answer = audited.get("/refunds", "finance")
    assert (answer.status_code, answer.json()["code"]) == (503, "view_wrong")
    assert audited.get("/notices", "certifier").status_code == 200, "only what differs"
    assert lookups.statuses() == [503] * 5
    other = audited.client.get(f"/v/{lookups.another_link}")
    assert other.json()["code"] == "view_wrong", "the audit may have named the first rows only"
    with open_environment(audited.copy.settings) as store:
        rebuild.replace(store.dsn, store.secrets, VIEWS, processes=1, wait=True)
    wait_until(lambda: audited.get("/refunds", "finance").status_code == 200, ROUND_S)
    wait_until(lambda: not wrong & audited.problems(), ROUND_S)
    assert lookups.statuses() == [200] * 5


class Lookups:
    """Every way to look up one certificate. Source: source-document 5.3."""

    def __init__(self, audited: Audited) -> None:
        [(number, link, person), (_, another, _)] = audited.copy.database.execute(
            "SELECT number, verify_token, person_id FROM views.certificates "
            "WHERE standing = 'valid' AND issued AND kind = 'national' ORDER BY number LIMIT 2"
        )
        self.number, self.another_link = number, another
        self._link, self._client = f"/v/{link}", audited.client
        self._name = next(row["name"] for row in rows("persons") if row["id"] == person)

    def statuses(self) -> list[int]:
        """Of two lookups, past the framework and through it, a link, and the page of each."""
        body = {"certificate_number": self.number, "name": self._name}
        form = {"number": self.number, "name": self._name}
        page = {"Accept": "text/html"}
        is_json = {"Content-Type": "application/json"}
        answers = [
            self._client.post("/lookup", json=body),
            self._client.post("/lookup", content=json.dumps(body).ljust(5000), headers=is_json),
            self._client.get(self._link),
            self._client.post("/lookup", data=form, headers=page),
            self._client.get(self._link, headers=page),
        ]
        return [each.status_code for each in answers]


def test_a_changed_standing_is_never_shown(audited: Audited) -> None:
    """At once, without waiting for a round. Source: source-document 5.3."""
    [(number, person)] = audited.copy.database.execute(
        "SELECT number, person_id FROM views.certificates "
        "WHERE standing = 'revoked' AND kind = 'national' ORDER BY number LIMIT 1"
    )
    name = next(row["name"] for row in rows("persons") if row["id"] == person)
    body = {"certificate_number": number, "name": name}
    before = audited.client.post("/lookup", json=body)
    assert before.json()["certificates"][0]["standing"] == "revoked"
    audited.copy.as_superuser(
        f"{SET} views.certificates SET standing = 'valid', reason_class = NULL, answer = "
        f"replace(answer, '\"revoked\"', '\"valid\"') WHERE number = '{number}'"
    )
    answer = audited.client.post("/lookup", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "view_wrong")
    assert number not in answer.text
    [(link,)] = audited.copy.database.execute(
        "SELECT verify_token FROM views.certificates WHERE number = %s", number
    )
    assert audited.client.get(f"/v/{link}").status_code == 503


def test_a_name_that_shows_other_rows_than_its_table_is_named(audited: Audited) -> None:
    """Readers use the name, the comparison the table. With the application role alone."""
    [(number,)] = audited.copy.database.execute(
        "SELECT generation FROM views.generations WHERE view = 'refund_ledger'"
    )
    whole = (
        f"CREATE OR REPLACE VIEW views.refund_lines AS SELECT * FROM views.refund_lines_g{number}"
    )
    audited.copy.as_application(f"{whole} WHERE paid_fen < 0")
    try:
        begun = audited.health()["audit"]["round"]
        wait_until(lambda: (None, "refund_lines") in audited.places("views"), ROUND_S)
        assert audited.health()["audit"]["round"] <= begun + 1
        answer = audited.get("/refunds", "finance")
        assert (answer.status_code, answer.json()["code"]) == (503, "view_wrong")
    finally:
        audited.copy.as_application(whole)
    wait_until(lambda: audited.get("/refunds", "finance").status_code == 200, ROUND_S)


def test_a_round_that_cannot_compare_the_views_is_not_complete(audited: Audited) -> None:
    """The lock of a rebuild is taken, by somebody who rebuilds nothing."""
    with tampering.application_role(audited.copy.database) as cursor:
        cursor.execute(
            "SELECT pg_advisory_lock(hashtextextended('certledger rebuild ' || %s, 0))",
            ("certificate_registry",),
        )
        begun = audited.health()["audit"]["round"]
        wait_until(lambda: audited.health()["audit"]["round"] > begun + 2, ROUND_S)
        complete = audited.health()["audit"]["last_complete_at"]
        wait_until(lambda: audited.health()["audit"]["round"] > begun + 4, ROUND_S)
        assert audited.health()["audit"]["last_complete_at"] == complete
    wait_until(lambda: audited.health()["audit"]["last_complete_at"] != complete, ROUND_S)


def test_exchanged_keys_are_named_within_a_round(audited: Audited) -> None:
    """Nothing sealed for that person opens any more, nor can their rows be made again."""
    audited.copy.as_superuser(
        f"{SET} certledger.data_keys SET wrapped = (SELECT wrapped FROM "
        "certledger.data_keys WHERE owner = 'person/P0010' AND class = 'identity') "
        "WHERE owner = 'person/P0031' AND class = 'identity'"
    )
    assert audited.found("keys")[0]["row"] == "key"
    wait_until(
        lambda: (
            {each["row"] for each in audited.found("views")}
            >= {"certificate_registry", "score_board"}
        ),
        ROUND_S,
    )


def test_an_altered_event_is_named_within_a_round_and_stops_commands(audited: Audited) -> None:
    """Of those that the signer does not compare again every second."""
    audited.copy.as_superuser(
        f"{SET} certledger.journal SET envelope = "
        "convert_to(replace(convert_from(envelope, 'UTF8'), '\"role\"', '\"rule\"'), 'UTF8') "
        "WHERE position = 3000"
    )
    assert 3000 in {each["position"] for each in audited.found("events")}
    wait_until(lambda: "log_not_continued" in audited.problems(), ROUND_S)


def test_views_that_give_way_to_a_rebuild_once_are_no_finding_and_always_are_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago they were compared: a round of a large journal may take hours."""
    monkeypatch.setattr(background_audit, "UNCOMPARED_S", 0.0)
    settings = settings_for(database.dsn, tmp_path, audit_interval_s=1, audit_cpu_percent=100)
    ours, theirs = Pipe()
    with (
        ours,
        theirs,
        open_environment(settings) as store,
        closing(connect(store.dsn, name="test")) as connection,
        database.connect() as other,
        other.cursor() as rebuilding,
    ):
        store.ensure_views()
        rebuilding.execute(
            "SELECT pg_advisory_lock(hashtextextended('certledger rebuild score_board', 0))"
        )
        given = store.ledgers, store.blobs, settings, store.dsn, store.secrets
        auditor = Auditor(*given, connection, ours)

        def found_in_a_round() -> list[str]:
            auditor.round()
            state = stored_report(connection, ROW_KEYS)
            assert state is not None
            return [each.check for each in state.findings]

        assert found_in_a_round() == []
        assert found_in_a_round() == ["views"]
        rebuilding.execute("SELECT pg_advisory_unlock_all()")
        assert found_in_a_round() == []


# --- reports --------------------------------------------------------------------------------------

FINDING = AuditFinding("claims", "omc", 7, "claim payment PAY1", "claim payment PAY1: is missing")


def test_the_line_of_a_finding_says_what_it_is_about() -> None:
    assert str(FINDING) == "omc: claims: claim payment PAY1: is missing"
    altered = AuditFinding("definitions", None, None, "trigger T", "trigger T is altered")
    assert str(altered) == "database: definitions: trigger T is altered"


def test_a_report_travels_without_the_words_for_the_operator() -> None:
    state = AuditState(sequence=3, round=2, found=1, findings=(FINDING,))
    received = from_payload(to_payload(state, ROW_KEYS[0]), ROW_KEYS)
    assert received is not None
    assert received.round == 2
    assert received.findings == (AuditFinding("claims", "omc", 7, "claim payment PAY1"),)


def test_many_findings_of_one_check_do_not_hide_those_of_another() -> None:
    many = tuple(AuditFinding("claims", "omc", n, None) for n in range(1, 200))
    one = AuditFinding("keys", "omc", 7, "person P1")
    received = from_payload(to_payload(AuditState(findings=(*many, one)), ROW_KEYS[0]), ROW_KEYS)
    assert received is not None
    assert one in received.findings


def test_an_audit_that_never_reports_is_silent_after_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(audit_state.time, "monotonic", lambda: now[0])
    listener = AuditListener("", ROW_KEYS, lambda before, state: None)
    assert not listener.is_silent, "it was not started"
    monkeypatch.setattr(listener._listener, "start", lambda: None)
    listener.start()
    now[0] += SILENT_S - 1
    assert not listener.is_silent
    now[0] += 1
    assert listener.is_silent
    listener._on_notifications([(CHANNEL, to_payload(AuditState(sequence=1), ROW_KEYS[0]))])
    assert not listener.is_silent


def test_a_report_that_nobody_with_the_key_sealed_is_ignored() -> None:
    payload = to_payload(AuditState(found=1), ROW_KEYS[0])
    assert from_payload(payload.replace('"found":1', '"found":0'), ROW_KEYS) is None
    assert from_payload(to_payload(AuditState(), b"x" * 32), ROW_KEYS) is None
    assert from_payload("", ROW_KEYS) is None


def test_views_that_are_wrong_in_many_ledgers_are_wrong_in_all_of_them() -> None:
    """As many ledgers as have no room in a notification; none is left out."""
    many = tuple(("score_board", f"ledger-{n:050d}") for n in range(500))
    payload = to_payload(AuditState(wrong_views=many), ROW_KEYS[0])
    assert len(payload.encode()) < 8000
    received = from_payload(payload, ROW_KEYS)
    assert received is not None
    assert received.wrong_views == (("score_board", EVERY_LEDGER),)


def test_what_was_found_of_views_is_known_before_the_first_report(database: Database) -> None:
    """After a restart of all services; a report that nobody with the key sealed is not."""
    migrate(database.dsn)
    views = AuditFinding("views", "omc", None, "certificates")
    found = AuditState(sequence=5, findings=(FINDING, views), wrong_views=(("board", "omc"),))
    connection = connect(database.dsn, name="test")
    try:
        store_report(connection, to_payload(found, b"x" * 32))
        assert stored_report(connection, ROW_KEYS) is None
        store_report(connection, to_payload(found, ROW_KEYS[0]))
    finally:
        connection.close()
    taken: list[AuditState] = []
    listener = AuditListener(database.dsn, ROW_KEYS, lambda before, state: taken.append(state))
    listener.start()
    try:
        wait_until(lambda: taken)
    finally:
        listener.stop()
    assert taken[0].wrong_views == (("board", "omc"),)
    assert taken[0].findings == (views,), "what else was found may have been put right"
    assert not listener.is_running


def test_a_report_never_exceeds_what_a_notification_holds() -> None:
    long = AuditFinding("commands", "omc", 7, "x" * 1000, "y")
    payload = to_payload(AuditState(found=99, findings=(long,) * 99), ROW_KEYS[0])
    assert len(payload.encode()) < 8000
    received = from_payload(payload, ROW_KEYS)
    assert received is not None
    assert received.found == 99


def test_an_old_report_that_is_sent_again_changes_nothing() -> None:
    taken: list[int] = []
    listener = AuditListener("", ROW_KEYS, lambda before, state: taken.append(state.sequence))
    good, bad = AuditState(sequence=5), AuditState(sequence=6, found=1)
    for state in (good, bad, good):
        listener._on_notifications([("certledger_audit", to_payload(state, ROW_KEYS[0]))])
    assert taken == [5, 6]
    assert listener.state.found == 1


def test_a_report_of_another_time_is_refused_also_after_a_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody with the database ends the audit, and sends its last good report again."""
    since, wall = [1000.0], [1_800_000_000.0]
    monkeypatch.setattr(audit_state.time, "monotonic", lambda: since[0])
    monkeypatch.setattr(audit_state.time, "time", lambda: wall[0])
    taken: list[int] = []
    listener = AuditListener("", ROW_KEYS, lambda _, state: taken.append(state.sequence))

    def pass_by(seconds: float) -> None:
        since[0] += seconds
        wall[0] += seconds

    def receive(*payloads: str) -> None:
        listener._on_notifications([(CHANNEL, each) for each in payloads])

    good = to_payload(AuditState(sequence=5), ROW_KEYS[0])
    receive(good)
    pass_by(SILENT_S)
    assert not listener.is_running
    receive(good)
    assert not listener.is_running, "sent again after a silence"
    fresh = AuditListener("", ROW_KEYS, lambda _, state: taken.append(state.sequence))
    fresh._on_notifications([(CHANNEL, good)])
    assert not fresh.is_running, "sent again to a service that has just started"
    wall[0] += 3600
    early = to_payload(AuditState(sequence=7), ROW_KEYS[0])
    wall[0] -= 3600
    receive(early)
    assert not listener.is_running, "of a clock that is an hour ahead"
    receive(to_payload(AuditState(sequence=4), ROW_KEYS[0]))
    assert listener.is_running, "of an auditor on another machine, whose number is lower"
    assert taken == [5, 4]


def test_a_service_takes_no_report_that_the_database_sends_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_state, "SILENT_S", 2.0)
    reports: list[str] = []
    heard = NotificationListener(
        lambda: connect(database.dsn),
        (CHANNEL,),
        lambda received: reports.extend(payload for _, payload in received),
        lambda connection: None,
    )
    settings = settings_for(database.dsn, tmp_path, background_audit=True)
    with running(settings):
        heard.start()
        wait_until(lambda: reports, ROUND_S)
        heard.stop()
    last = from_payload(reports[-1], ROW_KEYS)
    assert last is not None
    wait_until(lambda: time.time() - last.sent_at > 2)
    settings = settings_for(database.dsn, tmp_path)
    with running(settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        connection = connect(database.dsn)
        fresh = AuditState(sequence=1, found=3)

        def is_taken() -> bool:
            with connection.cursor() as cursor:
                for payload in (reports[-1], to_payload(fresh, ROW_KEYS[0])):
                    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
            return bool(client.get("/health").json()["audit"]["found"] == 3)

        # The number of the old one is larger: had it been taken, the fresh one would not be.
        assert last.sequence > fresh.sequence
        wait_until(is_taken)
        connection.close()


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("claim refund RPAY1-1", "claim refund"),
        ("person P0031", "person"),
        ("command 5f0c", "command 5f0c"),
        ("snapshot of session-S1 at version 100", "snapshot"),
        ("position 6593 of log example.org/omc", "position 6593 of log example.org/omc"),
        ("bucket key 17/1", "bucket key 17/1"),
        ("epoch 2", "epoch 2"),
        ("refund_lines", "refund_lines"),
        (None, None),
    ],
)
def test_health_shows_no_id_of_a_person(row: str | None, shown: str | None) -> None:
    assert AuditFinding("x", "omc", None, row).shown_row == shown
