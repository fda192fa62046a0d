"""CSV for spreadsheets: Excel reads it without an import dialogue, and no cell is a formula.

UTF-8 with a byte order mark, without which Excel misreads Chinese; lines end with CR LF. A cell
that a spreadsheet would take for a formula gets an apostrophe in front. A long number gets a
trailing tab, as in the payment providers' own bills, or the spreadsheet would drop its last digits.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

BYTE_ORDER_MARK = "\ufeff"
_FORMULA = re.compile(r"\s*[=＝+＋\-－@＠]|[\t\r\n]")
_LONG_NUMBER = re.compile(r"[0-9]{12,}")
_AMOUNT = re.compile(r"-?[0-9]+\.[0-9]{2}")


def csv_lines(lines: Iterable[Sequence[object]]) -> str:
    """Lines as CSV. The caller writes the byte order mark before the first line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for line in lines:
        writer.writerow([cell(value) for value in line])
    return out.getvalue()


def cell(value: object) -> str:
    """A value as a cell. None is empty."""
    text = "" if value is None else str(value)
    if _AMOUNT.fullmatch(text):
        return text
    if _FORMULA.match(text):
        return f"'{text}"
    return f"{text}\t" if _LONG_NUMBER.fullmatch(text) else text


def amount(fen: int) -> str:
    """An amount in yuan, without currency sign or grouping: 123456 fen is 1234.56."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole}.{rest:02d}"
