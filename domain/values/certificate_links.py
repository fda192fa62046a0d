"""The links printed on certificates: `/v/<ledger>-<kk><32 hex digits>`.

The digits are keyed, so that nobody can guess a link, and computed from what the certificate is,
so that no table has to hold them for ever. `kk` names the key: a link of a key that was retired
goes on opening its certificate. A link is read from the right, because a ledger's name may contain
hyphens. Reading order: LinkKeys, parse_link.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from domain.values.key_ids import symmetric_key_id

LINK_PATTERN = r"[a-z][a-z0-9-]{1,30}-[0-9a-z]{2}[0-9a-f]{32}"
"""The last part of a link's address."""

_PREFIX = b"certledger link v1\0"
_LINK = re.compile(LINK_PATTERN)
_DIGITS, _NAME = 32, 2


def key_name(key: bytes) -> str:
    """The two characters that name a link key: how its key id begins."""
    return symmetric_key_id("link", key)[:_NAME]


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """The keys of links, 32 bytes each. active: makes the links that are printed from now on.

    retired: their links go on opening certificates.
    """

    active: bytes = field(repr=False)
    retired: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        names = [key_name(key) for key in (self.active, *self.retired)]
        if len(set(names)) < len(names):
            raise ValueError("two link keys have the same name; make another one")

    def links(self, ledger: str, kind: str, number: str, version: int) -> tuple[str, ...]:
        """Every link that opens a version of a certificate; the one to print first."""
        return tuple(
            link_of(key, ledger, kind, number, version) for key in (self.active, *self.retired)
        )


def link_of(key: bytes, ledger: str, kind: str, number: str, version: int) -> str:
    """The link of one version of a certificate under one key, without `/v/`."""
    # Canonical JSON (RFC 8785), for all of these are ASCII.
    named = json.dumps([ledger, kind, number, version], separators=(",", ":")).encode()
    digits = hmac.digest(key, _PREFIX + named, hashlib.sha256).hex()[:_DIGITS]
    return f"{ledger}-{key_name(key)}{digits}"


class ParsedLink(NamedTuple):
    """The parts of a link. key: the name of its key."""

    ledger: str
    key: str
    digits: str


def parse_link(text: str) -> ParsedLink | None:
    """The parts of a link, read from the right; None for a text of another form."""
    if _LINK.fullmatch(text) is None:
        return None
    head, digits = text[:-_DIGITS], text[-_DIGITS:]
    return ParsedLink(head[: -_NAME - 1], head[-_NAME:], digits)
