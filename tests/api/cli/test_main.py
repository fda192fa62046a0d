"""The program: its output, its exit codes, and one line for every error.

Covers: api/cli/main.py, api/cli/import_.py, api/cli/keys.py, api/cli/maintenance.py,
api/cli/export.py, api/cli/environment.py
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from openpyxl import load_workbook

from api.cli.environment import open_environment
from api.settings import Settings
from api.transparency.log_keys import log_key_path, make_log_key
from domain.store.embedded.server import SUPERUSER
from domain.store.postgres.migrate import migrate, migrations
from domain.store.tlog.signed_note import Verifier
from tests.support.cohort import COHORT, Program, load
from tests.support.ledgers import SITE_CODE
from tests.support.postgres import Database

SETTINGS = {
    "CERTLEDGER_MASTER_KEY": base64.b64encode(bytes(range(32))).decode(),
    "CERTLEDGER_INDEX_KEY": base64.b64encode(bytes(range(32, 64))).decode(),
    "CERTLEDGER_LINK_KEY": base64.b64encode(bytes(range(64, 96))).decode(),
    "CERTLEDGER_JOURNAL_KEY": base64.b64encode(bytes(range(64, 96))).decode(),
    "CERTLEDGER_COMMAND_KEY": base64.b64encode(bytes(range(96, 128))).decode(),
    "CERTLEDGER_IDEMPOTENCY_KEY": base64.b64encode(bytes(range(128, 160))).decode(),
    "CERTLEDGER_LOGIN_KEY": base64.b64encode(bytes(range(160, 192))).decode(),
    "CERTLEDGER_TOKEN_JWKS_URL": "http://127.0.0.1:9/unused",
}
SEED = b"s" * 32


def settings_for(database: Database, data: Path) -> dict[str, str]:
    """Settings with an external database; the log key is there, so that a ledger can open."""
    if not log_key_path(Settings(data_dir=data), "omc").exists():
        make_log_key(Settings(data_dir=data), "omc")
    places = {"CERTLEDGER_DATABASE_URL": database.dsn, "CERTLEDGER_DATA_DIR": str(data)}
    return SETTINGS | places


@pytest.fixture(scope="module")
def loaded(
    module_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Path]]:
    """A database with the cohort, and its data directory."""
    data = tmp_path_factory.mktemp("data")
    given = {k.removeprefix("CERTLEDGER_").lower(): v for k, v in SETTINGS.items()}
    settings = Settings(database_url=module_database.dsn, data_dir=data, **given)
    make_log_key(settings, "omc")
    with open_environment(settings) as store:
        load(store.ledgers.create("omc", SITE_CODE), store.blobs, COHORT)
    yield module_database, data


@pytest.fixture
def program(loaded: tuple[Database, Path], capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys, settings_for(*loaded))


@pytest.fixture
def fresh(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Program:
    """The program on a database of its own."""
    return Program(capsys, settings_for(database, tmp_path))


def tamper(database: Database, *statements: str) -> None:
    """What only a superuser can do, and only with the guards taken down."""
    tables = ("journal", "ledgers", "checkpoints")
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER ALL")
        for statement in statements:
            cursor.execute(statement)
        for table in tables:
            cursor.execute(f"ALTER TABLE certledger.{table} ENABLE TRIGGER ALL")


def is_one_line(text: str) -> bool:
    return text.endswith("\n") and len(text.splitlines()) == 1


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["import"], "Missing argument 'PATH…'"),
        (["import", "/nowhere", "--ledger", "omc"], "Path '/nowhere' does not exist"),
        (["import", str(COHORT)], "Missing option '--ledger'"),
        (["export", "--format", "parquet", "--out", "x"], "'parquet' is not one of 'csv'"),
        (["export", "--format", "csv", "--out", "x"], "give --table"),
        (["token", "--role", "king", "--subject", "a"], "'king' is not one of"),
        (["rebuild", "no_such_view"], "there is no view no_such_view"),
        (["keys"], "give --public, --make or --secrets FILE"),
        (["verify", "--key", "k"], "give --ledger too"),
        (["serve", "--port", "70000"], "70000 is not in the range"),
        (["serve", "--demo"], "--demo needs the embedded database"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_two(
    program: Program, arguments: list[str], message: str
) -> None:
    code, out, err = program(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert is_one_line(err)
    assert err.startswith("certledger")


def test_a_missing_secret_is_named_and_never_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = "postgresql://me:secret-word@127.0.0.1:1/nothing"
    given = {"CERTLEDGER_DATABASE_URL": url, "CERTLEDGER_DATA_DIR": str(tmp_path)}
    code, _, err = Program(capsys, given)("migrate")
    assert code == 1
    assert "CERTLEDGER_MASTER_KEY" in err
    assert "secret-word" not in err
    assert is_one_line(err)


def test_a_database_of_before_the_keys_by_class_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], database: Database, tmp_path: Path
) -> None:
    migrate(database.dsn, migrations()[:7])
    database.execute(
        "INSERT INTO certledger.person_keys VALUES ('omc', 'P1', 'AES-256-GCM', 'k', '', now())"
    )
    code, _, err = Program(capsys, settings_for(database, tmp_path))("migrate")
    assert code == 1
    assert "written by a version whose sealed values have another form" in err
    assert "Begin with an empty database or a new data directory." in err
    assert is_one_line(err)


def test_an_unreachable_database_is_one_line(
    capsys: pytest.CaptureFixture[str], database: Database, tmp_path: Path
) -> None:
    given = settings_for(database, tmp_path)
    given["CERTLEDGER_DATABASE_URL"] = "postgresql://me:secret-word@127.0.0.1:1/nothing"
    code, _, err = Program(capsys, given)("verify")
    assert code == 2
    assert "the database can't be used" in err
    assert "secret-word" not in err
    assert is_one_line(err)


def test_an_unknown_ledger_is_named(program: Program) -> None:
    code, _, err = program("verify", "--ledger", "nobody")
    assert (code, err) == (2, "certledger: There is no ledger nobody.\n")


# --- import ---------------------------------------------------------------------------------------


def test_an_import_prints_the_outcome_of_its_rows(program: Program) -> None:
    code, out, err = program(
        "import", COHORT / "withdrawals.csv", COHORT / "staff.csv", "--ledger", "omc"
    )
    assert code == 0
    assert out == "0 accepted, 7 already there, 0 refused\n"
    assert err == "importing into omc: 7 of 7 rows\n"


def test_refused_rows_are_printed_and_written_with_exit_code_one(
    program: Program, tmp_path: Path
) -> None:
    lines = (COHORT / "withdrawals.csv").read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "withdrawals.csv"
    bad.write_text("\n".join([*lines, "W9,2026-03-02 09:00,agency.01,,x"]), encoding="utf-8")
    errors = tmp_path / "refused.csv"
    code, out, err = program(
        "import", bad, COHORT / "staff.csv", "--ledger", "omc", "--errors", errors
    )
    assert code == 1
    assert out == "0 accepted, 7 already there, 1 refused\n"
    assert "withdrawals.csv, line 9, column application_id: is empty" in err
    with errors.open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    named = (row["_kind"], row["_line"], row["_column"], row["id"])
    assert named == ("withdrawals", "9", "application_id", "W9")


def test_a_dry_run_checks_rows_and_sends_nothing(fresh: Program) -> None:
    code, out, _ = fresh("import", COHORT, "--ledger", "omc", "--dry-run")
    assert code == 0
    assert out.endswith(" good, 0 already there, 0 refused\n")
    message = "certledger: there is no ledger yet, so there is nothing to check\n"
    assert fresh("verify") == (2, "", message)


def test_an_import_into_an_unknown_ledger_is_refused(fresh: Program) -> None:
    code, out, err = fresh("import", COHORT / "withdrawals.csv", "--ledger", "omc")
    assert (code, out) == (1, "")
    assert "there is no ledger omc, and no ledger file opens it" in err
    assert is_one_line(err)


def test_a_file_of_unknown_type_stops_the_import(fresh: Program, tmp_path: Path) -> None:
    (tmp_path / "something.csv").write_text("id,occurred_at,by\n")
    code, _, err = fresh("import", tmp_path / "something.csv", "--ledger", "omc")
    assert code == 1
    assert "something.csv: its name begins with no kind of file" in err
    assert is_one_line(err)


# --- views and exports ----------------------------------------------------------------------------


def test_rebuilt_views_differ_in_no_row(program: Program) -> None:
    code, out, _ = program("rebuild", "refund_ledger")
    assert code == 0
    assert out.endswith("in place: refund_ledger\n")
    code, out, _ = program("rebuild", "--person-claims")
    assert (code, "the documents of " in out) == (0, True)
    code, _, err = program("rebuild", "refund_ledger", "--person-claims")
    assert (code, "goes with no view" in err) == (2, True)
    code, out, err = program("rebuild", "refund_ledger", "--check")
    assert (code, out, err) == (0, "refund_ledger: no row differs\n", "")


def test_a_table_is_exported_with_every_row(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "certificates.csv"
    code, message, _ = program("export", "--format", "csv", "--table", "certificates", "--out", out)
    assert code == 0
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert message == f"{len(rows)} rows of omc in {out}\n"
    assert {row["kind"] for row in rows} == {"national", "omc"}
    assert "verify_token" not in rows[0]
    assert [path.name for path in tmp_path.iterdir()] == ["certificates.csv"]


def test_a_workbook_has_a_sheet_for_each_table(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "omc.xlsx"
    wanted = ("--table", "refunds", "--table", "certificate_people")
    assert program("export", "--format", "xlsx", *wanted, "--out", out)[0] == 0
    workbook = load_workbook(out, read_only=True)
    assert workbook.sheetnames == ["refunds", "certificate_people"]
    header, first, *_ = workbook["refunds"].iter_rows(values_only=True)
    assert isinstance(dict(zip(header, first, strict=True))["provider_transaction_id"], str)
    workbook.close()


def test_events_are_exported_byte_for_byte(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    assert program("export", "--format", "ndjson", "--out", out)[0] == 0
    with (COHORT / "persons.csv").open(encoding="utf-8", newline="") as file:
        people = list(csv.DictReader(file))
    text = out.read_text(encoding="utf-8")
    assert people[0]["document_number"] not in text
    for number, line in enumerate(text.splitlines(), start=1):
        event = json.loads(line)
        envelope = line.partition(', "envelope": ')[2][:-1].encode()
        assert event["position"] == number
        assert event["leaf_hash"] == hashlib.sha256(b"\0" + envelope).hexdigest()


# --- keys and tokens ------------------------------------------------------------------------------


def test_the_public_key_of_the_log_is_the_last_line(
    loaded: tuple[Database, Path], program: Program
) -> None:
    code, out, _ = program("keys", "--public")
    assert code == 0
    verifier = Verifier.from_vkey(out.splitlines()[-1])
    assert verifier.name == "certledger.example/omc"
    path = loaded[1] / "keys" / "log_omc"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    code, _, err = program("keys", "--make")
    assert (code, path.read_bytes()) == (1, before)
    assert "never overwritten" in err
    assert program("keys", "--public")[1].splitlines()[-1] == verifier.vkey


def test_a_log_key_is_made_before_its_ledger_is_opened(
    fresh: Program, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "keys" / "log_omc").unlink()
    opening = ("import", COHORT / "ledger.json", COHORT / "staff.csv", "--ledger", "omc")
    code, _, err = fresh(*opening)
    assert code == 1
    assert "certledger keys --make --ledger omc" in err
    assert database.execute("SELECT count(*) FROM certledger.ledgers") == [(0,)]
    code, out, _ = fresh("keys", "--make", "--ledger", "omc")
    assert (code, out) == (0, f"made {tmp_path / 'keys' / 'log_omc'}\n")
    assert fresh(*opening)[0] == 0
    code, _, err = fresh("keys", "--make", "--ledger", "../omc")
    assert code == 1
    assert "is not a ledger name" in err


def test_new_secrets_are_settings_and_never_overwritten(
    program: Program, capsys: pytest.CaptureFixture[str], database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "certledger.env"
    assert program("keys", "--secrets", path)[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text(encoding="utf-8").splitlines()
    given = dict(line.partition("=")[::2] for line in lines)
    names = {name for name in SETTINGS if name.endswith("_KEY")}
    assert set(given) == {*names, "CERTLEDGER_TOKEN_KEY"}
    given |= {"CERTLEDGER_DATABASE_URL": database.dsn, "CERTLEDGER_DATA_DIR": str(tmp_path)}
    assert Program(capsys, given)("migrate")[0] == 0
    before = path.read_bytes()
    code, _, err = program("keys", "--secrets", path)
    assert (code, path.read_bytes()) == (1, before)
    assert is_one_line(err)


def test_a_minted_token_names_its_bearer_and_lifetime(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = Program(capsys, {"CERTLEDGER_DATA_DIR": str(tmp_path)})
    code, out, _ = program(
        "token", "--role", "registrar", "--subject", "registrar.01", "--organisation", "office",
        "--ledger", "omc", "--hours", "2", "--backfill",
    )  # fmt: skip
    assert code == 0
    claims = jwt.decode(out.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["role"], claims["org"]) == (
        "registrar.01", "registrar", "office",
    )  # fmt: skip
    assert claims["ledgers"] == ["omc"]
    assert claims["backfill"] is True
    assert claims["exp"] - claims["iat"] == 7200


def test_a_token_of_another_issuer_cannot_be_minted(program: Program) -> None:
    code, out, err = program("token", "--role", "finance", "--subject", "f")
    assert (code, out) == (1, "")
    assert "another issuer signs the tokens" in err
