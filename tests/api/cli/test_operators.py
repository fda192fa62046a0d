"""`certledger operators` opens the operator's ledger; `adopt` works there by two persons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli.environment import open_environment
from api.settings import Settings
from api.transparency.log_keys import make_log_key
from domain.editions.edition import EditionKind
from tests.api.cli.test_main import settings_for
from tests.support.cohort import Program
from tests.support.commands import open_ledger
from tests.support.editions import calendar_2027
from tests.support.ledgers import SITE_CODE, submit
from tests.support.postgres import Database

OPEN = ("operators", "--first", "operator.01", "--second", "operator.02")


@pytest.fixture
def program(
    settings: Settings, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Program:
    """The program on an open ledger `omc`, with the log key of the operator's ledger."""
    given = settings_for(database, tmp_path)
    make_log_key(settings, "service")
    with open_environment(settings) as environment:
        submit(environment.ledgers.create("omc", SITE_CODE), open_ledger(), key="open")
    return Program(capsys, given)


def test_the_operators_ledger_is_opened_once(program: Program, settings: Settings) -> None:
    code, out, err = program(*OPEN)
    assert (code, err) == (0, "")
    assert "service: opened at position 1" in out
    assert program(*OPEN) == (0, out, ""), "repeated: the same answer"
    code, _, err = program("operators", "--first", "operator.03", "--second", "operator.04")
    assert (code, "open already" in err) == (1, True)
    with open_environment(settings) as environment:
        service = environment.ledgers.get("service")
        opened = service.state("ledger").opened
        assert opened.log_origin.endswith("/service")
        assert opened.second == service.logins.find("operator.02")
        assert environment.ledger(None).name == "omc", "the only one of an organisation"


def test_one_person_is_not_both_operators(program: Program) -> None:
    code, _, err = program("operators", "--first", "lin", "--second", "LIN")
    assert (code, "somebody other" in err) == (1, True)


def test_two_persons_adopt_an_edition_for_all(
    program: Program, settings: Settings, tmp_path: Path
) -> None:
    program(*OPEN)
    file = tmp_path / "calendar-2027.json"
    file.write_text(json.dumps(calendar_2027().model_dump(mode="json")), encoding="utf-8")
    adopt = ("adopt", "calendar", file, "--ledger", "service")
    code, out, err = program(*adopt, "--propose", "--by", "operator.01")
    assert (code, err) == (0, "")
    digest = out.partition("\n")[0].rpartition(" ")[2]
    code, _, err = program(*adopt, "--confirm", digest, "--by", "operator.01")
    assert (code, "somebody other" in err) == (1, True)
    code, out, err = program(*adopt, "--confirm", digest, "--by", "operator.02")
    assert (code, err) == (0, "")
    with open_environment(settings) as environment:
        editions = environment.ledgers.get("service").editions(EditionKind.CALENDAR)
        assert [each.edition for each in editions.adopted] == ["cn-2027.1"]
    assert program("verify", "--ledger", "service")[0] in (0, 3)
