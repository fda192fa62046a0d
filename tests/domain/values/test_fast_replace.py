"""A record with other values, and ids made from names: as the library makes them."""

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


def test_a_state_is_replaced_as_the_library_does() -> None:
    changes = {"status": Status.ELIGIBLE, "required": (), "version": 2}
    assert replace(OPENED, **changes) == dataclasses.replace(OPENED, **changes)
    assert (OPENED.status, OPENED.version) == (Status.OPENED, 0)


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="Candidacy has no states"):
        replace(OPENED, states=1)


def test_a_record_is_still_checked_by_itself() -> None:
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
def test_an_id_of_a_name_is_the_one_of_version_5(namespace: UUID, name: str) -> None:
    assert named_id(namespace, name) == uuid5(namespace, name)
