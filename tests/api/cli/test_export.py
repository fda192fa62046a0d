"""Exports of views of another program version: one line of error, and no side effect."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from api.cli.environment import open_environment
from api.settings import Settings
from tests.api.cli.test_main import SETTINGS, settings_for
from tests.support.actors import AGENCY, ASSISTANT
from tests.support.cohort import Program
from tests.support.commands import register
from tests.support.journeys import (
    a_paid_application,
    a_rejected_application,
    open_ledger,
    set_fees,
)
from tests.support.ledgers import SITE_CODE, PostgresWorld
from tests.support.postgres import Database

VERSIONS = "UPDATE views.generations SET version = version + %s WHERE view = 'refund_ledger'"


@pytest.fixture
def program(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Program:
    """The program on a ledger with one paid application, its tables made and empty."""
    given_settings = settings_for(database, tmp_path)
    given = {k.removeprefix("CERTLEDGER_").lower(): v for k, v in SETTINGS.items()}
    with open_environment(Settings(database_url=database.dsn, data_dir=tmp_path, **given)) as store:
        world = PostgresWorld(store.ledgers.create("omc", SITE_CODE))
        world.do(open_ledger())
        set_fees(world)
        a_paid_application(1, world)
        store.ensure_views()
    return Program(capsys, given_settings)


def export(program: Program, table: str, out: Path) -> tuple[int, str, str]:
    return program("export", "--format", "csv", "--table", table, "--out", out)


def tables_made(database: Database) -> list[tuple]:
    return database.execute("SELECT * FROM views.made ORDER BY 1, 2, 3")


def test_an_export_catches_up_the_views_and_leaves_no_process_running(
    program: Program, tmp_path: Path
) -> None:
    out = tmp_path / "lines.csv"
    assert export(program, "refund_lines", out) == (0, f"2 rows of omc in {out}\n", "")


def test_an_export_from_older_tables_names_the_command_and_starts_no_rebuild(
    program: Program, database: Database, tmp_path: Path
) -> None:
    database.execute(VERSIONS, -1)
    before = tables_made(database)
    out = tmp_path / "lines.csv"
    code, output, err = export(program, "refund_lines", out)
    assert (code, output, err.count("\n")) == (1, "", 1)
    assert "run `certledger rebuild refund_ledger` first" in err
    assert not out.exists()
    assert tables_made(database) == before
    assert export(program, "certificates", tmp_path / "c.csv")[0] == 0, "the others can be read"
    assert program("rebuild", "refund_ledger")[0] == 0
    assert export(program, "refund_lines", out)[0] == 0


def test_an_export_from_newer_tables_asks_for_the_newer_program(
    program: Program, database: Database, tmp_path: Path
) -> None:
    database.execute(VERSIONS, 1)
    code, output, err = export(program, "refund_lines", tmp_path / "lines.csv")
    assert (code, output, err.count("\n")) == (1, "", 1)
    assert "use the newer program" in err


def test_a_table_names_who_acted_next_to_their_pseudonym(
    program: Program, database: Database, tmp_path: Path
) -> None:
    given = {k.removeprefix("CERTLEDGER_").lower(): v for k, v in SETTINGS.items()}
    with open_environment(Settings(database_url=database.dsn, data_dir=tmp_path, **given)) as store:
        world = PostgresWorld(store.ledgers.get("omc"))
        world.receipts += [world.do(register(9), by=ASSISTANT)] * 100  # other keys than before
        a_rejected_application(world=world, n=2)
    out = tmp_path / "steps.csv"
    assert export(program, "refund_steps", out)[0] == 0
    header, row, *_ = csv.reader(out.read_text("utf-8-sig").splitlines())
    found = dict(zip(header, row, strict=True))
    assert header.index("subject_name") == header.index("subject") + 1
    assert len(bytes.fromhex(found["subject"])) == 16
    assert found["subject_name"] == AGENCY.subject
