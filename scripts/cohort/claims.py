"""What candidates state about themselves: one way for every alternative, and for every near miss.

Each way makes the claims of `domain.eligibility.qualifications` for a day of application; `state`
then has
the real rules judge them, so that the cohort can't promise what the rules don't give.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from api.imports.qualification_parser import claims_from_words
from cohort.dice import Dice
from domain.documents.materials import MaterialKind, required_materials
from domain.eligibility.assessment import Eligible, assess
from domain.eligibility.qualifications import Qualifications
from domain.eligibility.rule_sets import rule_set_for
from domain.values.primitives import Level

EMPLOYERS = (
    "杭州云上电商有限公司", "宁波海潮供应链有限公司", "温州鹿城鞋业直播基地", "义乌小商品选品中心",
    "绍兴柯桥纺织品商行", "嘉兴南湖农产品合作社", "湖州织里童装工作室", "金华横店影视短视频部",
    "台州椒江机电网店", "衢州常山胡柚专业合作社", "丽水遂昌赶街电商", "舟山普陀水产直播间",
)  # fmt: skip

LEVEL_WORDS = {5: "五级", 4: "四级", 3: "三级", 2: "二级", 1: "一级"}
Claims = dict[str, Any]
Way = Callable[[Dice, date], Claims]


def _years_before(day: date, years: int, days: int = 0) -> date:
    """So many years before the day after, and some days: work until `day` fills them exactly."""
    after = day + timedelta(days=1)
    try:
        start = after.replace(year=after.year - years)
    except ValueError:
        start = after.replace(year=after.year - years, day=28)
    return start - timedelta(days=days)


def work(dice: Dice, start: date, end: date | None = None, relation: str = "own") -> Claims:
    """One stretch of work."""
    named = {"own": "本职业", "related": "相关职业", "other": "其他"}[relation]
    return {
        "started_on": start,
        "ended_on": end,
        "relation": named,
        "employer": dice.pick(EMPLOYERS),
    }


def certificate(level: int | None, issued_on: date, kind: str = "技能等级证书") -> Claims:
    """A certificate that is held already."""
    held = {"kind": kind, "level": LEVEL_WORDS[level] if level else None, "relation": "本职业"}
    return {**held, "issued_on": issued_on}


def training(level: int, hours: int, completed_on: date, *, finished: bool = True) -> Claims:
    """A course."""
    return {
        "level": LEVEL_WORDS[level],
        "hours": hours,
        "completed_on": completed_on,
        "certificate": finished,
    }


def school(kind: str, graduated_on: date | None = None, **more: Any) -> Claims:
    """A school, its major the occupation's own unless said otherwise."""
    return {"kind": kind, "relation": "本专业", "graduated_on": graduated_on, **more}


def _worked(years: int, spare_days: int = 200) -> Way:
    """One job, or two that overlap, or two with a gap; in all some days more than the years."""

    def way(dice: Dice, day: date) -> Claims:
        start = _years_before(day, years, dice.below(spare_days) + 40)
        if years < 2 or dice.chance(50):
            return {"work_periods": [work(dice, start)]}
        middle = start + timedelta(days=300 + dice.below(200))
        if dice.chance(50):
            later = middle - timedelta(days=dice.between(10, 90))
        else:
            later, start = middle + timedelta(days=31), start - timedelta(days=31)
        first = work(dice, start, middle, dice.pick(("own", "related")))
        return {"work_periods": [first, work(dice, later)]}

    return way


def _after_certificate(level: int, years: int, spare_days: int = 250) -> Way:
    def way(dice: Dice, day: date) -> Claims:
        issued = _years_before(day, years, 5 + dice.below(spare_days))
        kind = "技能等级证书" if issued.year > 2019 else "职业资格证书"
        earlier = issued - timedelta(days=180)
        return {
            "work_periods": [work(dice, earlier)],
            "certificates": [certificate(level, issued, kind)],
        }

    return way


def _both(*ways: Way) -> Way:
    """Everything that several ways state."""

    def way(dice: Dice, day: date) -> Claims:
        told: Claims = {}
        for each in ways:
            for key, value in each(dice, day).items():
                told[key] = told.get(key, []) + value if isinstance(value, list) else value
        return told

    return way


def _course(level: int, hours: int, *, finished: bool = True) -> Way:
    return lambda dice, day: {
        "trainings": [
            training(level, hours, day - timedelta(days=dice.between(20, 200)), finished=finished)
        ]
    }


def _school(kind: str, *, years_ago: int = 2, **more: Any) -> Way:
    return lambda dice, day: {
        "education": [school(kind, date(day.year - years_ago, 6, 30), **more)]
    }


def _student(kind: str, **more: Any) -> Way:
    return lambda dice, day: {"education": [school(kind, **more)]}


def _holds(level: int | None, years_ago: int, kind: str = "技能等级证书") -> Way:
    return lambda dice, day: {
        "certificates": [certificate(level, _years_before(day, years_ago, 30), kind)]
    }


def _title(rank: str, years_ago: int) -> Way:
    return lambda dice, day: {
        "titles": [
            {"rank": rank, "relation": "本职业", "obtained_on": _years_before(day, years_ago, 60)}
        ]
    }


def _exactly_four_years(dice: Dice, day: date) -> Claims:
    return {"work_periods": [work(dice, _years_before(day, 4))]}


def _one_day_short(dice: Dice, day: date) -> Claims:
    return {"work_periods": [work(dice, _years_before(day, 4, -1))]}


