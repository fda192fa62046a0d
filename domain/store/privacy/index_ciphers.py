"""Blind indexes as they are stored: encrypted under the key of an epoch, always to the same bytes.

Who has the index key can try numbers against blind indexes, also in an old copy of the database. So
none is stored as it is: what is stored is encrypted, equal ones to equal bytes, under a key that
goes with the epoch. `key_renewal` and the rebuild of a view bring what stays under the next one.
Two blocks of an HMAC are as good as random, so that encrypting each by itself shows nothing.

A stored index is "<keyed hash>.<epoch>:<64 hex digits>", a blind index "<keyed hash>:<64 hex
digits>". Reading order: IndexCipher, IndexCiphers, StoredIndexes.
"""

import hmac
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from domain.store.keys.login_keys import LoginName
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.cipher_suites import AES, BY_INDEX, Permutation
from domain.store.privacy.epoch_keys import Epoch
from domain.store.privacy.live_epochs import LiveEpochs

_KEY = b"certledger index cipher v1"


class IndexCipherKey(NamedTuple):
    """What a cipher is made of, for processes without the keys of epochs."""

    epoch: int
    key: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return f"IndexCipherKey({self.epoch})"


def index_cipher_key(epoch: Epoch) -> IndexCipherKey:
    """The key of an epoch for blind indexes: HMAC-SHA-256 of a text under the epoch's key."""
    return IndexCipherKey(epoch.name.number, hmac.digest(epoch.key, _KEY, "sha256"))


def index_cipher_keys(epochs: LiveEpochs) -> tuple[IndexCipherKey, ...]:
    """The keys of all epochs that there are, the one to write under first."""
    writing = epochs.writing
    ordered = (writing, *(epoch for epoch in epochs.all if epoch != writing))
    return tuple(map(index_cipher_key, ordered))


