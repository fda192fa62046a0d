"""Rebuild: the same rows as live, found differences, a swap that readers do not notice.

Covers: projections/rebuild/rebuild.py, projections/rebuild/backfill.py,
projections/rebuild/compare.py, projections/rebuild/swap.py
"""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed
from typing import Any

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.postgres import connection as connection_module
from projections.catalogue import VIEWS
from projections.engine import generations
from projections.engine.tables import Table
from projections.engine.view import Handles, UnhandledTopic, View
from projections.rebuild import rebuild
from projections.rebuild.compare import Difference
from projections.rebuild.rebuild import OtherVersion, Sizes
from projections.rebuild.swap import RebuildRunning
from projections.score_board import view as score_board
from tests.projections.engine.test_runner import backends, running, terminate
from tests.projections.grammar import ProjectedLedger
from tests.projections.histories import a_random_history
from tests.projections.test_faults import draft
from tests.support.actors import CERTIFIER, OPERATOR
from tests.support.commands import (
    CLOSED_AT,
    close,
    erase,
    object_as_outsider,
    repeat_erasure,
    settle,
)
from tests.support.journeys import (
    a_paid_application,
    an_open_ledger,
    published_results,
    reported_certificates,
)
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

NAMES = [view.name for view in VIEWS]

WAITING_FOR_A_LOCK = """SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database()"""
WAITING_FOR_LONG = f"{WAITING_FOR_A_LOCK} AND clock_timestamp() - a.query_start > '0.5 s'"


def check(dsn: str, **options: Any) -> list[Difference]:
    """Every difference; the count says the same."""
    found: list[Difference] = []
    count = rebuild.check(dsn, SECRETS, on_difference=found.append, **({"processes": 1} | options))
    assert count == len(found)
    return found


def current_generations(ledger: ProjectedLedger) -> dict[str, int]:
    return dict(ledger.execute("SELECT view, generation FROM views.generations"))


def leftovers(ledger: ProjectedLedger) -> list[str]:
    """Tables of generations that are not in force."""
    found = ledger.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'views' AND tablename ~ '_g[0-9]+$'"
    )
    current = {
        f"{table.name}_g{current_generations(ledger)[view.name]}"
        for view in VIEWS
        for table in view.tables
    }
    return [name for (name,) in found if name not in current]


@pytest.mark.parametrize("seed", range(100, 106))
def test_a_rebuilt_view_equals_the_live_one(ledger: ProjectedLedger, dsn: str, seed: int) -> None:
    ledger.record(a_random_history(seed, candidates=8)).fold(batch=seed % 17 + 1)
    assert check(dsn) == []
    live = ledger.contents()
    rebuild.replace(dsn, SECRETS, processes=1)
    assert ledger.contents() == live
    assert [ledger.position(name) for name in NAMES] == [ledger.journal.head().position] * len(
        NAMES
    )
    assert leftovers(ledger) == []


@pytest.mark.parametrize("batch", [1, 1000])
def test_erasures_of_an_objector_and_again_after_a_restore_give_the_same_rows(
    ledger: ProjectedLedger, dsn: str, batch: int
) -> None:
    """An objector who is not registered has no row of a person; nothing pauses a view."""
    world = published_results()
    world.do(object_as_outsider(), by=CERTIFIER)
    world.do(settle("dismissed"))
    world.do(close(), at=CLOSED_AT)
    erase(world, person="W1")
    for person in ("W1", "P1"):
        again = repeat_erasure().model_copy(update={"person_id": person})
        world.do(again, by=OPERATOR)
    ledger.record(world).fold(batch=batch)
    head = ledger.journal.head().position
    assert {ledger.position(name) for name in NAMES} == {head}
    assert ledger.row("score_board_people")["erased"]
    live = ledger.contents()
    tiny = Sizes(page=5, rows=4, keys_from=0)
    rebuild.replace(dsn, SECRETS, processes=1, sizes=tiny)
    assert ledger.contents() == live


