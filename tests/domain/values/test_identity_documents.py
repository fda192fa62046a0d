"""Identity documents: lenient about typing, strict about content.

Every number here is synthetic; none belongs to a person.
"""

import datetime as dt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.values.identity_documents import (
    DocumentType,
    InvalidIdentityDocument,
    Refusal,
    Sex,
    matches_legacy,
    normalise,
    validate_document,
)
from tests.support.synthetic_identity import (
    TODAY,
    birth_dates,
    citizen,
    citizen_numbers,
    orders,
    permanent_2017,
    regions,
)

CITIZEN = DocumentType.RESIDENT_ID
FOREIGN = DocumentType.FOREIGN_PERMANENT_RESIDENT_ID


def reason_of(document_type, number, today=TODAY, **more) -> Refusal:
    with pytest.raises(InvalidIdentityDocument) as refusal:
        validate_document(document_type, number, today, **more)
    assert refusal.value.fields.keys() == {"document_type", "reason"}
    return refusal.value.reason


@given(regions, birth_dates, orders)
def test_a_resident_number_encodes_birth_date_and_sex(region, born, order):
    number = citizen(region, born.strftime("%Y%m%d"), order)
    document = validate_document(CITIZEN, number, TODAY)
    assert document.number == number
    assert document.birth_date == born
    assert document.sex is (Sex.MALE if int(order) % 2 else Sex.FEMALE)
    assert document.region == region


@pytest.mark.parametrize("region", ["330113", "330114", "321102"])
def test_districts_missing_from_printed_lists_are_accepted(region):
    born = "19600101" if region == "321102" else "20020228"
    assert validate_document(CITIZEN, citizen(region, born), TODAY).region == region


@given(citizen_numbers, st.data())
def test_a_resident_number_detects_every_single_wrong_character(number, data):
    place = data.draw(st.integers(0, 17))
    wrong = data.draw(st.sampled_from("0123456789" + ("X" if place == 17 else "")))
    assume(wrong != number[place])
    reason = reason_of(CITIZEN, number[:place] + wrong + number[place + 1 :])
    assert reason in (
        Refusal.WRONG_CHECK_CHARACTER,
        Refusal.UNKNOWN_REGION,
        Refusal.BELONGS_TO_OTHER_TYPE,
    )


@given(citizen_numbers, st.integers(0, 16))
def test_a_resident_number_detects_transposed_neighbours(number, place):
    assume(number[place] != number[place + 1] and "X" not in number[place : place + 2])
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    assert reason_of(CITIZEN, swapped) is not None


@pytest.mark.parametrize(
    ("born", "reason"),
    [
        ("20270101", Refusal.BIRTH_DATE_IN_FUTURE),
        ("20261124", Refusal.BIRTH_DATE_IN_FUTURE),
        ("20900101", Refusal.BIRTH_DATE_IN_FUTURE),
        ("19950229", Refusal.IMPOSSIBLE_BIRTH_DATE),
        ("19951301", Refusal.IMPOSSIBLE_BIRTH_DATE),
        ("19950001", Refusal.IMPOSSIBLE_BIRTH_DATE),
        ("18991231", Refusal.IMPOSSIBLE_BIRTH_DATE),
        ("00000101", Refusal.IMPOSSIBLE_BIRTH_DATE),
    ],
)
def test_an_impossible_birth_date_is_refused_despite_a_valid_check(born, reason):
    assert reason_of(CITIZEN, citizen(born=born)) is reason


def test_birth_dates_today_and_on_a_leap_day_are_accepted():
    assert validate_document(CITIZEN, citizen(born="20261123"), TODAY).birth_date == TODAY
    leap = validate_document(CITIZEN, citizen(born="20000229"), TODAY)
    assert leap.birth_date == dt.date(2000, 2, 29)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("330106950315127", Refusal.LEGACY_FIFTEEN_DIGITS),
        ("", Refusal.WRONG_SHAPE),
        ("33010619950315127", Refusal.WRONG_SHAPE),
        ("X3010619950315127X", Refusal.WRONG_SHAPE),
        (citizen("160101"), Refusal.UNKNOWN_REGION),
        (citizen("660101"), Refusal.UNKNOWN_REGION),
        (citizen("000000"), Refusal.UNKNOWN_REGION),
        (citizen("830000"), Refusal.BELONGS_TO_OTHER_TYPE),
        (citizen("933840"), Refusal.BELONGS_TO_OTHER_TYPE),
    ],
)
def test_an_invalid_resident_number_is_refused_with_its_reason(number, reason):
    assert reason_of(CITIZEN, number) is reason


