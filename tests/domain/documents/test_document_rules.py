"""Document types as data: report codes, formats, sizes.

Covers: domain/documents/document_rules.py, domain/documents/kinds.py
"""

import pytest

from domain.documents.document_rules import DocumentRules
from domain.documents.kinds import MaterialKind
from domain.values.identity_documents import DocumentType, ReportCodeUnknown
from tests.support.editions import packaged_document_rules

RULES = packaged_document_rules()


def test_only_the_confirmed_reporting_code_is_packaged():
    """Source: source-document 5.3."""
    assert RULES.report_code(DocumentType.RESIDENT_ID) == "201"
    for kind in set(DocumentType) - {DocumentType.RESIDENT_ID}:
        with pytest.raises(ReportCodeUnknown):
            RULES.report_code(kind)


def test_an_edition_sets_a_code_that_the_province_gave():
    content = RULES.model_dump(mode="json")
    row = next(row for row in content["identity_documents"] if row["type"] == "passport")
    row["report_code"] = "299"
    assert DocumentRules.model_validate(content).report_code(DocumentType.PASSPORT) == "299"


@pytest.mark.parametrize("kind", list(MaterialKind))
def test_a_photo_is_a_picture_and_every_other_document_may_be_a_pdf(kind):
    """Source: source-document 3.1(1)-(5)."""
    allowed = RULES.material(kind).media_types
    assert ("application/pdf" in allowed) == (kind is not MaterialKind.PHOTO)
    assert {"image/jpeg", "image/png"} <= set(allowed)
    assert kind.chinese_name


def test_every_identity_document_has_its_printed_name():
    names = {RULES.identity_document(kind).name for kind in DocumentType}
    assert len(names) == len(DocumentType)