def test_parallel_processes_produce_the_same_rows(
    open_ledger: Callable[..., ProjectedLedger], dsn: str
) -> None:
    ledgers = [open_ledger(name) for name in ("omc", "zju")]
    for seed, ledger in enumerate(ledgers):
        ledger.record(a_random_history(seed, candidates=4)).fold()
    live = ledgers[0].contents()
    filled = rebuild.replace(dsn, SECRETS, processes=2)
    assert ledgers[0].contents() == live
    assert sorted((done.ledger, *done.views) for done in filled) == [
        ("omc", *NAMES), ("zju", *NAMES)
    ]  # fmt: skip


def test_rows_beyond_the_memory_limit_are_written_and_read_back(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.record(a_random_history(7)).fold()
    live = ledger.contents()
    tiny = Sizes(page=7, rows=10, keys_from=0)
    rebuild.replace(dsn, SECRETS, processes=1, sizes=tiny)
    assert ledger.contents() == live


def test_every_differing_row_is_reported(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(reported_certificates()).fold()
    number = current_generations(ledger)["certificate_registry"]
    ledger.execute(
        f"UPDATE views.certificates_g{number} SET standing = 'revoked' WHERE kind = 'national'"
    )
    ledger.execute(f"DELETE FROM views.certificate_people_g{number}")
    found = check(dsn)
    assert list(map(str, found)) == [
        "certificate_registry: certificate_people: ledger=omc person_id=P1: only rebuilt",
        "certificate_registry: certificates: ledger=omc number=S000033000123264000001 "
        "kind=national: live standing=revoked, rebuilt standing=valid",
    ]
    assert current_generations(ledger)["certificate_registry"] == number, "a check changes nothing"
    assert leftovers(ledger) == []
    rebuild.replace(dsn, SECRETS, processes=1)
    assert check(dsn) == []


ALTERED = {
    "other rows": "CREATE OR REPLACE VIEW views.refund_lines AS SELECT * FROM {table} LIMIT 0",
    "another trigger": "CREATE TRIGGER balanced BEFORE INSERT ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "row security": "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "a rule": "CREATE RULE nothing AS ON DELETE TO {table} DO INSTEAD NOTHING",
    "no view": "DROP VIEW views.refund_lines",
}


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_a_name_that_does_not_show_its_table_is_reported(
    ledger: ProjectedLedger, dsn: str, change: str
) -> None:
    ledger.record(an_open_ledger()).fold()
    assert rebuild.altered_definitions(dsn) == []
    number = current_generations(ledger)["refund_ledger"]
    ledger.execute(change.format(table=f"views.refund_lines_g{number}"))
    assert rebuild.altered_definitions(dsn) == [("refund_ledger", "refund_lines")]


BODY = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            f"CREATE OR REPLACE FUNCTION views.refuse_unbalanced() {BODY}",
            "function views.refuse_unbalanced()",
        ),
        (f"CREATE FUNCTION views.f() {BODY}", "function views.f()"),
        (
            f"CREATE FUNCTION pg_temp.f() {BODY}; CREATE TRIGGER t BEFORE INSERT ON {{table}} "
            "FOR EACH ROW EXECUTE FUNCTION pg_temp.f()",
            None,
        ),
    ],
)
def test_a_function_that_the_program_did_not_make_is_reported(
    ledger: ProjectedLedger, dsn: str, change: str, name: str | None
) -> None:
    assert rebuild.altered_functions(dsn) == []
    number = current_generations(ledger)["refund_ledger"]
    ledger.execute(change.format(table=f"views.refund_lines_g{number}"))
    [found] = rebuild.altered_functions(dsn)
    assert found == name or found.startswith("foreign_function pg_temp")