def lower_x_number() -> str:
    for order in range(1000):
        number = citizen(order=f"{order:03d}")
        if number.endswith("X"):
            return number
    raise AssertionError("one order number in eleven ends in X")


def test_width_spaces_and_case_of_a_document_number_do_not_matter():
    number = lower_x_number()
    full_width = "".join(chr(ord(c) + 0xFEE0) for c in number)
    spaced = f" {number[:6]} {number[6:14]}\u3000{number[14:].lower()}\u200b\n"
    for typed in (full_width, spaced, number.lower(), f"{number[:6]}-{number[6:]}"):
        assert validate_document(CITIZEN, typed, TODAY).number == number


@given(st.sampled_from(DocumentType), st.text(max_size=30))
def test_normalisation_is_idempotent(document_type, raw):
    once = normalise(document_type, raw)
    assert normalise(document_type, once) == once


@given(st.sampled_from(DocumentType), st.text(max_size=30))
def test_any_text_is_accepted_or_refused_with_a_reason(document_type, raw):
    try:
        document = validate_document(document_type, raw, TODAY)
    except InvalidIdentityDocument as refusal:
        assert refusal.reason in Refusal
    else:
        assert document.number == normalise(document_type, raw)


@pytest.mark.parametrize("prefix", ["810000", "820000", "830000"])
def test_residents_of_hong_kong_macao_and_taiwan_are_accepted_with_their_permit(prefix):
    number = citizen(prefix, "19950315")
    document = validate_document(DocumentType.HMT_RESIDENCE_PERMIT, number, TODAY)
    assert (document.region, document.birth_date) == (prefix, dt.date(1995, 3, 15))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (citizen("330106"), Refusal.BELONGS_TO_OTHER_TYPE),
        (citizen("810001"), Refusal.BELONGS_TO_OTHER_TYPE),
        (citizen("830000", "20270101"), Refusal.BIRTH_DATE_IN_FUTURE),
        ("8300001995031512", Refusal.WRONG_SHAPE),
    ],
)
def test_an_invalid_hmt_residence_permit_is_refused_with_its_reason(number, reason):
    assert reason_of(DocumentType.HMT_RESIDENCE_PERMIT, number) is reason


def test_a_permanent_residents_card_of_2023_is_accepted():
    document = validate_document(FOREIGN, citizen("933840", "19880229"), TODAY)
    assert document.birth_date == dt.date(1988, 2, 29)
    assert (document.region, document.sex) == ("33", None)


@pytest.mark.parametrize(
    ("birth", "expected"),
    [
        ("880229", dt.date(1988, 2, 29)),
        ("050630", dt.date(2005, 6, 30)),
        ("261123", dt.date(2026, 11, 23)),
        ("261124", dt.date(1926, 11, 24)),
    ],
)
def test_a_permanent_residents_card_of_2017_is_accepted(birth, expected):
    document = validate_document(FOREIGN, permanent_2017(f"USA3301{birth}1"), TODAY)
    assert (document.birth_date, document.region) == (expected, "3301")


@given(st.integers(3, 14), st.integers(1, 9))
def test_a_card_of_2017_detects_every_single_wrong_digit(place, step):
    number = permanent_2017("USA33018802281")
    wrong = str((int(number[place]) + step) % 10)
    changed = number[:place] + wrong + number[place + 1 :]
    assert reason_of(FOREIGN, changed) is Refusal.WRONG_CHECK_CHARACTER


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (permanent_2017("USA33018813011"), Refusal.IMPOSSIBLE_BIRTH_DATE),
        (citizen("330106"), Refusal.BELONGS_TO_OTHER_TYPE),
        ("US33018802281", Refusal.WRONG_SHAPE),
    ],
)
def test_an_invalid_permanent_residents_card_is_refused_with_its_reason(number, reason):
    assert reason_of(FOREIGN, number) is reason


