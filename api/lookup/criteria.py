"""What a public lookup searches by, and what it answers with.

There is one policy for every way in: `POST /lookup` through the framework, the same request on the
fast path, and the form of the lookup page. Each hands what was typed to `LookupCriteria.parse`,
searches the registry for `keys`, keeps the rows that are `matching`, and only renders the result:

* too few fields, or a malformed one: refused, nothing is searched and nothing is charged;
* a hint: the number cannot be one of ours, or nothing was found and the document number has a slip;
* found, or not found. "No such number" and "wrong pair" are the same result of the same query.

A fault or a hint depends on what was typed alone, never on the registry. Personal data arrive in
the body only. Reading order: LookupBody, LookupCriteria, the parsers, the answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from api.errors.request import LookupNeedsTwo
from api.lookup.coalescing import RequestCoalescer, Row
from api.lookup.registry import RegistryClient, SearchTokens, TokenFactory
from domain.decision import NotFound
from domain.errors import LedgerError
from domain.values.certificate_numbers import (
    InvalidCertificateNumber,
    NumberKind,
    OmcNumber,
    classify_number,
    normalise_number,
)
from domain.values.identity_documents import (
    DocumentType,
    InvalidIdentityDocument,
    Refusal,
    validate_document,
)
from domain.values.person_names import InvalidName, normalise_name
from domain.values.primitives import Level
from domain.values.working_days import shanghai_date
from projections.certificate_registry import public_record
from projections.certificate_registry import queries as registry_queries

LEVEL_NAMES = {level.value: level.chinese_name for level in Level}

FIELD_CHARS_MAX = 80
"""Characters of a field as it is typed, with hyphens and inner spaces, without outer spaces."""

FieldName = Literal["number", "name", "document_number"]


class LookupBody(BaseModel):
    """Any two of the three; all that are given must agree. A blank field counts as not given."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        json_schema_extra={
            "example": {"certificate_number": "S000033000123264000001", "name": "张三"}
        },
    )
    certificate_number: str | None = Field(
        default=None, max_length=FIELD_CHARS_MAX, description="证书编号"
    )
    name: str | None = Field(default=None, max_length=FIELD_CHARS_MAX, description="姓名")
    document_number: str | None = Field(
        default=None, max_length=FIELD_CHARS_MAX, description="证件号码"
    )
    document_type: DocumentType | None = Field(
        default=None,
        description="证件类型 of document_number; without it every type that fits is searched",
    )
    document_country: str | None = Field(
        default=None,
        max_length=10,
        description="签发国, ISO 3166 alpha-3, of a passport; without it those of every country",
    )


class ParsedLookup(NamedTuple):
    """The fields of a valid `LookupBody`, where the fast path read them without the model."""

    certificate_number: str
    name: str
    document_number: str | None = None
    document_type: DocumentType | None = None
    document_country: str | None = None


_PLAIN_BODY = re.compile(
    rb'\{ ?"certificate_number": ?"([0-9A-Za-z-]{1,60})", ?'
    rb'"name": ?"((?:[ !#-\[\]-~\x80-\xff]|\\u(?:[4-9][0-9a-f]{3}|00b7)){1,480})" ?\}'
)


def parse_plain_body(body: bytes) -> ParsedLookup | None:
    """The fields of a body that has a number and a name only, as most have; None for any other.

    A regular expression reads it several times as fast as the JSON parser and the model.
    """
    found = _PLAIN_BODY.fullmatch(body)
    if found is None:
        return None
    try:
        name = orjson.loads(b'"%b"' % found[2])
    except orjson.JSONDecodeError:  # not UTF-8
        return None
    return ParsedLookup(found[1].decode(), name) if len(name) <= FIELD_CHARS_MAX else None


def read_body(body: bytes, read_json: Callable[[bytes], Any]) -> LookupBody | ParsedLookup:
    """The fields of a lookup's JSON body: parsed, and validated by `LookupBody`.

    read_json: the strict JSON parser of the HTTP layer.
    Raises: what read_json raises; pydantic.ValidationError.
    """
    return parse_plain_body(body) or LookupBody.model_validate(read_json(body))


class Hint(StrEnum):
    """What the form of the typed text suggests to a person whose lookup finds nothing."""

    OBSOLETE_DRAFT = "obsolete_draft"  # the number follows a draft that never came into force
    QUALIFICATION = "qualification"  # 职业资格证书: another registry has it
    QUALIFICATION_SHANGHAI = "qualification_shanghai"
    UNKNOWN = "unknown"  # no certificate number at all, or a slip that its check character shows
    DOCUMENT_NUMBER = "document_number"  # the layout of a citizen's number, but not a valid one


# --- criteria -------------------------------------------------------------------------------------


