"""Values formatted for readers, on pages and in the CSV export."""

from datetime import UTC, date, datetime

import pytest

from api.files.csv_export import BYTE_ORDER_MARK, amount, cell, csv_lines
from api.web import formatting as values
from projections.engine.view import ERASED


@pytest.mark.parametrize(
    ("fen", "shown"),
    [
        (0, "¥0.00"),
        (5, "¥0.05"),
        (123_456, "¥1,234.56"),
        (-30_000, "-¥300.00"),
        (2**53 - 1, "¥90,071,992,547,409.91"),
    ],
)
def test_an_amount_is_shown_in_yuan_to_the_fen(fen: int, shown: str) -> None:
    assert values.yuan(fen) == shown


def test_a_moment_is_shown_in_shanghai_with_its_zone_named() -> None:
    moment = datetime(2026, 10, 13, 16, 0, tzinfo=UTC)
    assert values.show_moment("zh", moment) == (
        '<time datetime="2026-10-13T16:00:00Z">2026年10月14日 00:00（北京时间）</time>'
    )
    assert "14 October 2026, 00:00 Beijing time" in values.show_moment("en", moment)


def test_a_moment_as_text_from_a_view_is_shown_as_well() -> None:
    assert "2026-10-14 00:00" in values.show_short_moment("2026-10-13T16:00:00.000000Z")


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        values.show_moment("zh", datetime(2026, 10, 13))


def test_a_day_is_shown_as_it_was_recorded() -> None:
    assert "2026年10月13日" in values.show_day("zh", "2026-10-13")
    assert "13 October 2026" in values.show_day("en", date(2026, 10, 13))
    assert values.show_short_day(None) == "—"


def test_a_national_number_may_break_between_its_parts_only() -> None:
    shown = values.spaced_number("S000033000123264000001")
    assert shown == "S0000<wbr>33<wbr>000123<wbr>264<wbr>000001"
    assert values.spaced_number("<b>") == "&lt;b&gt;"


def test_erased_data_are_called_so_in_the_language_of_the_page() -> None:
    assert values.show_masked("zh", ERASED) == "已删除"
    assert values.show_masked("en", ERASED) == "erased"
    assert values.show_masked("en", "张*") == "张*"


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "＝1+1", "  =1"])
def test_a_cell_cannot_run_as_a_formula(evil: str) -> None:
    assert cell(evil) == f"'{evil}"


def test_a_cell_keeps_amounts_and_the_last_digits_of_long_numbers() -> None:
    assert cell(amount(-30_001)) == "-300.01"
    assert cell("4200000000000000000000000001") == "4200000000000000000000000001\t"
    assert cell("RPAY1-1") == "RPAY1-1"
    assert cell(None) == ""


def test_a_csv_begins_with_the_byte_order_mark_and_ends_lines_as_excel_does() -> None:
    text = BYTE_ORDER_MARK + csv_lines([["费用项目", "实收"], ["认证费用", amount(30_000)]])
    assert text.encode().startswith(b"\xef\xbb\xbf")
    assert text == "\ufeff费用项目,实收\r\n认证费用,300.00\r\n"
