"""Epochs without a database or files, for tests of what is stored under them."""

from datetime import UTC, datetime

from domain.store.privacy.epoch_keys import Epoch, EpochName
from domain.store.privacy.index_ciphers import GivenIndexCiphers, index_cipher_key


def epoch(number: int = 1, key: bytes = b"e" * 32) -> Epoch:
    """An epoch with a key that a test knows."""
    return Epoch(EpochName(number, f"{number:08x}"), datetime(2027, 1, 1, tzinfo=UTC), key)


class GivenEpochs:
    """The epochs that a test names, newest first; the last is written under."""

    def __init__(self, *epochs: Epoch) -> None:
        self.epochs = epochs or (epoch(),)

    def writing_key(self) -> tuple[int, bytes]:
        return self.epochs[-1].name.number, self.epochs[-1].key

    def key_of(self, number: int) -> bytes | None:
        return next((each.key for each in self.epochs if each.name.number == number), None)

    def newest(self) -> int:
        return self.epochs[0].name.number

    def ciphers(self) -> GivenIndexCiphers:
        """Those of these epochs, the one to write under first."""
        return GivenIndexCiphers([index_cipher_key(each) for each in reversed(self.epochs)])
