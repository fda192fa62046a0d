"""`certledger adopt`: two persons adopt a file of rules on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli.environment import open_environment
from api.settings import Settings
from domain.editions.edition import EditionKind
from tests.api.cli.test_main import settings_for
from tests.support.cohort import Program
from tests.support.commands import open_ledger
from tests.support.editions import calendar_2027
from tests.support.ledgers import SITE_CODE, submit
from tests.support.postgres import Database
from tests.support.source import ROOT

EXAMPLE = ROOT / "examples" / "editions" / "calendar-2027-example.json"


@pytest.fixture
def program(
    settings: Settings, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Program:
    """The program on an open ledger `omc`."""
    given = settings_for(database, tmp_path)
    with open_environment(settings) as environment:
        submit(environment.ledgers.create("omc", SITE_CODE), open_ledger(), key="open")
    return Program(capsys, given)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "calendar-2027.json"
    path.write_text(json.dumps(calendar_2027().model_dump(mode="json")), encoding="utf-8")
    return path


def adopted(settings: Settings) -> list[str]:
    with open_environment(settings) as environment:
        return [
            e.edition for e in environment.ledgers.get("omc").editions(EditionKind.CALENDAR).all()
        ]


def position_of_the_adoption(settings: Settings) -> int:
    with open_environment(settings) as environment:
        position: int
        [(position,)] = environment.ledgers.get("omc").journal.query(
            "SELECT position FROM certledger.journal WHERE topic = 'edition_adopted.v1'", ()
        )
        return position


def hash_in(output: str) -> str:
    return output.partition("\n")[0].rpartition(" ")[2]


def test_a_file_is_only_checked_without_a_person(program: Program, file: Path, settings: Settings):
    code, out, err = program("adopt", "calendar", file)
    assert (code, err) == (0, "")
    assert "nothing was proposed" in out
    assert adopted(settings) == ["cn-2026.1"]


def test_two_persons_adopt_a_calendar(program: Program, file: Path, settings: Settings):
    propose = ("adopt", "calendar", file, "--propose", "--by", "operator.01")
    code, out, err = program(*propose)
    assert (code, err) == (0, "")
    digest = hash_in(out)
    assert f"--ledger omc --confirm {digest}" in out
    assert program(*propose) == (0, out, ""), "proposed again by the same person: the same answer"
    confirm = ("adopt", "calendar", file, "--ledger", "omc", "--confirm", digest)
    code, _, err = program(*confirm, "--by", "Operator.01")
    assert (code, "somebody other" in err) == (1, True)
    assert adopted(settings) == ["cn-2026.1"]
    code, out, err = program(*confirm, "--by", "certifier.01", "--role", "certifier")
    assert (code, err) == (0, "")
    assert f"adopted by certifier.01 at position {position_of_the_adoption(settings)}" in out
    assert adopted(settings) == ["cn-2026.1", "cn-2027.1"]
    code, _, err = program("adopt", "calendar", file, "--propose", "--by", "operator.02")
    assert (code, "This ledger has edition cn-2027.1 already." in err) == (1, True)


def test_another_file_than_was_proposed_is_not_confirmed(program: Program, file: Path):
    code, out, _ = program("adopt", "calendar", file, "--propose", "--by", "operator.01")
    digest = hash_in(out)
    file.write_text(file.read_text("utf-8").replace("2027-01-03", "2027-01-02"), encoding="utf-8")
    code, _, err = program("adopt", "calendar", file, "--confirm", digest, "--by", "certifier.01")
    assert code == 1
    assert "the file has the hash" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--propose",), "say with --by NAME"),
        (("--propose", "--confirm", "0" * 64, "--by", "x"), "give either"),
        (("--propose", "--by", "Certledger/import"), "name a person"),
        (("--propose", "--by", " "), "name a person"),
    ],
)
def test_a_wrong_usage_is_said(program: Program, file: Path, options: tuple[str, ...], words: str):
    code, _, err = program("adopt", "calendar", file, *options)
    assert code == 2
    assert words in err


def test_a_faulty_file_is_named_with_its_place(program: Program, file: Path):
    file.write_text(file.read_text("utf-8").replace("2027-01-03", "2026-01-03"), encoding="utf-8")
    code, _, err = program("adopt", "calendar", file)
    assert code == 1
    assert "Edition of calendar is malformed at content" in err


def test_the_example_of_a_calendar_says_that_it_is_none():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert "EXAMPLE, NOT REAL" in json.loads(text)["content"]["source"]


def test_the_example_of_a_calendar_is_a_good_file(program: Program):
    code, out, err = program("adopt", "calendar", EXAMPLE)
    assert (code, err) == (0, "")
    assert "cn-2027-example" in out
