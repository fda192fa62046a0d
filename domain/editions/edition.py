"""An edition: rules of one kind that hold from a day on, with the hash that two persons agree on.

Reading order: EditionKind, Edition, `digest_of`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from domain.errors import LedgerError

CONTENT_BYTES_MAX = 60_000
"""Size limit of a content in canonical JSON, bytes. The event that holds it takes 65,535 at most
(an entry of the log has two bytes for its length), and the rest of an envelope less than 1,500."""


class MalformedEdition(LedgerError):
    """Edition of {kind} is malformed at {place}: {reason}."""

    code = "malformed_edition"


class EditionTooLarge(LedgerError):
    """An edition of {kind} takes {limit_bytes} bytes at most, not {size_bytes}.

    A calendar may leave old years out, a table of fees what is no longer offered; each set of
    eligibility rules is an edition of its own.
    """

    code = "edition_too_large"


class EditionKind(StrEnum):
    """What an edition rules. The values are stored in facts and never change."""

    CALENDAR = "calendar"  # 节假日与调休
    ELIGIBILITY = "eligibility"  # 申报条件, one set of rules an edition
    DOCUMENTS = "documents"  # 证件类型与报名资料
    FEES = "fees"  # 收费标准
    RETENTION = "retention"  # 保存期限
    POSTING = "posting"  # 入账规则
    REFUND = "refund"  # 退费规则


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of one kind.

    edition: its name, unique within the kind. valid_from: the first day on which it holds, in
    Asia/Shanghai. content: JSON without floats, as its kind defines it. sha256: see `digest_of`.
    """

    kind: EditionKind
    edition: str
    valid_from: date
    content: dict[str, Any] = field(compare=False, repr=False)
    sha256: str

    @property
    def scope(self) -> str:
        """What the edition rules within its kind; "" where one edition rules all of it.

        Eligibility: occupation and edition of the standard, so that a new set of rules for one
        occupation leaves the others alone.
        """
        if self.kind is not EditionKind.ELIGIBILITY:
            return ""
        return f"{self.content['occupation']}-{self.content['edition']}"


def canonical_json(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of a value without floats and with ASCII keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def digest_of(kind: EditionKind, edition: str, valid_from: date, content: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, over the canonical JSON of {content, edition, kind, valid_from}."""
    whole = {
        "content": content,
        "edition": edition,
        "kind": kind.value,
        "valid_from": valid_from.isoformat(),
    }
    return hashlib.sha256(canonical_json(whole)).hexdigest()


def make_edition(
    kind: EditionKind, edition: str, valid_from: date, content: dict[str, Any]
) -> Edition:
    """An edition with its hash."""
    digest = digest_of(kind, edition, valid_from, content)
    return Edition(kind, edition, valid_from, content, digest)
