"""What somebody with the database can do to a ledger while a service runs on it, and what happens.

The service is a process of its own, and another process reads. What is done to a ledger at rest is
in `test_tampering.py`, with the same rows and either right.

| tampering | at rest, named by the audit | live, refused or named |
|---|---|---|
| byte flipped; envelope and leaf hash rewritten | CASES | altered_event |
| row deleted; two positions swapped | CASES | altered_event |
| last row deleted | CASES | last_event_deleted |
| row inserted beyond the head (application role) | CASES | inserted_event |
| row inserted and head moved (application role) | CASES | inserted_event |
| the head row altered | CASES | altered_head_row |
| tail rewritten; stored heads deleted, too (F-WASH) | CASES | rewritten_tail |
| the same with `heads/` deleted | CASES, has_no_head | rewritten_tail |
| stored heads deleted | stored_head_that_a_place_has | heads_deleted |
| `heads/` deleted | machine_that_signs_and_has_no_head | machine_that_loses_its_heads |
| every head of every place deleted | the same | every_head_gone |
| stored head altered; planted (application role) | CASES | planted_head |
| receipts rewritten | CASES | rewritten_receipt, row_of_the_last_events |
| commands deleted; moved; planted (application role) | CASES | row_of_the_last_events |
| earlier commands, claims deleted | CASES | named_by_the_audit |
| blind index of a person deleted | CASES | named_by_the_audit |
| refund amount changed; certificate deleted | changed_view | named_by_the_audit |
| certificate planted (application role) | changed_view | certificate_that_nobody_issued |
| logins deleted; exchanged; planted (application role) | CASES | row_of_the_last_events |
| person keys destroyed, exchanged (application role) | CASES | key_is_not_theirs |
| person keys deleted | CASES | key_is_not_theirs |
| attachment flipped; deleted | attachment_that_was_changed | altered_attachment |
| snapshot planted (application role, F-APP) | CASES | planted_snapshot |
| blind indexes of two persons exchanged (application role) | CASES | exchanged_blind_indexes |
| certificate reinstated with every key | forged_event | (nothing can refuse it) |
| row of the registry changed (application role) | changed_view | row_of_the_registry |
| voucher changed; deleted, its trigger off (application role) | changed_view | named_by_the_audit |
| database rolled back (F-ROLL) | rolled_back_database | rolled_back_under |
| fork; another database of the same name | second_of_two_copies | another_database |
| event of a lost tail over the new one | event_of_the_lost_history | event_of_a_lost_tail |
| snapshot of a lost tail | snapshot_of_a_lost_tail | snapshot_of_a_lost_tail |
| asynchronous failover | lost_events_stops_the_ledger | failover_that_lost_events |

CASES are those of `test_tampering.py`; the other words are parts of names of tests, most of them
there, here and in the files named alike, which a test looks up.
Covers: domain/service/guards.py, domain/store/journal/sealed_rows.py,
domain/store/privacy/field_encryption.py, api/transparency/checkpoint_signing.py
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.documents.materials import MaterialKind
from domain.service.snapshots import TOPIC, take
from domain.store.errors import SealBroken, WrongKey
from domain.store.journal.envelope import canonical_json
from domain.store.postgres.connection import Cursor
from tests.consistency.live_ledger import FEES_PATH, ORIGIN, PATIENCE_S, LiveLedger, running_on
from tests.support import tampering
from tests.support.cohort import rows
from tests.support.honest import Copy
from tests.support.rolled_back import fees_from, rewrite_the_tail
from tests.support.source import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SET, DROP = "UPDATE", "DELETE FROM"  # apart, because no file may change the journal


# --- events ---------------------------------------------------------------------------------------


def corrected_person(live: LiveLedger) -> tuple[str, int]:
    """Id of a person with a correction, and the position of the registration before it."""
    [(stream, position)] = live.copy.database.execute(
        "SELECT stream, min(position) FROM certledger.journal WHERE stream LIKE 'person-%%' "
        "GROUP BY stream HAVING array_agg(topic ORDER BY version) = "
        "ARRAY['person_registered.v1', 'person_corrected.v1'] ORDER BY 2 LIMIT 1"
    )
    return stream.removeprefix("person-"), position


FLIP = f"{SET} certledger.journal SET envelope = set_byte(envelope, 60, get_byte(envelope, 60) # 1)"
ALTERED: dict[str, Callable[[Cursor, int], Any]] = {
    "a byte flipped": lambda cursor, at: cursor.execute(f"{FLIP} WHERE position = {at}"),
    "rewritten with its hash": lambda cursor, at: tampering.alter(cursor, at, subject="mallory"),
    "swapped with the next": lambda cursor, at: tampering.swap(cursor, at, at + 1),
    "deleted": tampering.delete,
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_an_altered_event_is_shown_to_nobody_and_not_signed(
    live: LiveLedger, alter: Callable[[Cursor, int], Any]
) -> None:
    person, position = corrected_person(live)
    path = f"persons/{person}"
    assert live.code(path, "registrar") == (200, None)
    name = live.reader.identity(person).name
    # By then the service has compared the whole log with its heads.
    assert live.refusal() is None
    live.wait_for_head()
    with tampering.superuser(live.copy.database) as cursor:
        alter(cursor, position)
    events = f"events?after={position - 1}&limit=1"
    assert live.code(path, "registrar") == (503, "seal_broken")
    assert live.code(events, "regulator") == (503, "seal_broken")
    assert name not in live.get(path, "registrar").text
    with pytest.raises(SealBroken):
        live.reader.identity(person)
    # Other commands go on; what is signed is the event as it was, not as it is.
    assert live.refusal(2) is None
    live.wait_for_head()
    live.ensure_only_truth_is_signed()
    assert live.audit(quick=True).first_bad_position == position


def test_the_last_event_deleted_stops_the_ledger(live: LiveLedger) -> None:
    assert live.refusal() is None
    live.wait_for_head()
    before = live.heads()
    with tampering.superuser(live.copy.database) as cursor:
        tampering.delete(cursor, len(live.leaves))
    live.wait_for_problem("log_not_continued")
    assert live.refusal(2) == "log_not_continued"
    assert live.heads() == before
    assert live.audit(quick=True).first_bad_position == len(live.leaves)


@pytest.mark.parametrize("column", ["stream", "topic"])
def test_an_event_moved_out_of_its_stream_stops_the_ledger(live: LiveLedger, column: str) -> None:
    """The last of its stream, so that no version is missing; its hash and its seal stay right."""
    assert live.refusal() is None
    live.wait_for_head()
    before = live.heads()
    with tampering.superuser(live.copy.database) as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f"{SET} certledger.journal SET {column} = 'hidden' "
            "WHERE ledger = 'omc' AND position = %s",
            (len(live.leaves),),
        )
    live.wait_for_problem("log_not_continued")
    assert live.refusal(2) == "log_not_continued"
    assert live.heads() == before


def insert_a_correction(live: LiveLedger, *, move_head: bool) -> tuple[str, int]:
    """With the application role alone: the person gets another login. Returns: id and position."""
    person, _ = corrected_person(live)
    with tampering.application_role(live.copy.database) as cursor:
        cursor.execute(
            "SELECT position, version FROM certledger.journal WHERE stream = %s "
            "ORDER BY version DESC LIMIT 1",
            (f"person-{person}",),
        )
        row = cursor.fetchone()
        assert row is not None
        data = tampering.stored(cursor, row[0])["data"]
        stream = f"person-{person}"
        at = tampering.insert(cursor, stream, row[1] + 1, "person_corrected.v1", **data)
        if move_head:
            tampering.move_head(cursor)
        cursor.execute("NOTIFY certledger, 'omc'")
    return person, at


def test_an_inserted_event_beyond_the_head_is_neither_shown_nor_signed(live: LiveLedger) -> None:
    person, position = insert_a_correction(live, move_head=False)
    live.wait_for_problem("seal_missing")
    assert live.code(f"persons/{person}", "registrar") == (503, "seal_broken")
    with pytest.raises(SealBroken):
        live.reader.identity(person)
    assert live.refusal() == "seal_broken"
    live.ensure_only_truth_is_signed()
    assert live.audit(quick=True).first_bad_position == position


def test_an_inserted_event_under_a_moved_head_is_neither_folded_nor_shown_nor_signed(
    live: LiveLedger,
) -> None:
    person, position = insert_a_correction(live, move_head=True)
    live.wait_for_problem("seal_missing")

    def paused_at() -> set[int]:
        """Where views are paused for want of a seal."""
        found = live.api.client.get("/health").json()["problems"]
        return {p["position"] for p in found if p["code"] == "seal_missing" and p["view"]}

    wait_until(lambda: paused_at() == {position}, PATIENCE_S)
    assert live.code(f"persons/{person}", "registrar") == (503, "seal_broken")
    assert live.refusal() == "seal_broken"
    with pytest.raises(SealBroken):
        live.reader.identity(person)
    live.ensure_only_truth_is_signed()
    assert live.audit(quick=True).first_bad_position == position


def test_an_altered_head_row_stops_every_command(live: LiveLedger) -> None:
    with tampering.superuser(live.copy.database) as cursor:
        cursor.execute(f"{SET} certledger.ledgers SET seal = repeat('x', 32)::bytea")
    live.wait_for_problem("seal_missing")
    assert live.refusal() == "seal_broken"
    with pytest.raises(SealBroken):
        live.reader.journal.head()
    live.ensure_only_truth_is_signed()
    assert not live.audit(quick=True).is_good


@pytest.mark.parametrize("wiped", ["nothing", "database", "database and own place"])
def test_a_rewritten_tail_stops_the_ledger_and_is_not_signed(live: LiveLedger, wiped: str) -> None:
    """wiped: whose heads are deleted, too."""
    assert live.refusal() is None
    live.wait_for_head()
    before = live.heads()
    rewrite_the_tail(
        live.copy.database, len(live.leaves) - 551, with_heads=wiped.startswith("database")
    )
    if wiped.endswith("own place"):
        shutil.rmtree(live.copy.settings.data_dir / "heads")
        before = {}
    live.wait_for_problem("log_not_continued")
    assert live.refusal(2) == "log_not_continued"
    assert live.code("events?limit=1", "regulator") == (200, None)
    tail = f"events?after={len(live.leaves) - 1}"
    assert live.code(tail, "regulator") == (503, "seal_broken")
    with pytest.raises(SealBroken):
        live.reader.journal.read(len(live.leaves) - 1, 1)
    live.restart()
    assert live.refusal(3) in ("log_not_continued", "seal_broken")
    assert live.heads() == before


# --- heads ----------------------------------------------------------------------------------------


def test_a_machine_that_loses_its_heads_signs_nothing_more(live: LiveLedger) -> None:
    assert live.refusal() is None
    live.wait_for_head()
    shutil.rmtree(live.copy.settings.data_dir / "heads")
    live.wait_for_problem("log_not_continued")
    assert live.refusal(2) == "log_not_continued"
    live.restart()
    assert live.refusal(2) == "log_not_continued"
    assert live.heads() == {}
    assert [each.check for each in live.audit().findings] == ["heads"]


def test_heads_deleted_from_the_database_are_missed_by_the_audit(live: LiveLedger) -> None:
    live.copy.as_superuser(f"{DROP} certledger.checkpoints")
    assert live.refusal() is None
    live.wait_for_head()
    live.ensure_only_truth_is_signed()
    [found] = live.audit().findings
    assert (found.check, found.position) == ("heads", None)
    assert "the database lacks " in str(found)


def wipe(live: LiveLedger, *folders: Path) -> None:
    """Remove every head of the database and of these places."""
    live.copy.as_superuser(f"{DROP} certledger.checkpoints")
    for folder in folders:
        shutil.rmtree(folder)
        folder.mkdir()


def test_every_head_gone_is_missed_by_the_one_next_to_the_key(copy: Copy, tmp_path: Path) -> None:
    own, second = copy.settings.data_dir / "heads", tmp_path / "second"
    second.mkdir()
    by_key = copy.settings.data_dir / "keys" / "log_omc@signed"
    with running_on(copy, head_places=str(second)) as live:
        assert live.refusal() is None
        live.wait_for_head()
        wait_until(lambda: list(second.rglob(str(len(live.leaves)))))
        assert by_key.read_text() == live.heads()[len(live.leaves)]
        wipe(live, own, second)
        live.wait_for_problem("log_not_continued")
        live.restart()
        assert live.refusal(2) == "log_not_continued"
        heads_of = hashlib.sha256(ORIGIN.encode()).hexdigest()  # next to the register of erasures
        assert not [*own.rglob("*"), *(second / heads_of).rglob("*")]
        # Who can remove this one has the log key, too; only a head on another machine helps.
        by_key.unlink()
        live.restart()
        assert live.refusal(2) is None


def test_a_planted_head_stops_the_ledger_and_changes_nothing_that_is_signed(
    live: LiveLedger,
) -> None:
    """With the application role alone: a denial of service, and no forgery."""
    before = live.heads()
    with tampering.application_role(live.copy.database) as cursor:
        cursor.execute(
            "INSERT INTO certledger.checkpoints (ledger, origin, size, root, note) "
            "SELECT ledger, origin, size + 1, root, note FROM certledger.checkpoints "
            "WHERE size = (SELECT max(size) FROM certledger.checkpoints)"
        )
    live.wait_for_problem("log_not_continued")
    assert live.refusal() == "log_not_continued"
    assert live.heads() == before
    assert not live.audit(quick=True).is_good


# --- commands, snapshots --------------------------------------------------------------------------


def test_a_rewritten_receipt_is_not_given_out(live: LiveLedger) -> None:
    operator = live.api.caller("operator")
    first = operator.send(FEES_PATH, fees_from("2027-02-01"), key="the-same")
    assert first.status_code == 201
    again = operator.send(FEES_PATH, fees_from("2027-02-01"), key="the-same")
    assert again.json() == first.json()
    with tampering.superuser(live.copy.database) as cursor:
        cursor.execute(
            f"{SET} certledger.commands SET receipt = convert_to(replace(convert_from(receipt, "
            "'UTF8'), '\"version\":', '\"version\":1'), 'UTF8') WHERE last_position = "
            "(SELECT max(last_position) FROM certledger.commands)"
        )
    again = operator.send(FEES_PATH, fees_from("2027-02-01"), key="the-same")
    assert (again.status_code, again.json()["code"]) in (
        (503, "seal_broken"),
        (503, "log_not_continued"),  # the last events are compared every second
    )
    assert "commands" in {each.check for each in live.audit().findings}


def test_a_planted_snapshot_shows_nobody_somebody_else(live: LiveLedger) -> None:
    """With the application role alone: another person's record gets the candidate's login."""
    person, _ = corrected_person(live)
    identity = live.reader.identity(person)
    state = live.reader.state("person", person)
    forged = take(f"person-{person}", state).model_dump(mode="json")
    forged["state"]["subject"] = "mallory"
    with tampering.application_role(live.copy.database) as cursor:
        for version in (state.version, state.version + 1):
            cursor.execute(
                "INSERT INTO certledger.snapshots SELECT ledger, %s, %s, %s, %s, position, "
                "leaf_hash, seal, seal_key FROM certledger.journal "
                "WHERE stream = %s ORDER BY version DESC LIMIT 1",
                (
                    *(f"person-{person}", version, TOPIC, canonical_json(forged)),
                    f"person-{person}",
                ),
            )
    answer = live.get(f"persons/{person}", "candidate", "mallory")
    assert answer.status_code in (403, 404)
    assert identity.name not in answer.text
    assert live.get(f"persons/{person}", "registrar").json()["name"] == identity.name
    assert live.reader.state("person", person).subject != "mallory"
    assert "snapshots" in {each.check for each in live.audit().findings}


# --- persons, attachments, rows of views ----------------------------------------------------------

KEYS = "certledger.data_keys"
KEY_CASES = {
    "destroyed": ("application", f"{SET} {KEYS} SET wrapped = NULL, destroyed_at = now()"),
    "exchanged": (
        "application",
        f"{SET} {KEYS} SET wrapped = (SELECT wrapped FROM {KEYS} WHERE class = 'identity' "
        "AND owner <> 'person/{person}' AND wrapped IS NOT NULL ORDER BY owner LIMIT 1)",
    ),
    "deleted": ("superuser", f"{DROP} {KEYS}"),
}


@pytest.mark.parametrize(("who", "statement"), KEY_CASES.values(), ids=KEY_CASES)
def test_a_person_whose_key_is_not_theirs_is_refused_at_first_use(
    live: LiveLedger, who: str, statement: str
) -> None:
    application = next(row["application_id"] for row in rows("documents") if row["kind"] == "photo")
    person = live.reader.state("application", application).person_id
    name = live.reader.identity(person).name
    live.reader.vault.forget()
    where = f" WHERE owner = 'person/{person}' AND class = 'identity'"
    run = live.copy.as_application if who == "application" else live.copy.as_superuser
    run(statement.format(person=person) + where)
    for _ in range(2):
        answer = live.get(f"persons/{person}", "registrar")
        assert (answer.status_code, answer.json()["code"]) == (500, "wrong_key")
        assert name not in answer.text
    with pytest.raises(WrongKey):
        live.reader.identity(person)
    assert live.refusal() is None, "what does not concern the person goes on"
    found = [each for each in live.audit().findings if each.check == "keys"]
    assert [each.row for each in found] == [f"key person/{person}/identity/1"]


@pytest.mark.parametrize(
    ("change", "answer"), [("flipped", (500, "blob_damaged")), ("deleted", (404, "unknown_blob"))]
)
def test_an_altered_attachment_is_refused_at_first_use(
    live: LiveLedger, change: str, answer: tuple[int, str]
) -> None:
    application = next(row["application_id"] for row in rows("documents") if row["kind"] == "photo")
    sha256 = live.reader.state("application", application).documents[MaterialKind.PHOTO]
    path = f"applications/{application}/documents/photo"
    assert live.get(path, "registrar").status_code == 200
    file = live.copy.settings.data_dir / "blobs" / sha256[:2] / sha256
    if change == "flipped":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    assert live.code(path, "registrar") == answer
    found = [each for each in live.audit().findings if each.check == "attachments"]
    assert [each.row for each in found] == [f"attachment {sha256}"]


REGISTRY_CASES = {
    "a revoked one made valid": (
        "standing = 'valid', reason_class = NULL, "
        "answer = replace(answer, '\"revoked\"', '\"valid\"')"
    ),
    "under another link": (
        "verify_token = left(verify_token, -32) "
        "|| translate(right(verify_token, 32), '0123456789', '1234567890')"
    ),
    "under another document": "document_index = reverse(document_index)",
}


@pytest.mark.parametrize("change", REGISTRY_CASES.values(), ids=REGISTRY_CASES)
def test_a_row_of_the_registry_that_no_event_made_is_not_shown(
    live: LiveLedger, change: str
) -> None:
    """With the application role alone, to which the views belong. Source: source-document 5.3."""
    [(number, person)] = live.copy.database.execute(
        "SELECT number, person_id FROM views.certificates "
        "WHERE standing = 'revoked' AND kind = 'national' ORDER BY number LIMIT 1"
    )
    body = {"certificate_number": number, "name": live.reader.identity(person).name}
    before = live.api.client.post("/lookup", json=body).json()
    assert before["certificates"][0]["standing"] == "revoked"
    live.copy.as_application(f"{SET} views.certificates SET {change} WHERE number = '{number}'")
    answer = live.api.client.post("/lookup", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "view_wrong")
    assert number not in answer.text
    [(link,)] = live.copy.database.execute(
        "SELECT verify_token FROM views.certificates WHERE number = %s", number
    )
    assert live.api.client.get(f"/v/{link}").status_code == 503


def test_a_certificate_that_nobody_issued_is_not_shown(live: LiveLedger) -> None:
    """With the application role alone: a copy of a right row under another number.

    Source: source-document 5.3.
    """
    [(number, person)] = live.copy.database.execute(
        "SELECT number, person_id FROM views.certificates "
        "WHERE standing = 'valid' AND issued AND kind = 'national' ORDER BY number LIMIT 1"
    )
    [(planted,)] = live.copy.database.execute(
        "SELECT max(number) FROM views.certificates WHERE kind = 'national'"
    )
    planted = f"{planted[:-6]}{int(planted[-6:]) + 1:06d}"
    live.copy.as_application(
        "CREATE TEMPORARY TABLE forged AS SELECT * FROM views.certificates "
        f"WHERE number = '{number}'",
        f"{SET} forged SET number = '{planted}', answer = replace(answer, '{number}', '{planted}')",
        "INSERT INTO views.certificates SELECT * FROM forged",
    )
    body = {"certificate_number": planted, "name": live.reader.identity(person).name}
    answer = live.api.client.post("/lookup", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "view_wrong")
    assert planted not in answer.text


def test_an_earlier_row_of_the_registry_with_its_right_seal_is_not_shown(live: LiveLedger) -> None:
    """Once the journal has a later change, in the service and on its pages alike."""
    application, number, person = live.copy.database.execute(
        "SELECT application_id, number, person_id FROM views.certificates "
        "WHERE standing = 'valid' AND issued AND kind = 'national' ORDER BY number LIMIT 1"
    )[0]
    body = {"certificate_number": number, "name": live.reader.identity(person).name}

    def standing() -> str | None:
        answer = live.api.client.post("/lookup", json=body)
        return answer.json()["certificates"][0]["standing"] if answer.is_success else None

    assert standing() == "valid"
    live.copy.as_superuser(
        f"CREATE TABLE earlier AS SELECT * FROM views.certificates WHERE number = '{number}'",
        "GRANT SELECT ON earlier TO certledger_app",
    )
    revoked = {"reason": "按规定办理", "reason_class": "exam_fraud"}
    path = f"applications/{application}/certificates/national/revocation"
    assert live.api.caller("registrar").send(path, revoked).status_code == 201
    wait_until(lambda: standing() == "revoked")
    live.copy.as_application(
        f"{DROP} views.certificates WHERE number = '{number}'",
        "INSERT INTO views.certificates SELECT * FROM public.earlier",
    )
    wait_until(lambda: standing() is None, PATIENCE_S)  # asked for changes every half second
    answer = live.api.client.post("/lookup", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "record_outdated")
    [(link,)] = live.copy.database.execute(
        "SELECT verify_token FROM views.certificates WHERE number = %s", number
    )
    assert live.api.client.get(f"/v/{link}").status_code == 503
    path = f"applications/{application}/certificates"
    assert live.code(path, "registrar") == (503, "record_outdated")


VOUCHERS = f"""DO $$
DECLARE vouchers text := 'views.postings_g' || (SELECT generation FROM views.generations
    WHERE view = 'refund_ledger');
