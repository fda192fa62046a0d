"""What the checks read of events, also where somebody inserted what is no event."""

from __future__ import annotations

from domain.audit.events import EventCheck, events_since, run
from domain.audit.logins_check import LoginsCheck
from domain.audit.person_claims_check import PersonClaimsCheck
from domain.audit.persons_check import PersonsCheck
from domain.events import ErasureConfirmed
from tests.support import tampering
from tests.support.actors import ASSISTANT
from tests.support.commands import erase, register
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database


def test_an_inserted_envelope_that_is_no_json_breaks_off_no_check(database: Database) -> None:
    """The audit of the log names it, once the others are done."""
    with a_real_ledger(database) as world:
        world.do(register(1), by=ASSISTANT)
        journal = world.ledger.journal
        upto = journal.head().position
        erase(world)
        [confirmed] = [each.position for each in journal.read(upto, 10, (ErasureConfirmed.TOPIC,))]
        with tampering.application_role(database) as cursor:
            cursor.execute(
                "INSERT INTO certledger.journal SELECT ledger, %s, stream, version + 1, "
                "gen_random_uuid(), topic, 'x'::bytea, leaf_hash, occurred_at, recorded_at, seal, "
                "seal_key FROM certledger.journal WHERE position = %s",
                (journal.head().position + 1, confirmed),
            )
        found = events_since(journal, [ErasureConfirmed.TOPIC], upto)
        assert [event.position for event in found] == [confirmed]
        vault = world.ledger.vault
        checks: list[EventCheck] = [
            LoginsCheck(journal, vault, world.ledger.logins.keys, world.ledger.indexes),
            PersonsCheck(journal, vault),
            PersonClaimsCheck(journal, vault, world.ledger.indexes),
        ]
        run(journal, checks, upto, lambda position: None)
        assert [check.result.findings for check in checks] == [[], [], []]
