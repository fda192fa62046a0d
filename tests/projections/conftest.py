"""A migrated database and a ledger's journal on it, with the views' tables in place."""

from collections.abc import Callable, Iterator

import pytest

from domain.store.postgres.migrate import migrate
from tests.projections.grammar import Book
from tests.support.postgres import Database


@pytest.fixture
def dsn(database: Database) -> str:
    """Of a fresh database with the current schema."""
    migrate(database.dsn)
    return database.dsn


@pytest.fixture
def open_book(dsn: str) -> Iterator[Callable[..., Book]]:
    """Makes books on the database; closed after the test."""
    books: list[Book] = []

    def make(ledger: str = "omc", **options: object) -> Book:
        books.append(Book(dsn, ledger, **options))
        return books[-1]

    yield make
    for book in books:
        book.close()


@pytest.fixture
def book(open_book: Callable[..., Book]) -> Book:
    """The ledger `omc`."""
    return open_book()
