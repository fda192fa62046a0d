"""A signature is accepted from the key that made it over this very message, and from no other."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.store.keys.key_signatures import ECDSA_P256, ED25519, SigningKey, is_signature, sign

MESSAGE = b"certledger key v1\0{}"
ED = [ed25519.Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in (1, 2)]
EC = [ec.derive_private_key(n, ec.SECP256R1()) for n in (1, 2)]
KEYS: dict[str, list[SigningKey]] = {ED25519: [*ED], ECDSA_P256: [*EC]}


def public(key: SigningKey) -> bytes:
    found = key.public_key()
    if isinstance(found, ed25519.Ed25519PublicKey):
        return found.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return found.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_signature_of_a_key_is_its_own(algorithm: str) -> None:
    key, other = KEYS[algorithm]
    made = sign(key, MESSAGE)
    assert len(made) == 64
    assert is_signature(algorithm, public(key), MESSAGE, made)
    assert not is_signature(algorithm, public(other), MESSAGE, made)
    assert not is_signature(algorithm, public(key), MESSAGE + b" ", made)
    assert not is_signature(algorithm, public(key), MESSAGE, bytes([made[0] ^ 1]) + made[1:])


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("broken", [b"", b"x", bytes(64), bytes(65), b"\xff" * 64])
def test_what_is_no_signature_and_no_key_is_refused(algorithm: str, broken: bytes) -> None:
    key = KEYS[algorithm][0]
    assert not is_signature(algorithm, public(key), MESSAGE, broken)
    assert not is_signature(algorithm, broken, MESSAGE, sign(key, MESSAGE))


def test_the_signature_of_another_algorithm_is_refused() -> None:
    assert not is_signature("hmac-sha256", public(ED[0]), MESSAGE, sign(ED[0], MESSAGE))
    assert not is_signature(ECDSA_P256, public(ED[0]), MESSAGE, sign(ED[0], MESSAGE))
    assert not is_signature(ED25519, public(EC[0]), MESSAGE, sign(EC[0], MESSAGE))


def test_the_published_examples_are_accepted() -> None:
    # RFC 8032, 7.1, TEST 2.
    public_key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    made = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert is_signature(ED25519, bytes.fromhex(public_key), b"\x72", bytes.fromhex(made))
    # RFC 7515, A.3.
    message = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
        b"Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    x, y = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    )
    made = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    point = b"\x04" + _decoded(x) + _decoded(y)
    assert is_signature(ECDSA_P256, point, message, _decoded(made))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
