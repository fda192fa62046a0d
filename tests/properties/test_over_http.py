"""The running service beside the independent model: every wish is a request with a token.

The same wishes as on the ledger itself, each sent to its route by somebody with a role. Who may
not even ask is turned away at the door, and then the model is told nothing. At the end of an
example the views have to show the model's rows, in the database and as they are read over HTTP.
Each example has a service of its own, so that every book may bear the model's site code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import httpx
import pytest

from api.auth.permissions import ACCESS
from domain.actors import Actor, Role
from domain.decision import Command
from domain.steps.authority_report import AnswerReportRow
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.journal.journal import Journal
from tests.support.actors import FINANCE, REGISTRAR, staff
from tests.support.command_generator import PEOPLE, Wish
from tests.support.model_adapter import to_command, without_check
from tests.support.model_comparison import BesideModel, few_examples
from tests.support.over_http import ROUTES, Route, code_of, routes_of
from tests.support.postgres import fresh_database
from tests.support.service import Door, running, settings_for, token

SILENT_MAX = 6
"""Routes, of three dozen, on which nothing may have come to pass in any example."""
TURNED_AWAY = "role_not_allowed"
REGULATOR = staff("regulator-1", Role.REGULATOR, "zhejiang")


class ServiceBesideModel(BesideModel):
    """Commands go through the front door, and the views are read there too."""

    server: ClassVar[EmbeddedPostgres]
    refusals: ClassVar[set[str]] = set()
    told: ClassVar[set[type[Command]]] = set()

    def open_ledger(self) -> None:
        self.open = ExitStack()
        self.database = self.open.enter_context(fresh_database(self.server))
        folder = Path(self.open.enter_context(TemporaryDirectory()))
        url = self.open.enter_context(running(settings_for(self.database.dsn, folder)))
        client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.client = self.open.enter_context(client)
        self.routes: dict[type[Command], Route] = routes_of(self.client)
        self.journal = Journal(self.database.dsn, self.name)
        self.open.callback(self.journal.close)
        self.doors: dict[Actor, Door] = {}
        self.count = 0

    def door(self, actor: Actor) -> Door:
        """Somebody with a token that says who they are."""
        if actor not in self.doors:
            bearer = token(
                actor.role, actor.subject, organisation=actor.organisation, backfill=True
            )
            self.doors[actor] = Door(self.client, self.name, bearer)
        return self.doors[actor]

    def is_admitted(self, command: Command, actor: Actor) -> bool:
        roles = ACCESS[self.routes[type(command)].operation]
        assert roles is not None, "everybody may write"
        return actor.role in roles

    def anything(self, draw: Any) -> Wish:
        """A wild wish; three times of four of somebody who is let in with it."""
        near = [wishes for wishes in self.near().values() if wishes]
        if near and draw((True, False)):
            return draw(draw(near))
        kind, login, fields = super().anything(draw)
        if kind != "wait" and draw((True, True, True, False)):
            command = to_command(self.model, self.now, kind, fields)
            welcome = [name for name in sorted(PEOPLE) if self.is_admitted(command, PEOPLE[name])]
            login = draw(welcome)
        return kind, login, fields

    def near(self) -> dict[str, list[Wish]]:
        """What hopeful people never ask for, of what is there."""
        found: dict[str, list[Wish]] = {"change": [], "decline_refund": [], "withdraw": []}
        for a in self.model.apps.values():
            app, login = {"app": a["id"]}, self.model.persons[a["person"]]["subject"]
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
        door = self.door(actor).at(self.now)
        code = code_of(self.routes[type(command)].ask(door, command, f"k{self.count}"))
        # Neither more nor less than the table of roles says.
        assert (code == TURNED_AWAY) is not self.is_admitted(command, actor), (command, actor)
        if code is None:
            self.told.add(type(command))
        else:
            self.refusals.add(code)
        return code

    def agree(self, answer: str | None, expected: str | None, command: Command) -> bool:
        if answer == "bad_cell" and isinstance(command, AnswerReportRow):
            # A table's rows are looked at before the report: without a reason none goes back.
            return expected is not None and not (command.accepted or command.reason)
        return answer == expected

    def position(self) -> int:
        return self.journal.head().position if self.count else 0

    def catch_up(self) -> None:
        """The views as they are read over HTTP, each waited for."""
        head = self.position()
        assert self.refunds_read(head) == {
            (app, payment, component, number, state)
            for app, payment, component, _, _, refunds in self.model.refund_lines()
            for number, state in refunds
        }
        assert self.board_read(head) == self.model.score_board()
        assert self.certificates_read(head) == self.model.registry()

    def refunds_read(self, head: int) -> set[tuple[Any, ...]]:
        """As the regulator reads them; what finance sees adds up."""
        page = self.door(REGULATOR).seen("refunds", limit=200, min_position=head)
        assert page["next"] is None
        totals = self.door(FINANCE).seen("refunds/totals", min_position=head)
        assert all(sum_["holds"] for sum_ in totals["invariants"]), totals
        fields = ("application_id", "payment_id", "component", "refund_no", "state")
        return {tuple(row[name] for name in fields) for row in page["data"]}

    def board_read(self, head: int) -> set[tuple[Any, ...]]:
        """Notices as everybody reads them, their rows as the staff does."""
        everybody = Door(self.client, self.name, None)
        found = set()
        for notice in everybody.seen("notices", min_position=head)["data"]:
            name, closed = notice["notice_id"], notice["status"] == "closed"
            page = self.door(REGISTRAR).seen(f"notices/{name}/rows", min_position=head)
            latest = {row["application_id"]: row for row in page["data"]}
            for app, row in latest.items():
                marks = (row["theory"], row["practical"], row["passed"])
                found.add((name, app, *marks, row["state"] == "withheld", closed))
        return found

    def certificates_read(self, head: int) -> set[tuple[Any, ...]]:
        """As the registrar reads them, application by application."""
        fields = ("kind", "progress", "standing", "version")
        return {
            (without_check(row["number"]), app, *(row[name] for name in fields))
            for app in self.model.apps
            for row in self.door(REGISTRAR).seen(
                f"applications/{app}/certificates", min_position=head
            )["data"]
        }

    def teardown(self) -> None:
        if not hasattr(self, "open"):
            return
        with self.open:
            super().teardown()


ServiceBesideModel.TestCase.settings = few_examples(8, steps=24)


@pytest.fixture(scope="module", autouse=True)
def service(postgres: EmbeddedPostgres) -> Iterator[None]:
    """The databases' server; at the end most routes have to have carried something out."""
    ServiceBesideModel.server = postgres
    yield
    silent = sorted(command.__name__ for command in ROUTES.keys() - ServiceBesideModel.told)
    assert len(silent) <= SILENT_MAX, silent
    assert TURNED_AWAY in ServiceBesideModel.refusals


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestServiceBesideModel(ServiceBesideModel.TestCase):
    """Collected by name; the machine itself asserts."""