@dataclass
class InvalidLookup(Exception):
    """Nothing can be searched.

    faults: field -> its refusal, in the order of the fields. hint: about a field without fault.
    """

    too_few: bool
    faults: dict[FieldName, LedgerError]
    hint: Hint | None = None

    @property
    def refusal(self) -> LedgerError:
        """The first fault, for an answer that has room for one."""
        return LookupNeedsTwo() if self.too_few else next(iter(self.faults.values()))


class AnyOf(NamedTuple):
    """One document number as each type of document it may belong to."""

    readings: tuple[SearchTokens, ...]

    def __repr__(self) -> str:
        """Without the numbers, which are personal data."""
        return f"AnyOf({len(self.readings)})"

    def __contains__(self, stored: object) -> bool:
        """Whether one of the readings is stored under this index."""
        return any(stored in reading for reading in self.readings)

    def all(self) -> tuple[str, ...]:
        """The indexes of all readings."""
        return tuple([index for reading in self.readings for index in reading.all()])


class LookupCriteria(NamedTuple):
    """What to search by; None for a field that was not given.

    number: as the registry stores it. keys: to query by; none where the number cannot be one of
    ours. hint: see `Hint`.
    """

    number: str | None
    names: SearchTokens | None
    documents: AnyOf | None
    keys: tuple[str, ...]
    hint: Hint | None

    @classmethod
    def parse(
        cls,
        search_tokens: TokenFactory,
        number: str | None,
        name: str | None,
        document_number: str | None,
        document_type: DocumentType | None = None,
        document_country: str | None = None,
    ) -> LookupCriteria:
        """Read the fields as typed; a blank one counts as not given.

        document_type: None searches the number as every type of document whose rule accepts it.
        document_country: of a passport; None finds those of every country.
        Raises: InvalidLookup with every fault.
        """
        number, name, document_number = _given(number), _given(name), _given(document_number)
        faults: dict[FieldName, LedgerError] = {}
        hint: Hint | None = None
        names: SearchTokens | None = None
        documents: AnyOf | None = None
        if number is not None:
            try:
                number, hint = _parse_number(number)
            except InvalidCertificateNumber as fault:
                faults["number"] = fault
        if name is not None:
            try:
                names = search_tokens("name", _parse_name(name))
            except InvalidName as fault:
                faults["name"] = fault
        if document_number is not None:
            try:
                texts, document_hint = _parse_document(
                    document_number, document_type, _given(document_country)
                )
                documents = AnyOf(tuple([search_tokens("document", text) for text in texts]))
                hint = hint or document_hint
            except InvalidIdentityDocument as fault:
                faults["document_number"] = fault
        too_few = [number, name, document_number].count(None) > 1
        if faults or too_few:
            raise InvalidLookup(too_few, faults, hint)
        return cls(number, names, documents, _keys(number, documents, hint), hint)

    @classmethod
    def of(cls, search_tokens: TokenFactory, body: LookupBody | ParsedLookup) -> LookupCriteria:
        """The criteria of a JSON body.

        Raises: LookupNeedsTwo, InvalidName, InvalidIdentityDocument; the first in this order.
        """
        try:
            return cls.parse(
                search_tokens,
                body.certificate_number,
                body.name,
                body.document_number,
                body.document_type,
                body.document_country,
            )
        except InvalidLookup as invalid:
            raise invalid.refusal from None

    def query(self, registry: RegistryClient) -> RequestCoalescer:
        """The query that takes the keys."""
        return registry.by_document if self.number is None else registry.by_number

    def matching(self, rows: Iterable[Row]) -> list[str]:
        """The stored public records of the certificates that agree with every given field."""
        return registry_queries.matching(
            map(registry_queries.FoundCertificate._make, rows),
            number=self.number,
            names=self.names,
            documents=self.documents,
        )

    def is_miss(self, found: list[Any]) -> bool:
        """Whether to charge a miss: it was searched, so it may have been a guess."""
        return not found and bool(self.keys)

    def result(self, records: list[str]) -> bytes:
        """The JSON answer with these certificates."""
        hint = None if records else self.hint
        return orjson.dumps({"certificates": list(map(_certificate, records)), "hint": hint})


def _given(typed: str | None) -> str | None:
    """A field without spaces around it; None for a blank one."""
    return (typed and typed.strip()) or None


def _keys(number: str | None, documents: AnyOf | None, hint: Hint | None) -> tuple[str, ...]:
    if hint is not None and hint is not Hint.DOCUMENT_NUMBER:
        return ()
    if number is not None:
        return (number,)
    return () if documents is None else documents.all()


_OURS = (NumberKind.NATIONAL, NumberKind.NATIONAL_SENIOR, NumberKind.OMC)


def _parse_number(typed: str) -> tuple[str, Hint | None]:
    """A number as the registry stores it, and what it is if it cannot be one of ours.

    Raises: InvalidCertificateNumber for a text that is too long.
    """
    if len(typed) > FIELD_CHARS_MAX:
        raise InvalidCertificateNumber(reason="too_long")
    number = normalise_number(typed)
    kind = classify_number(number)
    if kind is NumberKind.OMC:
        try:
            return str(OmcNumber.parse(number)), None
        except InvalidCertificateNumber:
            return number, Hint.UNKNOWN
    return number, None if kind in _OURS else Hint(kind.value)


