"""Rebuild: the same rows as live, found differences, a swap that readers do not notice."""

import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import pytest

from domain.store.embedded.server import SUPERUSER
from projections.catalogue import VIEWS
from projections.engine import generations as schema
from projections.engine.view import Handles, Table, UnknownTopic, View
from projections.rebuild import rebuild
from projections.rebuild.compare import Difference
from projections.rebuild.rebuild import OtherVersion, Sizes
from projections.rebuild.swap import RebuildRunning
from projections.score_board import view as score_board
from tests.projections.engine.test_runner import backends, running, terminate
from tests.projections.grammar import Book
from tests.projections.histories import a_random_history
from tests.projections.test_faults import draft
from tests.support.journeys import a_paid_application, an_open_book, reported_certificates
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

NAMES = [view.name for view in VIEWS]


def check(dsn: str, **options: Any) -> list[Difference]:
    """Every difference; the count says the same."""
    found: list[Difference] = []
    count = rebuild.check(dsn, SECRETS, on_difference=found.append, **({"processes": 1} | options))
    assert count == len(found)
    return found


def generations(book: Book) -> dict[str, int]:
    return dict(book.execute("SELECT view, generation FROM views.generations"))


def leftovers(book: Book) -> list[str]:
    """Tables of generations that are not in force."""
    found = book.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'views' AND tablename ~ '_g[0-9]+$'"
    )
    kept = {
        f"{table.name}_g{generations(book)[view.name]}" for view in VIEWS for table in view.tables
    }
    return [name for (name,) in found if name not in kept]


@pytest.mark.parametrize("seed", range(100, 106))
def test_what_is_made_anew_equals_what_was_folded_live(book: Book, dsn: str, seed: int) -> None:
    book.told(a_random_history(seed, candidates=8)).fold(batch=seed % 17 + 1)
    assert check(dsn) == []
    live = book.contents()
    rebuild.replace(dsn, SECRETS, processes=1)
    assert book.contents() == live
    assert [book.position(name) for name in NAMES] == [book.journal.head().position] * 3
    assert leftovers(book) == []


def test_processes_side_by_side_make_the_same_rows(
    open_book: Callable[..., Book], dsn: str
) -> None:
    books = [open_book(name) for name in ("omc", "zju")]
    for seed, book in enumerate(books):
        book.told(a_random_history(seed, candidates=4)).fold()
    live = books[0].contents()
    filled = rebuild.replace(dsn, SECRETS, processes=2)
    assert books[0].contents() == live
    assert sorted((done.ledger, *done.views) for done in filled) == [
        ("omc", *NAMES), ("zju", *NAMES)
    ]  # fmt: skip


def test_memory_that_runs_over_is_written_out_and_read_back(book: Book, dsn: str) -> None:
    book.told(a_random_history(7)).fold()
    live = book.contents()
    tiny = Sizes(page=7, rows=10, keys_from=0)
    rebuild.replace(dsn, SECRETS, processes=1, sizes=tiny)
    assert book.contents() == live


def test_every_differing_row_is_named(book: Book, dsn: str) -> None:
    book.told(reported_certificates()).fold()
    number = generations(book)["certificate_registry"]
    book.execute(
        f"UPDATE views.certificates_g{number} SET standing = 'revoked' WHERE kind = 'national'"
    )
    book.execute(f"DELETE FROM views.certificate_people_g{number}")
    found = check(dsn)
    assert [(d.view, d.table, d.only_in, d.row.get("standing")) for d in found] == [
        ("certificate_registry", "certificate_people", "rebuilt", None),
        ("certificate_registry", "certificates", "live", "revoked"),
        ("certificate_registry", "certificates", "rebuilt", "valid"),
    ]
    assert "certificates: only live: ledger=omc, application_id=A1" in str(found[1])
    assert generations(book)["certificate_registry"] == number, "a check changes nothing"
    assert leftovers(book) == []
    rebuild.replace(dsn, SECRETS, processes=1)
    assert check(dsn) == []


