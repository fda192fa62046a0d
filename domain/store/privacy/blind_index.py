"""Looking personal text up without showing it: a keyed hash that can be found and not guessed."""

import unicodedata
from typing import NamedTuple

from domain.store.privacy.cipher_suites import AES, BY_INDEX, KEY_BYTES, SUITES, suite_named


class BlindIndexes:
    """Keyed hashes of personal text; they depend on the key alone, so all ledgers share them."""

    def __init__(self, index_key: bytes, algorithm: str = AES.name) -> None:
        """index_key: at least 32 bytes; losing or changing it makes every blind index useless.

        algorithm: aes-256-gcm or sm4-gcm, whose keyed hash is the one to store.
        Raises: ValueError for a short index key, WrongKey for an unknown algorithm.
        """
        if len(index_key) < KEY_BYTES:
            raise ValueError(f"the index key must have at least {KEY_BYTES} bytes")
        self._index_key = index_key
        self._suite = suite_named(algorithm)
        self._suites = sorted(SUITES.values(), key=lambda suite: suite is not self._suite)

    def blind_index(self, kind: str, value: str, algorithm: str | None = None) -> str:
        """The one to store.

        The value is normalised first (width, case, white space), so that the same number typed
        differently gives the same index. algorithm: of an index that was made before; today's if
        there is none of that name. Returns: "<algorithm>:<64 hex digits>".
        """
        suite = self._suite if algorithm is None else BY_INDEX.get(algorithm, self._suite)
        return f"{suite.index_name}:{suite.mac(self._index_key, _said(kind, value))}"

    def blind_indexes(self, kind: str, value: str) -> tuple[str, ...]:
        """What the value may be stored as, under whichever suite: the ones to look for.

        Today's comes first.
        """
        said, key = _said(kind, value), self._index_key
        return tuple([f"{suite.index_name}:{suite.mac(key, said)}" for suite in self._suites])

    def sought(self, kind: str, value: str) -> "Sought":
        """The value as something to look for."""
        return Sought(self, kind, value)


class Sought(NamedTuple):
    """A text that is looked for: in it is every index that the text may be stored as.

    Asked of an index that was found, it makes no other than that index's own suite would.
    """

    indexes: BlindIndexes
    kind: str
    value: str

    def __repr__(self) -> str:
        """Without the text, which is personal."""
        return f"Sought({self.kind})"

    def __contains__(self, stored: object) -> bool:
        """Whether the text is stored as this."""
        if not isinstance(stored, str):
            return False
        algorithm = stored.partition(":")[0]
        return self.indexes.blind_index(self.kind, self.value, algorithm) == stored

    def all(self) -> tuple[str, ...]:
        """The indexes to look for, one a suite, today's first."""
        return self.indexes.blind_indexes(self.kind, self.value)


def _said(kind: str, value: str) -> bytes:
    folded = "".join(unicodedata.normalize("NFKC", value).split()).upper()
    return f"{kind}|{folded}".encode()
