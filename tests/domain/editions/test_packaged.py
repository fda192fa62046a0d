"""The first editions come with the program and never change: what was decided rests on them."""

from domain.documents.document_rules import DocumentRules
from domain.editions.contents import rules_of
from domain.editions.edition import CONTENT_BYTES_MAX, EditionKind, canonical_json
from domain.editions.packaged import packaged_editions
from domain.editions.posting import PostingRules
from domain.values.working_days import HolidayTable
from projections.refund_ledger.posting_rules import VAT_RATES
from tests.support.editions import packaged_calendar, packaged_document_rules

RELEASED = {
    "4-01-02-07-2021.1": "39053e138392ed04",
    "cn-2026.1": "48dafd7b4dc4856d",
    "documents-2026.1": "e020b4f7266ac2df",
    "fees-none": "3ba0f83228eea7dd",
    "general-G2018.1": "29587f3aa6d54349",
    "general-G2023.1": "1b0e8e4ff6efe83b",
    "posting-2026.1": "0fcb333f3920a1f4",
    "refund-2026.1": "27c2c63121275d2a",
    "retention-2026.1": "764c709efbfd4cc4",
}
"""Name -> the first 16 digits of its hash. A line never changes: a changed rule is adopted."""


def test_no_packaged_edition_changes():
    found = {e.edition: e.sha256[:16] for kind in EditionKind for e in packaged_editions(kind)}
    assert found == RELEASED


def test_every_packaged_edition_fits_into_an_event():
    for kind in EditionKind:
        for edition in packaged_editions(kind):
            assert len(canonical_json(edition.content)) < CONTENT_BYTES_MAX


def test_the_packaged_rules_are_those_that_hold_without_an_edition():
    (calendar,) = packaged_editions(EditionKind.CALENDAR)
    table = rules_of(calendar, HolidayTable)
    assert table.calendar(calendar.edition) == packaged_calendar()
    (documents,) = packaged_editions(EditionKind.DOCUMENTS)
    assert rules_of(documents, DocumentRules) == packaged_document_rules()


def test_the_packaged_edition_of_posting_has_the_rates_of_the_posting_rules():
    (posting,) = packaged_editions(EditionKind.POSTING)
    rates = rules_of(posting, PostingRules).vat_rate_bp
    assert [rates.certification_fee, rates.study_material] == [VAT_RATES[0][1]] * 2