OMC, ALL_2018, ALL_2023 = (
    ("4-01-02-07", "2021"),
    ("general", "G2018"),
    ("general", "G2023"),
)
"""Occupation and edition of the standard."""

WAYS: dict[str, tuple[tuple[str, str], int, Way]] = {
    # level 4 of the occupation's own standard, every alternative
    "4 after 5": (OMC, 4, _after_certificate(5, 3)),
    "4 worked": (OMC, 4, _worked(4)),
    "4 worked to the day": (OMC, 4, _exactly_four_years),
    "4 trained": (OMC, 4, _both(_worked(2), _course(4, 104))),
    "4 technical school": (OMC, 4, _school("技工学校")),
    "4 final year": (OMC, 4, _student("技师学院", final_year=True)),
    "4 evaluated school": (OMC, 4, _school("高等职业学校", evaluated=True)),
    "4 two ways": (OMC, 4, _both(_worked(5), _school("技工学校", years_ago=6))),
    # its other levels
    "5 worked": (OMC, 5, _worked(1, 90)),
    "5 trained": (OMC, 5, _course(5, 120)),
    "5 apprentice": (
        OMC,
        5,
        lambda dice, day: {
            "apprenticeships": [
                {"relation": "本职业", "completed_on": day - timedelta(days=dice.between(9, 90))}
            ]
        },
    ),
    "3 after 4": (OMC, 3, _after_certificate(4, 4)),
    "3 trained": (OMC, 3, _both(_after_certificate(4, 3, 100), _course(3, 88))),
    "3 senior school": (OMC, 3, _both(_holds(4, 1), _school("高级技工学校"))),
    "3 college": (OMC, 3, _both(_after_certificate(4, 2, 100), _school("大专", years_ago=5))),
    "2 after 3": (OMC, 2, _after_certificate(3, 4)),
    "1 after 2": (OMC, 1, _after_certificate(2, 4)),
    # the general templates of 2018 and 2023
    "2018 5 apprentice": (
        ALL_2018,
        5,
        lambda dice, day: {
            "apprenticeships": [{"relation": "相关职业", "completed_on": day - timedelta(days=40)}]
        },
    ),
    "2018 4 worked": (ALL_2018, 4, _worked(6)),
    "2018 4 evaluated school": (
        ALL_2018,
        4,
        _student("中等职业学校", final_year=True, evaluated=True),
    ),
    "2018 3 after 4": (ALL_2018, 3, _after_certificate(4, 5)),
    "2018 2 prospective": (
        ALL_2018,
        2,
        _both(_holds(None, 2, "预备技师证书"), _school("技师学院", years_ago=3), _worked(2)),
    ),
    "2023 5 intends": (ALL_2023, 5, lambda dice, day: {"intends_to_work": True}),
    "2023 4 bachelor": (ALL_2023, 4, _student("本科", final_year=True)),
    "2023 3 title": (ALL_2023, 3, _both(_title("初级职称", 2), _worked(3))),
    "2023 2 prospective class": (
        ALL_2023,
        2,
        _both(_holds(3, 3), _student("技师学院", programme="预备技师班")),
    ),
    "2023 1 title": (ALL_2023, 1, _both(_title("高级职称", 2), _worked(9))),
    # near misses
    "no: one day short": (OMC, 4, _one_day_short),
    "no: two years after 5": (OMC, 4, _after_certificate(5, 2, 100)),
    "no: hours": (OMC, 4, _both(_worked(2, 30), _course(4, 96))),
    "no: course unfinished": (OMC, 4, _both(_worked(2, 30), _course(4, 104, finished=False))),
    "no: school not evaluated": (OMC, 4, _school("中等职业学校")),
    "no: second year": (OMC, 4, _student("技工学校")),
    "no: college alone": (OMC, 4, _school("大专")),
    "no: other work": (
        OMC,
        4,
        lambda dice, day: {"work_periods": [work(dice, _years_before(day, 6), None, "other")]},
    ),
    "no: nothing": (OMC, 4, lambda dice, day: {}),
    "no: 5 too short": (
        OMC,
        5,
        lambda dice, day: {"work_periods": [work(dice, day - timedelta(days=240))]},
    ),
    "no: 3 without course": (OMC, 3, _after_certificate(4, 3, 60)),
    "no: 2018 five years": (ALL_2018, 4, _worked(5, 30)),
    "no: 2023 fifteen": (ALL_2023, 5, lambda dice, day: {"intends_to_work": True}),
}
"""What somebody states -> standard, level applied for, and how they state it."""


def state(way: str, dice: Dice, born: date, day: date) -> tuple[Claims, tuple[MaterialKind, ...]]:
    """The claims of a way on a day, and the documents that prove them; none for a near miss.

    Raises: ValueError if the rules do not come out as the way says.
    """
    (occupation, edition), level, make = WAYS[way]
    told = make(dice, day)
    stated = Qualifications.model_validate({"birth_date": born, **_meant(told)})
    result = assess(rule_set_for(occupation, edition), Level(level), stated, day)
    if isinstance(result, Eligible) == way.startswith("no:"):
        raise ValueError(f"the rules do not agree with {way!r}")
    if isinstance(result, Eligible):
        return told, required_materials(result.required_materials)
    return told, ()


def _meant(told: Claims) -> Claims:
    """The same claims in the program's own words."""
    return claims_from_words(told)