def test_a_check_stops_at_the_position_of_the_live_view(ledger: ProjectedLedger, dsn: str) -> None:
    """A view that is behind or paused is compared as far as it is."""
    world = a_paid_application()
    ledger.record(world).fold()
    a_paid_application(2, world)
    ledger.record(world)
    assert check(dsn) == []
    ledger.fold()
    assert check(dsn) == []


def test_events_recorded_during_a_rebuild_are_included(ledger: ProjectedLedger, dsn: str) -> None:
    world = an_open_ledger()
    ledger.record(world)
    with running(dsn) as runner:
        stopped = threading.Event()
        candidates = iter(range(1, 10_000))

        def write() -> None:
            own = ProjectedLedger(dsn)
            own.recorded = len(world.entries)
            while not stopped.is_set():
                own.record(a_paid_application(next(candidates), world))
            own.close()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(3):
                rebuild.replace(dsn, SECRETS, processes=1)
                assert check(dsn) == []
        finally:
            stopped.set()
            writer.join()
        head = ledger.journal.head().position
        for name in NAMES:
            assert runner.wait_until("omc", name, head, timeout_seconds=20)
        paid = sum(1 for x in world.entries if x.fact.TOPIC == "fee_paid.v1")
        assert len(ledger.rows("refund_lines")) == 2 * paid
        assert check(dsn) == []


