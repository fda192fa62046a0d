"""Which roles may read what, and the one check of a caller's role.

The roles of a command are declared in its `CommandSpec`; those of a read are a row here. A role is
only the first check: what a caller may do with a particular application is decided in the domain (a
candidate acts on their own, nobody reviews twice, nobody approves their own refund).
Reading order: READ_ACCESS, OWN_ONLY, require_role.
"""

from __future__ import annotations

from api.auth.tokens import Principal, TokenMissing
from api.errors.request import LedgerNotInToken, RoleNotAllowed
from domain.actors import Role

Roles = frozenset[Role] | None
"""Who may call a route; None: everybody."""

PUBLIC: Roles = None
"""No token is needed."""

C, A, Z, P = Role.CANDIDATE, Role.AGENCY, Role.CERTIFIER, Role.PROVINCE
X, V, G = Role.EXAMINER, Role.SCORE_VERIFIER, Role.REGISTRAR
F, S, B = Role.FINANCE, Role.REGULATOR, Role.OPERATOR


def _of(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


READ_ACCESS: dict[str, Roles] = {
    # the service
    "health": PUBLIC,
    "ready": PUBLIC,
    # ledgers
    "list_ledgers": PUBLIC,
    "get_ledger": PUBLIC,
    # editions of rules
    "list_editions": PUBLIC,
    "get_editions": PUBLIC,
    "list_edition_proposals": _of(Z, S, B),
    # people
    "find_person": _of(C, A, Z, P, G),
    "get_person": _of(C, A, Z, P, G, S),
    "get_erasure": _of(G, S),
    "list_erasures": _of(G, S),
    "list_contested_registrations": _of(Z, P, G),
    # step 1: applications
    "list_applications": _of(C, A, Z, P, X, V, G, F, S),
    "get_application": _of(C, A, Z, P, X, V, G, F, S),
    "get_application_history": _of(C, A, Z, P, G, F, S),
    # step 3: documents and reviews
    "get_document": _of(C, A, Z, P, G),
    # refunds
    "list_refunds": _of(F, S),
    "get_refund_steps": _of(F, S),
    "get_refund_totals": _of(F, S),
    "list_postings": _of(F, S),
    # step 4: the exam
    "list_sessions": _of(C, A, Z, P, X, V, G, S),
    "get_session": _of(C, A, Z, P, X, V, G, S),
    "get_ticket": _of(C, A, Z, X),
    "get_ticket_pdf": _of(C, A, Z, X),
    # step 5: the public notice
    "list_notices": PUBLIC,
    "get_notice": PUBLIC,
    "list_scores": PUBLIC,
    "list_notice_rows": _of(Z, P, V, G, S),
    "list_objections": _of(Z, V, G),
    # step 5: certificates
    "list_certificates": _of(C, A, P, G),
    # step 5: the report upward
    "get_report": _of(P, G, S),
    "get_report_file": _of(P, G),
    # the public lookup
    "lookup_certificate": PUBLIC,
    "verify_certificate": PUBLIC,
    "get_card": PUBLIC,
    # oversight
    "list_actors": _of(S, B),
    "get_talent_statistics": _of(Z, P, G, S),
    "list_events": _of(S),
}
"""Operation id -> roles that may read it. The service does not start with a read that is missing
here."""

OWN_ONLY = frozenset(
    {
        "find_person",
        "get_person",
        "list_applications",
        "get_application",
        "get_application_history",
        "get_document",
        "get_ticket",
        "get_ticket_pdf",
        "list_certificates",
    }
)
"""Reads in which a candidate sees nothing but their own. In writes the decisions check that."""

SEES_IDENTITY = frozenset({A, Z, P, G})
"""Roles whose work needs names and document numbers in full: they compare them with documents."""

SEES_STAFF = frozenset({S, B})
"""Roles that see who a member of staff is; all others see the pseudonym."""


class UnauthorizedRoute(LookupError):
    """A route declares no roles."""


def roles_of_read(operation: str) -> Roles:
    """The roles of a read. Raises: UnauthorizedRoute."""
    if operation not in READ_ACCESS:
        raise UnauthorizedRoute(f"read {operation!r} has no row in READ_ACCESS")
    return READ_ACCESS[operation]


def require_role(roles: Roles, principal: Principal | None, ledger: str | None) -> None:
    """Refuse a caller without one of the roles, or with a token for other ledgers.

    ledger: the one named in the path, None where there is none.
    Raises: TokenMissing, RoleNotAllowed, LedgerNotInToken.
    """
    if roles is None:
        return
    if principal is None:
        raise TokenMissing()
    if principal.role not in roles:
        raise RoleNotAllowed(role=principal.role.value)
    if ledger is not None and not principal.may_enter(ledger):
        raise LedgerNotInToken(ledger=ledger)
