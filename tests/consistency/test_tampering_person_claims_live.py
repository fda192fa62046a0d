"""The table that says whose an identity document is, altered while a service runs.

Its rows have no seal. What is missing in it is named by the audit (`test_tampering_live.py`).
Covers: api/routes/stream_listing.py, domain/service/command_execution.py
"""

from __future__ import annotations

import pytest

from tests.consistency.live_ledger import LiveLedger
from tests.support.cohort import rows

pytestmark = pytest.mark.slow

DROP = "DELETE FROM"  # apart, because no file may change the journal


def test_exchanged_blind_indexes_show_an_agency_nobody_else(live: LiveLedger) -> None:
    """With the application role alone. Source: source-document 3.1(1)."""
    (one, *_), *_, (other, *_) = live.copy.database.execute(
        "SELECT DISTINCT person_id FROM certledger.person_claims WHERE kind = 'named_document' "
        "ORDER BY 1"
    )
    theirs = live.reader.identity(other)
    fields = ("document_type", "document_number", "document_country", "name")
    [row] = [row for row in rows("persons") if row["id"] == one]
    identity = {name: row[name] for name in fields if row.get(name)}
    agency = live.api.caller("agency")
    assert agency.ask("POST", "persons/search", json=identity).json()["person_id"] == one
    live.copy.as_application(
        f"WITH gone AS ({DROP} certledger.person_claims WHERE person_id IN ('{one}', '{other}') "
        "RETURNING *) INSERT INTO certledger.person_claims SELECT ledger, kind, index, "
        f"CASE person_id WHEN '{one}' THEN '{other}' ELSE '{one}' END FROM gone"
    )
    for role in ("agency", "registrar"):
        answer = live.api.caller(role).ask("POST", "persons/search", json=identity)
        assert (answer.status_code, answer.json()["code"]) == (503, "person_claims_wrong")
        assert theirs.name not in answer.text
    answer = agency.send("persons", identity)
    assert (answer.status_code, answer.json()["code"]) == (503, "person_claims_wrong")
    assert other not in answer.text
    assert "person claims" in {each.check for each in live.audit().findings}
