"""Seeded random numbers, and the hours at which people and offices act."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import TypeVar

from domain.editions.edition import EditionKind
from domain.states.editions import Editions, calendar_on
from domain.values.working_days import SHANGHAI

T = TypeVar("T")

CALENDAR = calendar_on(Editions(EditionKind.CALENDAR), date.min)
"""The packaged working days."""


class SeededRandom:
    """Random numbers that repeat for a seed.

    Everything derives from `random()`, the only method whose sequence Python keeps stable.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        """0 <= x < limit."""
        return int(self._random.random() * limit)

    def between(self, low: int, high: int) -> int:
        """low <= x <= high."""
        return low + self.below(high - low + 1)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def digits(self, count: int) -> str:
        return "".join(str(self.below(10)) for _ in range(count))


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """A moment in Shanghai."""
    return datetime.combine(day, time(hour, minute, second), SHANGHAI)


def minutes_later(rng: SeededRandom, after: datetime, low: int = 2, high: int = 12) -> datetime:
    """Some minutes later."""
    return after + timedelta(minutes=rng.between(low, high), seconds=rng.between(1, 59))


def at_home(rng: SeededRandom, after: datetime, low: int, high: int) -> datetime:
    """Some hours later, between 8:00 and 22:00."""
    moment = after + timedelta(hours=rng.between(low, high), minutes=rng.between(1, 59))
    if not 8 <= moment.hour < 22:
        day = moment.date() + timedelta(days=moment.hour >= 22)
        moment = at(day, rng.between(8, 21), rng.between(0, 59), rng.between(0, 59))
    return max(moment, after + timedelta(minutes=1))


def working_day(day: date, days: int) -> date:
    """The working day `days` working days after `day`; 0: `day` itself or the next one."""
    while not CALENDAR.is_working_day(day):
        day += timedelta(days=1)
    for _ in range(days):
        day += timedelta(days=1)
        while not CALENDAR.is_working_day(day):
            day += timedelta(days=1)
    return day


def at_office(rng: SeededRandom, after: datetime, days: int) -> datetime:
    """Between 9:00 and 17:00, that many working days later."""
    day = working_day(after.date(), days)
    moment = at(day, rng.between(9, 16), rng.between(0, 59), rng.between(0, 59))
    while moment <= after:
        day = working_day(day, 1)
        moment = at(day, rng.between(9, 16), rng.between(0, 59), rng.between(0, 59))
    return moment
