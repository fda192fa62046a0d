"""Who may do what: one table, operation by operation.

A role here only opens the door. What one may do with a particular application is decided in the
domain: a candidate acts on what is theirs, nobody reviews twice, nobody approves their own refund.
Reading order: the groups, ACCESS, OWN_ONLY, then the one check that every route goes through.
"""

from __future__ import annotations

from api.auth.tokens import Principal, TokenMissing
from api.errors.request import LedgerNotInToken, RoleNotAllowed
from domain.actors import Role

PUBLIC: frozenset[Role] | None = None
"""No token is asked for."""

C, A, Z, P = Role.CANDIDATE, Role.AGENCY, Role.CERTIFIER, Role.PROVINCE
X, V, G = Role.EXAMINER, Role.SCORE_VERIFIER, Role.REGISTRAR
F, S, O = Role.FINANCE, Role.REGULATOR, Role.OPERATOR  # noqa: E741  the letters of the table


def _of(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


ACCESS: dict[str, frozenset[Role] | None] = {
    # the service
    "health": PUBLIC,
    "ready": PUBLIC,
    # the book
    "list_ledgers": PUBLIC,
    "get_ledger": PUBLIC,
    "open_ledger": _of(O),
    "set_fee_schedule": _of(F, O),
    # people
    "register_person": _of(C, A),
    "find_person": _of(C, A, Z, P, G),
    "get_person": _of(C, A, Z, P, G, S),
    "correct_person": _of(A, G),
    "erase_person": _of(G),
    # step 1: applications
    "open_application": _of(C, A),
    "list_applications": _of(C, A, Z, P, X, V, G, F, S),
    "get_application": _of(C, A, Z, P, X, V, G, F, S),
    "get_application_history": _of(C, A, Z, P, G, F, S),
    "withdraw_application": _of(C, A),
    # step 2: fees
    "record_payment": _of(F),
    "use_item": _of(C, A),
    # step 3: documents and reviews
    "submit_document": _of(C, A),
    "get_document": _of(C, A, Z, P, G),
    "submit_documents": _of(C, A),
    "review": _of(A, Z, P),
    # money that goes back
    "order_refund": _of(C, A, F),
    "approve_refund": _of(F),
    "decline_refund": _of(F),
    "record_refund_outcome": _of(F),
    "list_refunds": _of(F, S),
    "get_refund_steps": _of(F, S),
    "get_refund_totals": _of(F, S),
    "list_postings": _of(F, S),
    # step 4: the exam
    "schedule_session": _of(Z),
    "list_sessions": _of(C, A, Z, P, X, V, G, S),
    "get_session": _of(C, A, Z, P, X, V, G, S),
    "assign_seat": _of(A, Z),
    "end_session": _of(Z, X),
    "record_scores": _of(X),
    "verify_session_scores": _of(V),
    "verify_scores": _of(V),
    "correct_score": _of(Z, X),
    "get_ticket": _of(C, A, Z, X),
    "get_ticket_pdf": _of(C, A, Z, X),
    # step 5: the public notice
    "list_notices": PUBLIC,
    "get_notice": PUBLIC,
    "list_scores": PUBLIC,
    "list_notice_rows": _of(Z, P, V, G, S),
    "list_objections": _of(Z, V, G),
    "open_notice": _of(Z, G),
    "extend_notice": _of(Z, G),
    "close_notice": _of(Z, G),
    "file_objection": _of(C, A),
    "resolve_objection": _of(Z, V),
    # step 5: certificates
    "list_certificates": _of(C, A, P, G),
    "number_certificates": _of(G),
    "import_number": _of(G),
    "import_numbers": _of(G),
    "issue_certificates": _of(G),
    "correct_certificate": _of(G),
    "reissue_certificate": _of(G),
    "suspend_certificate": _of(G),
    "reinstate_certificate": _of(G),
    "revoke_certificate": _of(G),
    # step 5: the report upward
    "freeze_report": _of(G),
    "get_report": _of(P, G, S),
    "get_report_file": _of(P, G),
    "answer_report": _of(P, G),
    "record_visibility": _of(P, G),
    # what everybody may look up
    "lookup_certificate": PUBLIC,
    "verify_certificate": PUBLIC,
    # what the authorities look at
    "get_talent_statistics": _of(Z, P, G, S),
    "list_events": _of(S),
}
"""Operation id -> roles that may; PUBLIC for everybody. A route that is missing here fails the
start."""

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
"""Reads in which a candidate sees nothing but their own. Writes are held by the decisions."""

SEES_IDENTITY = frozenset({A, Z, P, G})
"""Roles whose work needs names and document numbers in full: they compare them with papers."""


class UnguardedRoute(LookupError):
    """A route has no row in the access table."""


def roles_for(operation: str) -> frozenset[Role] | None:
    """The roles of an operation. Raises: UnguardedRoute."""
    if operation not in ACCESS:
        raise UnguardedRoute(f"route {operation!r} has no row in api.auth.permissions.ACCESS")
    return ACCESS[operation]


def admit(operation: str, principal: Principal | None, ledger: str | None) -> None:
    """The check that every route goes through.

    ledger: the one named in the path, None where there is none.
    Raises: TokenMissing, RoleNotAllowed, LedgerNotInToken.
    """
    roles = roles_for(operation)
    if roles is PUBLIC:
        return
    if principal is None:
        raise TokenMissing()
    if principal.role not in roles:
        raise RoleNotAllowed(role=principal.role.value)
    if ledger is not None and not principal.may_enter(ledger):
        raise LedgerNotInToken(ledger=ledger)
