"""Generates the rows of one application, from registration to the third review."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from domain.documents.materials import MaterialKind
from scripts.cohort.documents_pdf import LINES, specimen
from scripts.cohort.people import People, Person
from scripts.cohort.pictures import portrait
from scripts.cohort.qualifications import PROFILES, Stated, stated_qualifications
from scripts.cohort.rng import SeededRandom, at, at_home, at_office, minutes_later
from scripts.cohort.tables import Row, Tables

AGENCY, GROUP_AGENCY = "agency.01", "agency.02"
CERTIFIER, PROVINCE = "certifier.01", "province.01"
FINANCE, CASHIER, CALLBACK = "finance.01", "finance.02", "finance.pay"
EXAM_OFFICE, EXAMINERS, VERIFIER = "exams.office", ("exam.01", "exam.02"), "score.01"
REGISTRAR, REGULATOR, OPERATOR = "registrar.01", "regulator.01", "operator.01"
STAFF = (
    (OPERATOR, "operator", "浙江今日头条科技有限公司"),
    (FINANCE, "finance", "浙江今日头条科技有限公司"),
    (CASHIER, "finance", "浙江今日头条科技有限公司"),
    (CALLBACK, "finance", "浙江今日头条科技有限公司"),
    (AGENCY, "agency", "杭州云栖职业技能报名服务中心"),
    (GROUP_AGENCY, "agency", "杭州云栖职业技能报名服务中心"),
    (CERTIFIER, "certifier", "巨量认证"),
    ("certifier.02", "certifier", "巨量认证"),
    (EXAM_OFFICE, "certifier", "巨量认证"),
    (PROVINCE, "province", "浙江省职业技能等级认定管理系统"),
    ("province.02", "province", "浙江省职业技能等级认定管理系统"),
    (EXAMINERS[0], "examiner", "浙江今日头条科技有限公司考务部"),
    (EXAMINERS[1], "examiner", "浙江今日头条科技有限公司考务部"),
    (VERIFIER, "score_verifier", "浙江今日头条科技有限公司质量督导部"),
    (REGISTRAR, "registrar", "浙江今日头条科技有限公司"),
    (REGULATOR, "regulator", "浙江省职业技能鉴定监管机构"),
)
REVIEWERS = {
    "initial": (AGENCY,),
    "second": (CERTIFIER, "certifier.02"),
    "final": (PROVINCE, "province.02"),
}

# (occupation, level) -> first day -> 认证费用, 学员资料 in yuan.
FEES: dict[tuple[str, int], tuple[tuple[date, int, int], ...]] = {
    ("4-01-02-07", 5): ((date(2026, 3, 1), 980, 580),),
    ("4-01-02-07", 4): ((date(2026, 3, 1), 1280, 680), (date(2026, 8, 1), 1380, 680)),
    ("4-01-02-07", 3): ((date(2026, 3, 1), 1680, 880),),
    ("general", 5): ((date(2026, 3, 1), 320, 0),),
    ("general", 4): ((date(2026, 3, 1), 430, 120),),
    ("general", 3): ((date(2026, 3, 1), 560, 120),),
}
JOB_TYPES = ("直播销售员", "直播销售员", "视频创推员", "视频创推员", "选品员", "平台管理员")
MATERIAL_ITEMS = ("career_assessment", "recorded_course", "mock_exam", "handbook")
PHOTOS, COPIES, DATED = 28, 6, 7
"""Photos; copies of each document; every DATED-th photo has its capture date in its EXIF."""


@dataclass
class Cohort:
    """Everything generated so far, and the counters and the random source."""

    rng: SeededRandom
    tables: Tables = field(default_factory=Tables)
    people: People = field(init=False)
    cases: list[Case] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.people = People(self.rng)

    def count(self, what: str) -> int:
        """The next number of a kind: 1, 2, 3 …"""
        self.counts[what] = self.counts.get(what, 0) + 1
        return self.counts[what]

    def draw_files(self) -> None:
        """Generates the files that the documents share."""
        for number in range(1, PHOTOS + 1):
            taken_on = date(2026, 1, 20) if number % DATED == 0 else None
            data = portrait(SeededRandom(f"portrait {number}"), taken_on)
            self.tables.files[f"files/photo-{number:02d}.jpg"] = data
        for kind in LINES:
            for number in range(1, COPIES + 1):
                name = f"files/{kind.value}-{number}.pdf"
                self.tables.files[name] = specimen(kind, number)


@dataclass
class Case:
    """One application and its progress; `now` is the time of its last step."""

    cohort: Cohort
    person: Person
    profile: str
    now: datetime
    id: str = ""
    round: int = 0
    payments: list[Row] = field(default_factory=list)
    required: tuple[MaterialKind, ...] = ()
    stated: Stated = field(default_factory=dict)
    ticket: str = ""
    refunds: dict[str, int] = field(default_factory=dict)

    @property
    def standard(self) -> tuple[str, str]:
        return PROFILES[self.profile][0]

    @property
    def level(self) -> int:
        return PROFILES[self.profile][1]

    @property
    def applicant(self) -> str:
        """Login that acts for the candidate: their own, or the agency's for a school group."""
        return GROUP_AGENCY if self.person.school_group else self.person.login

    def write(self, kind: str, by: str, /, **fields: Any) -> Row:
        """Adds a row of this application at `now`."""
        fields.setdefault("application_id", self.id)
        return self.cohort.tables.add(kind, self.now, by, **fields)

    # --- time -------------------------------------------------------------------------------

    def soon(self, low: int = 2, high: int = 12) -> None:
        self.now = minutes_later(self.cohort.rng, self.now, low, high)

    def at_home(self, low: int, high: int) -> None:
        self.now = at_home(self.cohort.rng, self.now, low, high)

    def at_office(self, low: int, high: int) -> None:
        self.now = at_office(self.cohort.rng, self.now, self.cohort.rng.between(low, high))

    # --- steps --------------------------------------------------------------------------------

    def open(self) -> Case:
        """Registers the person if needed, and applies."""
        cohort, person = self.cohort, self.person
        if not person.registered:
            person.registered = True
            cohort.tables.add(
                "persons",
                self.now,
                self.applicant,
                id=person.id,
                subject=person.login if self.applicant != person.login else None,
                document_type=person.document_type.value,
                document_country=person.country,
                document_number=person.number,
                name=person.name,
                phone=person.phone,
            )
            self.soon()
        self.id = f"A{self.now:%y%m}{cohort.count('application'):04d}"
        self.stated, self.required = stated_qualifications(
            self.profile, cohort.rng, person.born, self.now.date()
        )
        occupation, edition = self.standard
        job_types = JOB_TYPES if self.level >= 3 else JOB_TYPES[:-1]
        cohort.tables.add(
            "applications",
            self.now,
            self.applicant,
            id=self.id,
            person_id=person.id,
            occupation=occupation,
            edition=edition,
            level=self.level,
            job_type=cohort.rng.pick(job_types) if occupation == "4-01-02-07" else None,
            birth_date=person.born,
            **self.stated,
        )
        cohort.cases.append(self)
        return self

    def pay(self, provider: str | None = None) -> Row:
        """Pays both components at the price of the day, to the fen."""
        rng = self.cohort.rng
        provider = provider or rng.pick(("wechat", "wechat", "wechat", "alipay", "alipay", "bank"))
        number = self.cohort.count("payment")
        paid_at = self.now
        self.now = self.now + timedelta(seconds=rng.between(2, 20))
        if provider == "bank":
            self.at_office(1, 1)
        prices = FEES[self.standard[0], self.level]
        _, certification, material = [p for p in prices if p[0] <= paid_at.date()][-1]
        transaction = {
            "wechat": f"42000{number:05d}{paid_at:%Y%m%d}{rng.digits(10)}",
            "alipay": f"{paid_at:%Y%m%d}2200{rng.digits(10)}{number:06d}",
            "bank": f"HZ{paid_at:%y%m%d}{number:08d}",
        }[provider]
        row = self.cohort.tables.add(
            "payments",
            self.now,
            FINANCE if provider == "bank" else CALLBACK,
            id=f"PAY{number:05d}",
            **{
                "编号": f"PAY{number:05d}",
                "报考编号": self.id,
                "支付渠道": {"wechat": "微信", "alipay": "支付宝", "bank": "银行"}[provider],
                "渠道交易号": transaction,
                "商户订单号": f"OMC{paid_at:%Y%m%d}{number:06d}",
                "支付时间": paid_at,
                "认证费用(元)": f"{certification}.00",
                "学员资料(元)": f"{material}.00",
            },
        )
        self.payments.append(row)
        return row

    def use(self, *items: str) -> None:
        """Uses study material, each item once."""
        for item in items:
            self.at_home(2, 40)
            self.write("item_uses", self.person.login, item=item, used_at=self.now)
            self.now += timedelta(seconds=2)

    def hand_in(self, *kinds: MaterialKind) -> None:
        """Submits documents, by default all required ones, and sends them into review."""
        rng = self.cohort.rng
        for kind in kinds or self.required:
            self.soon(1, 6)
            if kind is MaterialKind.PHOTO:
                number = rng.between(1, PHOTOS)
                dated = number % DATED == 0 and self.now.date() <= date(2026, 7, 20)
                number -= number % DATED == 0 and not dated
                self.write(
                    "documents",
                    self.applicant,
                    kind=kind.value,
                    path=f"files/photo-{number:02d}.jpg",
                    file_name=self.person.photo_name,
                    taken_on=None if dated else self._photo_day(),
                )
                continue
            self.write(
                "documents",
                self.applicant,
                kind=kind.value,
                path=f"files/{kind.value}-{rng.between(1, COPIES)}.pdf",
                file_name=f"{kind.chinese_name}.pdf",
                taken_on=None,
            )
        self.soon(1, 3)
        self.round += 1
        self.write("submissions", self.applicant)

    def _photo_day(self) -> date:
        return self.now.date() - timedelta(days=self.cohort.rng.between(3, 120))

    def review(
        self, stage: str, verdict: str = "pass", reason: str | None = None, *missing: MaterialKind
    ) -> None:
        """One review by a reviewer of the stage."""
        self.at_office(1, 3)
        self.write(
            "reviews",
            self.cohort.rng.pick(REVIEWERS[stage]),
            stage=stage,
            round=self.round,
            verdict=verdict,
            missing=[kind.value for kind in missing] or None,
            reason=reason,
        )

    def withdraw(self, reason: str) -> None:
        """Withdraws the application."""
        self.at_home(3, 30)
        self.write("withdrawals", self.person.login, reason=reason)

    # --- several steps ------------------------------------------------------------------------

    def paid(self, provider: str | None = None) -> Case:
        """Opened and paid."""
        self.open()
        self.at_home(1, 40)
        self.pay(provider)
        return self

    def submitted(self, *, uses: int | None = None) -> Case:
        """Opened, paid, some material used, documents submitted."""
        rng = self.cohort.rng
        self.paid()
        wanted = rng.pick((0, 0, 1, 2, 2, 3, 4)) if uses is None else uses
        self.use(*MATERIAL_ITEMS[:wanted])
        self.at_home(4, 70)
        self.hand_in()
        return self

    def enrolled(self, *returned_at: str) -> Case:
        """All three reviews passed. returned_at: stages that ask for a supplement first."""
        self.submitted()
        for stage in returned_at:
            self.supplement(stage)
        for stage in REVIEWERS:
            self.review(stage)
        return self

    def supplement(self, stage: str) -> None:
        """A review returns the documents and the candidate submits the missing one again."""
        for before in REVIEWERS:
            if before == stage:
                break
            self.review(before)
        proof = [k for k in self.required if k is not MaterialKind.PHOTO]
        kind = self.cohort.rng.pick((MaterialKind.PHOTO, *proof))
        self.review(stage, "return", f"{kind.chinese_name}不清晰，请重新提交", kind)
        self.at_home(6, 60)
        self.hand_in(kind)

    def rejected(self, stage: str, reason: str, *, uses: int = 0) -> Case:
        """Rejected at a stage: 报考未成功."""
        self.submitted(uses=uses)
        for before in REVIEWERS:
            if before == stage:
                break
            self.review(before)
        self.review(stage, "reject", reason)
        return self


def start_of(cohort: Cohort, first: date, last: date) -> datetime:
    """A moment between 8:00 and 22:00 on a random day of the range."""
    day = first + timedelta(days=cohort.rng.below((last - first).days + 1))
    rng = cohort.rng
    return at(day, rng.between(8, 21), rng.between(0, 59), rng.between(0, 59))
