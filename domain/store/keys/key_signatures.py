"""Signatures of keys, checked with the public key as a fact names it: base64 of raw bytes.

`ed25519` (RFC 8032): 32 bytes, a signature has 64. `ecdsa-p256`, with SHA-256: the uncompressed
point, 65 bytes; a signature is r and s of 32 bytes each, as in ES256 (RFC 7518, 3.4).
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

ED25519, ECDSA_P256 = "ed25519", "ecdsa-p256"

_HALF = 32  # bytes of r and of s

SigningKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def sign(key: SigningKey, message: bytes) -> bytes:
    """The signature of a key over a message, 64 bytes."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(_HALF) + s.to_bytes(_HALF)


def is_signature(algorithm: str, public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a key made a signature; False also for an unknown algorithm or a malformed key."""
    try:
        if algorithm == ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        elif algorithm == ECDSA_P256 and len(signature) == 2 * _HALF:
            halves = (int.from_bytes(half) for half in (signature[:_HALF], signature[_HALF:]))
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
            point.verify(encode_dss_signature(*halves), message, ec.ECDSA(SHA256()))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
