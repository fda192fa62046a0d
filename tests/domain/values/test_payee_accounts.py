"""Accounts that money went back to: what providers write is taken, a whole number is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.values.payee_accounts import DIGITS_MAX, MaskedAccount

ACCOUNT = TypeAdapter(MaskedAccount)


def is_taken(text: str) -> bool:
    try:
        return ACCOUNT.validate_python(text) == text
    except ValidationError as refused:
        assert {error["type"] for error in refused.errors()} == {"account_not_masked"}
        return False


@pytest.mark.parametrize(
    "text",
    [
        *("招商银行信用卡0403", "支付用户零钱", "支付用户零钱通", "农业银行借记卡 (6228)"),
        *("138****0000", "abc***@example.cn", "6225********0403", "**** **** **** 0403"),
    ],
)
def test_what_providers_write_is_taken_as_it_is(text: str) -> None:
    assert is_taken(text)


@given(
    digits=st.integers(1, 30),
    gaps=st.lists(st.sampled_from(["", " ", "-", "  "]), min_size=30, max_size=30),
)
def test_a_number_is_whole_however_it_is_grouped(digits: int, gaps: list[str]) -> None:
    text = "".join(f"{place % 10}{gap}" for place, gap in zip(range(digits), gaps, strict=False))
    assert is_taken(f"账户{text}") == (digits <= DIGITS_MAX)
