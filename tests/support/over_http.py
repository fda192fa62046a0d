"""Sends commands as HTTP requests, and maps responses to the model's outcomes.

A path's parameters are the command's fields of those names; the remaining fields are its body,
unless the table names another body.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from domain.decision import Command
from domain.steps import authority_report as reports
from domain.steps import (
    certificate,
    contested_registration,
    edition_adoption,
    enrolment,
    erasure,
    exam,
    ledger_setup,
    payment,
)
from domain.steps import number_allocation as numbering
from domain.steps import public_notice as notices
from domain.steps import refund as refunds
from domain.steps import review as reviews
from tests.support.http_journey import portrait
from tests.support.model_adapter import SHA256
from tests.support.service import Caller

Body = Callable[[Any, set[str]], dict[str, Any]]
"""Builds httpx's arguments for a command; the set names the fields in its path."""


def _json(command: Command, in_path: set[str]) -> dict[str, Any]:
    """The command without the fields in the path."""
    return {"json": command.model_dump(mode="json", exclude=in_path, exclude_unset=True)}


def _nothing(command: Command, in_path: set[str]) -> dict[str, Any]:
    """No body: the path has every field."""
    assert set(command.model_dump(exclude_none=True)) == in_path
    return {}


def _document(command: reviews.SubmitDocument, in_path: set[str]) -> dict[str, Any]:
    """A form with a real file, which the service measures itself."""
    material = command.material
    form = {"kind": material.kind.value}
    if material.photo and material.photo.taken_on:
        form["taken_on"] = material.photo.taken_on.isoformat()
    data = _bytes_of(material.sha256)
    return {"data": form, "files": {"file": (command.file_name, data, "image/jpeg")}}


@cache
def _bytes_of(sha256: str) -> bytes:
    """A file for each of the model's digests; a photo is also valid as a scan."""
    return portrait(40 + sorted(SHA256.values()).index(sha256))


def _one_row(command: Command, in_path: set[str]) -> dict[str, Any]:
    """A table of one row."""
    return {"json": {"rows": [_json(command, in_path)["json"]]}}


def _answer(command: reports.AnswerReportRow, in_path: set[str]) -> dict[str, Any]:
    """The authority's table with one row."""
    text = io.StringIO()
    verdict = "接受" if command.accepted else "退回"
    table = (("证书编号", "受理结果", "原因"), (command.number, verdict, command.reason or ""))
    csv.writer(text).writerows(table)
    return {"files": {"file": ("answer.csv", text.getvalue().encode(), "text/csv")}}


def _report(command: reports.FreezeReport, in_path: set[str]) -> dict[str, Any]:
    """Without the hash: the service builds the file itself."""
    return _json(command, in_path | {"file_sha256"})


A = "applications/{application_id}"
S, N, R = "sessions/{session_id}", "notices/{notice_id}", "refunds/{refund_no}"

