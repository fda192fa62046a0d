"""End to end: commands to a real ledger, views folded by a runner, read as soon as committed."""

from domain.events import Component
from projections.catalogue import VIEWS
from projections.engine.progress import ProgressTracker
from projections.refund_ledger import queries as refund_queries
from projections.runner_process import new_runner
from tests.projections.rebuild.test_rebuild import check
from tests.support.actors import ASSISTANT, FINANCE, FINANCE_2, REGISTRAR, REGULATOR, candidate
from tests.support.commands import (
    confirm_erasure,
    open_ledger,
    order,
    pay,
    propose_erasure,
    register,
    set_fees,
    withdraw,
)
from tests.support.journeys import an_eligible_application
from tests.support.ledgers import SECRETS, a_real_ledger
from tests.support.postgres import Database
from tests.support.refunds import accepted, approve


def test_every_committed_command_can_be_read_from_every_view_at_once(database: Database) -> None:
    with (
        a_real_ledger(database) as world,
        new_runner(database.dsn, SECRETS),
        ProgressTracker(database.dsn, VIEWS) as progress,
    ):
        world.do(open_ledger())
        set_fees(world)
        an_eligible_application(1, world)
        states = []
        for command, actor in (
            (pay(1, world), FINANCE),
            (withdraw(), candidate()),
            (order(Component.CERTIFICATION_FEE), FINANCE),
            (approve(), FINANCE_2),
            (accepted(), FINANCE),
            (register(2), ASSISTANT),
            (propose_erasure(2), REGISTRAR),
            (confirm_erasure(2), REGULATOR),
        ):
            receipt = world.do(command, by=actor)
            for view in VIEWS:
                assert progress.wait_until("omc", view.name, receipt.last_position, 10), view.name
            with database.connect() as reader, reader.cursor() as cursor:
                lines = refund_queries.lines(cursor, "omc")
                states.append(lines[0]["state"])
                broken = [r for r in refund_queries.invariants(cursor, "omc") if not r["holds"]]
                cursor.execute("SELECT masked_name FROM views.certificate_people")
                names = cursor.fetchall()
            assert broken == []
        assert states == ["paid", "entitled", "ordered", "approved", "accepted", *["accepted"] * 3]
        assert {("已删除",)} < {*names}
        assert check(database.dsn) == []
