"""The province codes are data, and say what each may stand in."""

import pytest

from domain.values.provinces import provinces


@pytest.mark.parametrize(
    ("code", "name"), [("33", "浙江省"), ("23", "黑龙江省"), ("65", "新疆维吾尔自治区")]
)
def test_provinces_are_found_by_their_code(code, name):
    assert provinces()[code].name == name


def test_every_code_is_two_digits_and_filed_under_itself():
    assert len(provinces()) == 35
    assert all(len(code) == 2 and code.isdigit() for code in provinces())
    assert all(province.code == code for code, province in provinces().items())


def test_the_corps_may_stand_in_a_certificate_number_and_not_in_a_citizens():
    assert provinces()["66"].certificate
    assert not provinces()["66"].resident_id
