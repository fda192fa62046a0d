"""The exam sessions of the year, from seat assignment to visibility in the public lookup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from scripts.cohort.journey import REGISTRAR, Case, Cohort
from scripts.cohort.results import Results
from scripts.cohort.rng import at, working_day
from scripts.cohort.sittings import Sitting

ApplyAgain = Callable[[Cohort, Sequence[Case], date, date], list[Case]]
BOTH = ("national", "omc")


def hold_sessions(
    cohort: Cohort, results: Results, waves: dict[str, list[Case]], apply_again: ApplyAgain
) -> None:
    """Holds the sessions in order of time; people who failed early apply again for autumn."""
    may = _may(cohort, results, waves["may 4"])
    july = _july(cohort, results, waves["july 4"])
    _july_3(cohort, results, waves["july 3"])
    _august_3(cohort, results, waves["august 3"])
    back = apply_again(cohort, may.failed()[:4], date(2026, 6, 20), date(2026, 7, 10))
    _september(cohort, results, waves["september 4"] + back)
    _september_5(cohort, results, waves["september 5"])
    back = apply_again(cohort, july.failed()[:3], date(2026, 8, 24), date(2026, 8, 31))
    _october(cohort, results, waves["october 4"] + back)
    december = Sitting(
        cohort, "S261205-4", "2026年12月四级", 4, date(2026, 12, 5), waves["december 4"]
    )
    december.schedule(date(2026, 11, 9)).seat(date(2026, 11, 16))


def _certify(
    results: Results, cases: Sequence[Case], closed_on: date, *, imported: bool = False
) -> date:
    """Numbers on the first working day, certificates on the next. Returns: that day."""
    first = working_day(closed_on, 0)
    results.number(cases, first, imported=imported)
    second = working_day(first, 1)
    results.issue(cases, second)
    return second


def _report(
    results: Results,
    report_id: str,
    cases: Sequence[Case],
    on: date,
    rejected: dict[str, str] | None = None,
    batch_type: str = "new",
) -> list[Case]:
    """Reported, answered five working days later. Returns: the accepted cases."""
    results.report(report_id, batch_type, cases, on)
    results.answer(report_id, cases, working_day(on, 5), rejected or {})
    return [case for case in cases if case.id not in (rejected or {})]


def _may(cohort: Cohort, results: Results, cases: list[Case]) -> Sitting:
    """Some rows are reported two or three times; later certificates are changed."""
    sitting = Sitting(cohort, "S260523-4", "2026年5月四级", 4, date(2026, 5, 23), cases)
    sitting.schedule(date(2026, 4, 27)).seat(date(2026, 5, 13))
    sitting.sit(
        ("59.5", "80"), ("60", "60"), ("78.5", "59.5"), (None, None), (None, "72"), ("68", None),
        ("0", "45.5"), ("100", "98.5"), ("60", "59.5"), ("76.5", "71"), ("59.5", "60"),
    )  # fmt: skip
    sitting.record(date(2026, 5, 26))
    cases[9].now = at(date(2026, 5, 27), 16, 20)
    sitting.correct(cases[9], 0, "67.5", "登分笔误，核对原卷后更正")
    sitting.verify(date(2026, 5, 28))
    sitting.publish("N2605-4", date(2026, 6, 5))
    moment = at(date(2026, 6, 9), 10, 12)
    objection = sitting.object("N2605-4", cases[0], moment, "理论成绩差0.5分，申请复核判分")
    moment = at(date(2026, 6, 11), 15, 5)
    sitting.resolve("N2605-4", objection, moment, "dismissed", "经核对原卷，登分无误")
    closed_on = sitting.close("N2605-4")
    passed = sitting.passed()
    issued_on = _certify(results, passed, closed_on)
    rejected = {
        passed[2].id: "姓名与公安库不一致",
        passed[5].id: "证件号码校验失败",
        passed[8].id: "文化程度缺失",
    }
    accepted = _report(results, "RPT-2026-01", passed, working_day(issued_on, 2), rejected)
    results.make_visible(accepted, "province", date(2026, 6, 30))
    again = [case for case in passed if case.id in rejected]
    still = {again[2].id: "文化程度代码有误"}
    accepted += _report(results, "RPT-2026-02", again, date(2026, 6, 29), still, "correction")
    accepted += _report(results, "RPT-2026-03", again[2:], date(2026, 7, 8), None, "addendum")
    results.make_visible(again, "province", date(2026, 7, 20))
    _may_changes(cohort, results, passed)
    results.make_visible(passed[:24], "nation", date(2026, 9, 28))
    return sitting


def _may_changes(cohort: Cohort, results: Results, passed: list[Case]) -> None:
    """A changed name, a lost certificate, a suspension lifted and one followed by revocation."""
    renamed, lost, cleared, false = passed[0], passed[1], passed[3], passed[4]
    person = renamed.person
    person.name = person.name[0] + "思远"
    cohort.tables.add(
        "person_corrections",
        at(date(2026, 9, 7), 10, 30),
        REGISTRAR,
        person_id=person.id,
        document_type=person.document_type.value,
        document_country=person.country,
        document_number=person.number,
        name=person.name,
        reason="户籍登记改名，附公安机关证明",
    )
    results.change(renamed, BOTH, "correct", "持证人改名", at(date(2026, 9, 8), 9, 30))
    _report(results, "RPT-2026-07", [renamed], date(2026, 9, 9), None, "correction")
    results.make_visible([renamed], "province", date(2026, 9, 21))
    results.change(
        lost, ("national",), "reissue", "证书遗失，登报声明后补发", at(date(2026, 8, 3), 10)
    )
    results.change(cleared, BOTH, "suspend", "收到举报，核查工作经历", at(date(2026, 8, 11), 11))
    results.change(cleared, BOTH, "reinstate", "核查属实，恢复效力", at(date(2026, 8, 25), 15))
    results.change(false, BOTH, "suspend", "工作经历证明存疑", at(date(2026, 10, 12), 10))
    moment = at(date(2026, 10, 20), 16)
    results.change(false, BOTH, "revoke", "工作经历证明系伪造", moment, "false_documents")


def _july(cohort: Cohort, results: Results, cases: list[Case]) -> Sitting:
    """An upheld objection: corrected, verified again, published in its own notice."""
    sitting = Sitting(cohort, "S260718-4", "2026年7月四级", 4, date(2026, 7, 18), cases)
    sitting.schedule(date(2026, 6, 15)).seat(date(2026, 7, 7))
    sitting.sit(("71", "58"), ("60", "95.5"), (None, None), ("57.5", "66"), ("64", "52"))
    sitting.record(date(2026, 7, 21))
    sitting.verify(date(2026, 7, 23))
    notice, right = "N2607-4", cases[0]
    sitting.publish(notice, date(2026, 7, 31))
    upheld = sitting.object(
        notice, right, at(date(2026, 8, 4), 10, 20), "实操第三题漏加5分，申请复核"
    )
    other = sitting.object(notice, cases[3], at(date(2026, 8, 5), 20, 40), "理论机考中途断电")
    sitting.resolve(notice, upheld, at(date(2026, 8, 6), 15, 0), "upheld", "经核对确有漏加分")
    moment = at(date(2026, 8, 7), 9, 40)
    sitting.resolve(notice, other, moment, "dismissed", "考场记录显示已补时，作答完整")
    right.now = at(date(2026, 8, 7), 10, 0)
    sitting.correct(right, 1, "63", "漏加第三题5分", upheld)
    sitting.verify_one(right, at(date(2026, 8, 7), 14, 0))
    closed_on = sitting.close(notice)
    passed = sitting.passed(leaving_out=[right])
    issued_on = _certify(results, passed, closed_on)
    accepted = _report(results, "RPT-2026-04", passed, working_day(issued_on, 2))
    results.make_visible(accepted, "province", date(2026, 8, 25))
    results.make_visible(accepted[:20], "nation", date(2026, 11, 16))
    sitting.publish("N2607-4S", date(2026, 8, 10))
    issued_on = _certify(results, [right], sitting.close("N2607-4S"))
    _report(results, "RPT-2026-05", [right], working_day(issued_on, 2))
    moment = at(date(2026, 11, 10), 10, 0)
    results.change(passed[6], ("national",), "suspend", "持证人信息核查中", moment)
    return sitting


def _july_3(cohort: Cohort, results: Results, cases: list[Case]) -> None:
    sitting = Sitting(cohort, "S260719-3", "2026年7月三级", 3, date(2026, 7, 19), cases)
    sitting.schedule(date(2026, 6, 15)).seat(date(2026, 7, 7))
    sitting.sit(("82.5", "59.5"), ("60", "60.5"), percent=90)
    sitting.record(date(2026, 7, 22))
    sitting.verify(date(2026, 7, 24))
    sitting.publish("N2607-3", date(2026, 8, 3))
    passed = sitting.passed()
    issued_on = _certify(results, passed, sitting.close("N2607-3"))
    accepted = _report(results, "RPT-2026-06", passed, working_day(issued_on, 3))
    results.make_visible(accepted, "province", date(2026, 8, 26))


def _august_3(cohort: Cohort, results: Results, cases: list[Case]) -> None:
    """Published after the one-month limit, with a reason."""
    sitting = Sitting(cohort, "S260822-3", "2026年8月三级", 3, date(2026, 8, 22), cases)
    sitting.schedule(date(2026, 7, 20)).seat(date(2026, 8, 12))
    sitting.sit(("61.5", "59.5"), percent=90)
    sitting.record(date(2026, 8, 26))
    sitting.verify(date(2026, 9, 23))
    sitting.publish("N2608-3", date(2026, 9, 24), "考评员更换，实操评分复核延期")
    passed = sitting.passed()
    issued_on = _certify(results, passed, sitting.close("N2608-3"))
    accepted = _report(results, "RPT-2026-08", passed, working_day(issued_on, 2))
    results.make_visible(accepted, "province", date(2026, 10, 30))


def _september(cohort: Cohort, results: Results, cases: list[Case]) -> None:
    """The notice spans the national holiday; another candidate's objection undoes a pass."""
    sitting = Sitting(cohort, "S260912-4", "2026年9月四级", 4, date(2026, 9, 12), cases)
    sitting.schedule(date(2026, 8, 10)).seat(date(2026, 9, 1))
    sitting.sit(("66", "61"), ("74", "70"), ("59.5", "59.5"), (None, "80.5"))
    sitting.record(date(2026, 9, 15))
    sitting.verify(date(2026, 9, 17))
    notice, wrong = "N2609-4", cases[0]
    sitting.publish(notice, date(2026, 9, 30))
    moment = at(date(2026, 10, 8), 11, 25)
    upheld = sitting.object(notice, wrong, moment, "该考生理论成绩登记有误", by=cases[1])
    moment = at(date(2026, 10, 10), 16, 10)
    sitting.resolve(notice, upheld, moment, "upheld", "登分时误录他人成绩")
    wrong.now = at(date(2026, 10, 12), 9, 30)
    sitting.correct(wrong, 0, "56", "误录他人成绩，按原卷更正", upheld)
    sitting.verify_one(wrong, at(date(2026, 10, 12), 15, 0))
    passed = sitting.passed(leaving_out=[wrong])
    issued_on = _certify(results, passed, sitting.close(notice))
    sitting.publish("N2609-4S", date(2026, 10, 15))
    sitting.close("N2609-4S")
    rejected = {passed[0].id: "发证日期格式有误"}
    accepted = _report(results, "RPT-2026-09", passed, working_day(issued_on, 2), rejected)
    accepted += _report(results, "RPT-2026-11", passed[:1], date(2026, 10, 28), None, "correction")
    results.make_visible(accepted, "province", date(2026, 11, 6))


