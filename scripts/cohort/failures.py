"""Applications that fail, and applications still in progress."""

from __future__ import annotations

from datetime import date

from domain.documents.materials import MaterialKind
from scripts.cohort.journey import REGISTRAR, REGULATOR, Case, Cohort, start_of
from scripts.cohort.qualifications import PROFILES
from scripts.cohort.refunds import Script, refund, refund_both
from scripts.cohort.rng import at


def ages_for(profile: str) -> tuple[int, int]:
    """Range of ages, in full years, of the people of a profile."""
    if "fifteen" in profile:
        return 14, 14
    if "intends" in profile:
        return 16, 19
    young = ("final year", "second year", "apprentice", "bachelor", "class")
    if any(word in profile for word in young):
        return 19, 22
    if "title" in profile or "two ways" in profile or profile[0] in "12":
        return 34, 52
    return 25, 46


def _new(cohort: Cohort, profile: str, first: date, last: date) -> Case:
    person = cohort.people.next(ages=ages_for(profile))
    return Case(cohort, person, profile, start_of(cohort, first, last))


def not_eligible(cohort: Cohort) -> None:
    """Every near miss, common ones twice; one person applies again once the years are reached."""
    misses = [profile for profile in PROFILES if profile.startswith("no:")]
    for profile in (*misses, *misses[:5]):
        _new(cohort, profile, date(2026, 3, 5), date(2026, 10, 30)).open()
    too_soon = _new(cohort, "no: one day short", date(2026, 4, 7), date(2026, 4, 7)).open()
    later = Case(cohort, too_soon.person, "4 worked", at(date(2026, 5, 11), 9, 20)).open()
    later.soon()


def other_standards(cohort: Cohort) -> None:
    """The general templates and the highest levels: assessed, a few of them taken further."""
    first, last = date(2026, 3, 9), date(2026, 9, 25)
    for profile in (
        "2018 3 after 4", "2018 2 prospective", "2018 4 evaluated school", "2023 4 bachelor",
        "2023 2 prospective class", "2023 1 title", "2 after 3", "1 after 2", "2018 5 apprentice",
    ):  # fmt: skip
        _new(cohort, profile, first, last).open()
    free_material = _new(cohort, "2023 5 intends", date(2026, 5, 11), date(2026, 5, 20))
    free_material.rejected("final", "系统比对：该证件号码已有同等级有效证书")
    refund(free_material, free_material.payments[0], "certification_fee", "settled")
    withdrawn = _new(cohort, "2023 3 title", date(2026, 6, 8), date(2026, 6, 20)).paid("alipay")
    withdrawn.withdraw("工作调动，无法参加考试")
    refund_both(withdrawn, "settled")
    _new(cohort, "2018 4 worked", date(2026, 7, 6), date(2026, 7, 20)).rejected(
        "initial", "工作经历证明与社保缴纳单位不一致", uses=1
    )


REASONS = {
    "initial": ("工作年限证明不足，无法核实", "所附毕业证书专业与本职业不相关"),
    "second": ("工作经历证明涉嫌重复使用", "五级证书编号查询不到"),
    "final": ("省系统核验：学籍信息不一致", "省系统核验：证件信息与公安库不一致"),
}