def test_a_renewed_home_return_permit_is_the_same_person():
    permit = DocumentType.HOME_RETURN_PERMIT
    current = validate_document(permit, "H12345678", TODAY)
    older = validate_document(permit, "h12345678(02)", TODAY)
    other = validate_document(permit, "H12345679", TODAY)
    assert older.number == "H1234567802"
    assert current.same_person_key == older.same_person_key
    assert current.same_person_key != other.same_person_key
    assert validate_document(permit, "M12345678", TODAY).region == "MAC"


def test_a_social_card_with_the_citizen_number_is_the_same_person():
    number = citizen()
    card = validate_document(DocumentType.HANGZHOU_SOCIAL_CARD, number, TODAY)
    permit = validate_document(DocumentType.RESIDENCE_PERMIT, number, TODAY)
    resident = validate_document(CITIZEN, number, TODAY)
    assert card.same_person_key == permit.same_person_key == resident.same_person_key
    assert card.birth_date == resident.birth_date


@pytest.mark.parametrize(
    ("owner", "region"),
    [(DocumentType.HMT_RESIDENCE_PERMIT, "830000"), (FOREIGN, "933840")],
)
def test_a_social_card_with_a_permit_number_is_the_permit_holder(owner, region):
    number = citizen(region)
    card = validate_document(DocumentType.HANGZHOU_SOCIAL_CARD, number, TODAY)
    assert card.same_person_key == validate_document(owner, number, TODAY).same_person_key


def test_a_social_card_with_a_broken_citizen_number_is_refused():
    number = citizen()
    broken = number[:16] + str((int(number[16]) + 1) % 10) + number[17:]
    card = DocumentType.HANGZHOU_SOCIAL_CARD
    assert reason_of(card, broken) is Refusal.WRONG_CHECK_CHARACTER
    assert reason_of(card, "330106950315127") is Refusal.LEGACY_FIFTEEN_DIGITS


def test_the_same_passport_number_of_two_countries_is_two_people():
    keys = {
        validate_document(
            DocumentType.PASSPORT, "123456789", TODAY, country=country
        ).same_person_key
        for country in ("USA", "FRA", None)
    }
    assert keys == {"passport:USA:123456789", "passport:FRA:123456789", "passport:123456789"}


@pytest.mark.parametrize("country", ["ZZZ", "US", "China", ""])
def test_a_passport_of_no_country_is_refused(country):
    """Source: source-document 3.1(1)."""
    assert reason_of(DocumentType.PASSPORT, "123456789", country=country) is Refusal.UNKNOWN_REGION


def test_only_a_passport_names_a_country():
    assert reason_of(CITIZEN, citizen(), country="CHN") is Refusal.COUNTRY_NOT_EXPECTED


@pytest.mark.parametrize(
    ("region", "documents"),
    [
        ("330106", (CITIZEN, "hangzhou_social_card", "residence_permit", "military_id")),
        ("810000", ("hmt_residence_permit", "hangzhou_social_card", "residence_permit")),
        ("933840", (FOREIGN, "hangzhou_social_card", "residence_permit")),
    ],
)
def test_the_same_eighteen_characters_are_one_person_under_any_document(region, documents):
    """Source: source-document 3.1(1)."""
    number = citizen(region)
    keys = {validate_document(kind, number, TODAY).same_person_key for kind in documents}
    assert keys == {f"cn18:{number}"}


@pytest.mark.parametrize("spelling", ["{}-{}", "{}--{}", "-{}{}", "{}{}-"])
def test_a_hyphen_in_a_military_number_makes_no_second_person(spelling):
    """Source: source-document 3.1(1)."""
    number = citizen()
    spelt = spelling.format(number[:6], number[6:])
    military = validate_document(DocumentType.MILITARY_ID, spelt, TODAY)
    assert military.same_person_key == f"cn18:{number}"