class IndexCipher:
    """Encrypts blind indexes under the key of one epoch. Thread-safe."""

    __slots__ = ("_ciphers", "epoch")

    def __init__(self, key: IndexCipherKey) -> None:
        self.epoch = key.epoch
        self._ciphers: dict[str, Permutation] = {
            name: suite.permutation(key.key) for name, suite in BY_INDEX.items()
        }

    def encrypt(self, index: str) -> str:
        """The stored form of a blind index."""
        suite, _, digits = index.partition(":")
        encrypted = self._ciphers[suite].encrypt(bytes.fromhex(digits))
        return f"{suite}.{self.epoch}:{encrypted.hex()}"

    def decrypt(self, stored: str) -> str | None:
        """The blind index of a stored form; None if it is no such form of this epoch."""
        prefix, _, digits = stored.partition(":")
        suite, _, epoch = prefix.partition(".")
        cipher = self._ciphers.get(suite)
        if cipher is None or epoch != str(self.epoch):
            return None
        try:
            return f"{suite}:{cipher.decrypt(bytes.fromhex(digits)).hex()}"
        except ValueError:
            return None

    def login(self, name: LoginName) -> LoginName:
        """The name of a login's row as it is stored: id of its key and epoch, encrypted MAC."""
        mac = self._ciphers[AES.index_name].encrypt(name.mac)
        return LoginName(f"{name.key_id}.{self.epoch}", mac)

    def plain_login(self, stored: LoginName) -> LoginName:
        """The name of a stored name of this epoch."""
        mac = self._ciphers[AES.index_name].decrypt(stored.mac)
        return LoginName(stored.key_id.partition(".")[0], mac)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the forms of this epoch begin with, up to the colon."""
        return tuple(f"{suite}.{self.epoch}" for suite in self._ciphers)


class IndexCiphers(Protocol):
    """The ciphers of the epochs that there are."""

    @property
    def writing(self) -> IndexCipher:
        """Of the epoch to write under. Raises: as `LiveEpochs`."""
        ...

    @property
    def all(self) -> Sequence[IndexCipher]:
        """Of every epoch, newest first. Raises: as `LiveEpochs`."""
        ...


class LiveIndexCiphers:
    """The ciphers of `LiveEpochs`. Thread-safe."""

    def __init__(self, epochs: LiveEpochs) -> None:
        self._epochs = epochs
        self._made: dict[Epoch, IndexCipher] = {}

    @property
    def writing(self) -> IndexCipher:
        return self._cipher(self._epochs.writing)

    @property
    def all(self) -> Sequence[IndexCipher]:
        return [self._cipher(epoch) for epoch in self._epochs.all]

    def _cipher(self, epoch: Epoch) -> IndexCipher:
        made = self._made.get(epoch)
        if made is None:
            live = self._epochs.all
            made = IndexCipher(index_cipher_key(epoch))
            self._made = {e: c for e, c in self._made.items() if e in live} | {epoch: made}
        return made


class GivenIndexCiphers:
    """Ciphers that another process names, the one to write under first. Thread-safe."""

    def __init__(self, keys: Sequence[IndexCipherKey] = ()) -> None:
        self.keys: tuple[IndexCipherKey, ...] = ()
        self.all: Sequence[IndexCipher] = ()
        self.set(keys)

    def set(self, keys: Sequence[IndexCipherKey]) -> None:
        """From now on these."""
        if tuple(keys) != self.keys:
            self.all = tuple(map(IndexCipher, keys))
            self.keys = tuple(keys)

    @property
    def writing(self) -> IndexCipher:
        return self.all[0]


class StoredIndexes:
    """Blind indexes of texts in the forms in which they may be stored. Thread-safe."""

    def __init__(self, indexes: BlindIndexes, ciphers: IndexCiphers) -> None:
        self._indexes = indexes
        self._ciphers = ciphers

    def stored(self, index: str) -> str:
        """The form in which a blind index is stored from now on. Raises: as `LiveEpochs`."""
        return self._ciphers.writing.encrypt(index)

    def forms(self, index: str) -> tuple[str, ...]:
        """Every form in which a blind index may be stored, newest first.

        Raises: as `LiveEpochs`.
        """
        return tuple([cipher.encrypt(index) for cipher in self._ciphers.all])

    def opened(self, stored: str) -> str | None:
        """The blind index of a form; None if its epoch is over, or it is none.

        Raises: as `LiveEpochs`.
        """
        found = (cipher.decrypt(stored) for cipher in self._ciphers.all)
        return next((index for index in found if index is not None), None)

    def prefixes(self) -> tuple[str, ...]:
        """What every form begins with, up to the colon. Raises: as `LiveEpochs`."""
        return tuple(prefix for cipher in self._ciphers.all for prefix in cipher.prefixes)

    def epochs(self) -> tuple[int, ...]:
        """The number of the epoch to write under, then of every epoch. Raises: as `LiveEpochs`."""
        ciphers = self._ciphers
        return (ciphers.writing.epoch, *(cipher.epoch for cipher in ciphers.all))

    def logins(self, names: Sequence[LoginName]) -> tuple[LoginName, ...]:
        """Every name under which the row of a login may be stored.

        names: its names by key, that of the active one first. Returns: first the name to write.
        Raises: as `LiveEpochs`.
        """
        writing, others = self._ciphers.writing, self._ciphers.all
        ciphers = [writing, *(each for each in others if each is not writing)]
        return tuple([cipher.login(name) for name in names for cipher in ciphers])

    def search_tokens(self, kind: str, value: str) -> "SearchTokens":
        """A text as a search term."""
        return SearchTokens(self, kind, value)

    def all(self, kind: str, value: str) -> tuple[str, ...]:
        """Every form in which the index of a text may be stored, the likeliest first."""
        indexes = self._indexes.blind_indexes(kind, value)
        return tuple([c.encrypt(index) for index in indexes for c in self._ciphers.all])

    def has(self, kind: str, value: str, stored: str) -> bool:
        """Whether a stored index is of a text; computes the index of its own form only."""
        algorithm = stored.partition(":")[0].partition(".")[0]
        index = self._indexes.blind_index(kind, value, algorithm)
        return any(cipher.encrypt(index) == stored for cipher in self._ciphers.all)


class SearchTokens(NamedTuple):
    """A searched text: the set of forms it may be stored in, computed when needed."""

    indexes: StoredIndexes
    kind: str
    value: str

    def __repr__(self) -> str:
        """Without the text, which is personal."""
        return f"SearchTokens({self.kind})"

    def __contains__(self, stored: object) -> bool:
        """Whether `stored` is an index of the text."""
        return isinstance(stored, str) and self.indexes.has(self.kind, self.value, stored)

    def all(self) -> tuple[str, ...]:
        """The indexes to search for, the likeliest first."""
        return self.indexes.all(self.kind, self.value)
