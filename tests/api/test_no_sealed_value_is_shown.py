"""No page, read route or export of the cohort's ledger shows a sealed value; its events do.

Views store a sealed text together with its place (`domain.values.sealed_fields.placed_text`), and
who reads it has to open it. Every GET route and every page is read with every id of the ledger, and
every table is exported.
Covers: api/routes/rows.py, api/routes/history.py, api/web/score_board.py, api/cli/export.py
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openpyxl import load_workbook

from api.auth.permissions import READ_ACCESS
from api.cli.environment import open_environment
from api.cli.export import TABLES
from api.settings import Settings
from api.transparency.log_keys import make_log_key
from api.web.rendering import static_files
from api.web.routes import router as pages
from domain.actors import Role
from domain.store.embedded.server import EmbeddedPostgres
from domain.values.sealed_fields import placed_text
from projections.catalogue import VIEWS
from projections.engine.tables import kind_of
from tests.support.cohort import COHORT, Program, load
from tests.support.ledgers import SITE_CODE
from tests.support.postgres import fresh_database, query
from tests.support.service import running, settings_for, token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLACED = re.compile(r'\["[a-z]+(-[^"]*)?",\d+,"/')
SEALED = re.compile(r'"sealed": ?"')
IN_BRACES = re.compile(r"\{(\w+)\}")
BY_EVERY_ROLE = 5
"""Things of a kind that every role reads; each of the others is read by one of them, in turn."""


def shows_sealed(text: str) -> bool:
    """Whether a text has a sealed value: as JSON, as text within JSON or CSV, or on a page."""
    plain = html.unescape(text).replace('\\"', '"').replace('""', '"')
    return bool(PLACED.search(plain) or SEALED.search(plain))


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that say the same as settings."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    plain = {k: getattr(v, "get_secret_value", lambda v=v: v)() for k, v in given.items()}
    return {f"CERTLEDGER_{name.upper()}": str(value) for name, value in plain.items()}


class Service:
    """A running service on the cohort. ids: name in the braces of a path -> its values."""

    def __init__(self, settings: Settings, client: httpx.Client) -> None:
        assert settings.database_url is not None
        self.settings, self.client = settings, client
        self.dsn = settings.database_url.get_secret_value()
        self._tokens = {role: f"Bearer {token(role)}" for role in Role if role is not Role.SERVICE}
        self.wait_for_views()
        streams = self.column("SELECT DISTINCT stream FROM certledger.journal")
        tokens = self.column("SELECT verify_token FROM views.certificates LIMIT 9")
        self.ids = {
            f"{kind}_id": [s.removeprefix(f"{kind}-") for s in streams if s.startswith(f"{kind}-")]
            for kind in ("person", "application", "session", "notice", "report")
        } | {
            "ledger": ["omc"],
            "kind": ["photo", "identity_proof", "fees"],
            "refund_no": self.column("SELECT refund_no FROM views.refunds"),
            "token": tokens,
            "name": [*static_files()],
        }

    def column(self, statement: str) -> list[Any]:
        """The values of a query with one column, in order."""
        return sorted(value for (value,) in query(self.dsn, statement))

    def wait_for_views(self) -> None:
        [head] = self.column("SELECT max(position) FROM certledger.journal")
        for path in ("scores", "statistics/talent", "refunds"):
            answer = self.get(f"/ledgers/omc/{path}?min_position={head}", Role.REGULATOR)
            assert answer.status_code == 200, answer.text

    def get(self, address: str, role: Role | None = None, **headers: str) -> httpx.Response:
        if role is not None:
            headers["Authorization"] = self._tokens[role]
        return self.client.get(address, headers=headers, follow_redirects=True)

    def addresses(self, path: str) -> Iterator[str]:
        """A path with every combination of its ids."""
        names = IN_BRACES.findall(path)
        for values in itertools.product(*(self.ids[name] for name in names)):
            yield path.format(**dict(zip(names, values, strict=True)))


@pytest.fixture(scope="module")
def service(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, tmp_path_factory.mktemp("sealed"))
        make_log_key(settings, "omc")
        with open_environment(settings) as store:
            summary = load(store.ledgers.create("omc", SITE_CODE), store.blobs, COHORT)
            assert summary.refused == []
        with (
            running(settings) as url,
            httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
        ):
            yield Service(settings, client)


def sealed_columns() -> set[tuple[str, str]]:
    """(table, column) of the texts that views store sealed."""
    tables = [table for view in VIEWS for table in view.tables]
    return {
        (t.name, c) for t in tables for c, kind in t.columns.items() if kind_of(kind) == "sealed"
    }


def test_sealed_values_are_recognised_wherever_they_are() -> None:
    placed = placed_text("notice-N1", 3, "/reason", {"key": "matter/notice-N1/1", "sealed": "x"})
    quoted = placed.replace('"', '\\"')
    doubled = placed.replace('"', '""')
    for text in (placed, quoted, doubled, html.escape(placed), '{"key":"k","sealed":"x"}'):
        assert shows_sealed(text), text
    assert not shows_sealed('["sealed", 3, "/reason"]')


def test_no_column_but_those_that_are_opened_stores_sealed_values(service: Service) -> None:
    found = set()
    for table in (table for view in VIEWS for table in view.tables):
        for (row,) in query(service.dsn, f"SELECT row_to_json(t) FROM views.{table.name} t"):
            found |= {(table.name, name) for name, v in row.items() if shows_sealed(str(v))}
    assert found == sealed_columns()


def test_no_read_route_shows_a_sealed_value(service: Service) -> None:
    found, answered = [], set()
    for path, operations in service.get("/openapi.json").json()["paths"].items():
        operation = operations.get("get", {}).get("operationId", "list_events")
        if operation == "list_events":
            continue
        roles: list[Role | None] = sorted(READ_ACCESS[operation] or ()) or [None]
        for n, address in enumerate(service.addresses(path)):
            for role in roles if n < BY_EVERY_ROLE else [roles[n % len(roles)]]:
                answer = service.get(address, role)
                if answer.status_code == 200:
                    answered.add(operation)
                if shows_sealed(answer.text):
                    found.append((role, address))
    assert found == []
    assert answered == READ_ACCESS.keys() - {"list_events", "find_person", "lookup_certificate"}
    assert shows_sealed(service.get("/ledgers/omc/events?limit=500", Role.REGULATOR).text)


def test_no_page_shows_a_sealed_value(service: Service) -> None:
    signed_in = service.client.post(
        "/sign-in",
        data={"token": token("finance")},
        headers={"Origin": str(service.client.base_url)},
    )
    assert signed_in.status_code == 303, signed_in.text
    found = []
    for page in pages.routes:
        if "GET" not in page.methods:
            continue
        for address in service.addresses(page.path):
            for language in ("zh", "en"):
                answer = service.get(address, Accept="text/html", **{"Accept-Language": language})
                assert answer.status_code == 200, address
                if shows_sealed(answer.text):
                    found.append(address)
    assert found == []


def test_no_export_shows_a_sealed_value(
    service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program, found = Program(capsys, as_environment(service.settings)), []
    for table in TABLES:
        out = tmp_path / f"{table}.csv"
        code, _, err = program("export", "--format", "csv", "--table", table, "--out", out)
        assert code == 0, err
        if shows_sealed(out.read_text("utf-8")):
            found.append(table)
    workbook = tmp_path / "all.xlsx"
    assert program("export", "--format", "xlsx", "--out", workbook)[0] == 0
    for sheet in load_workbook(workbook):
        cells = (str(cell) for row in sheet.iter_rows(values_only=True) for cell in row)
        if any(map(shows_sealed, cells)):
            found.append(sheet.title)
    assert found == []
