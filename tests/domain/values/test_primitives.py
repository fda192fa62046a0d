"""Money, marks, levels and instants have one written form each and are never floats.

Covers: domain/values/primitives.py, domain/errors.py
"""

import copy
import datetime as dt
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from domain.errors import LedgerError
from domain.values.primitives import (
    FEN_LIMIT,
    Fen,
    Instant,
    Level,
    Marks,
    Sha256Hex,
    Slug,
    format_instant,
    parse_instant,
    passes,
)

half_points = st.integers(min_value=0, max_value=200)
moments = st.datetimes(
    min_value=dt.datetime(1900, 1, 2),
    max_value=dt.datetime(2999, 12, 30),
    timezones=st.integers(-14 * 60, 14 * 60).map(
        lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))
    ),
)


class Slip(BaseModel):
    """A little of everything, as an event would hold it."""

    fee: Fen
    marks: Marks
    at: Instant
    level: Level


@pytest.mark.parametrize("amount", [0, 1, 26000, FEN_LIMIT - 1])
def test_whole_fen_are_accepted(amount):
    assert TypeAdapter(Fen).validate_python(amount) == amount


@pytest.mark.parametrize("amount", [-1, FEN_LIMIT, 260.0, "26000", True, None, Decimal("260")])
def test_anything_but_whole_fen_within_range_is_refused(amount):
    with pytest.raises(ValidationError):
        TypeAdapter(Fen).validate_python(amount)


@pytest.mark.parametrize(
    ("given_marks", "written"),
    [
        (0, "0"),
        (60, "60"),
        (100, "100"),
        ("59.5", "59.5"),
        ("60.0", "60"),
        ("0.50", "0.5"),
        (Marks("7"), "7"),
    ],
)
def test_marks_have_one_canonical_text(given_marks, written):
    assert str(Marks(given_marks)) == written


@pytest.mark.parametrize("wrong", [59.5, 60.0, True, False, None, Decimal("59.5"), b"60"])
def test_marks_refuse_floats_bools_and_other_types(wrong):
    with pytest.raises(TypeError):
        Marks(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "60.",
        ".5",
        "+60",
        "-1",
        "060",
        "1e1",
        "６０",
        "59.3",
        "59.55",
        "100.5",
        "101",
        "nan",
        "60 ",
        " 60",
        "60\n",
        -1,
        101,
    ],
)
def test_marks_refuse_other_fractions_ranges_and_spellings(wrong):
    with pytest.raises(ValueError):
        Marks(wrong)


@given(half_points)
def test_marks_round_trip_through_json(count):
    marks = Marks.from_half_points(count)
    assert marks.half_points == count
    assert Marks(str(marks)) == marks
    assert pickle.loads(pickle.dumps(marks)) == marks
    assert hash(Marks(str(marks))) == hash(marks)


@given(half_points, half_points)
def test_marks_compare_as_amounts_not_as_text(one, other):
    left, right = Marks.from_half_points(one), Marks.from_half_points(other)
    assert (left < right) == (one < other)
    assert (left >= right) == (one >= other)
    assert (left == right) == (one == other)


@given(half_points)
def test_a_subject_is_passed_from_sixty_marks_up(count):
    assert passes(Marks.from_half_points(count)) == (count >= 120)


def test_fifty_nine_and_a_half_does_not_pass_and_sixty_does():
    assert not passes(Marks("59.5"))
    assert passes(Marks("60"))


def test_marks_do_not_equal_or_order_against_numbers():
    assert Marks(60) != 60
    assert Marks(60) != "60"
    with pytest.raises(TypeError):
        Marks(60) < 61  # noqa: B015 - the comparison itself is what must fail


def test_marks_are_immutable():
    marks = Marks(60)
    with pytest.raises(AttributeError):
        marks._half_points = 200
    with pytest.raises(AttributeError):
        del marks._half_points
    assert repr(marks) == "Marks('60')"


@pytest.mark.parametrize("wrong", [-1, 201])
def test_half_points_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        Marks.from_half_points(wrong)


def test_half_points_are_whole_numbers():
    with pytest.raises(TypeError):
        Marks.from_half_points(1.0)


def test_an_event_serialises_marks_and_instants_as_canonical_text():
    slip = Slip(fee=26000, marks="59.50", at="2026-03-01T16:00:00+08:00", level=4)
    assert slip.model_dump(mode="json") == {
        "fee": 26000,
        "marks": "59.5",
        "at": "2026-03-01T08:00:00.000000Z",
        "level": 4,
    }
    assert Slip.model_validate_json(slip.model_dump_json()) == slip
    assert Slip.model_validate(slip.model_dump()) == slip