BEGIN
    EXECUTE 'ALTER TABLE ' || vouchers || ' DISABLE TRIGGER USER';
    EXECUTE '{SET} ' || vouchers || ' SET debit_fen = debit_fen * 2, credit_fen = credit_fen * 2 '
        'WHERE entry_no = 1';
    EXECUTE '{DROP} ' || vouchers || ' WHERE entry_no = 2';
    EXECUTE 'ALTER TABLE ' || vouchers || ' ENABLE TRIGGER USER';
END $$"""
"""Its owner may switch off the trigger that refuses changes."""

AUDITED = {
    "superuser": {
        "claims": f"{DROP} certledger.claims WHERE kind = 'refund'",
        "commands": f"{DROP} certledger.commands WHERE first_position = 1",
        "heads": f"{DROP} certledger.checkpoints",
        "person claims": f"{DROP} certledger.person_claims WHERE person_id = (SELECT "
        "min(person_id) FROM certledger.person_claims)",
        "views": f"{SET} views.refund_lines SET paid_fen = paid_fen + 1",
    },
    "application": {
        "claims": f"{SET} certledger.claims SET released_position = position "
        "WHERE kind = 'refund' AND released_position IS NULL",
        "commands": "INSERT INTO certledger.commands SELECT ledger, principal, reverse(key), "
        "request_hash, command_id, first_position, last_position, receipt, seal, seal_key "
        "FROM certledger.commands WHERE first_position = 1",
        "views": VOUCHERS,
    },
}
"""Who -> check -> what is done; nothing refuses it at once, the audit names it within a round."""


@pytest.mark.parametrize("who", AUDITED)
def test_what_nobody_refuses_at_once_is_named_by_the_audit_within_a_round(
    copy: Copy, who: str
) -> None:
    audited = {"background_audit": True, "audit_interval_s": 1, "audit_cpu_percent": 100}
    with running_on(copy, **audited) as live:

        def audit() -> dict[str, Any]:
            return dict(live.api.client.get("/health").json()["audit"])

        wait_until(lambda: audit()["last_complete_at"], 120)
        assert audit()["found"] == 0
        run = live.copy.as_superuser if who == "superuser" else live.copy.as_application
        run(*AUDITED[who].values())
        begun = audit()["round"]
        wait_until(lambda: {each["check"] for each in audit()["findings"]} >= {*AUDITED[who]}, 180)
        assert audit()["round"] <= begun + 1
        views = {each["row"] for each in audit()["findings"] if each["check"] == "views"}
        assert views == {"refund_lines" if who == "superuser" else "postings"}
        assert live.api.client.get("/health").json()["status"] == "degraded"
        assert live.code("refunds", "finance") == (503, "view_wrong")
        assert live.code("notices", "certifier") == (200, None)
        live.ensure_only_truth_is_signed()


def test_every_test_that_the_table_names_is_there() -> None:
    tests = "\n".join(
        line
        for path in (ROOT / "tests").rglob("test_*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("def test_")
    )
    lines = [line.split("|") for line in (__doc__ or "").splitlines() if line.startswith("| ")]
    assert len(lines) > 20
    named = {each for cells in lines[1:] for each in re.findall(r"\w+_\w+", " ".join(cells[2:4]))}
    assert [each for each in sorted(named) if each not in tests] == []