def test_a_check_stops_where_a_live_view_stands(book: Book, dsn: str) -> None:
    """A view that is behind or paused is compared as far as it is."""
    world = a_paid_application()
    book.told(world).fold()
    a_paid_application(2, world)
    book.told(world)
    assert check(dsn) == []
    book.fold()
    assert check(dsn) == []


def test_what_comes_while_it_is_made_is_in_it(book: Book, dsn: str) -> None:
    world = an_open_book()
    book.told(world)
    with running(dsn) as runner:
        stopped = threading.Event()
        candidates = iter(range(1, 10_000))

        def write() -> None:
            own = Book(dsn)
            own._told = len(world.entries)
            while not stopped.is_set():
                own.told(a_paid_application(next(candidates), world))
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
        head = book.journal.head().position
        for name in NAMES:
            assert runner.wait_for("omc", name, head, timeout_seconds=20)
        paid = sum(1 for x in world.entries if x.fact.TOPIC == "fee_paid.v1")
        assert len(book.rows("refund_lines")) == 2 * paid
        assert check(dsn) == []


def test_an_unknown_topic_stops_it_and_the_live_tables_stay(book: Book, dsn: str) -> None:
    book.told(a_paid_application()).fold()
    before = generations(book), book.contents()
    position = book.write(draft("moon_landed.v1"))
    with pytest.raises(UnknownTopic) as raised:
        rebuild.replace(dsn, SECRETS, processes=1)
    assert (raised.value.topic, raised.value.position) == ("moon_landed.v1", position)
    assert (generations(book), book.contents()) == before


def test_only_one_rebuild_of_a_view_at_a_time(book: Book, dsn: str) -> None:
    book.execute("SELECT pg_advisory_lock(hashtextextended('certledger rebuild score_board', 0))")
    with pytest.raises(RebuildRunning):
        rebuild.replace(dsn, SECRETS, processes=1)


def test_what_a_killed_rebuild_left_behind_goes_with_the_next(book: Book, dsn: str) -> None:
    book.told(a_paid_application()).fold()
    with book.cursor() as cursor:
        schema.create(cursor, score_board.VIEW, 77)
    assert leftovers(book)
    rebuild.replace(dsn, SECRETS, processes=1)
    assert leftovers(book) == []


def test_no_generation_ever_bears_the_number_of_another(book: Book, dsn: str) -> None:
    """Somebody who outlives a killed rebuild would fill the tables of the next one."""
    given = [1]
    for _ in range(3):
        book.write(draft("moon_landed.v1", stream=f"moon-{len(given)}"))
        with pytest.raises(UnknownTopic):
            rebuild.replace(dsn, SECRETS, [score_board.VIEW], processes=1)
        with book.cursor() as cursor:
            given += [int(name.rpartition("_g")[2]) for name in leftovers(book)][:1]
            schema.drop_others(cursor, score_board.VIEW, 1)
    assert leftovers(book) == []
    assert given == [1, 2, 3, 4]


def test_a_table_that_is_in_no_list_hinders_no_rebuild_and_goes_with_it(
    book: Book, dsn: str
) -> None:
    book.told(reported_certificates()).fold()
    live = book.contents()
    number = generations(book)["certificate_registry"] + 1
    book.execute(f"CREATE TABLE views.certificate_book_g{number} (ledger text)")
    book.execute("CREATE TABLE views.certificates_g41 (ledger text)")
    rebuild.replace(dsn, SECRETS, processes=1)
    assert (book.contents(), leftovers(book)) == (live, [])


def test_a_table_in_no_list_that_is_not_ours_is_left_alone(
    book: Book, dsn: str, database: Database
) -> None:
    number = generations(book)["certificate_registry"] + 1
    foreign = f"certificate_book_g{number}"
    database.execute(f"CREATE TABLE views.{foreign} (ledger text)", user=SUPERUSER)
    book.told(reported_certificates()).fold()
    rebuild.replace(dsn, SECRETS, processes=1)
    assert generations(book)["certificate_registry"] == number + 1
    assert leftovers(book) == [foreign]


