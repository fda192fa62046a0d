"""Every role at every route: the table against what was written down independently of it.

Letters: C candidate, A agency, Z certifier, P province, X examiner, V score verifier, G registrar,
F finance, S regulator, O operator; * everybody, without a token.
"""

from __future__ import annotations

import uuid

import httpx
import pytest

from api.app import create_app
from api.auth.permissions import OWN_ONLY, PUBLIC, READ_ACCESS, UnauthorizedRoute, roles_of_read
from api.http.routing import AuthorizedRoute, router
from api.routes.routers import ACCESS
from api.settings import load_settings
from domain.actors import ROLES_OF_PEOPLE, Role
from tests.support.service import Caller, LedgerClient

LETTERS = {
    "C": "candidate", "A": "agency", "Z": "certifier", "P": "province", "X": "examiner",
    "V": "score_verifier", "G": "registrar", "F": "finance", "S": "regulator", "O": "operator",
}  # fmt: skip

L = "/ledgers/{ledger}"
A = f"{L}/applications/A0"

EXPECTED = f"""
GET    /health                              *
GET    /ready                               *
GET    /ledgers                             *
PUT    {L}                                  O
GET    {L}                                  *
GET    {L}/editions                         *
GET    {L}/editions/fees                    *
GET    {L}/editions/fees/proposals          Z S O
POST   {L}/editions/fees                    Z O
POST   {L}/editions/fees/{"0" * 64}/adoption  Z O
POST   {L}/issuer-urls                      O
POST   {L}/persons                          C A
POST   {L}/persons/search                   C A Z P G
GET    {L}/persons/P0                       C A Z P G S
POST   {L}/persons/P0/corrections           A G
POST   {L}/persons/P0/joining               A Z
POST   {L}/persons/P0/rejection             A Z
GET    {L}/contested-registrations          Z P G
GET    {L}/erasures                         G S
GET    {L}/persons/P0/erasure               G S
POST   {L}/persons/P0/erasure               G
POST   {L}/persons/P0/erasure/E0/confirmation  G S
POST   {L}/applications                     C A
GET    {L}/applications                     C A Z P X V G F S
GET    {A}                                  C A Z P X V G F S
GET    {A}/history                          C A Z P G F S
POST   {A}/withdrawal                       C A
POST   {A}/payments                         F
POST   {A}/item-uses                        C A
POST   {A}/documents                        C A
GET    {A}/documents/photo                  C A Z P G
POST   {A}/submission                       C A
POST   {A}/reviews/initial                  A Z P
POST   {A}/refunds                          C A F
POST   {A}/refunds/R0/approval              F
POST   {A}/refunds/R0/decline               F
POST   {A}/refunds/R0/outcome               F
GET    {L}/refunds                          F S
GET    {L}/refunds/R0/steps                 F S
GET    {L}/refunds/totals                   F S
GET    {L}/postings                         F S
POST   {L}/sessions                         Z
GET    {L}/sessions                         C A Z P X V G S
GET    {L}/sessions/S0                      C A Z P X V G S
POST   {L}/sessions/S0/seats                A Z
POST   {L}/sessions/S0/end                  Z X
POST   {L}/sessions/S0/scores               X
POST   {L}/sessions/S0/score-verification   V
POST   {A}/score-verification               V
POST   {A}/score-corrections                Z X
GET    {A}/ticket                           C A Z X
GET    {A}/ticket.pdf                       C A Z X
GET    {L}/notices                          *
GET    {L}/notices/N0                       *
GET    {L}/scores                           *
GET    {L}/notices/N0/rows                  Z P V G S
GET    {L}/notices/N0/objections            Z V G
POST   {L}/notices                          Z G
POST   {L}/notices/N0/extension             Z G
POST   {L}/notices/N0/close                 Z G
POST   {L}/notices/N0/objections            C A Z
POST   {L}/notices/N0/objections/O0/resolution  Z V
GET    {A}/certificates                     C A P G
POST   {A}/certificates/numbers             G
POST   {A}/certificates/import              G
POST   {L}/certificates/import              G
POST   {A}/certificates/issue               G
POST   {A}/certificates/national/correction     G
POST   {A}/certificates/national/reissue        G
POST   {A}/certificates/national/suspension     G
POST   {A}/certificates/national/reinstatement  G
POST   {A}/certificates/national/revocation     G
POST   {L}/reports                          G
GET    {L}/reports/R0                       P G S
GET    {L}/reports/R0/file                  P G
POST   {L}/reports/R0/answers               P G
POST   {A}/visibility                       P G
POST   /lookup                              *
GET    /v/00000000000000000000000000000000  *
GET    /v/00000000000000000000000000000000/card  *
GET    {L}/statistics/talent                Z P G S
GET    {L}/events                           S
GET    {L}/actors                           S O
"""

ROWS = [line.split() for line in EXPECTED.strip().splitlines()]


@pytest.fixture(scope="module")
def routes() -> list[AuthorizedRoute]:
    app = create_app(load_settings())
    return [route for route in app.router.routes if isinstance(route, AuthorizedRoute)]


