"""After a pass: numbers, certificates, reports to the authority, public visibility."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from domain.values.identity_documents import DocumentType
from scripts.cohort.journey import REGISTRAR, Case, Cohort
from scripts.cohort.rng import at

SITE_CODE = "S000033000123"
ORGANISATION = "浙江今日头条科技有限公司"
OCCUPATION = "互联网营销师"
PROVINCE_API = "province.01"
REPORT_COLUMNS = (
    "姓名", "证件类型", "证件号码", "所在单位", "职业名称", "工种名称", "职业技能等级", "证书编号",
    "发证日期", "评价机构", "发证机构",
)  # fmt: skip


class Results:
    """Certificates of the cohort: application id -> national number."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self.numbers: dict[str, str] = {}
        self.issued_on: dict[str, date] = {}

    def number(self, cases: Sequence[Case], on: date, *, imported: bool = False) -> None:
        """Assigns both numbers to everybody who passed.

        imported: the province allocated the national numbers, with gaps.
        """
        for place, case in enumerate(cases):
            case.now = at(on, 10, 30, case.level) + timedelta(seconds=5 * place)
            step = self._cohort.rng.between(1, 4) if imported else 1
            for _ in range(step):
                serial = self._cohort.count(f"serial {case.level}")
            number = f"{SITE_CODE}{on:%y}{case.level}{serial:06d}"
            self.numbers[case.id] = number
            case.write("certificates", REGISTRAR, number=number if imported else None)

    def issue(self, cases: Sequence[Case], on: date) -> None:
        """Issues both certificates."""
        for place, case in enumerate(cases):
            case.now = at(on, 14, 0, case.level) + timedelta(seconds=11 * place)
            case.write("issues", REGISTRAR, issued_on=on)
            self.issued_on[case.id] = on

    def report(self, report_id: str, batch_type: str, cases: Sequence[Case], on: date) -> None:
        """Reports the eleven-column file to the authority."""
        name = f"reports/{report_id}.csv"
        self._cohort.tables.files[name] = self._file(cases)
        self._cohort.tables.add(
            "reports",
            at(on, 15, 0, cases[0].level),
            REGISTRAR,
            id=report_id,
            batch_type=batch_type,
            file=name,
            application_ids=[case.id for case in cases],
        )

    def _file(self, cases: Sequence[Case]) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(REPORT_COLUMNS)
        for case in cases:
            person = case.person
            resident = person.document_type is DocumentType.RESIDENT_ID
            kind = "201" if resident else person.document_type.value
            row = (person.name, kind, person.number, "其他", OCCUPATION, "", str(case.level))
            number, day = self.numbers[case.id], self.issued_on[case.id]
            writer.writerow((*row, number, day, ORGANISATION, ORGANISATION))
        return out.getvalue().encode()

    def answer(
        self, report_id: str, cases: Sequence[Case], on: date, rejected: dict[str, str]
    ) -> None:
        """The authority answers row by row. rejected: application id -> its reason."""
        for place, case in enumerate(cases):
            case.now = at(on, 11, 0, case.level) + timedelta(seconds=3 * place)
            reason = rejected.get(case.id)
            self._cohort.tables.add(
                "report_answers",
                case.now,
                REGISTRAR,
                report_id=report_id,
                number=self.numbers[case.id],
                accepted=reason is None,
                reason=reason,
            )

    def make_visible(self, cases: Sequence[Case], scope: str, on: date) -> None:
        """The public lookup shows the certificates."""
        for place, case in enumerate(cases):
            case.now = at(on, 9, 40, case.level) + timedelta(seconds=4 * place)
            case.write("visibility", REGISTRAR, scope=scope, seen_on=on)

    def change(
        self,
        case: Case,
        kinds: Sequence[str],
        change: str,
        reason: str,
        moment: datetime,
        why: str = "",
    ) -> None:
        """Changes issued certificates. why: reason class of a revocation."""
        for place, kind in enumerate(kinds):
            case.now = moment + timedelta(seconds=20 * place)
            case.write(
                "certificate_changes",
                REGISTRAR,
                kind=kind,
                change=change,
                reason_class=why or None,
                reason=reason,
            )
