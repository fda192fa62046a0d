"""Pages and cursors: a page never exceeds its size, and a cursor continues its own list only."""

import pytest

from api.errors.request import CursorInvalid
from api.http.pagination import Cursors

CURSORS = Cursors(b"1" * 32)


def test_a_cursor_is_valid_for_its_own_list_and_key_only():
    others = Cursors(b"2" * 32)
    cursor = CURSORS.make("list|a", ["2026-11-23", "N1"])
    assert CURSORS.read("list|a", cursor) == ["2026-11-23", "N1"]
    assert CURSORS.read("list|a", None) is None
    for cursors, list_name in ((CURSORS, "list|b"), (others, "list|a")):
        with pytest.raises(CursorInvalid):
            cursors.read(list_name, cursor)


@pytest.mark.parametrize("rows_max", [1, 2, 3, 7, 10, 11])
def test_pages_cover_a_list_without_gap_or_repetition(rows_max: int):
    numbers = list(range(10))
    pages: list[list[int]] = []
    cursor = None
    while True:
        page = CURSORS.page("numbers", cursor, rows_max)
        start = page.after[0] + 1 if page.after else 0
        rows, cursor = page.split(numbers[start : start + page.limit], lambda number: [number])
        pages.append(list(rows))
        if cursor is None:
            break
    assert [number for page in pages for number in page] == numbers
    assert all(len(page) == rows_max for page in pages[:-1])
    assert pages[-1]


def test_an_empty_list_is_one_empty_page():
    rows, cursor = CURSORS.page("numbers", None, 5).split([], lambda row: [row])
    assert (list(rows), cursor) == ([], None)
