"""Application documents (报名资料): which are required, and every fault at once.

Covers: domain/documents/materials.py, domain/documents/errors.py
"""

from datetime import date

import pytest
from pydantic import ValidationError

import domain.documents.errors as problems_room
from domain.documents.errors import DocumentProblem
from domain.documents.materials import (
    FILE_BYTES_MAX,
    Background,
    MaterialFact,
    MaterialKind,
    PhotoFact,
    UnknownMaterialKey,
    check_completeness,
    check_material,
    check_photo,
    check_photo_name,
    earliest_photo_day,
    required_materials,
    two_inch_format_mm,
)
from domain.errors import LedgerError
from tests.support.editions import packaged_document_rules

PHOTO_BYTES_MAX = 51_200
RULES = packaged_document_rules()

NAME = "王小明"
NUMBER = "11010519491231002X"
SUBMITTED = date(2026, 8, 31)
GOOD_PHOTO = PhotoFact(
    width_px=413,
    height_px=579,
    background=Background.WHITE,
    in_colour=True,
    taken_on=date(2026, 6, 1),
)


def material(kind: MaterialKind, **changed: object) -> MaterialFact:
    is_photo = kind is MaterialKind.PHOTO
    fields: dict[str, object] = {
        "kind": kind,
        "sha256": "0" * 64,
        "size_bytes": 40_000,
        "media_type": "image/jpeg" if is_photo else "application/pdf",
        "photo": GOOD_PHOTO if is_photo else None,
    }
    return MaterialFact.model_validate(fields | changed)


def photo(**changed: object) -> PhotoFact:
    return PhotoFact.model_validate(GOOD_PHOTO.model_dump() | changed)


def codes(problems: list) -> list[str]:
    return [problem.code for problem in problems]


def every_problem_class() -> list[type[LedgerError]]:
    return [
        value
        for value in vars(problems_room).values()
        if isinstance(value, type) and issubclass(value, DocumentProblem)
    ]


def test_identity_proof_and_photo_are_always_required():
    assert required_materials([]) == (MaterialKind.IDENTITY_PROOF, MaterialKind.PHOTO)


def test_the_met_alternative_determines_the_required_documents():
    assert required_materials(["training_certificate", "work_experience", "work_experience"]) == (
        MaterialKind.IDENTITY_PROOF,
        MaterialKind.WORK_HISTORY,
        MaterialKind.PHOTO,
        MaterialKind.TRAINING_CERTIFICATE,
    )


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("identity_document", MaterialKind.IDENTITY_PROOF),
        ("graduation_certificate", MaterialKind.EDUCATION_CERTIFICATE),
        ("enrolment_certificate", MaterialKind.ENROLMENT_PROOF),
        ("apprenticeship_certificate", MaterialKind.WORK_HISTORY),
        ("title_certificate", MaterialKind.SKILL_CERTIFICATE),
        ("skill_certificate", MaterialKind.SKILL_CERTIFICATE),
        ("enrolment_proof", MaterialKind.ENROLMENT_PROOF),
    ],
)
def test_each_material_key_of_the_rules_has_a_document_type(key: str, kind: MaterialKind):
    assert kind in required_materials([key])


def test_a_material_key_without_a_document_type_is_refused():
    with pytest.raises(UnknownMaterialKey) as caught:
        required_materials(["diploma_of_luck"])
    assert caught.value.key == "diploma_of_luck"


def test_every_missing_document_is_reported_at_once():
    missing = check_completeness(
        [material(MaterialKind.PHOTO)], required_materials(["work_experience"])
    )
    assert [one.kind for one in missing] == [
        MaterialKind.IDENTITY_PROOF,
        MaterialKind.WORK_HISTORY,
    ]
    assert "工作经历证明" in str(missing[1])


def test_a_graduation_certificate_satisfies_an_enrolment_proof_but_not_the_reverse():
    certificate, proof = MaterialKind.EDUCATION_CERTIFICATE, MaterialKind.ENROLMENT_PROOF
    assert check_completeness([certificate], [proof]) == []
    assert codes(check_completeness([proof], [certificate])) == ["missing_material"]


