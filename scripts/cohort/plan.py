"""Composes the cohort wave by wave, so that it contains every case of the rules."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from scripts.cohort import failures
from scripts.cohort.journey import CERTIFIER, FEES, OPERATOR, STAFF, Case, Cohort, start_of
from scripts.cohort.refunds import refund, refund_both
from scripts.cohort.results import ORGANISATION, SITE_CODE, Results
from scripts.cohort.rng import SeededRandom, at
from scripts.cohort.sessions import hold_sessions

SEED = "omc 2026"
UNIFIED_CODE = "91330199MA00000B05"
"""Synthetic; the last character is its valid check (GB 32100)."""
LEVEL_4 = (
    "4 worked", "4 after 5", "4 trained", "4 worked", "4 technical school", "4 worked",
    "4 final year", "4 evaluated school", "4 worked", "4 after 5", "4 two ways",
    "4 worked to the day",
)  # fmt: skip
LEVEL_3 = ("3 after 4", "3 trained", "3 senior school", "3 college")
LEVEL_5 = ("5 worked", "5 trained", "5 apprentice")
"""Profiles of each level, assigned in turn."""


def build(seed: str = SEED) -> Cohort:
    """The whole cohort; the same seed gives the same one."""
    cohort = Cohort(SeededRandom(seed))
    cohort.draw_files()
    _open_ledger(cohort)
    waves = _waves(cohort)
    failures.not_eligible(cohort)
    failures.other_standards(cohort)
    failures.rejected(cohort)
    failures.withdrawn(cohort)
    results = Results(cohort)
    hold_sessions(cohort, results, waves, apply_again)
    failures.still_running(cohort)
    return cohort


def _open_ledger(cohort: Cohort) -> None:
    """ledger.json, staff.csv and the editions of the fees."""
    opened = {
        "id": "omc",
        "occurred_at": at(date(2026, 3, 2), 8, 30).isoformat(),
        "by": OPERATOR,
        "organisation_name": ORGANISATION,
        "issuer_name": ORGANISATION,
        "unified_social_credit_code": UNIFIED_CODE,
        "site_code": SITE_CODE,
        "log_origin": "certledger.example/omc",
    }
    text = json.dumps(opened, ensure_ascii=False, indent=2) + "\n"
    cohort.tables.files["ledger.json"] = text.encode()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("subject", "role", "organisation"))
    writer.writerows(STAFF)
    cohort.tables.files["staff.csv"] = out.getvalue().encode()
    _adopt_fees(cohort, "fees-2026.1", date(2026, 3, 1), at(date(2026, 3, 2), 8, 40))
    _adopt_fees(cohort, "fees-2026.2", date(2026, 8, 1), at(date(2026, 7, 24), 10, 0))


def _adopt_fees(cohort: Cohort, edition: str, day: date, moment: datetime) -> None:
    """The prices from a day on: a file, which the operator proposes and the certifier adopts."""
    fees = [
        {
            "occupation": occupation,
            "level": level,
            "certification_fee_fen": certification * 100,
            "study_material_fee_fen": material * 100,
        }
        for (occupation, level), prices in FEES.items()
        for _, certification, material in [max(price for price in prices if price[0] <= day)]
    ]
    file = {
        "kind": "fees",
        "edition": edition,
        "valid_from": day.isoformat(),
        "content": {"source": f"{ORGANISATION}收费公示 {day}", "fees": fees},
    }
    path = f"rules/{edition}.json"
    text = json.dumps(file, ensure_ascii=False, indent=1) + "\n"
    cohort.tables.files[path] = text.encode()
    cohort.tables.add("editions", moment, OPERATOR, kind="fees", path=path)
    later = moment + timedelta(minutes=10)
    cohort.tables.add("edition_adoptions", later, CERTIFIER, kind="fees", path=path)


def _waves(cohort: Cohort) -> dict[str, list[Case]]:
    """Enrolled cases by session."""
    waves = {
        "may 4": enrol(cohort, 44, LEVEL_4, date(2026, 3, 2), date(2026, 3, 30)),
        "july 4": enrol(cohort, 46, LEVEL_4, date(2026, 4, 20), date(2026, 5, 25)),
        "july 3": enrol(cohort, 10, LEVEL_3, date(2026, 4, 20), date(2026, 5, 25)),
        "august 3": enrol(cohort, 8, LEVEL_3, date(2026, 6, 1), date(2026, 6, 25)),
        "september 4": enrol(cohort, 34, LEVEL_4, date(2026, 6, 15), date(2026, 7, 20)),
        "september 5": enrol(
            cohort, 12, LEVEL_5, date(2026, 6, 22), date(2026, 7, 20), school_group=True
        ),
        "october 4": enrol(cohort, 32, LEVEL_4, date(2026, 8, 5), date(2026, 8, 31)),
        "december 4": enrol(cohort, 18, LEVEL_4, date(2026, 9, 14), date(2026, 10, 9)),
    }
    _request_refunds_after_success(
        waves["may 4"][5:7] + waves["july 4"][3:4] + waves["december 4"][2:3]
    )
    return waves


def enrol(
    cohort: Cohort,
    count: int,
    profiles: Sequence[str],
    first: date,
    last: date,
    *,
    school_group: bool = False,
) -> list[Case]:
    """`count` people whose three reviews pass, some of them after one or two supplements."""
    cases = []
    for place in range(count):
        profile = profiles[place % len(profiles)]
        person = cohort.people.next(ages=failures.ages_for(profile))
        person.school_group = school_group and place < 8
        case = Case(cohort, person, profile, start_of(cohort, first, last))
        if count > 40 and place in (20, 21):
            _pay_twice(case)
        else:
            case.enrolled(*_returns(place))
        cases.append(case)
    return cases


def _returns(place: int) -> tuple[str, ...]:
    """Stages that first return the documents of the case at this place."""
    if place % 23 == 7:
        return ("initial", "second")
    stages = {3: "initial", 9: "second", 15: "final", 27: "initial"}
    return (stages[place],) if place in stages else ()


def _pay_twice(case: Case) -> None:
    """The fee is paid twice; the second payment is excess and is refunded in full."""
    case.paid("wechat")
    case.soon()
    second = case.pay("alipay")
    for component in ("certification_fee", "study_material"):
        refund(case, second, component, "settled")
    case.at_home(4, 40)
    case.hand_in()
    for stage in ("initial", "second", "final"):
        case.review(stage)


def _request_refunds_after_success(cases: Sequence[Case]) -> None:
    """报考成功: neither component is refunded. Source: source-document 2.4(2)."""
    for case in cases:
        refund_both(case, "refused")


def apply_again(cohort: Cohort, failed: Sequence[Case], first: date, last: date) -> list[Case]:
    """People who did not pass apply again."""
    cases = []
    for before in failed:
        case = Case(cohort, before.person, before.profile, start_of(cohort, first, last))
        cases.append(case.enrolled())
    return cases
