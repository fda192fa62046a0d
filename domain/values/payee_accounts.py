"""The account that money went back to, as a provider names it: masked.

Bank, kind of account and the last digits say where the money arrived; the whole number would be one
more thing to lose. It is sealed all the same, because it says something about a person.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

DIGITS_MAX = 8
"""Digits that may follow each other; a card has 13 to 19, a phone number 11."""

_SEPARATORS = re.compile(r"[\s-]+")
_WHOLE_NUMBER = re.compile(rf"\d{{{DIGITS_MAX + 1},}}")


def _check(text: str) -> str:
    if _WHOLE_NUMBER.search(_SEPARATORS.sub("", text)) is not None:
        # With a code of its own, which selects the translated message.
        raise PydanticCustomError(
            "account_not_masked", "an account is masked, as the provider shows it, such as ***0403"
        )
    return text


MaskedAccount = Annotated[str, AfterValidator(_check), Field(min_length=1, max_length=200)]
"""An account without a whole number in it: 招商银行信用卡0403, 138****0000."""
