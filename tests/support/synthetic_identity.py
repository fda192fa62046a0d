"""Synthetic identity numbers that are valid by their rules; none belongs to a person."""

import datetime as dt

from hypothesis import strategies as st
from stdnum.iso7064 import mod_11_2

TODAY = dt.date(2026, 11, 23)

birth_dates = st.dates(min_value=dt.date(1900, 1, 1), max_value=TODAY)
orders = st.integers(0, 999).map("{:03d}".format)
regions = st.sampled_from(["330106", "330113", "330114", "110101", "659001", "540102"])


def with_check(seventeen: str) -> str:
    """Seventeen digits and the check character of ISO 7064 MOD 11-2."""
    return seventeen + mod_11_2.calc_check_digit(seventeen)


def citizen(region: str = "330106", born: str = "19950315", order: str = "127") -> str:
    """An 18-character number: region 6, birth date YYYYMMDD, order 3, check."""
    return with_check(region + born + order)


def permanent_2017(fourteen: str) -> str:
    """A permanent resident's number of 2017: fourteen characters and their 7-3-1 check."""
    total = sum(int(c, 36) * (7, 3, 1)[n % 3] for n, c in enumerate(fourteen))
    return fourteen + str(total % 10)


citizen_numbers = st.builds(
    lambda region, born, order: citizen(region, born.strftime("%Y%m%d"), order),
    regions,
    birth_dates,
    orders,
)
