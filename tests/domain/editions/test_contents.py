"""What an edition of each kind holds, and what is refused before anybody confirms it.

Covers: domain/editions/contents.py, domain/editions/edition.py, domain/editions/fees.py,
domain/editions/retention.py, domain/editions/posting.py, domain/editions/refund_rules.py
"""

import hashlib
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.editions.contents import CONTENTS, check_edition, rules_of
from domain.editions.edition import (
    CONTENT_BYTES_MAX,
    EditionKind,
    EditionTooLarge,
    MalformedEdition,
    digest_of,
)
from domain.editions.fees import FeeTable
from domain.store.journal.envelope import canonical_json
from domain.values.primitives import Level
from domain.values.working_days import HolidayTable
from tests.support.editions import DECEMBER, calendar_2027, packaged_content

FEE = {
    "occupation": "4-01-02-07",
    "level": 4,
    "certification_fee_fen": 30_000,
    "study_material_fee_fen": 18_000,
}


def check(kind: EditionKind, valid_from: date = DECEMBER, **changed: Any) -> Any:
    return check_edition(kind, "next-1", valid_from, packaged_content(kind) | changed)


def refusal(kind: EditionKind, **changed: Any) -> dict[str, Any]:
    with pytest.raises(MalformedEdition) as refused:
        check(kind, **changed)
    assert refused.value.fields["kind"] == kind.value
    return refused.value.fields


@pytest.mark.parametrize("kind", list(EditionKind))
def test_the_packaged_content_of_every_kind_is_accepted_and_stays_the_same(kind):
    content = packaged_content(kind)
    if kind is EditionKind.ELIGIBILITY:
        content["version"] = 2
    found = check_edition(kind, "next-1", DECEMBER, content)
    assert found.content == content
    assert check_edition(kind, "next-1", DECEMBER, found.content) == found


@pytest.mark.parametrize("kind", list(EditionKind))
def test_a_field_that_no_rule_has_is_refused_with_its_place(kind):
    fields = refusal(kind, surprise=1)
    assert fields["place"] == "content.surprise"


@pytest.mark.parametrize("kind", list(EditionKind))
def test_an_empty_content_is_refused(kind):
    with pytest.raises(MalformedEdition, match="Field required"):
        check_edition(kind, "next-1", DECEMBER, {})


def test_the_hash_is_that_of_the_canonical_json_that_the_log_writes():
    """The domain has its own writer of canonical JSON, because it knows no store."""
    content = packaged_content(EditionKind.CALENDAR) | {"source": '国办 "2026" \\ \u2028\n\t\x1f'}
    whole = {"content": content, "edition": "x", "kind": "calendar", "valid_from": "2026-12-01"}
    expected = hashlib.sha256(canonical_json(whole)).hexdigest()
    assert digest_of(EditionKind.CALENDAR, "x", DECEMBER, content) == expected


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((EditionKind.POSTING, "x", DECEMBER, {"a": 1}), id="kind"),
        pytest.param((EditionKind.FEES, "y", DECEMBER, {"a": 1}), id="name"),
        pytest.param((EditionKind.FEES, "x", date(2026, 12, 2), {"a": 1}), id="first day"),
        pytest.param((EditionKind.FEES, "x", DECEMBER, {"a": 2}), id="content"),
    ],
)
def test_the_hash_covers_kind_name_first_day_and_content(other):
    assert digest_of(EditionKind.FEES, "x", DECEMBER, {"a": 1}) != digest_of(*other)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_whatever_else_is_proposed_is_refused_as_malformed(extra):
    with pytest.raises(MalformedEdition):
        check_edition(
            EditionKind.REFUND, "x", DECEMBER, {"after_enrolment": "none", **extra, "": 1}
        )


# --- sizes ----------------------------------------------------------------------------------------


def test_a_content_that_no_event_can_hold_is_refused_with_its_size():
    many = [FEE | {"occupation": f"4-01-02-{n:04d}"} for n in range(700)]
    with pytest.raises(EditionTooLarge) as refused:
        check(EditionKind.FEES, fees=many)
    assert refused.value.fields["limit_bytes"] == CONTENT_BYTES_MAX
    assert refused.value.fields["size_bytes"] > CONTENT_BYTES_MAX


def test_five_hundred_fees_fit():
    many = [FEE | {"occupation": f"4-01-02-{n:04d}"} for n in range(500)]
    assert len(json.dumps(check(EditionKind.FEES, fees=many).content)) < 65_000


# --- the calendar ---------------------------------------------------------------------------------


def test_next_years_calendar_is_read_as_a_table():
    proposal = calendar_2027()
    found = check_edition(proposal.kind, proposal.edition, proposal.valid_from, proposal.content)
    calendar = rules_of(found, HolidayTable).calendar(found.edition)
    assert calendar.edition == "cn-2027.1"
    assert not calendar.is_working_day(date(2027, 1, 1))
    assert calendar.is_working_day(date(2027, 1, 4))


