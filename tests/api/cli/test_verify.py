"""`certledger verify` as an operator and as a regulator read it: counts, findings, exit codes.

Covers: api/cli/verify.py, api/transparency/kept_heads.py
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from api.cli.verify import without_missing_keys
from api.settings import SYMMETRIC_KEYS, load_settings
from domain.audit.full import audit_ledger, subject_of
from domain.service.ledger import Ledgers
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.tlog.signed_note import Signer
from projections.catalogue import VIEWS
from tests.support.cohort import Program
from tests.support.honest import Copy
from tests.support.postgres import fresh_database
from tests.support.service import settings_for

SET, DROP = "UPDATE", "DELETE FROM"  # apart, because no file may change the journal


def program_for(copy: Copy, capsys: pytest.CaptureFixture[str], **given: str) -> Program:
    """The program with the settings of a copy, as environment variables."""
    settings = copy.settings
    secrets = {
        name: getattr(settings, name).get_secret_value()
        for name in ("database_url", *SYMMETRIC_KEYS, "token_key")
    }
    places = {"data_dir": str(settings.data_dir), "key_dir": settings.key_dir}
    texts = secrets | places | given
    return Program(capsys, {f"CERTLEDGER_{name.upper()}": text for name, text in texts.items()})


@pytest.fixture
def verify(copy: Copy, capsys: pytest.CaptureFixture[str]) -> Program:
    return program_for(copy, capsys)


def test_the_report_says_how_much_each_check_compared(verify: Program, copy: Copy) -> None:
    code, out, err = verify("verify", "--ledger", "omc", "--views")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("omc: ")
    assert " events, root " in lines[0]
    folder = copy.settings.data_dir / "heads"
    by_key = copy.settings.data_dir / "keys" / "log_omc@signed"
    assert lines[2] == (
        f"  heads         7 compared: 3 of the database, 3 of {folder}, 1 of {by_key}"
    )
    assert lines[3] == "                signed by certledger.example/omc, the key of this machine"
    labels = [line.split()[0] for line in lines[1:-3] if not line.startswith("   ")]
    assert labels == [
        *("events", "heads", "commands", "claims", "bucket", "keys", "person", "logins"),
        *("snapshots", "attachments", "lawfulness", "erasures"),
    ]
    assert "each with its seal" in lines[1]
    assert lines[-3] == "omc: good"
    assert lines[-2] == f"  views         {len(VIEWS)} views compared with a rebuild"
    assert lines[-1] == "views: good"


def test_a_finding_says_what_and_where_and_the_code_is_one(verify: Program, copy: Copy) -> None:
    copy.as_superuser(
        f"{SET} certledger.journal SET envelope = set_byte(envelope, 60, 0) WHERE position = 3000",
        f"{DROP} certledger.claims WHERE kind = 'refund'",
    )
    code, out, err = verify("verify")
    assert code == 1
    assert out.endswith("omc: ALTERED, first bad position 3000\n")
    assert "omc: events: position 3000: the envelope does not have the stored hash" in err
    assert "omc: claims: position " in err
    assert ", claim refund RPAY" in err
    assert " WRONG\n" in out


def test_the_keys_of_epochs_are_missed(
    copy: Copy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    code, out, err = program_for(copy, capsys, key_dir=str(other))("verify")
    assert code == 1
    assert f"omc: bucket keys: epoch 1: the key of epoch 1 is not in {other} (epoch_1_" in err
    assert "  bucket keys   1 epochs in use; 1 WRONG\n" in out


def test_the_quick_audit_checks_events_seals_heads_and_erasures_only(
    verify: Program, copy: Copy
) -> None:
    code, out, _ = verify("verify", "--quick")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        *("omc:", "events", "heads", "signed", "erasures", "omc:"),
    ]
    copy.as_superuser(f"{DROP} certledger.claims")
    assert verify("verify", "--quick")[0] == 0
    assert verify("verify")[0] == 1


def test_heads_that_are_gone_are_missed_by_the_one_next_to_the_key(
    verify: Program, copy: Copy
) -> None:
    copy.as_superuser(f"{DROP} certledger.checkpoints")
    folder = copy.settings.data_dir / "heads"
    shutil.rmtree(folder)
    code, out, err = verify("verify", "--quick")
    assert code == 1
    assert f"omc: heads: {folder} has no head, but " in err
    assert out.endswith("omc: ALTERED, no single position\n")


def test_without_any_head_the_code_is_three(verify: Program, copy: Copy) -> None:
    copy.as_superuser(f"{DROP} certledger.checkpoints")
    shutil.rmtree(copy.settings.data_dir / "heads")
    (copy.settings.data_dir / "keys" / "log_omc@signed").unlink()
    code, out, err = verify("verify")
    assert (code, err) == (3, "")
    assert "  heads         0 compared\n" in out
    assert out.endswith("omc: nothing found, but there was no signed head to compare with\n")


def test_without_the_log_key_the_one_that_the_ledger_names_is_used(
    verify: Program, copy: Copy
) -> None:
    (copy.settings.data_dir / "keys" / "log_omc").unlink()
    code, out, _ = verify("verify")
    assert code == 0
    assert "signed by certledger.example/omc, the key that the ledger names" in out


def test_a_missing_key_is_not_made(tmp_path: Path) -> None:
    """A key that was made for the occasion would be taken for the right one later."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    (folder / "master_key").write_text("")
    settings, missing = without_missing_keys(load_settings(data_dir=tmp_path))
    assert missing == {*SYMMETRIC_KEYS} - {"master_key", "login_key"}
    assert settings.login_key is not None, "an audit looks no login up"
    assert settings.master_key is None
    assert settings.journal_key is not None
    assert [path.name for path in folder.iterdir()] == ["master_key"]


