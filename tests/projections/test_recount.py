"""Views of random histories against a plain recount of the facts, after any cut into batches."""

import pytest

from domain.values.person_names import mask_name
from projections.engine.view import ERASED
from projections.refund_ledger import queries as refund_queries
from projections.score_board import queries as board_queries
from tests.projections import recount
from tests.projections.grammar import ProjectedLedger
from tests.projections.histories import a_random_history
from tests.support.world import World

pytestmark = pytest.mark.slow

SEEDS = range(8)


@pytest.fixture(params=SEEDS, ids="history{}".format)
def world(request: pytest.FixtureRequest) -> World:
    return a_random_history(request.param, candidates=10)


@pytest.fixture
def folded(
    ledger: ProjectedLedger, world: World, request: pytest.FixtureRequest
) -> ProjectedLedger:
    """Its history in the views; each seed is cut into batches of another size."""
    return ledger.record(world).fold(
        batch=(1, 3, 7, 1000)[request.node.callspec.params["world"] % 4]
    )


def test_the_refund_ledger_agrees_with_a_plain_recount(
    folded: ProjectedLedger, world: World
) -> None:
    counted = recount.refund_amounts(world.entries)
    lines = folded.rows("refund_lines")
    assert {(r["payment_id"], r["component"]) for r in lines} == set(counted)
    for line in lines:
        for name, fen in counted[line["payment_id"], line["component"]].items():
            assert line[name] == fen, (line["payment_id"], line["component"], name)
    with folded.cursor() as cursor:
        sums = refund_queries.trial_balance(cursor, "omc")
        balances = {r["account"]: r["balance_fen"] for r in sums if r["balance_fen"]}
        broken = [r for r in refund_queries.invariants(cursor, "omc") if not r["holds"]]
    assert balances == recount.balances(world.entries)
    assert broken == []


def test_every_voucher_sums_to_zero_and_numbers_have_no_gap(folded: ProjectedLedger) -> None:
    sums: dict[int, int] = {}
    for posting in folded.rows("postings"):
        net = posting["debit_fen"] - posting["credit_fen"]
        sums[posting["entry_no"]] = sums.get(posting["entry_no"], 0) + net
        assert (posting["debit_fen"] > 0) != (posting["credit_fen"] > 0)
    assert sums == dict.fromkeys(range(1, len(sums) + 1), 0)


def test_the_score_board_agrees_with_a_plain_recount(folded: ProjectedLedger, world: World) -> None:
    shown = {}
    with folded.cursor() as cursor:
        for notice in board_queries.notices(cursor, "omc"):
            for row in board_queries.rows(cursor, "omc", notice["notice_id"]):
                shown[row["notice_id"], row["application_id"]] = {
                    name: row[name] for name in ("theory", "practical", "passed", "state")
                }
    assert shown == recount.board(world.entries)


def test_the_registry_agrees_with_a_plain_recount(folded: ProjectedLedger, world: World) -> None:
    shown = {
        (r["kind"], r["number"]): {
            name: r[name] for name in ("standing", "version", "progress", "application_id")
        }
        for r in folded.rows("certificates")
    }
    assert shown == recount.certificates(world.entries)


def test_names_are_masked_and_those_of_the_erased_are_gone(
    folded: ProjectedLedger, world: World
) -> None:
    gone = recount.erased(world.entries)
    for table in ("certificate_people", "score_board_people"):
        for person in folded.rows(table):
            if person["person_id"] in gone:
                assert person["masked_name"] == person["masked_number"] == ERASED
            else:
                name = world.identities[person["person_id"]].name
                assert person["masked_name"] == mask_name(name)
    for person in folded.rows("certificate_people"):
        assert (person["document_index"] is None) == (person["person_id"] in gone)
