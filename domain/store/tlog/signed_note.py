"""Signed notes (C2SP signed-note v1.0.0) and the checkpoints written in them (tlog-checkpoint).

A note is text that ends in a newline, an empty line, and signature lines. To trust it, a verifier
needs the signer's vkey from another source. Reading order: Signer, Verifier, open_note, Checkpoint.
"""

import base64
import binascii
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.store.errors import BadNote

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SEED_BYTES = 32
_SIGNATURE_START = "\u2014 "


@dataclass(frozen=True, slots=True)
class Verifier:
    """A name and its Ed25519 public key, written as a vkey `name+hex(id)+base64(0x01 ‖ key)`."""

    name: str
    public_key: bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> "Verifier":
        """Read a vkey. Raises: BadNote if it is malformed or its id does not fit its key."""
        parts = vkey.strip().split("+", 2)
        if len(parts) != 3:
            raise BadNote(reason="a vkey has the form name+id+key")
        name, key_id, encoded = parts
        key = _decoded(encoded)
        if key[:1] != _ED25519 or len(key) != 1 + 32:
            raise BadNote(reason="the vkey is not one of Ed25519")
        verifier = cls(_checked_name(name), key[1:])
        if verifier.key_id.hex() != key_id:
            raise BadNote(reason="the vkey's id does not belong to its key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """Four bytes that identify the key in a signature line."""
        data = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(data).digest()[:_KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The text to publish."""
        encoded = base64.b64encode(_ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether this key signed the text, including its final newline."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer:
    """A name and its Ed25519 private key. The name of a log's key is the log's origin."""

    def __init__(self, name: str, seed: bytes) -> None:
        """seed: the 32 private bytes. Raises: BadNote for a name no note can carry."""
        if len(seed) != _SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {_SEED_BYTES} bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.verifier = Verifier(_checked_name(name), public)

    def signature_line(self, text: str) -> str:
        """One signature line over the text, newline included."""
        signature = self._key.sign(text.encode())
        encoded = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{_SIGNATURE_START}{self.verifier.name} {encoded}\n"


def sign_note(text: str, *signers: Signer) -> str:
    """The text with a signature line of each signer. Raises: BadNote if it cannot be a note."""
    _check_text(text)
    return text + "\n" + "".join(signer.signature_line(text) for signer in signers)


def open_note(note: str, verifiers: Sequence[Verifier]) -> tuple[str, tuple[Verifier, ...]]:
    """The text of a note and which of the given keys signed it, at least one.

    Ignores signatures of other keys; an invalid signature of a given key rejects the note.
    Raises: BadNote.
    """
    text, lines = split_note(note)
    signed: list[Verifier] = []
    for name, key_id, signature in lines:
        for verifier in verifiers:
            if verifier.name == name and verifier.key_id == key_id:
                if not verifier.verifies(text, signature):
                    raise BadNote(reason=f"the signature of {name} is not over this text")
                if verifier not in signed:
                    signed.append(verifier)
    if not signed:
        raise BadNote(reason="no trusted key has signed it")
    return text, tuple(signed)


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text, and (name, key id, signature) of every signature line, none of them verified.

    Raises: BadNote if it is malformed.
    """
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise BadNote(reason="it has no signatures")
    text += "\n"
    _check_text(text)
    return text, [_signature_of(line) for line in signatures[:-1].split("\n")]


def _signature_of(line: str) -> tuple[str, bytes, bytes]:
    if not line.startswith(_SIGNATURE_START):
        raise BadNote(reason="a signature line does not begin with a dash and a space")
    name, _, encoded = line[len(_SIGNATURE_START) :].partition(" ")
    body = _decoded(encoded)
    if len(body) <= _KEY_ID_BYTES:
        raise BadNote(reason="a signature is too short")
    return _checked_name(name), body[:_KEY_ID_BYTES], body[_KEY_ID_BYTES:]


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise BadNote(reason="the text does not end in a newline")
    if any(char < " " and char != "\n" for char in text):
        raise BadNote(reason="the text holds a control character")


def _checked_name(name: str) -> str:
    if not name or "+" in name or any(_is_space(char) for char in name):
        raise BadNote(reason=f"{name!r} cannot be the name of a key")
    return name


def _is_space(char: str) -> bool:
    return char.isspace() or unicodedata.category(char).startswith("Z")


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote(reason="it holds something that is not base64") from None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its first `size` leaves have this root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The body of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Parse the body of a note; extension lines are ignored. Raises: BadNote."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise BadNote(reason="a checkpoint has an origin, a size and a root")
        origin, size, encoded = lines[:3]
        if not (size.isascii() and size.isdigit()) or (size != "0" and size.startswith("0")):
            raise BadNote(reason="the size is not a decimal number")
        root = _decoded(encoded)
        if len(root) != 32:
            raise BadNote(reason="the root does not have 32 bytes")
        return cls(origin, int(size), root)
