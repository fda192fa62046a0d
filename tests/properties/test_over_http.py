"""Compares the running service with the independent model: every command is an HTTP request.

Callers with a token of each role send the generated commands to their routes. A command that the
role does not allow is refused with 403 and not submitted to the model. At the end of an example
the views must contain the model's rows, in the database and over HTTP. Each example has its own
service, so that every ledger can have the model's site code.
Covers: api/routes, api/http, api/auth/permissions.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import httpx
import pytest

from api.routes.routers import ACCESS
from domain.actors import Actor, Role
from domain.decision import Command
from domain.steps.authority_report import AnswerReportRow
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.actors import FINANCE, REGISTRAR, staff
from tests.support.command_generator import PEOPLE, GeneratedCommand, login_of
from tests.support.keys import journal_of
from tests.support.model_adapter import to_command, without_check
from tests.support.model_comparison import ModelComparison, few_examples
from tests.support.over_http import ROUTES, Route, code_of, routes_of
from tests.support.postgres import fresh_database
from tests.support.service import Caller, make_log_key_for, running, settings_for, token

SILENT_MAX = 6
"""Routes, of three dozen, that need not have succeeded in any example."""
ROLE_REFUSED = "role_not_allowed"
REGULATOR = staff("regulator-1", Role.REGULATOR, "zhejiang")


class ServiceComparison(ModelComparison):
    """Submits commands and reads views over HTTP."""

    server: ClassVar[EmbeddedPostgres]
    refusals: ClassVar[set[str]] = set()
    succeeded: ClassVar[set[type[Command]]] = set()

    def open_ledger(self) -> None:
        self.open = ExitStack()
        self.database = self.open.enter_context(fresh_database(self.server))
        folder = Path(self.open.enter_context(TemporaryDirectory()))
        url = self.open.enter_context(running(settings_for(self.database.dsn, folder)))
        client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.client = self.open.enter_context(client)
        self.routes: dict[type[Command], Route] = routes_of(self.client)
        self.journal = journal_of(self.database.dsn, self.name)
        self.open.callback(self.journal.close)
        self.callers: dict[Actor, Caller] = {}
        make_log_key_for(client, self.name)
        self.count = 0

    def caller(self, actor: Actor) -> Caller:
        """A caller with a token of the actor."""
        if actor not in self.callers:
            bearer = token(
                actor.role, actor.subject, organisation=actor.organisation, backfill=True
            )
            self.callers[actor] = Caller(self.client, self.name, bearer)
        return self.callers[actor]

    def is_admitted(self, command: Command, actor: Actor) -> bool:
        roles = ACCESS[self.routes[type(command)].operation]
        assert roles is not None, "everybody may write"
        return actor.role in roles

    def arbitrary_command(self, draw: Any) -> GeneratedCommand:
        """An arbitrary command; three times of four by a login whose role allows it."""
        rare = [commands for commands in self.rare().values() if commands]
        if rare and draw((True, False)):
            return draw(draw(rare))
        kind, login, fields = super().arbitrary_command(draw)
        if kind != "wait" and draw((True, True, True, False)):
            command = to_command(self.model, self.now, kind, fields)
            allowed = [name for name in sorted(PEOPLE) if self.is_admitted(command, PEOPLE[name])]
            login = draw(allowed)
        return kind, login, fields

    def rare(self) -> dict[str, list[GeneratedCommand]]:
        """Commands on existing ids that no plausible journey contains."""
        found: dict[str, list[GeneratedCommand]] = {
            "change": [],
            "decline_refund": [],
            "withdraw": [],
        }
        for a in self.model.apps.values():
            app, login = {"app": a["id"]}, login_of(self.model, a)
            found["withdraw"].append(("withdraw", login, app))
            for refund in a["refunds"]:
                fields = app | {"refund": refund}
                found["decline_refund"].append(("decline_refund", "finance-2", fields))
            for kind in a["certs"]:
                for what in ("correct", "reissue", "suspend", "reinstate"):
                    fields = app | {"kind": kind, "what": what}
                    found["change"].append(("change", "registrar-1", fields))
        return found

    def answer_to(self, command: Command, actor: Actor) -> str | None:
        self.count += 1
        caller = self.caller(actor).at(self.now)
        code = code_of(self.routes[type(command)].ask(caller, command, f"k{self.count}"))
        # Refused by role exactly when the table of roles says so.
        assert (code == ROLE_REFUSED) is not self.is_admitted(command, actor), (command, actor)
        if code is None:
            self.succeeded.add(type(command))
        else:
            self.refusals.add(code)
        return code

    def agree(self, answer: str | None, expected: str | None, command: Command) -> bool:
        if answer == "bad_cell" and isinstance(command, AnswerReportRow):
            # The table's rows are validated before the report is read.
            return expected is not None and not (command.accepted or command.reason)
        return answer == expected

    def position(self) -> int:
        return self.journal.head().position if self.count else 0

    def catch_up(self) -> None:
        """Compares the views over HTTP, after waiting for each."""
        head = self.position()
        assert self.refunds_read(head) == {
            (app, payment, component, number, state)
            for app, payment, component, _, _, refunds in self.model.refund_lines()
            for number, state in refunds
        }
        assert self.board_read(head) == self.model.score_board()
        assert self.certificates_read(head) == self.model.registry()

    def refunds_read(self, head: int) -> set[tuple[Any, ...]]:
        """Refunds as the regulator reads them; the totals of finance must add up."""
        page = self.caller(REGULATOR).read("refunds", limit=200, min_position=head)
        assert page["next"] is None
        totals = self.caller(FINANCE).read("refunds/totals", min_position=head)
        assert all(sum_["holds"] for sum_ in totals["invariants"]), totals
        fields = ("application_id", "payment_id", "component", "refund_no", "state")
        return {tuple(row[name] for name in fields) for row in page["data"]}

    def board_read(self, head: int) -> set[tuple[Any, ...]]:
        """Notices as the public reads them, their rows as the staff does."""
        everybody = Caller(self.client, self.name, None)
        found = set()
        for notice in everybody.read("notices", min_position=head)["data"]:
            name, closed = notice["notice_id"], notice["status"] == "closed"
            page = self.caller(REGISTRAR).read(f"notices/{name}/rows", min_position=head)
            latest = {row["application_id"]: row for row in page["data"]}
            for app, row in latest.items():
                marks = (row["theory"], row["practical"], row["passed"])
                found.add((name, app, *marks, row["state"] == "withheld", closed))
        return found

    def certificates_read(self, head: int) -> set[tuple[Any, ...]]:
        """Certificates as the registrar reads them, by application."""
        fields = ("kind", "progress", "standing", "version")
        return {
            (without_check(row["number"]), app, *(row[name] for name in fields))
            for app in self.model.apps
            for row in self.caller(REGISTRAR).read(
                f"applications/{app}/certificates", min_position=head
            )["data"]
        }

    def teardown(self) -> None:
        if not hasattr(self, "open"):
            return
        with self.open:
            super().teardown()


ServiceComparison.TestCase.settings = few_examples(18, steps=24)


@pytest.fixture(scope="module", autouse=True)
def service(postgres: EmbeddedPostgres) -> Iterator[None]:
    """The database server; finally asserts that most routes succeeded at least once."""
    ServiceComparison.server = postgres
    yield
    silent = sorted(command.__name__ for command in ROUTES.keys() - ServiceComparison.succeeded)
    assert len(silent) <= SILENT_MAX, silent
    assert ROLE_REFUSED in ServiceComparison.refusals


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestServiceComparison(ServiceComparison.TestCase):
    """Collected by name; the machine itself asserts."""