ROUTES: dict[type[Command], tuple[str, str, Body]] = {
    ledger_setup.OpenLedger: ("PUT", "", _json),
    edition_adoption.ProposeEdition: ("POST", "editions/{kind}", _json),
    edition_adoption.AdoptEdition: ("POST", "editions/{kind}/{sha256}/adoption", _nothing),
    enrolment.RegisterPerson: ("POST", "persons", _json),
    erasure.ProposeErasure: ("POST", "persons/{person_id}/erasure", _json),
    erasure.ConfirmErasure: ("POST", "persons/{person_id}/erasure/{proposal}/confirmation", _json),
    contested_registration.JoinRegistration: ("POST", "persons/{person_id}/joining", _nothing),
    contested_registration.RejectRegistration: ("POST", "persons/{person_id}/rejection", _json),
    enrolment.OpenApplication: ("POST", "applications", _json),
    enrolment.WithdrawApplication: ("POST", f"{A}/withdrawal", _json),
    payment.RecordPayment: ("POST", f"{A}/payments", _json),
    payment.UseItem: ("POST", f"{A}/item-uses", _json),
    reviews.SubmitDocument: ("POST", f"{A}/documents", _document),
    reviews.SubmitDocuments: ("POST", f"{A}/submission", _nothing),
    reviews.Review: ("POST", f"{A}/reviews/{{stage}}", _json),
    refunds.OrderRefund: ("POST", f"{A}/refunds", _json),
    refunds.ApproveRefund: ("POST", f"{A}/{R}/approval", _nothing),
    refunds.DeclineRefund: ("POST", f"{A}/{R}/decline", _json),
    refunds.RecordRefundOutcome: ("POST", f"{A}/{R}/outcome", _json),
    exam.ScheduleSession: ("POST", "sessions", _json),
    exam.AssignSeat: ("POST", f"{S}/seats", _json),
    exam.CloseSession: ("POST", f"{S}/end", _json),
    exam.RecordScore: ("POST", f"{S}/scores", _one_row),
    exam.VerifyScores: ("POST", f"{A}/score-verification", _json),
    exam.CorrectScore: ("POST", f"{A}/score-corrections", _json),
    notices.OpenNotice: ("POST", "notices", _json),
    notices.CloseNotice: ("POST", f"{N}/close", _nothing),
    notices.FileObjection: ("POST", f"{N}/objections", _json),
    notices.ResolveObjection: ("POST", f"{N}/objections/{{objection_id}}/resolution", _json),
    numbering.NumberCertificates: ("POST", f"{A}/certificates/numbers", _json),
    numbering.ImportNumber: ("POST", f"{A}/certificates/import", _json),
    certificate.IssueCertificates: ("POST", f"{A}/certificates/issue", _json),
    certificate.CorrectCertificate: ("POST", f"{A}/certificates/{{kind}}/correction", _json),
    certificate.ReissueCertificate: ("POST", f"{A}/certificates/{{kind}}/reissue", _json),
    certificate.SuspendCertificate: ("POST", f"{A}/certificates/{{kind}}/suspension", _json),
    certificate.ReinstateCertificate: ("POST", f"{A}/certificates/{{kind}}/reinstatement", _json),
    certificate.RevokeCertificate: ("POST", f"{A}/certificates/{{kind}}/revocation", _json),
    reports.FreezeReport: ("POST", "reports", _report),
    reports.AnswerReportRow: ("POST", "reports/{report_id}/answers", _answer),
    reports.RecordVisibility: ("POST", f"{A}/visibility", _json),
}


@dataclass(frozen=True)
class Route:
    """The route of a kind of command. operation: its key in the table of roles."""

    method: str
    path: str
    body: Body
    operation: str

    def ask(self, caller: Caller, command: Command, key: str) -> httpx.Response:
        """Send the command as a request of the caller."""
        fields = command.model_dump(mode="json")
        in_path = {name for name in fields if f"{{{name}}}" in self.path}
        return caller.send(
            self.path.format(**fields),
            key=key,
            method=self.method,
            **self.body(command, in_path),
        )


def routes_of(client: httpx.Client) -> dict[type[Command], Route]:
    """The table, each row with the operation id of the running service at its path."""
    paths = client.get("/openapi.json").json()["paths"]
    found = {}
    for command, (method, path, body) in ROUTES.items():
        address = f"/ledgers/{{ledger}}/{path}".rstrip("/")
        operation = paths[address][method.lower()]["operationId"]
        found[command] = Route(method, path, body, operation)
    return found


def code_of(answer: httpx.Response) -> str | None:
    """The error code of a refused request or of its only row; None if it succeeded."""
    body = answer.json()
    if answer.status_code >= 400:
        return str(body["code"])
    assert answer.status_code in (200, 201, 202), answer.text
    if "rows" not in body:
        return None
    (row,) = body["rows"]
    assert (row["status"] == "refused") is ("code" in row), row
    return row.get("code")