def _september_5(cohort: Cohort, results: Results, cases: list[Case]) -> None:
    """The province allocates the numbers; the registrar imports them."""
    sitting = Sitting(cohort, "S260913-5", "2026年9月五级", 5, date(2026, 9, 13), cases)
    sitting.schedule(date(2026, 8, 10)).seat(date(2026, 9, 1))
    sitting.sit(("88", "91.5"), ("55", "62"), percent=92)
    sitting.record(date(2026, 9, 16))
    sitting.verify(date(2026, 9, 18))
    sitting.publish("N2609-5", date(2026, 10, 9))
    passed = sitting.passed()
    issued_on = _certify(results, passed, sitting.close("N2609-5"), imported=True)
    accepted = _report(results, "RPT-2026-10", passed, working_day(issued_on, 2))
    results.make_visible(accepted, "province", date(2026, 11, 4))


def _october(cohort: Cohort, results: Results, cases: list[Case]) -> None:
    """Just issued and reported; the authority has not answered yet."""
    sitting = Sitting(cohort, "S261024-4", "2026年10月四级", 4, date(2026, 10, 24), cases)
    sitting.schedule(date(2026, 9, 21)).seat(date(2026, 10, 13))
    sitting.sit(("60", "60"), ("59.5", "60"), (None, None))
    sitting.record(date(2026, 10, 27))
    sitting.verify(date(2026, 10, 29))
    sitting.publish("N2610-4", date(2026, 11, 5))
    passed = sitting.passed()
    issued_on = _certify(results, passed, sitting.close("N2610-4"))
    results.report("RPT-2026-12", "new", passed, issued_on + timedelta(days=1))
