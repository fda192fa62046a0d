"""A list as CSV for a spreadsheet: read by Excel as it is, and unable to run anything there.

UTF-8 with a byte order mark, without which Excel takes Chinese for something else; lines end with
CR LF. A cell that a spreadsheet would take for a formula gets an apostrophe in front. A long number
gets a tab behind, as the payment providers' own bills have it, or its last digits would be lost.
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
    """Lines as CSV; the byte order mark belongs in front of the first of them."""
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
    """An amount for a spreadsheet, in yuan without signs or groups: 123456 fen is 1234.56."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole}.{rest:02d}"
