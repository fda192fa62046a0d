"""Multipart forms, parsed in memory on the event loop.

The middleware has bounded the body already, so a form fits into memory; the framework's own form
parser would spool larger files to disk through its thread pool.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.errors.request import MalformedMultipart, UploadMissing
from api.http.canonical_request import canonical_form
from api.http.command_route import CommandRequest
from api.http.routing import MULTIPART

PARTS_MAX = 20
NAME_LENGTH_MAX = 200


class _InMemory(MultiPartParser):
    spool_max_size = 2**31  # bytes: more than any body that the middleware accepts


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file. name: as the client named it, without its folder; personal, never logged."""

    field: str
    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A parsed form: its texts and files by field."""

    texts: dict[str, str]
    files: dict[str, UploadedFile]

    @property
    def canonical(self) -> bytes:
        """The canonical bytes of the form, for its request."""
        files = ((f.field, f.name, f.data) for f in self.files.values())
        return canonical_form(self.texts, files)

    def file(self, field: str) -> UploadedFile:
        """The file of a field. Raises: UploadMissing."""
        if field not in self.files:
            raise UploadMissing(field=field)
        return self.files[field]


async def read_form(request: CommandRequest) -> Form:
    """The multipart form of a request. Raises: MalformedMultipart."""

    async def body() -> AsyncGenerator[bytes, None]:
        yield request.body

    headers = Headers({"content-type": request.headers.get("content-type") or ""})
    parser = _InMemory(headers, body(), max_files=PARTS_MAX, max_fields=PARTS_MAX)
    try:
        parsed = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError):
        raise MalformedMultipart() from None
    try:
        return _form_of(parsed)
    finally:
        await parsed.close()


def _form_of(parsed: FormData) -> Form:
    """Texts and files of a parsed form. Raises: MalformedMultipart for a repeated field."""
    form = Form({}, {})
    for name, value in parsed.multi_items():
        if name in form.texts or name in form.files:
            raise MalformedMultipart()
        if isinstance(value, UploadFile):
            form.files[name] = UploadedFile(
                name,
                (value.filename or "").replace("\\", "/").rpartition("/")[2],
                value.content_type or "application/octet-stream",
                value.file.read(),
            )
        else:
            form.texts[name] = value
    return form


def form_schema(
    properties: dict[str, Any], required: list[str], file_types: str = "*/*"
) -> dict[str, Any]:
    """OpenAPI `requestBody` of a form with one field `file`."""
    file = {"type": "string", "format": "binary", "description": f"文件 · {file_types}"}
    schema = {
        "type": "object",
        "properties": {"file": file, **properties},
        "required": ["file", *required],
    }
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}
