"""Logins in normal form, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.values.logins import Login, is_service, normal_form


def test_logins_of_one_person_have_one_normal_form():
    for spelling in ("Li Lei", "lilei", " \uff2c\uff49\uff4c\uff45\uff49\n"):
        assert normal_form(spelling) == "lilei"
    assert normal_form("138 0000 0000") == "13800000000"


def test_logins_of_different_persons_stay_different():
    assert normal_form("李雷") != normal_form("李蕾")


@given(st.text(max_size=20))
def test_a_normal_form_is_its_own(login: str):
    assert normal_form(normal_form(login)) == normal_form(login)


@pytest.mark.parametrize("name", ["certledger/import", "CertLedger / Import", "\uff43ertledger/x"])
def test_a_name_of_the_service_is_known_in_every_spelling(name: str):
    assert is_service(name)


@pytest.mark.parametrize("login", ["certledger", "13800000000", "x/certledger/import"])
def test_a_login_is_no_name_of_the_service(login: str):
    assert not is_service(login)


@pytest.mark.parametrize(
    "text", ["certledger/13800000000", " Certledger / x", "", " \u3000", "x" * 201]
)
def test_a_command_names_no_login_that_no_person_has(text: str):
    with pytest.raises(ValidationError):
        TypeAdapter(Login).validate_python(text)


@pytest.mark.parametrize("text", ["13800000000", " Li Lei", "x" * 200])
def test_a_login_is_handed_on_as_it_was_written(text: str):
    assert TypeAdapter(Login).validate_python(text) == text
