"""Document types as data: codes of identity documents, formats and sizes of files (证件与资料规则).

The content of an edition of documents; `data/editions/documents.json` is the first one. Begin with
DocumentRules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.documents.kinds import MaterialKind
from domain.values.identity_documents import DocumentType, ReportCodeUnknown

FILE_BYTES_MAX = 10_485_760
"""10 MB, the most that any file may have: enough for a scan of several pages."""

MediaType = Literal["application/pdf", "image/jpeg", "image/png"]
"""The types that an uploaded file is inspected as."""


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdentityDocumentRule(_Rules):
    """One type of identity document. Source: source-document 3.1(1), 5.3."""

    type: DocumentType
    name: str = Field(min_length=1, max_length=60, description="as printed, such as 居民身份证")
    report_code: str | None = Field(
        pattern=r"^[0-9]{3}$",
        description="证件类型 of the national reporting sheet; null: not known, not reported",
    )


class MaterialRule(_Rules):
    """What files one kind of application document may be. Source: source-document 3.1(1)-(5)."""

    kind: MaterialKind
    media_types: tuple[MediaType, ...] = Field(min_length=1)
    bytes_max: int = Field(strict=True, ge=1, le=FILE_BYTES_MAX, description="bytes")


class DocumentRules(_Rules):
    """Every type of identity document and of application document, each once.

    Source: source-document 3.1(1)-(5), 5.3.
    """

    source: str = Field(min_length=1, max_length=2000, description="where it comes from")
    identity_documents: tuple[IdentityDocumentRule, ...]
    materials: tuple[MaterialRule, ...]
    photo_age_months_max: int = Field(
        strict=True, ge=1, le=120, description="近半年内: a photo is not older, months"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        types = [rule.type for rule in self.identity_documents]
        _ensure_each_once(tuple(DocumentType), types)
        _ensure_each_once(tuple(MaterialKind), [rule.kind for rule in self.materials])
        return self

    def material(self, kind: MaterialKind) -> MaterialRule:
        """The rule of a kind of application document."""
        return next(rule for rule in self.materials if rule.kind is kind)

    def identity_document(self, kind: DocumentType) -> IdentityDocumentRule:
        """The rule of a type of identity document."""
        return next(rule for rule in self.identity_documents if rule.type is kind)

    def report_code(self, kind: DocumentType) -> str:
        """The code of a document type in the national reporting sheet (证件类型), such as "201".

        Raises: ReportCodeUnknown if no code is known.
        Source: source-document 5.3
        """
        code = self.identity_document(kind).report_code
        if code is None:
            raise ReportCodeUnknown(document_type=kind)
        return code


def _ensure_each_once(wanted: Sequence[str], given: Sequence[str]) -> None:
    """Raises: ValueError."""
    for each in wanted:
        if given.count(each) != 1:
            raise ValueError(f"{each} must have exactly one rule")