def test_a_year_that_was_left_out_is_found():
    """Known through 2027, but without its holidays: every day of 2027 would count."""
    fields = refusal(EditionKind.CALENDAR, known_through="2027-12-31")
    assert fields["reason"] == "no holiday covers the statutory day 2027-01-01"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"makeup_workdays": ["2026-03-02"]}, "is no Saturday and no Sunday"),
        ({"makeup_workdays": ["2026-10-03"]}, "is a holiday and a make-up workday"),
        ({"makeup_workdays": ["2026-03-07", "2026-03-07"]}, "appears twice"),
        ({"makeup_workdays": ["2030-03-02"]}, "lies outside the table"),
        ({"fixed_statutory_days": ["13-01"]}, "pattern"),
        ({"known_through": "2018-01-01"}, "lies before begins_on"),
        ({"known_through": "2026-12-31T00:00:00.5"}, "date"),
    ],
)
def test_a_table_with_a_wrong_day_is_refused(changed, reason):
    assert reason in refusal(EditionKind.CALENDAR, **changed)["reason"]


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2026-06-10", "2026-06-09", "lasts from 1 to 31 days"),
        ("2026-06-10", "2026-09-09", "lasts from 1 to 31 days"),
        ("2026-10-07", "2026-10-08", "two holidays cover 2026-10-07"),
        ("2031-01-01", "2031-01-01", "lies outside the table"),
    ],
)
def test_a_wrong_holiday_is_refused(first, last, reason):
    known = packaged_content(EditionKind.CALENDAR)["holidays"]
    holidays = [*known, {"name": "假日", "first": first, "last": last}]
    assert reason in refusal(EditionKind.CALENDAR, holidays=holidays)["reason"]


@pytest.mark.parametrize(
    ("valid_from", "place"),
    [(date(2027, 1, 1), "content.known_through"), (date(2019, 6, 1), "content.begins_on")],
)
def test_a_calendar_reaches_from_a_year_before_it_holds_until_after(valid_from, place):
    content = packaged_content(EditionKind.CALENDAR)
    with pytest.raises(MalformedEdition) as refused:
        check_edition(EditionKind.CALENDAR, "next-1", valid_from, content)
    assert refused.value.fields["place"] == place


# --- fees, retention, documents, posting, refunds -------------------------------------------------


def test_a_table_of_fees_has_each_occupation_and_level_once():
    """Source: source-document 2.1-2.3."""
    assert "appears twice" in refusal(EditionKind.FEES, fees=[FEE, FEE])["reason"]
    table = rules_of(check(EditionKind.FEES, fees=[FEE]), FeeTable)
    assert table.fee_of("4-01-02-07", Level.INTERMEDIATE).study_material_fee_fen == 18_000
    assert table.fee_of("4-01-02-07", Level.SENIOR) is None
    assert table.fee_of("4-13-04-01", Level.INTERMEDIATE) is None


@pytest.mark.parametrize("amount", [-1, 1.5, "30000", True, 2**53])
def test_a_fee_is_whole_fen(amount):
    fields = refusal(EditionKind.FEES, fees=[FEE | {"certification_fee_fen": amount}])
    assert fields["place"] == "content.fees.0.certification_fee_fen"


def test_retention_has_one_rule_for_each_kind_of_record():
    rules = packaged_content(EditionKind.RETENTION)["rules"]
    missing = refusal(EditionKind.RETENTION, rules=rules[1:])
    assert "assessment_records must have exactly one rule" in missing["reason"]
    twice = refusal(EditionKind.RETENTION, rules=[*rules, rules[0]])
    assert "exactly one rule" in twice["reason"]
    repeated = [*rules[1:], rules[0] | {"classes": ["identity", "identity"]}]
    assert "names a class twice" in refusal(EditionKind.RETENTION, rules=repeated)["reason"]


def test_rules_of_documents_name_every_type_once():
    content = packaged_content(EditionKind.DOCUMENTS)
    fields = refusal(EditionKind.DOCUMENTS, identity_documents=content["identity_documents"][1:])
    assert "resident_id must have exactly one rule" in fields["reason"]
    fields = refusal(EditionKind.DOCUMENTS, materials=content["materials"][:-1])
    assert "training_certificate must have exactly one rule" in fields["reason"]


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (EditionKind.POSTING, {"certification_fee_earned": "enrolment_success"}),
        (EditionKind.POSTING, {"vat_rate_bp": {"certification_fee": 5001, "study_material": 0}}),
        (EditionKind.REFUND, {"after_enrolment": "no_session_follows"}),
    ],
)
def test_a_rule_that_the_program_cannot_apply_is_refused(kind, changed):
    """Adopted without an effect, it would say what does not happen."""
    refusal(kind, **changed)


def test_every_kind_has_a_content():
    assert set(CONTENTS) == set(EditionKind)
