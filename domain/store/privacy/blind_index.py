"""Blind indexes: keyed hashes that make encrypted personal text searchable by exact value."""

import unicodedata
from typing import NamedTuple

from domain.store.privacy.cipher_suites import AES, BY_INDEX, KEY_BYTES, SUITES, suite_named


class BlindIndexes:
    """Computes blind indexes. They depend only on the key, so all ledgers share them."""

    def __init__(self, index_key: bytes, algorithm: str = AES.name) -> None:
        """index_key: at least 32 bytes; losing or changing it makes every blind index useless.

        algorithm: aes-256-gcm or sm4-gcm, whose keyed hash is stored.
        Raises: ValueError for a short index key, WrongKey for an unknown algorithm.
        """
        if len(index_key) < KEY_BYTES:
            raise ValueError(f"the index key must have at least {KEY_BYTES} bytes")
        self._index_key = index_key
        self._suite = suite_named(algorithm)
        self._suites = sorted(SUITES.values(), key=lambda suite: suite is not self._suite)

    def blind_index(self, kind: str, value: str, algorithm: str | None = None) -> str:
        """The blind index to store.

        The value is normalised first (width, case, white space), so that the same number typed
        differently gives the same index. algorithm: of an existing index; the current one if None
        or unknown. Returns: "<algorithm>:<64 hex digits>".
        """
        suite = self._suite if algorithm is None else BY_INDEX.get(algorithm, self._suite)
        return f"{suite.index_name}:{suite.mac(self._index_key, _message(kind, value))}"

    def blind_indexes(self, kind: str, value: str) -> tuple[str, ...]:
        """Every index the value may be stored under, one per suite; the current suite first."""
        message, key = _message(kind, value), self._index_key
        return tuple([f"{suite.index_name}:{suite.mac(key, message)}" for suite in self._suites])

    def search_tokens(self, kind: str, value: str) -> "SearchTokens":
        """The value as a search term."""
        return SearchTokens(self, kind, value)


class SearchTokens(NamedTuple):
    """A searched text: the set of indexes it may be stored under, computed when needed.

    `in` computes only the index of the stored index's own suite.
    """

    indexes: BlindIndexes
    kind: str
    value: str

    def __repr__(self) -> str:
        """Without the text, which is personal."""
        return f"SearchTokens({self.kind})"

    def __contains__(self, stored: object) -> bool:
        """Whether `stored` is an index of the text."""
        if not isinstance(stored, str):
            return False
        algorithm = stored.partition(":")[0]
        return self.indexes.blind_index(self.kind, self.value, algorithm) == stored

    def all(self) -> tuple[str, ...]:
        """The indexes to search for, one per suite, the current one first."""
        return self.indexes.blind_indexes(self.kind, self.value)


def _message(kind: str, value: str) -> bytes:
    folded = "".join(unicodedata.normalize("NFKC", value).split()).upper()
    return f"{kind}|{folded}".encode()
