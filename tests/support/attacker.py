"""An attacker who has the code and a copy of the database, and no key.

They know everything about a person but the document number, which is one of some candidates, and
look in the copy for a plain hash that fits one of them, or for the plain bytes themselves. Begin
with `numbers_named_by` and `holders`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, product
from pathlib import Path
from typing import Any

from tests.support.postgres import Database

_TABLES = """SELECT table_schema, table_name FROM information_schema.tables
WHERE table_schema IN ('certledger', 'views') AND table_type = 'BASE TABLE'"""

_ENCODED = re.compile(rb"[0-9A-Za-z+/_-]{16,}")
_ZEROS = re.compile(rb"\0{64,}")
_PREFIX = 6
"""Bytes of a hash that have to be equal: a shortened one tells as much, and in a UUID of version 5
no more are left as they were."""

_EARLIER = uuid.UUID("6f2b7c0e-6a0c-5d0e-9d56-8c1d6d1f2b11")
"""Namespace of the command ids of earlier versions, which were UUIDs of version 5."""

_RARE_HASHES: tuple[Callable[[bytes], Any], ...] = (
    *(hashlib.sha1, hashlib.md5, hashlib.sha512, hashlib.blake2b),
    lambda text: hashlib.sha1(_EARLIER.bytes + text),
    lambda text: hashlib.sha1(uuid.NAMESPACE_URL.bytes + text),
)
"""Tried on the likely spellings only; SHA-256 is tried on all."""


def dump(database: Database) -> dict[str, list[Any]]:
    """Every column of every table of the service: "schema.table.column" -> its values."""
    found: dict[str, list[Any]] = {}
    for schema, table in database.execute(_TABLES, user="postgres"):
        rows = database.execute(f'SELECT * FROM "{schema}"."{table}"', user="postgres")
        named = database.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            schema, table, user="postgres",
        )  # fmt: skip
        for place, (column,) in enumerate(named):
            found[f"{schema}.{table}.{column}"] = [row[place] for row in rows]
    return found


def holders(folder: Path, pieces: Iterable[bytes]) -> set[str]:
    """The files below a folder, a database's among them, that hold one of some pieces."""
    found, wanted = set(), list(pieces)
    for path in folder.rglob("*"):
        if path.is_file():
            content = _ZEROS.sub(b"\0", path.read_bytes())  # most of what a database preallocates
            found |= {str(path.relative_to(folder)) for piece in wanted if piece in content}
    return found


def hash_like(values: Iterable[Any]) -> set[bytes]:
    """The beginnings of all byte strings in the values that could be a hash, in any encoding."""
    found = set()
    for value in values:
        if value is None:
            continue
        plain = bytes(value) if isinstance(value, memoryview | bytes) else str(value).encode()
        for start in range(0, max(1, min(len(plain), 64) - _PREFIX + 1)):
            found.add(plain[start : start + _PREFIX])  # such as a hash after the id of its key
        for text in _ENCODED.findall(plain):
            found.update(each[:_PREFIX] for each in _decoded(text))
    return {each for each in found if len(each) == _PREFIX}


def _decoded(text: bytes) -> Iterator[bytes]:
    """A text read as hex and as base64, of both alphabets."""
    with suppress(binascii.Error):
        yield binascii.unhexlify(text.replace(b"-", b""))
    for alphabet in (None, b"-_"):
        with suppress(binascii.Error):
            yield base64.b64decode(text + b"=" * (-len(text) % 4), altchars=alphabet)


def bodies(person: dict[str, Any], number: str) -> Iterator[bytes]:
    """A person's registration in every spelling that a program could have hashed."""
    body = person | {"document_number": number}
    for sort, separators, ascii_only in product(
        (True, False), ((",", ":"), (", ", ": ")), (False, True)
    ):
        text = json.dumps(body, sort_keys=sort, separators=separators, ensure_ascii=ascii_only)
        yield text.encode()


def requests(ledger: str, path: str, body: bytes) -> Iterator[bytes]:
    """A request in every spelling that was ever hashed: with lengths, glued, the body alone."""
    address = f"/ledgers/{ledger}{path}".encode()
    parts = (b"POST", address, b"", body)
    with_lengths = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    yield with_lengths
    yield b"certledger request v1\0" + ledger.encode() + b"\0" + with_lengths
    for separator in (b"", b"\n", b"|", b" ", b"\0"):
        yield separator.join(parts)
    yield body
    yield b"RegisterPerson " + body
    yield b"RegisterPerson|" + body


def short_texts(person: dict[str, Any], number: str) -> Iterator[bytes]:
    """The number by itself, and as blind indexes and claims name it."""
    kind = person["document_type"]
    for text in (number, f"cn18:{number}", f"{kind}|{number}", f"{kind}:{number}"):
        for one in (text, f"{text}|{person['name']}", f"{person['name']}|{text}"):
            for prefix in ("", "document|"):
                yield f"{prefix}{one}".encode()


def plain_hashes(person: dict[str, Any], number: str, ledger: str) -> Iterator[bytes]:
    """Every plain hash of a person with this number."""
    canonical, *others = bodies(person, number)
    likely = [*short_texts(person, number), *requests(ledger, "/persons", canonical)]
    for text in likely:
        for plain in _RARE_HASHES:
            yield plain(text).digest()
    for text in chain(likely, *(requests(ledger, "/persons", body) for body in others)):
        yield hashlib.sha256(text).digest()


def numbers_named_by(
    copied: dict[str, list[Any]], person: dict[str, Any], numbers: Iterable[str], ledger: str
) -> dict[str, set[str]]:
    """The candidate numbers that a copy of a database names, each with the columns that do it.

    person: the registration without the number.
    """
    columns: dict[bytes, set[str]] = {}
    for column, values in copied.items():
        for each in hash_like(values):
            columns.setdefault(each, set()).add(column)
    found: dict[str, set[str]] = {}
    for number in numbers:
        for digest in plain_hashes(person, number, ledger):
            if digest[:_PREFIX] in columns:
                found.setdefault(number, set()).update(columns[digest[:_PREFIX]])
    return found
