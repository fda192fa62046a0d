"""The conformance cases that the library ships hold for our recorders, on every PostgreSQL version.

Covers: domain/store/recorder.py
"""

import unittest

import pytest

from tests.store.library_conformance import CASES, OnJournal
from tests.support.keys import SEALER
from tests.support.postgres import Database

pytestmark = pytest.mark.slow

METHODS = [
    pytest.param(case, method, id=f"{case.__name__}-{method}")
    for case in CASES
    for method in unittest.defaultTestLoader.getTestCaseNames(case)
]


# One case looks for this warning by itself.
@pytest.mark.filterwarnings("default:'log' is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("case", "method"), METHODS)
def test_a_shipped_case_holds(
    case: type[OnJournal],
    method: str,
    database_on_each: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OnJournal, "dsn", database_on_each.dsn, raising=False)
    monkeypatch.setenv("PERSISTENCE_MODULE", "domain.store.recorder")
    monkeypatch.setenv("CERTLEDGER_DATABASE_URL", database_on_each.dsn)
    monkeypatch.setenv("CERTLEDGER_JOURNAL_KEY", SEALER.active.text)
    case(method).debug()


def test_every_base_case_the_library_ships_is_among_them() -> None:
    from eventsourcing.tests import application, persistence, projection

    shipped = {
        value
        for module in (application, persistence, projection)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
    }
    # Aggregates without streams (DCB) are another store; the transcoder is about Python types
    # that canonical JSON does not have; RecorderTestCase has no tests of its own.
    not_applicable = {"TaggedDecisionCountersProjectionTestCase", "TranscoderTestCase"}
    bound = {base for case in CASES for base in case.__mro__}
    assert {case.__name__ for case in shipped - bound} == not_applicable
