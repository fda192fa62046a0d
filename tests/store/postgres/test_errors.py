"""Each SQLSTATE class has one meaning for each question, and the table in the module says which."""

from __future__ import annotations

import psycopg2
import psycopg2.errors
import pytest

from domain.store.postgres import errors


class _Coded(psycopg2.OperationalError):
    """An error with a SQLSTATE, as the driver makes it from a server's message."""

    def __init__(self, code: str) -> None:
        self.__setstate__({"pgcode": code})


def answers(error: psycopg2.Error) -> tuple[bool, bool, bool]:
    return (
        errors.is_connection_failure(error),
        errors.is_retryable_write(error),
        errors.is_transient(error),
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("08006", (True, True, True)),
        ("25006", (False, False, True)),
        ("40P01", (False, True, True)),
        ("53100", (False, True, True)),
        ("55P03", (False, True, True)),
        ("55000", (False, True, False)),
        ("57014", (False, True, True)),
        ("57P01", (True, True, True)),
        ("58030", (False, False, True)),
        ("23505", (False, False, False)),
        ("42703", (False, False, False)),
        ("0A000", (False, False, False)),
    ],
)
def test_a_sqlstate_answers_every_question(code: str, expected: tuple[bool, bool, bool]) -> None:
    assert answers(_Coded(code)) == expected


@pytest.mark.parametrize(
    "lost", [psycopg2.OperationalError(), psycopg2.InterfaceError(), psycopg2.DatabaseError()]
)
def test_an_error_without_a_sqlstate_is_a_lost_connection(lost: psycopg2.Error) -> None:
    assert answers(lost) == (True, True, True)


def test_a_fault_of_the_caller_without_a_sqlstate_is_no_lost_connection() -> None:
    assert answers(psycopg2.ProgrammingError("no results to fetch")) == (False, False, False)


def test_stale_statements_and_missing_relations_are_recognised() -> None:
    codes = {"0A000", "26000", "42703", "42P01", "42601"}
    assert {c for c in codes if errors.is_stale_statement(_Coded(c))} == {"0A000", "26000"}
    assert {c for c in codes if errors.is_missing_relation(_Coded(c))} == {"42703", "42P01"}


def test_an_error_of_the_program_is_not_transient() -> None:
    assert not errors.is_transient(ValueError())
    assert not errors.is_missing_relation(KeyError())
