"""The only table from an error code to its HTTP status, and the body of an error response.

409 means that the current state forbids the request, 422 that the request breaks a rule, 503 that
the request is correct and may be sent again. With any status above 399 nothing was recorded, unless
the text says otherwise. Every body is `application/problem+json` (RFC 9457). The texts are in
`errors/problem_texts.json`. Reading order: `STATUS`, `Problem`, `problem_of`, `problem_response`.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.errors.request import InternalError
from domain.errors import LedgerError

PROBLEM = "application/problem+json"
RETRY_AFTER_S = 1
"""`Retry-After` of a 503, seconds."""

_BY_STATUS: dict[int, str] = {
    400: """
        as_of_invalid bad_request control_character cursor_invalid idempotency_key_malformed
        idempotency_key_missing json_key_twice json_too_deep malformed_json malformed_multipart
        occurred_at_malformed unknown_parameter
    """,
    401: "token_invalid token_missing",
    403: """
        backfill_not_allowed ledger_not_in_token not_your_own own_application own_registration
        reviewed_before
        role_not_allowed second_person_needed wrong_reviewer
    """,
    404: "ledger_not_open no_organisation not_found route_not_found unknown_blob unknown_ledger",
    405: "method_not_allowed",
    409: """
        already_exists already_refunded already_seated already_verified application_not_open
        erasure_not_confirmed findings_changed
        application_still_open certificate_already_numbered certificate_out_of_order
        claim_taken document_taken documents_closed documents_differ issuer_url_unchanged
        item_used_up key_never_replaced ledger_already_open not_enrolled not_in_this_ledger not_paid
        not_yet_payable nothing_to_publish
        idempotency_key_expired
        notice_closed notice_end_known notice_end_provisional notice_over notice_running
        numbered_already objections_open only_key other_origin payment_first
        person_has_login person_reviewed person_still_needed registration_closed
        registration_in_use registration_not_contested registration_unsettled refund_out_of_order
        request_in_progress result_not_final review_out_of_order round_changed
        score_already_recorded score_missing
        scores_not_verified seat_taken seen_already serial_exhausted series_is_handed_out
        session_full session_not_held session_over site_code_taken stale_stream
        too_many_rounds wrong_provider_refund wrong_report
    """,
    410: "person_erased",
    413: "body_too_large edition_too_large envelope_too_large table_too_large upload_too_large",
    415: "media_type_unsupported table_type_unknown upload_type_differs upload_type_unknown",
    422: """
        assessment_day_invalid calendar_does_not_reach component_missing document_faulty
        document_problem documents_incomplete enrolment_proof_not_accepted field_invalid
        file_empty file_problem file_too_large foreign_number idempotency_key_reused
        import_file_fault import_stopped in_the_future invalid_certificate_number
        invalid_identity_document invalid_ledger_name invalid_name invalid_request
        job_type_not_offered key_id_differs key_is_secret key_not_signed ledger_error
        level_not_in_rule_set lookup_needs_two malformed_edition media_type_not_allowed
        missing_material no_fee_schedule not_passed nothing_to_refund notice_too_late
        obsolete_draft_number occurred_in_future occurred_too_early old_qualification_number
        outcome_incomplete pdf_active pdf_encrypted pdf_malformed pdf_text_too_long
        pdf_text_unprintable photo_background_not_white photo_background_uneven
        photo_date_unknown photo_extension_not_allowed photo_name_malformed
        photo_name_number_differs photo_name_person_differs photo_not_in_colour
        photo_not_two_inch photo_taken_later photo_too_few_pixels photo_too_large
        photo_too_many_pixels photo_too_old picture_animated picture_not_rgb
        picture_too_many_pixels picture_transparent picture_unreadable
        qualification_in_future reason_missing rejection_needs_reason report_code_unknown
        report_file_unreadable report_row_missing report_row_repeated report_size_wrong
        reserved_ledger_name room_twice search_needs_name
        row_not_in_notice row_twice same_file_twice score_differs score_unchanged
        subjects_overlap table_has_bad_cells table_header_wrong table_too_many_columns
        table_too_many_rows table_unreadable too_early too_many_rows unknown_fee_line
        unknown_rule_set upload_empty upload_has_foreign_content upload_missing
        used_by_sitting wrong_amount wrong_session year_differs year_impossible
    """,
    429: "lookups_too_fast",
    500: """
        bad_note blob_damaged card_differs claim_not_held command_key_missing database_not_unicode
        database_too_new head_exists head_place_silent internal_error journal_incomplete
        journal_key_needed ledger_changed log_differs log_key_exists log_key_unusable
        malformed_rule_set migration_changed no_journal_key no_log_key not_canonical
        no_head_to_restore nothing_to_recover pdf_font_unusable rejected_by_database
        settings_invalid store_error tracking_behind unknown_material_key unknown_proposal
        unknown_topic unreadable_event wrong_epoch_key wrong_key wrong_service_key
    """,
    503: """
        database_unreachable deadline_exceeded erasures_missing file_key_changed issuer_unreachable
        journal_closed journal_unavailable log_not_continued outcome_unknown overloaded
        person_claims_wrong read_timeout record_outdated seal_broken server_busy view_behind
        view_being_made view_wrong
    """,
}

STATUS: dict[str, int] = {
    code: status for status, codes in _BY_STATUS.items() for code in codes.split()
}
"""Code of a LedgerError -> HTTP status. A test requires a row for every class."""

RETRYABLE = frozenset({"request_in_progress", "stale_stream"})
"""Codes of requests that may succeed when sent again unchanged, in addition to every 503."""

PRIVATE_STATUS = 500
"""Internal errors expose the code and a generic message only, no fields."""


class FieldProblem(BaseModel):
    """One value that is wrong."""

    model_config = ConfigDict(extra="forbid")
    pointer: str | None = Field(
        default=None,
        description="JSON pointer into the body, such as `#/lines/0`, or the place outside it",
    )
    code: str = Field(description="stable word for the fault")
    detail: str = Field(description="the fault in words")


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:certledger:problem:wrong_amount",
                "title": "金额不符",
                "status": 422,
                "detail": "认证费用应为30000分,而不是29900分。",
                "instance": "urn:certledger:trace:4bf92f3577b34da6a3ce929d0e0e4736",
                "code": "wrong_amount",
                "retryable": False,
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "fields": {
                    "component": "certification_fee",
                    "expected_fen": 30000,
                    "given_fen": 29900,
                },
            }
        },
    )
    type: str = Field(description="URN of the kind of problem")
    title: str = Field(description="the kind of problem in a few words, 中文 or English")
    status: int = Field(ge=400, le=599, description="HTTP status")
    detail: str = Field(description="what is wrong here, 中文 or English")
    instance: str = Field(description="URN of this occurrence")
    code: str = Field(description="stable word to program against")
    retryable: bool = Field(description="whether the same request may succeed later, unchanged")
    trace_id: str = Field(pattern="^[0-9a-f]{32}$", description="finds the request in our logs")
    fields: dict[str, Any] | None = Field(default=None, description="the values of the detail")
    errors: list[FieldProblem] | None = Field(default=None, description="fault by fault")


@cache
def texts() -> dict[str, Any]:
    """The translation table: `problems` by code, `words` by value, `faults` by validation type."""
    path = resources.files("api.errors") / "problem_texts.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def status_of(error: LedgerError) -> int:
    """The HTTP status of an error; a class without a row has the status of its parent."""
    for cls in type(error).__mro__:
        code = vars(cls).get("code")
        if code in STATUS:
            return STATUS[code]
    return 500


def is_retryable(error: LedgerError) -> bool:
    """Whether the same request may succeed later, unchanged."""
    return status_of(error) in (429, 503) or error.code in RETRYABLE


def title_and_detail(error: LedgerError, language: str) -> tuple[str, str]:
    """Title and text of an error in one language; its own message where no text is written."""
    entry = texts()["problems"].get(error.code)
    if entry is None:
        return error.code, str(error)
    title, template = entry[language]
    if template is None:
        return title, str(error)
    words = texts()["words"] if language == "zh" else {}
    return title, _TemplateFormatter(words).format(template, **error.fields)


_IDS = frozenset({"id", "key", "ledger", "name", "number", "refund_no", "room", "seat"})


def _is_id(key: str, value: str) -> bool:
    """Whether a value is an identifier, such as a ledger called omc; identifiers have no space."""
    return (key in _IDS or key.endswith("_id")) and " " not in value


class _TemplateFormatter(string.Formatter):
    """Fills a template; a value that has a Chinese word is replaced by it."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words

    def get_value(self, key: int | str, args: Any, kwargs: Any) -> Any:
        value = kwargs.get(key, "?")
        if _is_id(str(key), str(value)) and kwargs.get("what") != "certificate of kind":
            return value
        return self._words.get(str(value), value)