def test_without_the_journal_key_no_seal_is_checked(copy: Copy) -> None:
    copy.as_superuser(f"{SET} certledger.commands SET seal = repeat('x', 32)::bytea")
    with closing(Ledgers(copy.store.dsn, copy.store.secrets)) as ledgers:
        report = audit_ledger(subject_of(ledgers.get("omc"), seals=False), None)
    assert report.is_good
    assert not report.log.seals


def test_a_database_is_audited_without_any_key_of_its_service(
    copy: Copy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy.as_superuser(f"{SET} certledger.commands SET seal = repeat('x', 32)::bytea")
    assert copy.settings.database_url is not None
    given = {
        "CERTLEDGER_DATABASE_URL": copy.settings.database_url.get_secret_value(),
        "CERTLEDGER_DATA_DIR": str(tmp_path / "data"),
    }
    code, out, err = Program(capsys, given)("verify")
    assert (code, err) == (0, "")
    assert "only events and heads are checked: the keys of the service are not here" in out
    assert "seals: not checked, the journal key is not here" in out
    assert "signed by certledger.example/omc, the key that the ledger names" in out
    assert not (tmp_path / "data" / "keys").exists()


def test_a_given_head_of_another_history_is_a_finding(
    verify: Program, copy: Copy, tmp_path: Path
) -> None:
    folder = copy.settings.data_dir / "heads"
    note = max(folder.glob("*/*"), key=lambda path: int(path.name))
    kept = tmp_path / "kept"
    kept.write_text(note.read_text())
    assert verify("verify", "--ledger", "omc", "--checkpoint", kept)[0] == 0
    kept.write_text(note.read_text().replace(note.name, str(int(note.name) + 1)))
    code, _, err = verify("verify", "--ledger", "omc", "--checkpoint", kept)
    assert code == 1
    assert f"a head in {kept}: " in err


def test_another_key_has_signed_none_of_the_heads(verify: Program) -> None:
    stranger = Signer("certledger.example/omc", b"f" * 32).verifier.vkey
    code, _, err = verify("verify", "--ledger", "omc", "--key", stranger)
    assert code == 1
    assert "no trusted key has signed it" in err


def test_a_wrong_view_is_named_without_its_secrets(verify: Program, copy: Copy) -> None:
    copy.as_superuser(
        f"{SET} views.certificates SET verify_token = repeat('0', 32) WHERE kind = 'omc'"
    )
    code, out, err = verify("verify", "--quick", "--views")
    assert code == 1
    assert out.endswith("views: ALTERED\n")
    assert "live verify_token=(secret), rebuilt verify_token=(secret)" in err
    assert "0" * 32 not in err


def test_a_name_that_shows_other_rows_is_named_in_words(verify: Program, copy: Copy) -> None:
    copy.as_superuser(
        "ALTER VIEW views.refund_lines RENAME TO hidden",
        "CREATE VIEW views.refund_lines AS SELECT * FROM views.hidden LIMIT 1",
    )
    code, out, err = verify("verify", "--quick", "--views")
    assert code == 1
    assert out.endswith("views: ALTERED\n")
    assert "refund_ledger: refund_lines does not show the rows of its table, as they are" in err


def test_what_prevents_the_check_is_no_finding(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = program_for(copy, capsys, database_url="postgresql://me:secret@127.0.0.1:1/nothing")
    code, out, err = nowhere("verify")
    assert (code, out) == (2, "")
    assert "the database can't be used" in err
    assert "secret" not in err
    assert program_for(copy, capsys)("verify", "--ledger", "nobody")[0] == 2


def test_a_database_without_a_ledger_has_nothing_to_check(
    postgres: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, tmp_path)
        empty = Copy(database, settings, None)  # type: ignore[arg-type]
        code, out, err = program_for(empty, capsys)("verify")
    assert (code, out) == (2, "")
    assert "there is no ledger yet" in err
