"""The public card of a certificate: what its holder may show, and the hash that vouches for it.

A certificate's facts hold the hash only, under a salt that is sealed: nobody can guess a card from
it, and after an erasure nobody can tell whose it was. The card and its salt are given out together.
Reading order: canonical_card, card_sha256.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import TypedDict

SALT_BYTES = 32

_VERSION = 1
_PREFIX = b"certledger card v1\0"
_TAIL = 4


class Card(TypedDict):
    """What a card says. Absent is None; marks and days as text.

    document_number: in full; the card shows its last four characters. photo_sha256: of the photo
    that was handed in, 64 hex digits.
    """

    ledger: str
    kind: str
    number: str
    version: int
    name: str
    document_type: str
    document_number: str
    occupation: str
    occupation_name: str
    job_type: str | None
    level: int
    theory: str | None
    practical: str | None
    issuer_name: str
    organisation_name: str
    issued_on: date
    photo_sha256: str | None


def canonical_card(card: Card) -> bytes:
    """The card's bytes: canonical JSON (RFC 8785) with exactly these members. Source: 5.2, 5.3."""
    shown: dict[str, object] = {"v": _VERSION, **card}
    del shown["document_number"]
    shown["document_tail"] = card["document_number"][-_TAIL:]
    shown["issued_on"] = card["issued_on"].isoformat()
    # Member names are ASCII, and there is no float: this is the canonical form.
    return json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def card_sha256(card: bytes, salt: bytes) -> str:
    """The hash of a canonical card under its salt, 64 hex digits. salt: SALT_BYTES long."""
    return hashlib.sha256(_PREFIX + salt + card).hexdigest()
