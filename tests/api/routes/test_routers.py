"""The tables of commands cannot disagree: specs, routes and roles."""

from __future__ import annotations

from api.http.command_route import CommandRoute
from api.routes.routers import ACCESS, ROUTES
from domain.commands import SPECS

WITHOUT_ROUTE: dict[str, str] = {
    "ContinueErasure": "the service does it when it is due",
    "RepeatErasure": "an operator does it where a database was restored",
    "IntroduceKey": "keys are changed on the machine that has them",
    "ContinueLog": "two operators accept a loss on the machine that has the keys",
    "RetireKey": "keys are changed on the machine that has them",
    "OpenService": "the operator opens it on the machine, once",
    "CopyEdition": "the service does it when it is due",
}
"""Name of a command that has no route -> why. Every other command can be submitted over HTTP."""


def test_every_command_has_a_route_or_a_reason_for_none() -> None:
    routed = {route.spec.command.__name__ for route in ROUTES if route.spec is not None}
    assert routed | set(WITHOUT_ROUTE) == {spec.command.__name__ for spec in SPECS}
    assert not routed & set(WITHOUT_ROUTE)


def test_every_route_of_a_command_names_a_listed_spec() -> None:
    listed = {id(spec) for spec in SPECS}
    assert all(id(route.spec) in listed for route in ROUTES if route.spec is not None)


def test_every_write_is_a_command_route() -> None:
    for route in ROUTES:
        assert isinstance(route, CommandRoute) is (route.spec is not None), route.operation


def test_the_table_of_roles_is_derived_from_the_routes() -> None:
    assert len(ACCESS) == len(ROUTES)
    for route in ROUTES:
        assert ACCESS[route.operation] == route.roles


def test_the_ids_of_a_path_are_fields_of_the_command_or_go_to_a_handler() -> None:
    for route in ROUTES:
        if isinstance(route, CommandRoute) and route.handler is None:
            assert set(route.ids) <= set(route.spec.command.model_fields), route.operation
