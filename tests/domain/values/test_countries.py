"""The countries that issue passports."""

from domain.values.countries import COUNTRIES


def test_every_country_is_named_once_by_three_capitals():
    """ISO 3166-1 assigns 249 codes."""
    assert len(COUNTRIES) == 249
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in COUNTRIES)
    assert {"CHN", "HKG", "MAC", "TWN", "USA", "FRA"} <= COUNTRIES