def test_all_faults_of_a_file_are_reported_not_only_the_first():
    bad_photo = photo(
        width_px=200,
        height_px=200,
        background=Background.NOT_WHITE,
        in_colour=False,
        taken_on=date(2025, 1, 1),
    )
    file = material(MaterialKind.PHOTO, photo=bad_photo, size_bytes=60_000, media_type="image/gif")
    assert codes(check_material(file, RULES)) == ["media_type_not_allowed", "photo_too_large"]
    assert codes(check_photo(bad_photo, submitted_on=SUBMITTED, rules=RULES)) == [
        "photo_not_two_inch",
        "photo_too_few_pixels",
        "photo_background_not_white",
        "photo_not_in_colour",
        "photo_too_old",
    ]
    assert codes(check_material(material(MaterialKind.WORK_HISTORY, size_bytes=0), RULES)) == [
        "file_empty"
    ]


@pytest.mark.parametrize(
    ("kind", "limit", "code"),
    [
        (MaterialKind.PHOTO, PHOTO_BYTES_MAX, "photo_too_large"),
        (MaterialKind.IDENTITY_PROOF, FILE_BYTES_MAX, "file_too_large"),
    ],
)
def test_the_size_limit_itself_is_allowed(kind: MaterialKind, limit: int, code: str):
    assert check_material(material(kind, size_bytes=limit), RULES) == []
    assert codes(check_material(material(kind, size_bytes=limit + 1), RULES)) == [code]


def test_fifty_kilobytes_are_51200_bytes():
    assert RULES.material(MaterialKind.PHOTO).bytes_max == 50 * 1024
    assert FILE_BYTES_MAX == 10 * 1024 * 1024


def test_a_photo_may_not_be_a_pdf_but_a_certificate_may():
    as_pdf = material(MaterialKind.PHOTO, media_type="application/pdf")
    assert codes(check_material(as_pdf, RULES)) == ["media_type_not_allowed"]
    assert check_material(material(MaterialKind.SKILL_CERTIFICATE), RULES) == []


@pytest.mark.parametrize(
    ("submitted_on", "earliest"),
    [
        (date(2026, 8, 31), date(2026, 2, 28)),
        (date(2026, 8, 28), date(2026, 2, 28)),
        (date(2024, 8, 31), date(2024, 2, 29)),
        (date(2026, 2, 28), date(2025, 8, 28)),
        (date(2026, 6, 30), date(2025, 12, 30)),
        (date(2026, 5, 31), date(2025, 11, 30)),
        (date(2026, 7, 1), date(2026, 1, 1)),
        (date(2026, 12, 31), date(2026, 6, 30)),
    ],
)
def test_half_a_year_counts_calendar_months(submitted_on: date, earliest: date):
    assert earliest_photo_day(submitted_on, RULES) == earliest


@pytest.mark.parametrize(
    ("taken_on", "expected"),
    [
        (date(2026, 2, 27), ["photo_too_old"]),
        (date(2026, 2, 28), []),
        (date(2026, 8, 31), []),
        (date(2026, 9, 1), ["photo_taken_later"]),
        (None, ["photo_date_unknown"]),
    ],
)
def test_a_photo_must_be_taken_within_half_a_year_before_submission(taken_on, expected):
    assert (
        codes(check_photo(photo(taken_on=taken_on), submitted_on=SUBMITTED, rules=RULES))
        == expected
    )


@pytest.mark.parametrize(
    ("size", "format_mm"),
    [
        ((413, 579), (35, 49)),
        ((413, 626), (35, 53)),
        ((350, 490), (35, 49)),
        ((353, 490), (35, 49)),
        ((295, 413), (35, 49)),  # 1寸 25x35 has the very same proportions
        ((358, 441), None),  # 二代身份证照 26x32
        ((413, 413), None),
        ((579, 413), None),  # lying on its side
        ((413, 600), None),  # between the two formats
    ],
)
def test_two_inch_photos_are_recognised_by_their_proportions(size, format_mm):
    assert two_inch_format_mm(*size) == format_mm


