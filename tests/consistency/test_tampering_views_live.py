"""Rows of the registry and the progress of views, put back or moved while a service runs.

The rows have right seals: what is wrong about them is their time. Rows that no event made are in
`test_tampering_live.py`.
Covers: projections/certificate_registry/standing_changes.py, projections/engine/progress_seals.py,
projections/engine/latest_rows.py, projections/engine/progress.py
"""

from __future__ import annotations

import pytest

from tests.consistency.live_ledger import PATIENCE_S, LiveLedger
from tests.support.cohort import rows
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SET, DROP = "UPDATE", "DELETE FROM"  # apart, because no file may change the journal


def test_an_earlier_row_with_a_name_of_before_a_correction_is_not_shown(live: LiveLedger) -> None:
    """The row has a right seal, and its certificate no later change of its standing."""
    number, link, person = live.copy.database.execute(
        "SELECT number, verify_token, person_id FROM views.certificates "
        "WHERE standing = 'valid' AND issued AND kind = 'national' ORDER BY number LIMIT 1"
    )[0]

    def holder() -> str | None:
        answer = live.api.client.get(f"/v/{link}")
        return str(answer.json()["masked_name"]) if answer.is_success else None

    name = holder()
    assert name is not None
    live.copy.as_superuser(
        f"CREATE TABLE earlier AS SELECT * FROM views.certificates WHERE number = '{number}'"
    )
    document = next(
        {name: row[name] for name in ("document_type", "document_number")}
        for row in rows("persons")
        if row["id"] == person
    )
    corrected = document | {"name": "欧阳修", "reason": "姓名有误"}
    answer = live.api.caller("registrar").send(f"persons/{person}/corrections", corrected)
    assert answer.is_success, answer.text
    wait_until(lambda: holder() not in (None, name))
    live.copy.as_superuser(
        f"{DROP} views.certificates WHERE number = '{number}'",
        "INSERT INTO views.certificates SELECT * FROM public.earlier",
    )
    wait_until(lambda: holder() is None, PATIENCE_S)
    answer = live.api.client.get(f"/v/{link}")
    assert (answer.status_code, answer.json()["code"]) == (503, "record_outdated")
    page = live.api.client.get(f"/v/{link}", headers={"Accept": "text/html"})
    assert page.status_code == 503
    assert name not in page.text


def test_a_view_whose_progress_was_moved_ahead_is_not_shown(live: LiveLedger) -> None:
    """The events in between would never be folded; named at once, without the audit."""
    number, person = live.copy.database.execute(
        "SELECT number, person_id FROM views.certificates WHERE issued ORDER BY number LIMIT 1"
    )[0]
    body = {"certificate_number": number, "name": live.reader.identity(person).name}
    assert live.code("refunds", "finance") == (200, None)
    assert live.api.client.post("/lookup", json=body).status_code == 200
    live.copy.as_superuser(
        f"{SET} certledger.tracking SET position = position + 1 "
        "WHERE view IN ('refund_ledger', 'certificate_registry')"
    )
    live.wait_for_problem("view_wrong:refund_ledger")
    live.wait_for_problem("view_wrong:certificate_registry")
    assert live.code("refunds", "finance") == (503, "view_wrong")
    assert live.api.client.post("/lookup", json=body).json()["code"] == "view_wrong"
    assert live.code("notices", "certifier") == (200, None), "only what differs"
    assert live.refusal() is None, "commands go on"


def test_no_later_event_makes_an_earlier_row_a_new_one(live: LiveLedger) -> None:
    """The row of before a suspension is put back; then the certificate is corrected."""
    application, number, link = live.copy.database.execute(
        "SELECT application_id, number, verify_token FROM views.certificates "
        "WHERE standing = 'valid' AND issued AND kind = 'national' ORDER BY number LIMIT 1"
    )[0]
    path = f"applications/{application}/certificates/national"
    because = {"reason": "按规定办理"}

    def standing() -> str | None:
        answer = live.api.client.get(f"/v/{link}")
        return str(answer.json()["standing"]) if answer.is_success else None

    assert standing() == "valid"
    live.copy.as_superuser(
        f"CREATE TABLE earlier AS SELECT * FROM views.certificates WHERE number = '{number}'"
    )
    assert live.api.caller("registrar").send(f"{path}/suspension", because).is_success
    wait_until(lambda: standing() == "suspended")
    live.copy.as_superuser(
        f"{DROP} views.certificates WHERE number = '{number}'",
        "INSERT INTO views.certificates SELECT * FROM public.earlier",
    )
    wait_until(lambda: standing() is None, PATIENCE_S)
    assert live.api.caller("registrar").send(f"{path}/correction", because).is_success
    live.wait_for_problem("view_wrong:certificate_registry")
    assert standing() is None
    body = {"certificate_number": number, "name": "欧阳修"}
    assert live.api.client.post("/lookup", json=body).json()["code"] == "view_wrong"


def test_nobody_but_the_service_says_how_far_a_view_has_come(live: LiveLedger) -> None:
    """A reader would be shown what was there before their own write."""
    wait_for = {"min_position": len(live.leaves) + 1}
    reads = live.api.caller("finance")

    def code() -> str | None:
        answer = reads.get("refunds", **wait_for)
        return answer.json()["code"] if answer.is_error else None

    assert code() == "view_behind"
    views = ("refund_ledger", "score_board", "certificate_registry", "worklist")
    forged = "omc " + " ".join(f"{view}=999999" for view in views)
    for payload in (forged, f"- {forged}", f"{'0' * 64} {forged}", "omc refund_ledger=²"):
        live.copy.as_application(f"NOTIFY certledger_views, '{payload}'")
    live.copy.as_application(f"NOTIFY certledger_views, 'omc refund_ledger={'9' * 5000}'")
    assert code() == "view_behind"
    assert live.refusal() is None
    assert code() is None, "the service still learns of what its runner folds"