def rejected(cohort: Cohort) -> None:
    """Rejected at each stage, with each outcome of the refund that follows."""
    scripts: tuple[tuple[str, int, tuple[Script, ...]], ...] = (
        ("initial", 0, ("settled",)),
        ("initial", 0, ("settled",)),
        ("initial", 2, ("settled", "refused")),
        ("initial", 0, ("declined", "settled")),
        ("initial", 0, ()),
        ("second", 0, ("settled",)),
        ("second", 3, ("settled", "refused")),
        ("second", 0, ("closed", "settled")),
        ("second", 0, ("settled", "abnormal then settled")),
        ("second", 1, ("settled", "refused")),
        ("final", 0, ("settled",)),
        ("final", 4, ("settled", "refused")),
        ("final", 0, ("abnormal", "settled")),
        ("final", 0, ("settled",)),
    )
    for place, (stage, uses, asked) in enumerate(scripts):
        month = 3 + place % 7
        profile = ("4 worked", "4 after 5")[place % 2]
        case = _new(cohort, profile, date(2026, month, 8), date(2026, month, 25))
        case.rejected(stage, REASONS[stage][place % 2], uses=uses)
        if asked:
            refund_both(case, *asked, by_office=place % 4 == 1)
        if asked and asked[0] in ("declined", "closed"):  # ordered again, under a new number
            refund(case, case.payments[0], "certification_fee", "settled")
    second_try = _new(cohort, "4 trained", date(2026, 6, 3), date(2026, 6, 9)).submitted(uses=0)
    second_try.supplement("initial")
    second_try.review("initial", "reject", "补交材料仍无法证明从业年限")
    refund_both(second_try, "settled")


def withdrawn(cohort: Cohort) -> None:
    """Withdrawn before 报考成功: before payment, after it, with material used, in review."""
    days = date(2026, 4, 6), date(2026, 4, 17)
    unpaid = _new(cohort, "4 worked", *days).open()
    unpaid.withdraw("暂不考虑报考")
    unpaid.at_home(2, 20)
    late = unpaid.pay("wechat")  # after the application was closed: all of it goes back
    for component in ("certification_fee", "study_material"):
        refund(unpaid, late, component, "settled", by_office=True)
    for reason, provider, uses, scripts in (
        ("个人时间安排冲突", "wechat", 0, ("settled",)),
        ("改报其他批次", "alipay", 2, ("settled", "refused")),
        ("对公付款有误，需重新报名", "bank", 0, ("settled",)),
    ):
        case = _new(cohort, "4 after 5", date(2026, 5, 6), date(2026, 8, 28)).paid(provider)
        case.use(*("recorded_course", "handbook")[:uses])
        case.withdraw(reason)
        refund_both(case, *scripts)
    in_review = _new(cohort, "4 worked", date(2026, 7, 1), date(2026, 7, 10)).submitted(uses=0)
    in_review.review("initial")
    in_review.withdraw("身体原因放弃")
    refund_both(in_review, "settled")
    erased = _new(cohort, "4 worked", date(2026, 3, 23), date(2026, 3, 27)).paid("wechat")
    erased.withdraw("不再报考，并要求删除个人信息")
    refund_both(erased, "settled")
    erased.now = at(date(2026, 6, 10), 10, 30)
    cohort.tables.add(
        "erasures",
        erased.now,
        REGISTRAR,
        id="ER0001",
        person_id=erased.person.id,
        reason="本人申请",
    )
    erased.now = at(date(2026, 6, 11), 9, 15)
    cohort.tables.add(
        "erasure_confirmations",
        erased.now,
        REGULATOR,
        person_id=erased.person.id,
        proposal="ER0001",
    )


def still_running(cohort: Cohort) -> None:
    """In progress on 2026-11-20: every step has an application that waits for the next."""
    first, last = date(2026, 11, 2), date(2026, 11, 6)
    for _ in range(4):
        _new(cohort, "4 worked", date(2026, 11, 9), date(2026, 11, 18)).open()
    for _ in range(4):
        _new(cohort, "4 after 5", date(2026, 11, 9), date(2026, 11, 16)).paid("wechat")
    for passed in ((), (), ("initial",), ("initial", "second"), ("initial", "second")):
        case = _new(cohort, "4 worked", first, last).submitted(uses=1)
        for stage in passed:
            case.review(stage)
    for _ in range(2):
        back = _new(cohort, "4 trained", first, last).submitted(uses=0)
        back.review("initial", "return", "结业证书缺少学时记载", MaterialKind.TRAINING_CERTIFICATE)
    for scripts in (("accepted",), ("ordered",), ("approved", "ordered")):
        case = _new(cohort, "4 worked", date(2026, 10, 28), date(2026, 10, 30))
        case.rejected("initial", REASONS["initial"][0])
        refund_both(case, *scripts)
