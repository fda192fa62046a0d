"""The answer to an erasure names the day from which nothing opens what was erased.

Covers: domain/service/command_execution.py
"""

from __future__ import annotations

from datetime import timedelta

from tests.support.actors import ASSISTANT
from tests.support.commands import erase, open_ledger, register
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database


def test_the_answer_to_an_erasure_names_the_day_and_no_other_answer_does(
    database: Database,
) -> None:
    with a_real_ledger(database) as world:
        answers = [world.do(open_ledger()), world.do(register(1), by=ASSISTANT)]
        erase(world)
        proposal, erasure = world.receipts[-2:]
    assert not [each for each in [*answers, proposal] if "unreadable_from" in each.outcome]
    [(end,)] = database.execute("SELECT ends_at FROM certledger.epochs")
    named = (end + timedelta(hours=8)).date() + timedelta(days=35)
    assert erasure.outcome["unreadable_from"] == named.isoformat()
