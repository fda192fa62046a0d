"""The examples of docs/extending.md do what the page says."""

import json
from contextlib import closing
from datetime import date

import orjson
import pytest

from domain.eligibility.assessment import Eligible, assess
from domain.eligibility.qualifications import Qualifications, WorkPeriod
from domain.eligibility.rule_sets import AnyPredicate, parse_rule_set
from domain.events import CertificateKind, RevocationReason
from domain.steps.certificate import RevokeCertificate
from domain.store.postgres.connection import connect
from domain.values.primitives import Level
from scripts.documents.citations import ROOT
from tests.docs.blocks import block_under, run_python
from tests.support import journeys
from tests.support.actors import REGISTRAR
from tests.support.commands import PASSED
from tests.support.keys import SEALER
from tests.support.ledgers import PostgresWorld, a_real_ledger

PAGE = "docs/extending.md"


def test_the_rule_set_is_one_and_decides():
    raw = block_under(PAGE, "Rules of another occupation", "json").text.encode()
    rules = parse_rule_set("4-07-03-04-2023.json", raw)
    a_year = Qualifications(work_periods=(WorkPeriod(started_on=date(2025, 1, 1), relation="own"),))
    assert isinstance(assess(rules, Level.JUNIOR, a_year, date(2025, 12, 31)), Eligible)
    assert not isinstance(assess(rules, Level.JUNIOR, a_year, date(2025, 12, 30)), Eligible)


def test_every_predicate_there_is_is_named():
    text = (ROOT / PAGE).read_text("utf-8")
    classes = AnyPredicate.__args__[0].__args__
    for predicate in classes:
        name = predicate.model_fields["predicate"].annotation.__args__[0]
        assert f"`{name}`" in text, name


def test_an_upcaster_reads_the_golden_line_of_the_older_version():
    catalogue = run_python(block_under(PAGE, "A fact in a new shape", "python")).catalogue
    line = (ROOT / "tests/golden/refund_approved.v1.jsonl").read_text("utf-8").splitlines()[0]
    fact = catalogue.read("refund_approved.v1", orjson.loads(line), where="golden")
    assert (fact.TOPIC, fact.internal_rule) == ("refund_approved.v2", "not recorded")
    assert fact.refund_no == json.loads(line)["refund_no"]


def test_the_stock_runner_follows_the_ledger_and_goes_on_after_a_restart(database):
    example = run_python(block_under(PAGE, "A view of your own, with the stock runner", "python"))
    with a_real_ledger(database) as world:
        _issue(world)
        with example.follow(database.dsn, "omc", SEALER.active.text) as runner:
            runner.wait(_last(world, "certificate_issued.v1"), timeout=20)
            assert runner.view.by_month() == [("2026-10", 4, 4)]
        for kind in CertificateKind:
            _revoke(world, kind)
        with example.follow(database.dsn, "omc", SEALER.active.text) as runner:
            runner.wait(_last(world, "certificate_revoked.v1"), timeout=20)
            assert runner.view.by_month() == [("2026-10", 4, 2)]


def _issue(world: PostgresWorld) -> None:
    """Two candidates with both certificates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journeys, "World", lambda: world)
        journeys.issued_certificates(PASSED, PASSED)


def _revoke(world: PostgresWorld, kind: CertificateKind) -> None:
    command = RevokeCertificate(
        application_id="A1",
        kind=kind,
        reason_class=RevocationReason.EXAM_FRAUD,
        reason="替考",
    )
    world.do(command, by=REGISTRAR)


def _last(world: PostgresWorld, topic: str) -> int:
    return world.ledger.journal.read(0, 10_000, (topic,))[-1].position


def test_the_app_role_may_follow_and_may_not_change_the_past(database):
    with a_real_ledger(database), closing(connect(database.dsn, name="office")) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT current_user, has_schema_privilege('views', 'CREATE'), "
            "has_table_privilege('certledger.journal', 'SELECT'), "
            "has_table_privilege('certledger.journal', 'UPDATE,DELETE,TRUNCATE')"
        )
        assert cursor.fetchone() == ("certledger_app", True, True, False)
