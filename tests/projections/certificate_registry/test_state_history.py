"""A history or a link that the events did not make is not shown.

Covers: projections/certificate_registry/state_history.py
"""

from __future__ import annotations

import pytest

from domain.steps import certificate as c
from domain.store.errors import RecordOutdated, ViewWrong
from projections.certificate_registry import queries as q
from projections.certificate_registry import state_history
from projections.engine.view import select
from tests.projections.certificate_registry.test_view import (
    NUMBER,
    checks,
    revoke,
    shown_by,
    step,
    token,
)
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.actors import REGISTRAR
from tests.support.journeys import issued_certificates
from tests.support.postgres import Database

STATE_FORGERIES = {
    "a state that is missing": "DELETE FROM {states} WHERE event = 'suspended'",
    "the last state missing": "DELETE FROM {states} WHERE event = 'revoked'",
    "no state at all": "DELETE FROM {states} WHERE true",
    "another time": "UPDATE {states} SET occurred_at = occurred_at + interval '1 day'",
    "another standing": "UPDATE {states} SET standing = 'valid'",
    "another event": "UPDATE {states} SET event = 'reissued' WHERE event = 'suspended'",
    "a state twice": "INSERT INTO {states} SELECT * FROM {states} WHERE event = 'suspended'",
    "a state in between": (
        "INSERT INTO {states} SELECT (jsonb_populate_record(s, '{{\"position\": 1}}')).* "
        "FROM {states} s WHERE event = 'suspended'"
    ),
    "another certificate's states": "UPDATE {states} SET kind = 'omc'",
}


def altered_states(ledger: ProjectedLedger, database: Database, statement: str) -> None:
    """Alter the states of the national certificate as a superuser, who stops at no trigger."""
    [(number,)] = ledger.execute(
        "SELECT generation FROM views.generations WHERE view = 'certificate_registry'"
    )
    states = f"views.certificate_states_g{number}"
    with tampering.superuser(database) as cursor:
        cursor.execute(f"ALTER TABLE {states} DISABLE TRIGGER ALL")
        cursor.execute(f"ALTER TABLE {states} DROP CONSTRAINT certificate_states_g{number}_pkey")
        cursor.execute(f"DELETE FROM {states} WHERE kind = 'omc'")
        cursor.execute(statement.format(states=states))


@pytest.mark.parametrize("statement", STATE_FORGERIES.values(), ids=STATE_FORGERIES)
def test_a_history_that_its_events_did_not_make_is_not_shown(
    ledger: ProjectedLedger, database: Database, statement: str
) -> None:
    world = issued_certificates()
    for change in (step(c.SuspendCertificate), revoke()):
        world.do(change, by=REGISTRAR)
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        events = [s["event"] for s in q.history(cursor, "omc", NUMBER, checks())]
    assert events == ["numbered", "issued", "suspended", "revoked"]
    altered_states(ledger, database, statement)
    with ledger.cursor() as cursor:
        with pytest.raises(ViewWrong):
            q.history(cursor, "omc", NUMBER, checks())
        with pytest.raises(ViewWrong):
            q.standing_on(cursor, "omc", NUMBER, world.now, checks())


def test_a_shorter_history_with_the_row_it_belongs_to_is_not_shown(
    ledger: ProjectedLedger, database: Database
) -> None:
    """Both have right seals, and are of before the last event."""
    world = issued_certificates()
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        cursor.execute("SELECT to_json(c)::text FROM views.certificates c WHERE kind = 'national'")
        [(earlier,)] = cursor.fetchall()
    world.do(step(c.SuspendCertificate), by=REGISTRAR)
    ledger.record(world).fold()
    altered_states(ledger, database, "DELETE FROM {states} WHERE event = 'suspended'")
    ledger.execute("DELETE FROM views.certificates WHERE kind = 'national'")
    ledger.execute(
        "INSERT INTO views.certificates "
        f"SELECT * FROM json_populate_record(NULL::views.certificates, $row${earlier}$row$)"
    )
    with ledger.cursor() as cursor, pytest.raises(RecordOutdated):
        q.history(cursor, "omc", NUMBER, checks())


def test_a_state_that_came_after_the_certificate_was_read_is_left_for_the_next_time(
    ledger: ProjectedLedger,
) -> None:
    world = issued_certificates()
    ledger.record(world).fold()
    [before] = ledger.rows("certificates", kind="national")
    world.do(revoke(), by=REGISTRAR)
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        named = {"ledger": "omc", "number": NUMBER, "kind": "national"}
        states = select(cursor, q.SQL["history"], named)
    assert [s["event"] for s in states] == ["numbered", "issued", "revoked"]
    assert [s["event"] for s in state_history.checked(before, states)] == ["numbered", "issued"]


LINK_FORGERIES = {
    "made the current version": "version = 2",
    "of another certificate": "kind = 'omc'",
    "no seal": "seal = NULL",
    "another position": "position = position + 1",
}


@pytest.mark.parametrize("forgery", LINK_FORGERIES.values(), ids=LINK_FORGERIES)
def test_a_replaced_link_that_no_event_made_opens_nothing(
    ledger: ProjectedLedger, database: Database, forgery: str
) -> None:
    """Else the paper that was lost would be shown as the one that is in force."""
    world = issued_certificates()
    world.do(step(c.ReissueCertificate), by=REGISTRAR)
    ledger.record(world).fold()
    assert shown_by(ledger, token(1))["replaced"]
    [(number,)] = ledger.execute(
        "SELECT generation FROM views.generations WHERE view = 'certificate_registry'"
    )
    table = f"views.certificate_old_tokens_g{number}"
    with tampering.superuser(database) as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        cursor.execute(f"UPDATE {table} SET {forgery}")
    # That of another kind has the number of no certificate.
    with ledger.cursor() as cursor:
        if "kind" in forgery:
            assert q.verify(cursor, token(1), checks()) is None
        else:
            with pytest.raises(ViewWrong):
                q.verify(cursor, token(1), checks())
    assert not shown_by(ledger, token(2))["replaced"]


def test_a_version_changed_in_its_column_does_not_hide_that_a_link_was_replaced(
    ledger: ProjectedLedger,
) -> None:
    world = issued_certificates()
    world.do(step(c.ReissueCertificate), by=REGISTRAR)
    ledger.record(world).fold()
    ledger.execute("UPDATE views.certificates SET version = 1 WHERE kind = 'national'")
    assert shown_by(ledger, token(1))["replaced"]