@pytest.mark.parametrize(
    ("document_type", "number"),
    [
        (DocumentType.HOME_RETURN_PERMIT, "H12345678"),
        (DocumentType.TAIWAN_PERMIT, "12345678"),
        (DocumentType.TAIWAN_PERMIT, "0012345601"),
        (DocumentType.TAIWAN_PERMIT, "0012345601(B)"),
        (DocumentType.HONG_KONG_ID, "A123456(3)"),
        (DocumentType.HONG_KONG_ID, "G123456(A)"),
        (DocumentType.MACAO_ID, "1234567(8)"),
        (DocumentType.TAIWAN_ID, "A123456789"),
        (DocumentType.PASSPORT, "E12345678"),
        (DocumentType.PASSPORT, "C01X00T47"),
        (DocumentType.MILITARY_ID, "南字第12345678号"),
        (DocumentType.MILITARY_ID, "北字第 1234 号"),
        (DocumentType.HANGZHOU_SOCIAL_CARD, "A12345678"),
        (DocumentType.RESIDENCE_PERMIT, "330100123456789012AB"),
    ],
)
def test_other_documents_are_accepted_in_their_own_format(document_type, number):
    document = validate_document(document_type, number, TODAY)
    assert document.document_type is document_type
    assert document.birth_date is None


@pytest.mark.parametrize(
    ("document_type", "number", "reason"),
    [
        (DocumentType.HOME_RETURN_PERMIT, "K12345678", Refusal.WRONG_SHAPE),
        (DocumentType.HOME_RETURN_PERMIT, "H123456789", Refusal.WRONG_SHAPE),
        (DocumentType.TAIWAN_PERMIT, "123456789", Refusal.WRONG_SHAPE),
        (DocumentType.HONG_KONG_ID, "A123456(4)", Refusal.WRONG_CHECK_CHARACTER),
        (DocumentType.HONG_KONG_ID, "A12345(3)", Refusal.WRONG_SHAPE),
        (DocumentType.MACAO_ID, "2234567(8)", Refusal.WRONG_SHAPE),
        (DocumentType.TAIWAN_ID, "A123456788", Refusal.WRONG_CHECK_CHARACTER),
        (DocumentType.TAIWAN_ID, "A323456789", Refusal.WRONG_SHAPE),
        (DocumentType.PASSPORT, "ABCDEFGH", Refusal.WRONG_SHAPE),
        (DocumentType.PASSPORT, "E123", Refusal.WRONG_SHAPE),
        (DocumentType.MILITARY_ID, "南字第号", Refusal.WRONG_SHAPE),
        (DocumentType.HANGZHOU_SOCIAL_CARD, "ABCDEFGHI", Refusal.WRONG_SHAPE),
    ],
)
def test_other_documents_are_refused_in_a_wrong_format(document_type, number, reason):
    assert reason_of(document_type, number) is reason


def test_a_chinese_passport_follows_the_chinese_pattern():
    passport = DocumentType.PASSPORT
    for number in ("E12345678", "EA1234567", "G12345678", "PE1234567"):
        assert validate_document(passport, number, TODAY, country="chn").region == "CHN"
    for number in ("EI1234567", "X12345678"):
        assert reason_of(passport, number, country="CHN") is Refusal.WRONG_SHAPE
    assert reason_of(passport, "E12345678", country="China") is Refusal.UNKNOWN_REGION


def test_a_taiwan_number_encodes_the_sex():
    document = validate_document(DocumentType.TAIWAN_ID, "A123456789", TODAY)
    assert document.sex is Sex.MALE


@given(citizen_numbers)
def test_an_old_fifteen_digit_number_matches_its_eighteen(number):
    short = number[:6] + number[8:17]
    assert matches_legacy(number, short) == number.startswith("19", 6)


@given(citizen_numbers, st.integers(0, 14), st.integers(1, 9))
def test_fifteen_digits_of_another_person_never_match(number, place, step):
    short = number[:6] + number[8:17]
    other = short[:place] + str((int(short[place]) + step) % 10) + short[place + 1 :]
    assert not matches_legacy(number, other)


def test_a_number_with_a_wrong_check_matches_no_old_one():
    number = citizen()
    short = number[:6] + number[8:17]
    wrong_check = number[:17] + ("0" if number[17] != "0" else "1")
    assert matches_legacy(number, short)
    assert not matches_legacy(wrong_check, short)
    assert not matches_legacy(number, short + "1")
    assert not matches_legacy("", short)


@pytest.mark.parametrize("kind", list(DocumentType))
def test_validation_time_does_not_explode_with_the_length(kind):
    assert reason_of(kind, "A" * 100_000) is Refusal.WRONG_SHAPE
    assert reason_of(kind, "1A" * 50_000) is Refusal.WRONG_SHAPE