def test_a_photo_has_a_minimum_and_a_maximum_width():
    assert codes(
        check_photo(photo(width_px=275, height_px=385), submitted_on=SUBMITTED, rules=RULES)
    ) == ["photo_too_few_pixels"]
    assert codes(
        check_photo(photo(width_px=1655, height_px=2317), submitted_on=SUBMITTED, rules=RULES)
    ) == ["photo_too_many_pixels"]


def test_a_shaded_background_is_reported_as_uneven():
    uneven = photo(background=Background.UNEVEN)
    assert codes(check_photo(uneven, submitted_on=SUBMITTED, rules=RULES)) == [
        "photo_background_uneven"
    ]


@pytest.mark.parametrize(
    "file_name",
    [
        f"{NAME}_{NUMBER}.jpg",
        f"{NAME}_{NUMBER.lower()}.jpeg",
        f"{NAME}_{NUMBER}.PNG",
        "王小明＿１１０１０５１９４９１２３１００２Ｘ．ｊｐｇ",
    ],
)
def test_a_photo_named_after_its_person_is_accepted(file_name: str):
    assert check_photo_name(file_name, name=NAME, number=NUMBER) == []


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        (f"{NAME}{NUMBER}.jpg", ["photo_name_malformed"]),
        (f"{NAME}-{NUMBER}.jpg", ["photo_name_malformed"]),
        (f"_{NUMBER}.jpg", ["photo_name_malformed"]),
        (f"{NAME}_.jpg", ["photo_name_malformed"]),
        ("photo", ["photo_name_malformed", "photo_extension_not_allowed"]),
        ("", ["photo_name_malformed", "photo_extension_not_allowed"]),
        (f"{NAME}_{NUMBER}.gif", ["photo_extension_not_allowed"]),
        (f"{NAME}_{NUMBER}.jpg.exe", ["photo_extension_not_allowed", "photo_name_number_differs"]),
        (f"{NAME}_{NUMBER}(1).jpg", ["photo_name_number_differs"]),
        (f"{NAME}_{NUMBER} .jpg", ["photo_name_number_differs"]),
        (f"{NAME} _{NUMBER}.jpg", ["photo_name_person_differs"]),
        (f"../{NAME}_{NUMBER}.jpg", ["photo_name_person_differs"]),
        (f"{NAME}__{NUMBER}.jpg", ["photo_name_person_differs"]),
        (f"\u202e{NAME}_{NUMBER}.jpg", ["photo_name_person_differs"]),
        (f"{NUMBER}_{NAME}.jpg", ["photo_name_person_differs", "photo_name_number_differs"]),
    ],
)
def test_a_wrong_photo_name_is_refused_without_repeating_it(file_name, expected):
    problems = check_photo_name(file_name, name=NAME, number=NUMBER)
    assert codes(problems) == expected
    for problem in problems:
        assert NAME not in str(problem) and NUMBER not in str(problem)
        assert problem.fields == {}


def test_a_name_may_contain_an_underscore_and_a_middle_dot():
    name = "阿依古丽·买买提_二"
    assert check_photo_name(f"{name}_E12345678.jpg", name=name, number="e12345678") == []


def test_only_photos_have_measures():
    with pytest.raises(ValidationError):
        material(MaterialKind.WORK_HISTORY, photo=GOOD_PHOTO)
    with pytest.raises(ValidationError):
        material(MaterialKind.PHOTO, photo=None)


def test_every_fault_has_its_own_code_and_a_chinese_text():
    classes = every_problem_class()
    assert len({one.code for one in classes}) == len(classes) >= 20
    for one in classes:
        assert any("\u4e00" <= letter <= "\u9fff" for letter in (one.__doc__ or ""))


def test_every_document_type_has_a_chinese_name_and_allowed_formats():
    for kind in MaterialKind:
        assert kind.chinese_name
        assert check_material(material(kind), RULES) == []


def test_a_photo_name_may_use_any_middle_dot() -> None:
    for dot in "·•・":
        named = f"买买提{dot}艾力_E12345678.jpg"
        assert check_photo_name(named, name="买买提·艾力", number="E12345678") == []