def test_a_rebuild_killed_before_it_listed_its_table_leaves_none(
    book: Book, dsn: str, database: Database
) -> None:
    book.told(a_paid_application()).fold()
    live = book.contents()
    book.execute(
        "CREATE FUNCTION views.held_up() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$"
    )
    book.execute(
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
    assert leftovers(book) == []
    book.execute("DROP TRIGGER held_up ON views.made")
    rebuild.replace(dsn, SECRETS, processes=1)
    assert (book.contents(), leftovers(book)) == (live, [])


# --- another version -----------------------------------------------------------------------------

EXTRA = Table("score_board_extra", {"person_id": "id", "position": "bigint"}, key=("person_id",))


def next_version() -> View:
    """The score board with one more table that counts persons."""
    registered = score_board.VIEW.handles["person_registered.v1"]

    def fold(rows: Any, entry: Any) -> None:
        registered.fold(rows, entry)
        rows.put(EXTRA, {"person_id": entry.data["person_id"], "position": entry.position})

    handles = dict(score_board.VIEW.handles)
    handles["person_registered.v1"] = Handles(fold, registered.reads)
    return changed(
        score_board.VIEW, version=2, handles=handles, tables=(*score_board.VIEW.tables, EXTRA)
    )


def test_a_view_of_a_new_version_is_made_beside_the_old_which_answers_meanwhile(
    book: Book, dsn: str
) -> None:
    world = reported_certificates()
    book.told(world).fold()
    proceed, begun = threading.Event(), threading.Event()

    def held_up(dsn: str, secrets: Any, views: Any) -> None:
        begun.set()
        assert proceed.wait(20)
        rebuild.replace(dsn, secrets, views, processes=1)

    with running(dsn, views=(next_version(),), rebuild=held_up) as runner:
        assert begun.wait(10)
        assert [s.state for s in runner.view_states()] == ["rebuilding"]
        assert len(book.rows("score_board_people")) == 1, "the old tables answer"
        assert [s.lag for s in runner.view_states()] == [0]
        folded = book.journal.head().position
        a_paid_application(2, world)
        head = book.told(world).journal.head().position
        (state,) = runner.view_states()
        assert (state.position, state.head, state.lag) == (folded, head, head - folded)
        proceed.set()
        wait_until(lambda: [s.state for s in runner.view_states()] == ["following"])
        a_paid_application(3, world)
        book.told(world)
        head = book.journal.head().position
        assert runner.wait_for("omc", "score_board", head, timeout_seconds=10)
        assert [r["person_id"] for r in book.rows("score_board_extra")] == ["P1", "P2", "P3"]


def test_an_older_program_leaves_newer_tables_alone(book: Book, dsn: str) -> None:
    world = a_paid_application()
    book.told(world).fold()
    with running(dsn, views=(score_board.VIEW,)) as old:
        rebuild.replace(dsn, SECRETS, [next_version()], processes=1)
        a_paid_application(2, world)
        book.told(world)
        wait_until(lambda: [s.state for s in old.view_states()] == ["outdated"])
        assert not old.wait_for("omc", "score_board", book.journal.head().position, 0.5)
        (state,) = old.view_states()
        assert state.lag == state.head - book.position("score_board") > 0
        assert len(book.rows("score_board_people")) == 1
        with running(dsn, views=(next_version(),)) as new:
            old.runner.stop()
            assert new.wait_for("omc", "score_board", book.journal.head().position, 10)


def test_tables_of_another_version_cannot_be_compared(book: Book, dsn: str) -> None:
    with pytest.raises(OtherVersion):
        rebuild.check(dsn, SECRETS, [next_version()], processes=1)


def test_readers_never_find_a_table_missing_or_half_full(book: Book, dsn: str) -> None:
    book.told(a_random_history(3, candidates=8)).fold()
    expected = len(book.rows("score_board_rows")), len(book.rows("postings"))
    stopped = threading.Event()
    seen: set[tuple[int, int]] = set()
    faults: list[Exception] = []

    def read() -> None:
        own = Book(dsn)
        while not stopped.is_set():
            try:
                seen.add((len(own.rows("score_board_rows")), len(own.rows("postings"))))
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
    assert seen == {expected}
