"""Province codes are data, and each states in which numbers it may appear."""

import pytest

from domain.values.provinces import provinces


@pytest.mark.parametrize(
    ("code", "name"), [("33", "浙江省"), ("23", "黑龙江省"), ("65", "新疆维吾尔自治区")]
)
def test_provinces_are_found_by_their_code(code, name):
    assert provinces()[code].name == name


def test_every_province_code_has_two_digits_and_is_its_own_key():
    assert len(provinces()) == 35
    assert all(len(code) == 2 and code.isdigit() for code in provinces())
    assert all(province.code == code for code, province in provinces().items())


def test_the_corps_may_appear_in_a_certificate_number_but_not_in_a_citizen_number():
    assert provinces()["66"].certificate
    assert not provinces()["66"].resident_id