def test_every_read_has_a_row_and_every_row_a_read(routes: list[AuthorizedRoute]):
    assert {route.operation for route in routes if route.spec is None} == set(READ_ACCESS)


def test_the_roles_of_a_write_are_those_of_its_command_without_the_service(
    routes: list[AuthorizedRoute],
):
    for route in routes:
        if route.spec is not None:
            assert route.roles == route.spec.roles.intersection(ROLES_OF_PEOPLE), route.operation


def test_every_route_is_expected_here_and_the_other_way_round(routes: list[AuthorizedRoute]):
    wanted = []
    for method, path, *_ in ROWS:
        found = [
            route.operation
            for route in routes
            if method in route.methods and route.path_regex.match(path.replace("{ledger}", "omc"))
        ]
        assert found, path
        wanted.append(found[0])
    assert sorted(wanted) == sorted(route.operation for route in routes)


def test_the_table_says_what_is_expected_here(routes: list[AuthorizedRoute]):
    for method, path, *letters in ROWS:
        route = next(
            route
            for route in routes
            if method in route.methods and route.path_regex.match(path.replace("{ledger}", "omc"))
        )
        roles = ACCESS[route.operation]
        if letters == ["*"]:
            assert roles is PUBLIC, path
        else:
            assert roles is not PUBLIC, path
            assert {role.value for role in roles} == {LETTERS[x] for x in letters}, path


def test_a_read_without_a_row_does_not_start():
    with pytest.raises(UnauthorizedRoute):
        roles_of_read("something_new")


def test_a_write_without_a_command_does_not_start():
    with pytest.raises(UnauthorizedRoute, match="names no command"):
        router("x").add_api_route("/x", lambda: None, methods=["POST"], operation_id="list_events")


def test_reads_of_candidates_are_held_to_their_own():
    candidates = {
        name
        for name, roles in ACCESS.items()
        if roles is not PUBLIC and Role.CANDIDATE in roles and name.startswith(("get", "list", "f"))
    }
    # Sessions are nobody's own; an objection is a write, and its decision checks.
    assert candidates - {"list_sessions", "get_session", "file_objection"} == OWN_ONLY


@pytest.fixture(scope="module")
def empty_ledger(module_ledger: LedgerClient) -> LedgerClient:
    return module_ledger


@pytest.mark.parametrize(("method", "path", "letters"), [(r[0], r[1], r[2:]) for r in ROWS])
def test_only_the_listed_roles_are_admitted(
    empty_ledger: LedgerClient, method: str, path: str, letters: list[str]
):
    url = path.replace("{ledger}", empty_ledger.name)
    for role in ROLES_OF_PEOPLE:
        answer = empty_ledger.caller(role).ask(method, url, headers=_typed(path, method))
        refused = answer.status_code == 403 and answer.json()["code"] == "role_not_allowed"
        allowed = letters == ["*"] or role.value in {LETTERS[x] for x in letters}
        assert refused is not allowed, f"{role} {method} {path}: {answer.status_code}"
        assert answer.status_code < 500
    answer = empty_ledger.stranger.ask(method, url)
    assert (answer.status_code == 401) is (letters != ["*"]), f"{method} {path}"


def _typed(path: str, method: str) -> dict[str, str]:
    return {"Content-Type": "application/json"} if method != "GET" else {}


# --- the ledgers of a token -----------------------------------------------------------------------


def test_a_token_opens_only_the_ledgers_it_names(empty_ledger: LedgerClient):
    other_ledger = empty_ledger.caller("regulator", ledgers=["another"])
    answer = other_ledger.get("events")
    assert answer.status_code == 403
    assert answer.json()["code"] == "ledger_not_in_token"
    assert "insufficient_scope" in answer.headers["www-authenticate"]
    assert empty_ledger.caller("regulator", ledgers=[empty_ledger.name]).get("events").is_success


def test_a_stale_token_does_not_close_a_public_page(empty_ledger: LedgerClient):
    stale = Caller(empty_ledger.client, empty_ledger.name, "no.such.token")
    assert stale.get("notices").status_code == 200


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "bearer x.y.z", "x"])
def test_whatever_is_no_good_token_is_401_with_a_challenge(
    client: httpx.Client, empty_ledger: LedgerClient, header: str
):
    url = f"/ledgers/{empty_ledger.name}/events"
    answer = client.get(url, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["code"] == "token_invalid"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_no_token_at_all_is_401_without_an_error(client: httpx.Client, empty_ledger: LedgerClient):
    answer = client.get(f"/ledgers/{empty_ledger.name}/events")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="certledger"'


def test_a_missing_role_is_refused_before_the_body_is_checked(empty_ledger: LedgerClient):
    answer = empty_ledger.caller("regulator").ask(
        "POST", "persons", content=b"{", headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 403


def test_a_ledger_that_is_not_there_is_404_for_who_could_enter_it(client: httpx.Client):
    ledger = LedgerClient(client, f"none-{uuid.uuid4().hex[:8]}", "")
    assert ledger.caller("regulator").get("events").json()["code"] == "unknown_ledger"
