"""Stated qualifications: one profile for each eligibility alternative and for each near miss.

A profile builds the statements of `domain.eligibility.qualifications` for a day of application.
`stated_qualifications` then assesses them by the real rules, so that the cohort cannot contain an
outcome that the rules do not give.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from api.imports.qualification_parser import parse_qualifications
from domain.documents.materials import MaterialKind, required_materials
from domain.eligibility.assessment import Eligible, assess
from domain.eligibility.qualifications import Qualifications
from domain.eligibility.rule_sets import rule_set_for
from domain.values.primitives import Level
from scripts.cohort.rng import SeededRandom

EMPLOYERS = (
    "杭州云上电商有限公司", "宁波海潮供应链有限公司", "温州鹿城鞋业直播基地", "义乌小商品选品中心",
    "绍兴柯桥纺织品商行", "嘉兴南湖农产品合作社", "湖州织里童装工作室", "金华横店影视短视频部",
    "台州椒江机电网店", "衢州常山胡柚专业合作社", "丽水遂昌赶街电商", "舟山普陀水产直播间",
)  # fmt: skip

LEVEL_WORDS = {5: "五级", 4: "四级", 3: "三级", 2: "二级", 1: "一级"}
Stated = dict[str, Any]
Builder = Callable[[SeededRandom, date], Stated]


def _years_before(day: date, years: int, days: int = 0) -> date:
    """The day to start on so that work through `day` is exactly these years, plus `days`."""
    after = day + timedelta(days=1)
    try:
        start = after.replace(year=after.year - years)
    except ValueError:
        start = after.replace(year=after.year - years, day=28)
    return start - timedelta(days=days)


def work(rng: SeededRandom, start: date, end: date | None = None, relation: str = "own") -> Stated:
    """One work period."""
    named = {"own": "本职业", "related": "相关职业", "other": "其他"}[relation]
    return {
        "started_on": start,
        "ended_on": end,
        "relation": named,
        "employer": rng.pick(EMPLOYERS),
    }


def certificate(level: int | None, issued_on: date, kind: str = "技能等级证书") -> Stated:
    """A certificate already held."""
    held = {"kind": kind, "level": LEVEL_WORDS[level] if level else None, "relation": "本职业"}
    return {**held, "issued_on": issued_on}


def training(level: int, hours: int, completed_on: date, *, finished: bool = True) -> Stated:
    """A training course."""
    return {
        "level": LEVEL_WORDS[level],
        "hours": hours,
        "completed_on": completed_on,
        "certificate": finished,
    }


def school(kind: str, graduated_on: date | None = None, **more: Any) -> Stated:
    """A school; by default its major is the occupation's own."""
    return {"kind": kind, "relation": "本专业", "graduated_on": graduated_on, **more}


def _worked(years: int, spare_days: int = 200) -> Builder:
    """One job, two that overlap, or two with a gap; the total exceeds `years` by some days."""

    def build(rng: SeededRandom, day: date) -> Stated:
        start = _years_before(day, years, rng.below(spare_days) + 40)
        if years < 2 or rng.chance(50):
            return {"work_periods": [work(rng, start)]}
        middle = start + timedelta(days=300 + rng.below(200))
        if rng.chance(50):
            later = middle - timedelta(days=rng.between(10, 90))
        else:
            later, start = middle + timedelta(days=31), start - timedelta(days=31)
        first = work(rng, start, middle, rng.pick(("own", "related")))
        return {"work_periods": [first, work(rng, later)]}

    return build


def _after_certificate(level: int, years: int, spare_days: int = 250) -> Builder:
    def build(rng: SeededRandom, day: date) -> Stated:
        issued = _years_before(day, years, 5 + rng.below(spare_days))
        kind = "技能等级证书" if issued.year > 2019 else "职业资格证书"
        earlier = issued - timedelta(days=180)
        return {
            "work_periods": [work(rng, earlier)],
            "certificates": [certificate(level, issued, kind)],
        }

    return build


def _both(*builders: Builder) -> Builder:
    """Merges the statements of several builders."""

    def build(rng: SeededRandom, day: date) -> Stated:
        stated: Stated = {}
        for each in builders:
            for key, value in each(rng, day).items():
                stated[key] = stated.get(key, []) + value if isinstance(value, list) else value
        return stated

    return build


def _course(level: int, hours: int, *, finished: bool = True) -> Builder:
    return lambda rng, day: {
        "trainings": [
            training(level, hours, day - timedelta(days=rng.between(20, 200)), finished=finished)
        ]
    }


def _school(kind: str, *, years_ago: int = 2, **more: Any) -> Builder:
    return lambda rng, day: {"education": [school(kind, date(day.year - years_ago, 6, 30), **more)]}


def _student(kind: str, **more: Any) -> Builder:
    return lambda rng, day: {"education": [school(kind, **more)]}


def _holds(level: int | None, years_ago: int, kind: str = "技能等级证书") -> Builder:
    return lambda rng, day: {
        "certificates": [certificate(level, _years_before(day, years_ago, 30), kind)]
    }


def _title(rank: str, years_ago: int) -> Builder:
    return lambda rng, day: {
        "titles": [
            {"rank": rank, "relation": "本职业", "obtained_on": _years_before(day, years_ago, 60)}
        ]
    }


def _exactly_four_years(rng: SeededRandom, day: date) -> Stated:
    return {"work_periods": [work(rng, _years_before(day, 4))]}


def _one_day_short(rng: SeededRandom, day: date) -> Stated:
    return {"work_periods": [work(rng, _years_before(day, 4, -1))]}


OMC, ALL_2018, ALL_2023 = (
    ("4-01-02-07", "2021"),
    ("general", "G2018"),
    ("general", "G2023"),
)
"""Occupation and edition of the standard."""

PROFILES: dict[str, tuple[tuple[str, str], int, Builder]] = {
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
        lambda rng, day: {
            "apprenticeships": [
                {"relation": "本职业", "completed_on": day - timedelta(days=rng.between(9, 90))}
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
        lambda rng, day: {
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
    "2023 5 intends": (ALL_2023, 5, lambda rng, day: {"intends_to_work": True}),
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
        lambda rng, day: {"work_periods": [work(rng, _years_before(day, 6), None, "other")]},
    ),
    "no: nothing": (OMC, 4, lambda rng, day: {}),
    "no: 5 too short": (
        OMC,
        5,
        lambda rng, day: {"work_periods": [work(rng, day - timedelta(days=240))]},
    ),
    "no: 3 without course": (OMC, 3, _after_certificate(4, 3, 60)),
    "no: 2018 five years": (ALL_2018, 4, _worked(5, 30)),
    "no: 2023 fifteen": (ALL_2023, 5, lambda rng, day: {"intends_to_work": True}),
}
"""Profile -> standard, level applied for, builder of the statements."""


def stated_qualifications(
    profile: str, rng: SeededRandom, born: date, day: date
) -> tuple[Stated, tuple[MaterialKind, ...]]:
    """The statements of a profile on a day, and the documents that prove them (near miss: none).

    Raises: ValueError if the assessment differs from what the profile promises.
    """
    (occupation, edition), level, build = PROFILES[profile]
    stated = build(rng, day)
    qualifications = Qualifications.model_validate(
        {"birth_date": born, **parse_qualifications(stated)}
    )
    result = assess(rule_set_for(occupation, edition), Level(level), qualifications, day)
    if isinstance(result, Eligible) == profile.startswith("no:"):
        raise ValueError(f"the rules do not agree with {profile!r}")
    if isinstance(result, Eligible):
        return stated, required_materials(result.required_materials)
    return stated, ()