def problem_of(error: LedgerError, language: str, trace_id: str) -> dict[str, Any]:
    """The body of an error response. language: zh or en."""
    status = status_of(error)
    shown = InternalError() if status == PRIVATE_STATUS else error
    title, detail = title_and_detail(shown, language)
    body: dict[str, Any] = {
        "type": f"urn:certledger:problem:{error.code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:certledger:trace:{trace_id}",
        "code": error.code,
        "retryable": is_retryable(error),
        "trace_id": trace_id,
    }
    if status == PRIVATE_STATUS:
        return body
    fields = {k: _plain(v) for k, v in error.fields.items() if k not in ("problems", "text")}
    if fields:
        body["fields"] = fields
    faults = error.fields.get("problems")
    if faults:
        body["errors"] = [_fault(fault, language) for fault in faults]
    return body


def _plain(value: Any) -> Any:
    """A field as JSON."""
    return value if isinstance(value, bool | int | str | list | dict | None) else str(value)


def _fault(fault: Mapping[str, Any], language: str) -> dict[str, Any]:
    """One of several faults, in the caller's language where a text in it exists."""
    code, detail = fault["code"], fault["detail"]
    written = texts()["faults"].get(code)
    entry = texts()["problems"].get(code)
    if written is not None:
        template = written[0 if language == "zh" else 1]
        detail = _TemplateFormatter({}).format(template, **fault.get("limits", {}))
    elif entry is not None and language == "en":
        # Decisions word these in Chinese; in English only the title is available.
        detail = entry["en"][0]
    shown = {"code": code, "detail": detail}
    return shown | ({"pointer": fault["pointer"]} if fault.get("pointer") else {})


def problem_response(
    error: LedgerError, language: str, trace_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as an HTTP response. headers: in addition to those of every error."""
    body = problem_of(error, language, trace_id)
    given = {
        "Content-Language": language,
        "Vary": "Accept-Language",
        "Cache-Control": "no-store",
        **(headers or {}),
    }
    if body["status"] == 503 or error.code in RETRYABLE:
        given["Retry-After"] = str(RETRY_AFTER_S)
    if body["status"] == 429:
        given["Retry-After"] = str(error.seconds)
    if body["status"] == 401:
        given["WWW-Authenticate"] = challenge(error)
    elif error.code in ("role_not_allowed", "ledger_not_in_token", "backfill_not_allowed"):
        given["WWW-Authenticate"] = 'Bearer realm="certledger", error="insufficient_scope"'
    return Response(
        orjson.dumps(body), status_code=body["status"], media_type=PROBLEM, headers=given
    )


def challenge(error: LedgerError) -> str:
    """WWW-Authenticate of a 401 (RFC 6750): without an error attribute if no token was sent."""
    if error.code == "token_missing":
        return 'Bearer realm="certledger"'
    return f'Bearer realm="certledger", error="invalid_token", error_description="{error.reason}"'