def _parse_name(typed: str) -> str:
    """A name as it is indexed. Raises: InvalidName."""
    if len(typed) > FIELD_CHARS_MAX:
        raise InvalidName(reason="too_long")
    return normalise_name(typed)


_CITIZEN_LAYOUT = (
    DocumentType.RESIDENT_ID,
    DocumentType.HMT_RESIDENCE_PERMIT,
    DocumentType.FOREIGN_PERMANENT_RESIDENT_ID,
)
"""Types whose rules recognise the 18-character layout; between them they divide it up."""


def _parse_document(
    typed: str, kind: DocumentType | None, country: str | None
) -> tuple[tuple[str, ...], Hint | None]:
    """A document number as it is indexed, once for each class of number it may be of.

    country: names a passport if there is no type.
    Returns: also a hint where it has the layout of a citizen's number and none of the types with
        that layout accepts it. It is searched all the same, because other types have no layout.
    Raises: InvalidIdentityDocument if the given type, or every type, refuses it.
    """
    if len(typed) > FIELD_CHARS_MAX:
        raise InvalidIdentityDocument(
            document_type=kind or DocumentType.RESIDENT_ID, reason=Refusal.WRONG_SHAPE
        )
    today = shanghai_date(datetime.now(UTC))
    if country is not None and kind is None:
        kind = DocumentType.PASSPORT
    if kind is not None:
        return (_document_text(kind, typed, today, country),), None
    texts: dict[str, None] = {}
    refusals: dict[DocumentType, InvalidIdentityDocument] = {}
    for each in DocumentType:
        try:
            texts[_document_text(each, typed, today)] = None
        except InvalidIdentityDocument as refusal:
            refusals[each] = refusal
    if not texts:
        raise refusals[DocumentType.RESIDENT_ID]
    reasons = {refusals[each].reason for each in _CITIZEN_LAYOUT if each in refusals}
    is_slip = all(each in refusals for each in _CITIZEN_LAYOUT) and not reasons <= {
        Refusal.WRONG_SHAPE,
        Refusal.BELONGS_TO_OTHER_TYPE,
    }
    return tuple(texts), Hint.DOCUMENT_NUMBER if is_slip else None


def document_text(kind: DocumentType, number: str, country: str | None) -> str:
    """The text of a document that is indexed. country: of a passport, which needs one.

    Raises: InvalidIdentityDocument.
    """
    if kind is DocumentType.PASSPORT and country is None:
        raise InvalidIdentityDocument(document_type=kind, reason=Refusal.COUNTRY_MISSING)
    return _document_text(kind, number, shanghai_date(datetime.now(UTC)), country)


def _document_text(kind: DocumentType, number: str, today: date, country: str | None = None) -> str:
    return validate_document(kind, number, today, country=country).same_person_key


# --- answers --------------------------------------------------------------------------------------


class CertificateFound(BaseModel):
    """One certificate as everybody may see it."""

    ledger: str
    kind: str = Field(description="national 职业技能等级证书, omc 巨量认证证书")
    number: str
    masked_name: str | None
    masked_number: str | None
    document_type: str | None
    occupation: str
    occupation_name: str
    edition: str
    level: int
    level_name: str
    job_type: str | None
    theory: str | None
    practical: str | None
    issued_on: date | None
    organisation_name: str | None = Field(description="评价机构")
    issuer_name: str | None = Field(description="发证机构")
    progress: str
    seen_province_on: date | None
    seen_nation_on: date | None
    standing: str = Field(description="valid, suspended, revoked")
    reason_class: str | None = Field(description="why it was revoked")
    version: int
    reissued_on: date | None
    current_since: datetime
    replaced: bool | None = Field(default=None, description="the link is of an older version")


class LookupResult(BaseModel):
    """What was found. hint depends on the form of what was typed, never on the registry."""

    certificates: list[CertificateFound]
    hint: str | None = Field(
        default=None,
        description="obsolete_draft, qualification, qualification_shanghai, unknown; "
        "document_number where nothing was found and it is no valid citizen's number",
    )


def _certificate(record: str) -> dict[str, Any]:
    """A stored public record as the API shows it."""
    shown = public_record.decode(record)
    shown["level_name"] = LEVEL_NAMES[shown["level"]]
    return shown


def no_such_link() -> NotFound:
    """An unknown link. Its token is the holder's secret, so the answer does not repeat it."""
    return NotFound(what="certificate", id="with this link")


def link_result(row: Row) -> tuple[bytes, str]:
    """The JSON answer to the link of a certificate, and its entity tag."""
    _, record, replaced, _ = row  # a LinkedCertificate
    shown = _certificate(record)
    shown["replaced"] = replaced
    body = orjson.dumps(shown)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