def test_an_unknown_topic_aborts_a_rebuild_and_the_live_tables_stay(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.record(a_paid_application()).fold()
    before = current_generations(ledger), ledger.contents()
    position = ledger.write(draft("moon_landed.v1"))
    with pytest.raises(UnhandledTopic) as raised:
        rebuild.replace(dsn, SECRETS, processes=1)
    assert (raised.value.topic, raised.value.position) == ("moon_landed.v1", position)
    assert (current_generations(ledger), ledger.contents()) == before


def test_only_one_rebuild_of_a_view_at_a_time(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.execute("SELECT pg_advisory_lock(hashtextextended('certledger rebuild score_board', 0))")
    with pytest.raises(RebuildRunning):
        rebuild.replace(dsn, SECRETS, processes=1)


def test_an_audit_gives_way_to_a_rebuild_that_waits(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(a_paid_application()).fold()
    before = current_generations(ledger)
    waiting = threading.Thread(
        target=rebuild.replace, args=(dsn, SECRETS), kwargs={"processes": 1, "wait": True}
    )

    def pace(position: int) -> None:
        waiting.start()
        wait_until(lambda: ledger.execute(WAITING_FOR_A_LOCK) == [(1,)])

    with pytest.raises(RebuildRunning):
        rebuild.audit(dsn, SECRETS, VIEWS, pace)
    waiting.join()
    after = current_generations(ledger)
    assert all(after[name] > before[name] for name in NAMES)
    assert leftovers(ledger) == []


def test_a_rebuild_waits_for_another_longer_than_for_any_other_lock(
    ledger: ProjectedLedger, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rebuild takes minutes; every other wait for a lock ends after seconds."""
    ledger.record(a_paid_application()).fold()
    monkeypatch.setitem(connection_module._SETTINGS, "lock_timeout", "100ms")
    before = current_generations(ledger)
    with ThreadPoolExecutor(1) as threads, database.connect() as other, other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_lock(hashtextextended('certledger rebuild score_board', 0))"
        )
        waiting = threads.submit(rebuild.replace, dsn, SECRETS, processes=1, wait=True)
        wait_until(lambda: waiting.done() or database.execute(WAITING_FOR_LONG) == [(1,)])
        cursor.execute("SELECT pg_advisory_unlock_all()")
        waiting.result(60)
    after = current_generations(ledger)
    assert all(after[name] > before[name] for name in NAMES)


def test_tables_of_a_killed_rebuild_are_dropped_by_the_next(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.record(a_paid_application()).fold()
    with ledger.cursor() as cursor:
        generations.create(cursor, score_board.VIEW, 77)
    assert leftovers(ledger)
    rebuild.replace(dsn, SECRETS, processes=1)
    assert leftovers(ledger) == []


def test_generation_numbers_are_never_reused(ledger: ProjectedLedger, dsn: str) -> None:
    """Somebody who outlives a killed rebuild would fill the tables of the next one."""
    given = [1]
    for _ in range(3):
        ledger.write(draft("moon_landed.v1", stream=f"moon-{len(given)}"))
        with pytest.raises(UnhandledTopic):
            rebuild.replace(dsn, SECRETS, [score_board.VIEW], processes=1)
        with ledger.cursor() as cursor:
            given += [int(name.rpartition("_g")[2]) for name in leftovers(ledger)][:1]
            generations.drop_others(cursor, score_board.VIEW, 1)
    assert leftovers(ledger) == []
    assert given == [1, 2, 3, 4]


def test_an_unlisted_table_does_not_block_a_rebuild_and_is_dropped(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.record(reported_certificates()).fold()
    live = ledger.contents()
    number = current_generations(ledger)["certificate_registry"] + 1
    ledger.execute(f"CREATE TABLE views.certificate_book_g{number} (ledger text)")
    ledger.execute("CREATE TABLE views.certificates_g41 (ledger text)")
    rebuild.replace(dsn, SECRETS, processes=1)
    assert (ledger.contents(), leftovers(ledger)) == (live, [])


def test_an_unlisted_table_of_another_owner_is_left_alone(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    number = current_generations(ledger)["certificate_registry"] + 1
    foreign = f"certificate_book_g{number}"
    database.execute(f"CREATE TABLE views.{foreign} (ledger text)", user=SUPERUSER)
    ledger.record(reported_certificates()).fold()
    rebuild.replace(dsn, SECRETS, processes=1)
    assert current_generations(ledger)["certificate_registry"] == number + 1
    assert leftovers(ledger) == [foreign]


def test_secret_columns_are_named_and_not_printed(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(reported_certificates()).fold()
    number = current_generations(ledger)["certificate_registry"]
    [(token,)] = ledger.execute("SELECT verify_token FROM views.certificates WHERE kind = 'omc'")
    ledger.execute(
        f"UPDATE views.certificates_g{number} SET verify_token = repeat('0', 32) WHERE kind = 'omc'"
    )
    [found] = map(str, check(dsn))
    assert "live verify_token=(secret), rebuilt verify_token=(secret)" in found
    assert token not in found
    assert "0" * 32 not in found


def test_a_rebuild_killed_while_creating_tables_leaves_none(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    ledger.record(a_paid_application()).fold()
    live = ledger.contents()
    ledger.execute(
        "CREATE FUNCTION views.held_up() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$"
    )
    ledger.execute(
        "CREATE TRIGGER held_up BEFORE INSERT ON views.made "
        "FOR EACH ROW EXECUTE FUNCTION views.held_up()"
    )
    process = multiprocessing.get_context("spawn").Process(
        target=rebuild.replace, args=(dsn, SECRETS), kwargs={"processes": 1}
    )
    process.start()
    try:
        wait_until(
            lambda: database.execute(
                "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
                "AND datname = current_database()",
                user=SUPERUSER,
            ),
            30,
        )
    finally:
        process.kill()
        process.join()
    terminate(database, "certledger rebuild")
    wait_until(lambda: not backends(database, "certledger rebuild"))
    assert leftovers(ledger) == []
    ledger.execute("DROP TRIGGER held_up ON views.made")
    rebuild.replace(dsn, SECRETS, processes=1)
    assert (ledger.contents(), leftovers(ledger)) == (live, [])


# --- another version -----------------------------------------------------------------------------

EXTRA = Table("score_board_extra", {"person_id": "id", "position": "bigint"}, key=("person_id",))


def next_version() -> View:
    """The score board with one more table that counts persons."""
    registered = score_board.VIEW.handles["person_registered.v1"]

    def fold(rows: Any, entry: Any) -> None:
        registered.fold(rows, entry)
        rows.upsert(EXTRA, {"person_id": entry.data["person_id"], "position": entry.position})

    handles = dict(score_board.VIEW.handles)
    handles["person_registered.v1"] = Handles(fold, registered.reads)
    return changed(
        score_board.VIEW,
        version=score_board.VIEW.version + 1,
        handles=handles,
        tables=(*score_board.VIEW.tables, EXTRA),
    )


def test_the_old_version_answers_while_the_new_one_is_built(
    ledger: ProjectedLedger, dsn: str
) -> None:
    world = reported_certificates()
    ledger.record(world).fold()
    proceed, begun = threading.Event(), threading.Event()

    def held_up(dsn: str, secrets: Any, views: Any) -> None:
        begun.set()
        assert proceed.wait(20)
        rebuild.replace(dsn, secrets, views, processes=1)

    with running(dsn, views=(next_version(),), rebuild=held_up) as runner:
        assert begun.wait(10)
        assert [s.state for s in runner.view_states()] == ["rebuilding"]
        assert len(ledger.rows("score_board_people")) == 1, "the old tables answer"
        assert [s.lag for s in runner.view_states()] == [0]
        folded = ledger.journal.head().position
        a_paid_application(2, world)
        head = ledger.record(world).journal.head().position
        (state,) = runner.view_states()
        assert (state.position, state.head, state.lag) == (folded, head, head - folded)
        proceed.set()
        wait_until(lambda: [s.state for s in runner.view_states()] == ["following"])
        a_paid_application(3, world)
        ledger.record(world)
        head = ledger.journal.head().position
        assert runner.wait_until("omc", "score_board", head, timeout_seconds=10)
        assert [r["person_id"] for r in ledger.rows("score_board_extra")] == ["P1", "P2", "P3"]


def test_an_older_program_leaves_newer_tables_alone(ledger: ProjectedLedger, dsn: str) -> None:
    world = a_paid_application()
    ledger.record(world).fold()
    with running(dsn, views=(score_board.VIEW,)) as old:
        rebuild.replace(dsn, SECRETS, [next_version()], processes=1)
        a_paid_application(2, world)
        ledger.record(world)
        wait_until(lambda: [s.state for s in old.view_states()] == ["outdated"])
        assert not old.wait_until("omc", "score_board", ledger.journal.head().position, 0.5)
        (state,) = old.view_states()
        assert state.lag == state.head - ledger.position("score_board") > 0
        assert len(ledger.rows("score_board_people")) == 1
        with running(dsn, views=(next_version(),)) as new:
            old.runner.stop()
            assert new.wait_until("omc", "score_board", ledger.journal.head().position, 10)


def test_a_ledger_without_events_is_rebuilt_and_compared(ledger: ProjectedLedger, dsn: str) -> None:
    rebuild.replace(dsn, SECRETS, processes=1)
    assert check(dsn) == []


def test_tables_of_another_version_cannot_be_compared(ledger: ProjectedLedger, dsn: str) -> None:
    with pytest.raises(OtherVersion):
        rebuild.check(dsn, SECRETS, [next_version()], processes=1)


def test_readers_never_see_a_missing_or_partial_table(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(a_random_history(3, candidates=8)).fold()
    expected = len(ledger.rows("score_board_rows")), len(ledger.rows("postings"))
    stopped = threading.Event()
    sizes: set[tuple[int, int]] = set()
    faults: list[Exception] = []

    def read() -> None:
        own = ProjectedLedger(dsn)
        while not stopped.is_set():
            try:
                sizes.add((len(own.rows("score_board_rows")), len(own.rows("postings"))))
            except Exception as error:
                faults.append(error)
        own.close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(5):
        rebuild.replace(dsn, SECRETS, processes=1)
    stopped.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert sizes == {expected}
