"""Keys of purpose `login`: they tell which row of `certledger.logins` belongs to a login.

The table holds HMACs of logins instead of logins, which are often phone numbers: a person with the
database alone can neither read them nor try numbers. Begin with `LoginKeys.names`.
"""

import hmac
from collections.abc import Iterable
from typing import NamedTuple

from domain.values.key_ids import symmetric_key_id
from domain.values.logins import normal_form

LOGIN_PURPOSE = "login"
"""The purpose of the key."""

KEY_BYTES = 32

_LOGIN = b"certledger login v1\0"


class LoginName(NamedTuple):
    """The key of a row. key_id: 8 hex digits. mac: 32 bytes over ledger and normalised login."""

    key_id: str
    mac: bytes


class LoginKeys:
    """The login keys of a service. Immutable."""

    __slots__ = ("_keys",)

    def __init__(self, active: bytes, retired: Iterable[bytes] = ()) -> None:
        """active: for new rows. retired: to find what was written under them. 32 bytes each.

        Raises: ValueError for another length.
        """
        keys = (active, *retired)
        for key in keys:
            if len(key) != KEY_BYTES:
                raise ValueError(f"a login key has {KEY_BYTES} bytes, not {len(key)}")
        self._keys = tuple((symmetric_key_id(LOGIN_PURPOSE, key), key) for key in keys)

    def __repr__(self) -> str:
        """Without the keys."""
        return f"LoginKeys({self._keys[0][0]})"

    def names(self, ledger: str, login: str) -> tuple[LoginName, ...]:
        """The names of a login's rows in a ledger, the one under the active key first.

        login: as it was given; it is normalised here. The MAC is over "certledger login v1",
        ledger, each followed by 0x00, and the normalised login in UTF-8.
        """
        text = _LOGIN + ledger.encode() + b"\0" + normal_form(login).encode("utf-8", "replace")
        return tuple(
            LoginName(key_id, hmac.digest(key, text, "sha256")) for key_id, key in self._keys
        )