@pytest.mark.parametrize("wrong", ["59.5", "59.30", "true"])
def test_marks_as_a_json_number_with_a_fraction_are_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Marks).validate_json(wrong)


def test_the_json_schema_of_marks_admits_exactly_the_canonical_texts():
    import re

    schema = TypeAdapter(Marks).json_schema()
    written = {str(Marks.from_half_points(count)) for count in range(201)}
    assert schema["type"] == "string"
    assert all(re.search(schema["pattern"], text) for text in written)
    assert not any(re.search(schema["pattern"], text) for text in ("100.5", "07", "60.0", ""))


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (5, "五级/初级工"),
        (4, "四级/中级工"),
        (3, "三级/高级工"),
        (2, "二级/技师"),
        (1, "一级/高级技师"),
    ],
)
def test_levels_have_the_names_that_certificates_print(level, name):
    assert Level(level).chinese_name == name


def test_a_smaller_level_number_is_a_higher_level():
    assert Level.SENIOR.is_above(Level.INTERMEDIATE)
    assert not Level.JUNIOR.is_above(Level.JUNIOR)


@pytest.mark.parametrize("wrong", [0, 6])
def test_there_are_five_levels(wrong):
    with pytest.raises(ValueError):
        Level(wrong)


@given(moments)
def test_instants_round_trip_through_text(moment):
    text = format_instant(moment)
    assert len(text) == 27
    assert text.endswith("Z")
    assert parse_instant(text) == moment
    assert parse_instant(text).tzinfo is dt.UTC


@given(moments, moments)
def test_text_order_of_instants_is_time_order(one, other):
    assert (format_instant(one) < format_instant(other)) == (one < other)


@pytest.mark.parametrize(
    "wrong",
    [
        "2026-03-01T08:00:00",
        "2026-03-01",
        "2026-03-01T08:00:00.1234567Z",
        "2026-03-01T08:00Z",
        "2026-02-30T08:00:00Z",
        "2026-03-01T08:00:60Z",
        "1772352000",
        1772352000,
        1772352000.5,
        True,
        None,
        dt.date(2026, 3, 1),
        dt.datetime(2026, 3, 1, 8),
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_an_instant_refuses_naive_numeric_and_finer_times(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_python(wrong)


def test_instants_parse_any_rfc_3339_spelling():
    expected = dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC)
    for text in ("2026-03-01t08:00:00z", "2026-03-01 16:00:00+08:00", "2026-03-01T08:00:00.0Z"):
        assert parse_instant(text) == expected


@pytest.mark.parametrize("slug", ["omc", "a1", "zj-toutiao-2", "a" + "b" * 30])
def test_short_lower_case_words_are_ledger_slugs(slug):
    assert TypeAdapter(Slug).validate_python(slug) == slug


@pytest.mark.parametrize(
    "wrong", ["", "a", "1a", "-a", "OMC", "a_b", "a b", "omc\n", "a" * 32, "巨量", "é1"]
)
def test_other_words_are_refused_as_ledger_slugs(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Slug).validate_python(wrong)


@pytest.mark.parametrize("wrong", ["", "A" * 64, "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n"])
def test_a_digest_is_64_lower_case_hexadecimal_digits(wrong):
    assert TypeAdapter(Sha256Hex).validate_python("0a" * 32) == "0a" * 32
    with pytest.raises(ValidationError):
        TypeAdapter(Sha256Hex).validate_python(wrong)


class TooManyPhotos(LedgerError):
    """There are {count} photos, at most {limit} are taken.

    This second paragraph is for readers of the code.
    """

    code = "too_many_photos"


def test_an_error_message_is_the_first_docstring_line_with_its_fields():
    error = TooManyPhotos(count=3, limit=1)
    assert str(error) == "There are 3 photos, at most 1 are taken."
    assert error.code == "too_many_photos"
    assert error.fields == {"count": 3, "limit": 1}
    assert error.count == 3


def test_an_error_keeps_its_fields_when_pickled_and_copied():
    error = TooManyPhotos(count=3, limit=1)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is TooManyPhotos
        assert again.fields == error.fields
        assert str(again) == str(error)


def test_a_missing_message_field_raises_type_error():
    with pytest.raises(TypeError, match="TooManyPhotos"):
        TooManyPhotos(count=3)
    with pytest.raises(AttributeError):
        TooManyPhotos(count=3, limit=1).nothing  # noqa: B018 - reading it is what must fail


def test_an_error_without_a_docstring_uses_the_base_message():
    silent = type("Silent", (LedgerError,), {"code": "silent"})
    assert str(silent()) == "The request could not be carried out."
