"""Replaced records and named ids equal those of the standard library.

Covers: domain/values/fast_replace.py, domain/service/command_execution.py (`named_id`)
"""

import dataclasses
from dataclasses import dataclass
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.service.command_execution import named_id
from domain.states.application import Candidacy, Status
from domain.values.fast_replace import replace
from domain.values.primitives import Level

OPENED = Candidacy("a", "p", "4-01-02-07", "互联网营销师", "2021", Level(4), None)


def test_replace_equals_dataclasses_replace() -> None:
    changes = {"status": Status.ELIGIBLE, "required": (), "version": 2}
    assert replace(OPENED, **changes) == dataclasses.replace(OPENED, **changes)
    assert (OPENED.status, OPENED.version) == (Status.OPENED, 0)


def test_replace_refuses_an_unknown_field() -> None:
    with pytest.raises(TypeError, match="Candidacy has no states"):
        replace(OPENED, states=1)


def test_replace_runs_post_init() -> None:
    @dataclass(frozen=True)
    class Even:
        name: str
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        replace(Even("n", 2), number=3)


@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_named_id_equals_uuid5(namespace: UUID, name: str) -> None:
    assert named_id(namespace, name) == uuid5(namespace, name)
