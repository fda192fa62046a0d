"""The example cohort for the tests: its files as plain rows, and a ledger to load it into."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from api.imports.importer import Import, Summary
from domain.service.ledger import Ledger
from domain.store.blobs import Blobs
from tests.support.ledgers import SITE_CODE, open_ledgers
from tests.support.postgres import Database

COHORT = Path(__file__).resolve().parents[2] / "examples" / "cohort"


def rows(kind: str, folder: Path = COHORT) -> list[dict[str, Any]]:
    """Rows of a file, read by the standard library only."""
    path = folder / f"{kind}.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    text = (folder / f"{kind}.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return found if isinstance(found, list) else [found]


def applications() -> list[dict[str, Any]]:
    """Applications of both files; the second nests the stated qualifications in one object."""
    text = (COHORT / "applications-autumn.jsonl").read_text(encoding="utf-8")
    return rows("applications") + [json.loads(line) for line in text.splitlines()]


def load(ledger: Ledger, blobs: Blobs, *paths: Path) -> Summary:
    """Import files into a ledger; a file that can't be read fails the test."""
    job = Import(ledger.name)
    assert job.read(paths) == []
    return job.send(ledger, blobs)


@contextmanager
def empty_ledger(database: Database, folder: Path) -> Iterator[tuple[Ledger, Blobs]]:
    """A ledger without any event, and a store for attachments."""
    with open_ledgers(database) as ledgers:
        yield ledgers.create("omc", SITE_CODE), Blobs(folder / "blobs")


class Program:
    """`certledger` in this process: its arguments in, exit code and output out."""

    def __init__(self, capsys: pytest.CaptureFixture[str], settings: Mapping[str, str]) -> None:
        self._capsys = capsys
        self._settings = dict(settings)

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        with pytest.MonkeyPatch.context() as environment:
            for name in list(os.environ):
                if name.startswith("CERTLEDGER_"):
                    environment.delenv(name)
            for name, value in self._settings.items():
                environment.setenv(name, value)
            self._capsys.readouterr()
            with pytest.raises(SystemExit) as left:
                main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return code, out, err
