"""The generated rows, and the files they are written to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]

# Kind -> file, prefix of the rows' ids, columns after id, occurred_at, by. Two files have Chinese
# headers, as their offices keep them; the importer reads both languages.
FILES: dict[str, tuple[str, str, str]] = {
    "editions": ("editions.csv", "E", "kind path"),
    "edition_adoptions": ("edition_adoptions.csv", "EA", "kind path"),
    "persons": (
        "persons.csv",
        "",
        "subject document_type document_country document_number name phone",
    ),
    "person_corrections": (
        "person_corrections.csv",
        "PC",
        "person_id document_type document_country document_number name reason",
    ),
    "erasures": ("erasures.csv", "ER", "person_id reason"),
    "erasure_confirmations": ("erasure_confirmations.csv", "EC", "person_id proposal"),
    "applications": (
        "applications.csv",
        "",
        "person_id occupation edition level job_type birth_date work_periods "
        "certificates titles trainings education apprenticeships "
        "intends_to_work",
    ),
    "withdrawals": ("withdrawals.csv", "W", "application_id reason"),
    "payments": (
        "payments.csv",
        "",
        "报考编号 支付渠道 渠道交易号 商户订单号 支付时间 认证费用(元) 学员资料(元)",
    ),
    "item_uses": ("item_uses.csv", "U", "application_id item used_at"),
    "documents": ("documents.csv", "D", "application_id kind path file_name taken_on"),
    "submissions": ("submissions.csv", "H", "application_id"),
    "reviews": ("reviews.csv", "R", "application_id stage round verdict missing reason"),
    "refunds": ("refunds.csv", "RO", "application_id payment_id component"),
    "refund_decisions": ("refund_decisions.csv", "RD", "application_id refund_no decision reason"),
    "refund_outcomes": (
        "refund_outcomes.csv",
        "RS",
        "application_id refund_no outcome provider_refund_id channel settled_at reason "
        "received_account",
    ),
    "seats": ("seats.csv", "T", "application_id session_id room seat"),
    "sessions_held": ("sessions_held.csv", "SH", "session_id ended_at"),
    "scores": ("scores.csv", "S", "考试场次 准考证号 科目 成绩"),
    "verifications": ("verifications.csv", "V", "application_id theory practical"),
    "score_corrections": (
        "score_corrections.csv",
        "SC",
        "application_id subject marks objection_id reason",
    ),
    "notices": ("notices.csv", "", "session_id late_reason"),
    "notice_closings": ("notice_closings.csv", "NC", "notice_id"),
    "objections": ("objections.csv", "", "notice_id application_id objector_id text"),
    "objection_outcomes": (
        "objection_outcomes.csv",
        "OR",
        "notice_id objection_id outcome reason",
    ),
    "certificates": ("certificates.csv", "CN", "application_id number"),
    "issues": ("issues.csv", "CI", "application_id issued_on"),
    "reports": ("reports.csv", "", "batch_type file application_ids"),
    "report_answers": ("report_answers.csv", "RA", "report_id number accepted reason"),
    "visibility": ("visibility.csv", "CV", "application_id scope seen_on"),
    "certificate_changes": (
        "certificate_changes.csv",
        "CC",
        "application_id kind change reason_class reason",
    ),
}
CHINESE_HEADERS = {
    "payments": ("编号", "发生时间", "经办人"),
    "scores": ("编号", "发生时间", "经办人"),
}
JSON_LINES_FROM = datetime.fromisoformat("2026-09-01T00:00:00+08:00")
"""From here on, applications come from another system, which writes JSON lines."""


@dataclass
class Tables:
    """Rows by kind, sorted by time; rows without an id are numbered in that order."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(
        self, kind: str, moment: datetime, by: str, /, *, id: str | None = None, **fields: Any
    ) -> Row:
        """Adds one row. Returns: the row."""
        row = {"id": id, "occurred_at": moment, "by": by, **fields}
        self.rows.setdefault(kind, []).append(row)
        return row

    def last_moment(self) -> datetime:
        """Time of the latest row."""
        moments: list[datetime] = [
            row["occurred_at"] for rows in self.rows.values() for row in rows
        ]
        return max(moments)

    def finish(self) -> None:
        """Sorts every kind by time and assigns the ids."""
        for kind, rows in self.rows.items():
            rows.sort(key=lambda row: row["occurred_at"])
            prefix = FILES[kind][1] if kind in FILES else ""
            for number, row in enumerate(rows, start=1):
                row["id"] = row["id"] or f"{prefix}{number:04d}"

    def write(self, folder: Path) -> None:
        """Writes all files."""
        self.finish()
        for kind, rows in self.rows.items():
            if kind == "sessions":
                _write(folder / "sessions.json", _json(rows))
                continue
            if kind == "applications":
                late = [r for r in rows if r["occurred_at"] >= JSON_LINES_FROM]
                _write(folder / "applications-autumn.jsonl", _json_lines(late))
                rows = [r for r in rows if r["occurred_at"] < JSON_LINES_FROM]
            name, _, columns = FILES[kind]
            _write(folder / name, _csv(kind, columns.split(), rows))
        for name, data in self.files.items():
            _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _csv(kind: str, columns: list[str], rows: Iterable[Row]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = ("id", "occurred_at", "by")
    writer.writerow((*CHINESE_HEADERS.get(kind, first), *columns))
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in (*first, *columns)])
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "；".join(_notation(entry) if isinstance(entry, dict) else entry for entry in value)
    return _plain(value) if not isinstance(value, bool) else ("yes" if value else "no")


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _notation(entry: dict[str, Any]) -> str:
    """One stated qualification in the notation of a cell, such as `2019-03-01~至今`."""
    words = [str(word) for key, word in entry.items() if key in _WORDS and word not in (None, "")]
    if "started_on" in entry:
        words.insert(0, f"{entry['started_on']}~{entry['ended_on'] or '至今'}")
    words += [f"{entry['hours']}学时"] if "hours" in entry else []
    words += [text for key, text in _FLAGS.items() if entry.get(key)]
    return " ".join(words)


_WORDS = (
    "kind", "level", "rank", "relation", "issued_on", "obtained_on", "completed_on",
    "graduated_on", "programme", "employer", "number",
)  # fmt: skip
_FLAGS = {"certificate": "结业证书", "final_year": "应届", "evaluated": "经评估"}


def _json(rows: list[Row]) -> bytes:
    return (json.dumps(rows, ensure_ascii=False, indent=2, default=_plain) + "\n").encode()


def _json_lines(rows: list[Row]) -> bytes:
    lines = (json.dumps(_nested(row), ensure_ascii=False, default=_plain) for row in rows)
    return "".join(line + "\n" for line in lines).encode()


_QUALIFICATIONS = FILES["applications"][2].split()[5:]


def _nested(row: Row) -> Row:
    """An application with its qualifications as one nested object."""
    own = {
        key: value for key, value in row.items() if key not in _QUALIFICATIONS and value is not None
    }
    return own | {
        "qualifications": {k: row[k] for k in _QUALIFICATIONS if row.get(k) not in (None, [])}
    }
