"""Blind indexes: keyed hashes that make encrypted personal text searchable by exact value.

They are stored encrypted, see `index_ciphers`.
"""

import unicodedata

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
        """The blind index of a text.

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


def _message(kind: str, value: str) -> bytes:
    folded = "".join(unicodedata.normalize("NFKC", value).split()).upper()
    return f"{kind}|{folded}".encode()
